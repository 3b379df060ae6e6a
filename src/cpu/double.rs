//! The elementwise ops in f64: the reference for tests of the f32 ops, and the arithmetic of gradient checks.
//! Plain rather than fast, from std's f64 functions.
#![allow(clippy::excessive_precision, reason = "the coefficients stand as their authors published them")]
use std::f64::consts::{FRAC_1_SQRT_2, PI};

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

/// P(N >= x), N standard normal.
fn normal_tail(x: f64) -> f64 {
    0.5 * complementary_error_function(x * FRAC_1_SQRT_2)
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

/// The value of a polynomial whose coefficients stand in ascending order.
fn polynomial(x: f64, coefficients: &[f64]) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c)
}

// The error function: the rational approximations of FreeBSD's msun, s_erf.c (Copyright (C) 1993 by Sun
// Microsystems, Inc. All rights reserved. Developed at SunPro, a Sun Microsystems, Inc. business. Permission to
// use, copy, modify, and distribute this software is freely granted, provided that this notice is preserved.) The
// coefficients are theirs, the code around them is ours. Within 2e-16 relative of the true values.

// (erf(x) - x) / x on |x| < 0.84375, in x^2.
const NEAR_P: [f64; 5] = [
    1.28379167095512558561e-01,
    -3.25042107247001499370e-01,
    -2.84817495755985104766e-02,
    -5.77027029648944159157e-03,
    -2.37630166566501626084e-05,
];
const NEAR_Q: [f64; 6] = [
    1.0,
    3.97917223959155352819e-01,
    6.50222499887672944485e-02,
    5.08130628187576562776e-03,
    1.32494738004321644526e-04,
    -3.96022827877536812320e-06,
];
// erf(x) - ERF_ONE on 0.84375 <= x < 1.25, in x - 1. ERF_ONE has few bits.
const ERF_ONE: f64 = 8.45062911510467529297e-01;
const ONE_P: [f64; 7] = [
    -2.36211856075265944077e-03,
    4.14856118683748331666e-01,
    -3.72207876035701323847e-01,
    3.18346619901161753674e-01,
    -1.10894694282396677476e-01,
    3.54783043256182359371e-02,
    -2.16637559486879084300e-03,
];
const ONE_Q: [f64; 7] = [
    1.0,
    1.06420880400844228286e-01,
    5.40397917702171048937e-01,
    7.18286544141962662868e-02,
    1.26171219808761642112e-01,
    1.36370839120290507362e-02,
    1.19844998467991074170e-02,
];
// log(x exp(x^2) erfc(x)) + 0.5625 on 1.25 <= x < 1 / 0.35, in 1 / x^2.
const MIDDLE_P: [f64; 8] = [
    -9.86494403484714822705e-03,
    -6.93858572707181764372e-01,
    -1.05586262253232909814e+01,
    -6.23753324503260060396e+01,
    -1.62396669462573470355e+02,
    -1.84605092906711035994e+02,
    -8.12874355063065934246e+01,
    -9.81432934416914548592e+00,
];
const MIDDLE_Q: [f64; 9] = [
    1.0,
    1.96512716674392571292e+01,
    1.37657754143519042600e+02,
    4.34565877475229228821e+02,
    6.45387271733267880336e+02,
    4.29008140027567833386e+02,
    1.08635005541779435134e+02,
    6.57024977031928170135e+00,
    -6.04244152148580987438e-02,
];
// The same beyond.
const FAR_P: [f64; 7] = [
    -9.86494292470009928597e-03,
    -7.99283237680523006574e-01,
    -1.77579549177547519889e+01,
    -1.60636384855821916062e+02,
    -6.37566443368389627722e+02,
    -1.02509513161107724954e+03,
    -4.83519191608651397019e+02,
];
const FAR_Q: [f64; 8] = [
    1.0,
    3.03380607434824582924e+01,
    3.25792512996573918826e+02,
    1.53672958608443695994e+03,
    3.19985821950859553908e+03,
    2.55305040643316442583e+03,
    4.74528541206955367215e+02,
    -2.24409524465858183362e+01,
];

/// erf(x) = 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x.
pub fn error_function(x: f64) -> f64 {
    let a = x.abs();
    if a.is_nan() {
        x
    } else if a < 0.84375 {
        let z = x * x;
        x + x * (polynomial(z, &NEAR_P) / polynomial(z, &NEAR_Q))
    } else if a < 1.25 {
        let s = a - 1.0;
        (ERF_ONE + polynomial(s, &ONE_P) / polynomial(s, &ONE_Q)).copysign(x)
    } else {
        (1.0 - erfc_beyond(a)).copysign(x)
    }
}

