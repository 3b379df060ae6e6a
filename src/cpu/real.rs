//! What the twins ask of a number: f32 with the shaders' own functions, f64 with the standard library's.

use super::{double, math};
use crate::graph::{Binary, Unary, each_binary, each_unary};

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

/// The match of an op on its function in a module.
macro_rules! unary_arms {
    (($op:ident, $x:ident, $y:ident, $functions:ident) $name:ident $($variant:ident $function:ident)*) => {
        match $op { $($name::$variant => each($x, $y, $functions::$function),)* }
    };
}

/// The same for two operands.
macro_rules! binary_arms {
    (($op:ident, $x:ident, $z:ident, $y:ident, $functions:ident) $name:ident $($variant:ident $function:ident)*) => {
        match $op { $($name::$variant => both($x, $z, $y, $functions::$function),)* }
    };
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
                use $functions as functions;
                each_unary!(unary_arms(op, x, y, functions))
            }

            fn binary(op: Binary, x: &[Self], z: &[Self], y: &mut [Self]) {
                use $functions as functions;
                each_binary!(binary_arms(op, x, z, y, functions))
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
