//! What the twins ask of a number: f32 with the shaders' own functions, f64 with the standard library's.

use super::{double, math};
use crate::graph::{Binary, Unary};

/// f32 or f64.
pub trait Real:
    bytemuck::Pod
    + PartialOrd
    + Send
    + Sync
    + std::fmt::Debug
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::AddAssign
    + std::ops::SubAssign
{
    /// 0
    const ZERO: Self;
    /// 1
    const ONE: Self;
    /// Rounded from f64.
    fn from_f64(value: f64) -> Self;
    /// Widened to f64.
    fn to_f64(self) -> f64;
    /// The square root.
    fn root(self) -> Self;
    /// An elementwise function: y\[i\] = op(x\[i\]).
    fn unary(op: Unary, x: &[Self], y: &mut [Self]);
    /// An elementwise function of two arrays.
    fn binary(op: Binary, x: &[Self], z: &[Self], y: &mut [Self]);
}

/// One implementation for both, over a module of functions named like the shaders'.
macro_rules! real {
    ($number:ty, $functions:path) => {
        impl Real for $number {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;

            fn from_f64(value: f64) -> Self {
                value as $number
            }

            fn to_f64(self) -> f64 {
                self as f64
            }

            fn root(self) -> Self {
                self.sqrt()
            }

            fn unary(op: Unary, x: &[Self], y: &mut [Self]) {
                use $functions as f;
                match op {
                    Unary::Negate => each(x, y, f::negate),
                    Unary::Absolute => each(x, y, f::absolute),
                    Unary::Sign => each(x, y, f::sign_of),
                    Unary::Step => each(x, y, f::unit_step),
                    Unary::Square => each(x, y, f::square),
                    Unary::SquareRoot => each(x, y, f::square_root),
                    Unary::Reciprocal => each(x, y, f::reciprocal),
                    Unary::Exp => each(x, y, f::natural_exp),
                    Unary::Ln => each(x, y, f::natural_log),
                    Unary::Relu => each(x, y, f::relu),
                    Unary::Sigmoid => each(x, y, f::sigmoid),
                    Unary::Tanh => each(x, y, f::hyperbolic_tangent),
                    Unary::Softplus => each(x, y, f::softplus),
                    Unary::Silu => each(x, y, f::silu),
                    Unary::Gelu => each(x, y, f::gelu),
                    Unary::Erf => each(x, y, f::error_function),
                    Unary::Sine => each(x, y, f::sine),
                    Unary::Cosine => each(x, y, f::cosine),
                    Unary::NormalQuantile => each(x, y, f::normal_quantile),
                }
            }

            fn binary(op: Binary, x: &[Self], z: &[Self], y: &mut [Self]) {
                use $functions as f;
                match op {
                    Binary::Add => both(x, z, y, f::add),
                    Binary::Subtract => both(x, z, y, f::subtract),
                    Binary::Multiply => both(x, z, y, f::multiply),
                    Binary::Divide => both(x, z, y, f::divide),
                    Binary::Maximum => both(x, z, y, f::maximum),
                    Binary::Minimum => both(x, z, y, f::minimum),
                    Binary::Power => both(x, z, y, f::power),
                    Binary::Less => both(x, z, y, f::less),
                    Binary::Equal => both(x, z, y, f::equal),
                    Binary::BceWithLogits => both(x, z, y, f::bce_with_logits),
                    Binary::LeakyRelu => both(x, z, y, f::leaky_relu),
                    Binary::Elu => both(x, z, y, f::elu),
                }
            }
        }
    };
}

real!(f32, math);
real!(f64, double);

#[inline(always)] // So that the function is part of the loop and the loop is vectorised.
fn each<T: Copy>(x: &[T], y: &mut [T], function: impl Fn(T) -> T) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = function(*x);
    }
}

#[inline(always)] // As above.
fn both<T: Copy>(x: &[T], z: &[T], y: &mut [T], function: impl Fn(T, T) -> T) {
    for ((y, x), z) in y.iter_mut().zip(x).zip(z) {
        *y = function(*x, *z);
    }
}