/// 1 - erf(x), without cancellation.
pub fn complementary_error_function(x: f64) -> f64 {
    let a = x.abs();
    if a.is_nan() {
        x
    } else if a < 0.84375 {
        let z = x * x;
        let y = polynomial(z, &NEAR_P) / polynomial(z, &NEAR_Q);
        if x < 0.25 { 1.0 - (x + x * y) } else { 0.5 - ((x - 0.5) + x * y) }
    } else if a < 1.25 {
        let s = a - 1.0;
        let y = polynomial(s, &ONE_P) / polynomial(s, &ONE_Q);
        if x > 0.0 { (1.0 - ERF_ONE) - y } else { 1.0 + (ERF_ONE + y) }
    } else if x > 0.0 {
        erfc_beyond(a)
    } else {
        2.0 - erfc_beyond(a)
    }
}

/// erfc(a) for a >= 1.25.
fn erfc_beyond(a: f64) -> f64 {
    if a > 28.0 {
        return 0.0;
    }
    let s = 1.0 / (a * a);
    let ratio = if a < 1.0 / 0.35 {
        polynomial(s, &MIDDLE_P) / polynomial(s, &MIDDLE_Q)
    } else {
        polynomial(s, &FAR_P) / polynomial(s, &FAR_Q)
    };
    // exp(-a^2), with a^2 split so that its rounding error is not multiplied.
    let top = f64::from_bits(a.to_bits() & 0xffff_ffff_0000_0000);
    (-top * top - 0.5625).exp() * ((top - a) * (top + a) + ratio).exp() / a
}

// The normal quantile: M. J. Wichura, Algorithm AS 241 (PPND16), Applied Statistics 37 (1988) 477-484.

// |u - 0.5| <= 0.425, in 0.180625 - (u - 0.5)^2.
const CENTER_P: [f64; 8] = [
    3.3871328727963666080e0,
    1.3314166789178437745e+2,
    1.9715909503065514427e+3,
    1.3731693765509461125e+4,
    4.5921953931549871457e+4,
    6.7265770927008700853e+4,
    3.3430575583588128105e+4,
    2.5090809287301226727e+3,
];
const CENTER_Q: [f64; 8] = [
    1.0,
    4.2313330701600911252e+1,
    6.8718700749205790830e+2,
    5.3941960214247511077e+3,
    2.1213794301586595867e+4,
    3.9307895800092710610e+4,
    2.8729085735721942674e+4,
    5.2264952788528545610e+3,
];
// Beyond, in r - 1.6, where r = sqrt(-log p) <= 5.
const SHOULDER_P: [f64; 8] = [
    1.42343711074968357734e0,
    4.63033784615654529590e0,
    5.76949722146069140550e0,
    3.64784832476320460504e0,
    1.27045825245236838258e0,
    2.41780725177450611770e-1,
    2.27238449892691845833e-2,
    7.74545014278341407640e-4,
];
const SHOULDER_Q: [f64; 8] = [
    1.0,
    2.05319162663775882187e0,
    1.67638483018380384940e0,
    6.89767334985100004550e-1,
    1.48103976427480074590e-1,
    1.51986665636164571966e-2,
    5.47593808499534494600e-4,
    1.05075007164441684324e-9,
];

/// Where u is nearer to 0 or 1 than 2^-25, it counts as that near. So r stays below 5, and AS 241's third piece is
/// not needed. One step of Halley's method against the error function follows: 4e-16 relative.
pub fn normal_quantile(u: f64) -> f64 {
    let q = u - 0.5;
    let density = |x: f64| (-0.5 * x * x).exp() / (2.0 * PI).sqrt();
    if q.abs() <= 0.425 {
        let r = 0.180625 - q * q;
        let x = q * polynomial(r, &CENTER_P) / polynomial(r, &CENTER_Q);
        let step = (0.5 * error_function(x * FRAC_1_SQRT_2) - q) / density(x);
        x - step / (1.0 + 0.5 * x * step)
    } else {
        let p = (if q < 0.0 { u } else { 1.0 - u }).max(2f64.powi(-25));
        let r = (-p.ln()).sqrt() - 1.6;
        let x = polynomial(r, &SHOULDER_P) / polynomial(r, &SHOULDER_Q);
        let step = (p - normal_tail(x)) / density(x);
        (x - step / (1.0 + 0.5 * x * step)).copysign(q)
    }
}
