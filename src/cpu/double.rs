//! The elementwise ops in f64: the reference for tests of the f32 ops, and the arithmetic of gradient checks.
//! Plain rather than fast, from std's f64 functions.

use crate::rng::normal_tail;
pub(crate) use crate::rng::{error_function, normal_quantile};

pub fn negate(x: f64) -> f64 {
    -x
}

pub fn absolute(x: f64) -> f64 {
    x.abs()
}

pub fn sign_of(x: f64) -> f64 {
    if x > 0.0 {
        1.0
    } else if x < 0.0 {
        -1.0
    } else {
        x
    }
}

pub fn unit_step(x: f64) -> f64 {
    if x > 0.0 { 1.0 } else { 0.0 }
}

pub fn square(x: f64) -> f64 {
    x * x
}

pub fn square_root(x: f64) -> f64 {
    x.sqrt()
}

pub fn reciprocal(x: f64) -> f64 {
    1.0 / x
}

pub fn natural_exp(x: f64) -> f64 {
    x.exp()
}

pub fn natural_log(x: f64) -> f64 {
    x.ln()
}

pub fn relu(x: f64) -> f64 {
    if x < 0.0 { 0.0 } else { x }
}

pub fn sigmoid(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    if x < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) }
}

pub fn hyperbolic_tangent(x: f64) -> f64 {
    x.tanh()
}

pub fn softplus(x: f64) -> f64 {
    relu(x) + (-x.abs()).exp().ln_1p()
}

/// Minus infinity gives minus zero, the limit, rather than inf * 0.
pub fn silu(x: f64) -> f64 {
    if x == f64::NEG_INFINITY { -0.0 } else { x * sigmoid(x) }
}

pub fn gelu(x: f64) -> f64 {
    if x == f64::NEG_INFINITY { -0.0 } else { x * normal_tail(-x) }
}

pub fn sine(x: f64) -> f64 {
    x.sin()
}

pub fn cosine(x: f64) -> f64 {
    x.cos()
}

pub fn add(x: f64, y: f64) -> f64 {
    x + y
}

pub fn subtract(x: f64, y: f64) -> f64 {
    x - y
}

pub fn multiply(x: f64, y: f64) -> f64 {
    x * y
}

pub fn divide(x: f64, y: f64) -> f64 {
    x / y
}

pub fn maximum(x: f64, y: f64) -> f64 {
    if x > y { x } else { y }
}

pub fn minimum(x: f64, y: f64) -> f64 {
    if x < y { x } else { y }
}

/// NaN below zero, as in f32, where `powf` would take whole exponents.
pub fn power(x: f64, y: f64) -> f64 {
    if x < 0.0 && y != 0.0 { f64::NAN } else { x.abs().powf(y) }
}

pub fn less(x: f64, y: f64) -> f64 {
    if x < y { 1.0 } else { 0.0 }
}

pub fn equal(x: f64, y: f64) -> f64 {
    if x == y { 1.0 } else { 0.0 }
}

pub fn bce_with_logits(x: f64, z: f64) -> f64 {
    (relu(x) - x * z) + (-x.abs()).exp().ln_1p()
}

pub fn leaky_relu(x: f64, slope: f64) -> f64 {
    if x > 0.0 { x } else { slope * x }
}

pub fn elu(x: f64, alpha: f64) -> f64 {
    if x > 0.0 { x } else { alpha * x.exp_m1() }
}
