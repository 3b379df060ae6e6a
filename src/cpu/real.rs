//! The number type of the twins: f32 with the functions of the shaders, f64 with those of the standard library.

use super::{double, math};
use crate::graph::{Binary, Unary, each_binary, each_unary};
use gemm_common::Parallelism;
use half::f16;
use half::slice::HalfFloatSliceExt;

/// The signature of a matrix product of the `gemm` crates: rows, columns and depth; the result with its column stride
/// and row stride, and whether the product is added to it; both operands with their strides; two factors; three flags
/// of complex numbers; threads.
pub type MatrixProduct<T> = unsafe fn(
    usize,
    usize,
    usize,
    *mut T,
    isize,
    isize,
    bool,
    *const T,
    isize,
    isize,
    *const T,
    isize,
    isize,
    T,
    T,
    bool,
    bool,
    bool,
    Parallelism,
);

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
    /// Whether elementwise functions are compiled for wide vectors. The functions of f64 are scalar calls of the
    /// standard library.
    const WIDE: bool;
    /// Rounded from f64.
    fn from_f64(value: f64) -> Self;
    /// Widened to f64.
    fn to_f64(self) -> f64;
    /// The square root.
    fn root(self) -> Self;
    /// Rounds numbers to what 16 bits hold: to the nearest f16, and to infinity from 65520 on.
    fn round_to_half(values: &mut [Self]);
    /// An elementwise function: y\[i\] = op(x\[i\]).
    fn unary(op: Unary, x: &[Self], y: &mut [Self]);
    /// An elementwise function of two arrays.
    fn binary(op: Binary, x: &[Self], z: &[Self], y: &mut [Self]);
    /// The matrix product for this type and processor.
    fn matrix_product() -> MatrixProduct<Self>;
}

/// The match of an op on its function in a module.
macro_rules! unary_arms {
    (($op:ident, $x:ident, $y:ident, $functions:ident) $name:ident $($variant:ident $function:ident)*) => {
        match $op { $($name::$variant => each($x, $y, #[inline(always)] |x| $functions::$function(x)),)* }
    };
}

/// The match of an op of two operands on its function in a module.
macro_rules! binary_arms {
    (($op:ident, $x:ident, $z:ident, $y:ident, $functions:ident) $name:ident $($variant:ident $function:ident)*) => {
        match $op { $($name::$variant => both($x, $z, $y, #[inline(always)] |x, z| $functions::$function(x, z)),)* }
    };
}

/// Implements [`Real`] for a number type by a module of functions, named like those of the shaders.
macro_rules! real {
    ($number:ty, $wide:literal, $functions:path, $products:path, $narrow:ident, $widen:ident) => {
        impl Real for $number {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const WIDE: bool = $wide;

            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as $number
            }

            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }

            #[inline(always)]
            fn root(self) -> Self {
                self.sqrt()
            }

            fn round_to_half(values: &mut [Self]) {
                let mut halves = [f16::ZERO; 512];
                for values in values.chunks_mut(halves.len()) {
                    let halves = &mut halves[..values.len()];
                    halves.$narrow(values);
                    halves.$widen(values);
                }
            }

            fn unary(op: Unary, x: &[Self], y: &mut [Self]) {
                use $functions as functions;
                each_unary!(unary_arms(op, x, y, functions))
            }

            fn binary(op: Binary, x: &[Self], z: &[Self], y: &mut [Self]) {
                use $functions as functions;
                each_binary!(binary_arms(op, x, z, y, functions))
            }

            fn matrix_product() -> MatrixProduct<Self> {
                use $products as products;
                products::get_gemm_fn()
            }
        }
    };
}

real!(f32, true, math, gemm_f32::gemm::f32, convert_from_f32_slice, convert_to_f32_slice);
real!(f64, false, double, gemm_f64::gemm::f64, convert_from_f64_slice, convert_to_f64_slice);

fn each<T: Real>(x: &[T], y: &mut [T], function: impl Fn(T) -> T) {
    elementwise::<T, _>(
        (x, y),
        #[inline(always)]
        |(x, y)| {
            for (y, x) in y.iter_mut().zip(x) {
                *y = function(*x);
            }
        },
    );
}

fn both<T: Real>(x: &[T], z: &[T], y: &mut [T], function: impl Fn(T, T) -> T) {
    elementwise::<T, _>(
        (x, z, y),
        #[inline(always)]
        |(x, z, y)| {
            for ((y, x), z) in y.iter_mut().zip(x).zip(z) {
                *y = function(*x, *z);
            }
        },
    );
}

// The functions `each_pair` and `clear` are for short slices in hot loops: `zip` and `fill` call functions of the
// standard library that are not inlined across codegen units.

/// Joins each element of `to` with its counterpart in `from`, up to the length of the shorter slice.
#[inline(always)]
pub(super) fn each_pair<A, B: Copy>(to: &mut [A], from: &[B], join: impl Fn(&mut A, B)) {
    let count = to.len().min(from.len());
    let (to, from) = (&mut to[..count], &from[..count]);
    for index in 0..count {
        join(&mut to[index], from[index]);
    }
}

/// Sets all elements to 0.
#[inline(always)]
pub(super) fn clear<T: Real>(values: &mut [T]) {
    values.iter_mut().for_each(|value| *value = T::ZERO);
}

/// Calls `work`, for wide vectors where the type of number has them.
#[inline(always)]
fn elementwise<T: Real, A>(arguments: A, work: impl Fn(A)) {
    if T::WIDE { vectorised(arguments, work) } else { work(arguments) }
}

/// Calls `work`, with its loops compiled for the widest vectors of this machine. `work` and all functions that it calls
/// must be `#[inline(always)]`: a function that is not inlined is compiled for the oldest machine.
#[inline(always)]
pub(super) fn vectorised<A, R>(arguments: A, work: impl Fn(A) -> R) -> R {
    pulp::Arch::new().dispatch(Work { arguments, work })
}

/// A closure and its arguments. A closure that captured its arguments would be called through a shim of the compiler,
/// which is not inlined.
struct Work<A, F> {
    arguments: A,
    work: F,
}

impl<A, R, F: Fn(A) -> R> pulp::NullaryFnOnce for Work<A, F> {
    type Output = R;

    #[inline(always)]
    fn call(self) -> R {
        (self.work)(self.arguments)
    }
}
