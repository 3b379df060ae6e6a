//! The elementwise ops in f64: the reference for tests of the f32 ops, and the arithmetic of gradient checks.
//! Plain rather than fast, from std's f64 functions.

use crate::rng::normal_tail;
pub(crate) use crate::rng::{error_function, normal_quantile};

functions! { #[inline] f64 =>
    negate(x) = -x;
    absolute(x) = x.abs();
    sign_of(x) = if x > 0.0 { 1.0 } else if x < 0.0 { -1.0 } else { x };
    unit_step(x) = if x > 0.0 { 1.0 } else { 0.0 };
    square(x) = x * x;
    square_root(x) = x.sqrt();
    reciprocal(x) = 1.0 / x;
    natural_exp(x) = x.exp();
    natural_log(x) = x.ln();
    relu(x) = if x < 0.0 { 0.0 } else { x };
    sigmoid(x) = { let e = (-x.abs()).exp(); (if x < 0.0 { e } else { 1.0 }) / (1.0 + e) };
    hyperbolic_tangent(x) = x.tanh();
    softplus(x) = relu(x) + (-x.abs()).exp().ln_1p();
    /// The limit, minus zero, at minus infinity, where x * sigmoid(x) is NaN.
    silu(x) = if x == f64::NEG_INFINITY { -0.0 } else { x * sigmoid(x) };
    gelu(x) = if x == f64::NEG_INFINITY { -0.0 } else { x * normal_tail(-x) };
    sine(x) = x.sin();
    cosine(x) = x.cos();
    add(x, y) = x + y;
    subtract(x, y) = x - y;
    multiply(x, y) = x * y;
    divide(x, y) = x / y;
    maximum(x, y) = if x > y { x } else { y };
    minimum(x, y) = if x < y { x } else { y };
    /// NaN for negative x, as in f32, although `powf` allows whole exponents.
    power(x, y) = if x < 0.0 && y != 0.0 { f64::NAN } else { x.abs().powf(y) };
    less(x, y) = if x < y { 1.0 } else { 0.0 };
    equal(x, y) = if x == y { 1.0 } else { 0.0 };
    bce_with_logits(x, z) = (relu(x) - x * z) + (-x.abs()).exp().ln_1p();
    leaky_relu(x, slope) = if x > 0.0 { x } else { slope * x };
    elu(x, alpha) = if x > 0.0 { x } else { alpha * x.exp_m1() };
}
