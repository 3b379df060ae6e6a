//! Scalar math: one function per elementwise op, f32 in and f32 out; `double.rs` holds the same ops in f64.
//!
//! The twin of this file is `shaders/math.wgsl`: same names, same operations in the same order, so that a driver which
//! neither contracts nor reassociates, keeps subnormals, and rounds `/` and `sqrt` correctly gives these bits. Change
//! both together. Only + - * /, `sqrt`, `abs`, comparisons, conversions and bit operations are used, no function of
//! libm and no branch, so that loops over these functions vectorise. Shared parts are private; `pub` is the surface.
//!
//! # Accuracy
//!
//! Greatest error in units in the last place (of the true result, those of subnormals being 2^-149) against
//! `double.rs`. For one argument: every 17th f32, 252 million points. `fma`: with every contraction that gcc finds in
//! the WGSL.
//!
//! | function | error | fma | |
//! |---|---|---|---|
//! | `natural_exp` | 1.17 | 1.15 | |
//! | `exp_minus_one`, `elu` with alpha in [1, 2] | 2.16 | 2.03 | |
//! | `natural_log` | 0.91 | 0.91 | |
//! | `log_one_plus` | 1.58 | 1.50 | |
//! | `sigmoid` | 2.41 | 2.41 | |
//! | `hyperbolic_tangent` | 1.32 | 1.32 | |
//! | `softplus` | 1.78 | 1.75 | |
//! | `silu` | 2.55 | 2.63 | |
//! | `gelu`, x >= -8 | 3.95 | 3.53 | every f32; 5.6 in the tail below, where it is under 5e-15 |
//! | `error_function` | 1.20 | 1.12 | |
//! | `sine`, `cosine`, abs(x) <= 1e4 | 8.7e-8 | 7.2e-8 | absolute; 138 million points |
//! | `normal_quantile` | 3.9e-7 | 3.7e-7 | relative, all 2^24 values of u |
//! | `power`, abs(y) <= 3 | 2.46 | 2.02 | 34 million random pairs, as the three below |
//! | `power`, beyond | 3 + abs(y) | 3 + abs(y) | a bound; 0.78 of it was seen |
//! | `bce_with_logits` | 1.91 | 1.91 | of the larger of abs(x) and the result, for x in [-30, 30] |
//! | the others | 0.5 | 0.5 | |
//!
//! # At the ends
//!
//! `natural_exp` goes to 0 and +inf as it should, through the subnormals. `natural_log(0)` and `log_one_plus(-1)` are
//! -inf, below that NaN. `sigmoid`, `hyperbolic_tangent`, `error_function`, `softplus`, `silu` and `gelu` reach their
//! limits at +-inf. `sine` and `cosine` of +-inf are NaN; beyond 1e4 they lose accuracy, and for large x they are only
//! some number in [-1, 1]. `normal_quantile` is finite for every u in [0, 1]. `power(x, y)` is for x >= 0 and finite y:
//! 1 for y = 0, 0 or +inf for x = 0, NaN for x < 0.
//!
//! # NaN
//!
//! On the CPU NaN in gives NaN out, except: `unit_step`, `less`, `equal` (0), `maximum` and `minimum` (y if x is NaN;
//! NaN if y is), `power(NaN, 0)` (1), `power(0, NaN)` (0). On a GPU the same holds where comparisons with NaN are
//! false, as in lavapipe; but WGSL lets a driver assume that there is no NaN, so nothing is promised there, least of
//! all of `relu`. `natural_log`, `log_one_plus` (so `softplus`, `bce_with_logits`), `sine` and `cosine` test bits.
//!
//! # What a driver may do to this
//!
//! * Contraction changes bits, not accuracy: every product whose rounding would matter is exact.
//! * Flushed subnormals are harmless: results below 2^-126 become 0, and `natural_log` of a subnormal -inf.
//! * WGSL's 2.5 ULP for `/` makes 5 ULP of `sigmoid` (which may then exceed 1 by 2^-22), 4.5 of `silu`, 2.4 of
//!   `hyperbolic_tangent` and 6.5 of `gelu`.
//! * Reassociation (Metal's fast math; measured with gcc's) undoes the two-part constants: `natural_exp`, `sigmoid`,
//!   `softplus`, `silu` then go to 5.6 ULP at -90 or 88, far less near 0; `gelu` to 70 ULP at -12; `power` to 90 ULP;
//!   `sine` and `cosine` to an absolute error of 3e-8 * x. The selects at exponent 0 in `log_one_plus` and
//!   `exp_minus_one` are there for its sake: without them small arguments are lost altogether.
//! * Mesa reassociates some sums (seen: 1 + (v * w + x) into (1 + x) + v * w). The functions keep to forms that it
//!   leaves alone: each one by itself gives these bits on lavapipe 22.3, at 262,144 points, the ends included. In a
//!   fused kernel a sum around one of them may be rearranged with it.

use std::f32::consts::{LN_2, LOG2_E};

/// WGSL's `select`: `value` where the condition holds, `otherwise` elsewhere.
#[inline(always)]
fn select<T>(otherwise: T, value: T, condition: bool) -> T {
    if condition { value } else { otherwise }
}

/// ln 2 in two parts: the first has 15 significant bits, so that a product with |n| < 512 is exact.
const LN2_HIGH: f32 = 0.69314575;
const LN2_LOW: f32 = 1.4286068e-6;
/// 1.5 * 2^23: adding it rounds |x| < 2^22 to the nearest integer, which is then the difference of the bit patterns.
const ROUNDER: f32 = 12582912.0;
const ROUNDER_BITS: i32 = 0x4b400000;

// --- parts shared by the ops below ---------------------------------------------------------------------------------

/// The integer nearest to x, for |x| < 2^22; some integer otherwise.
#[inline(always)]
fn nearest_integer(x: f32) -> i32 {
    ((x + ROUNDER).to_bits() as i32).wrapping_sub(ROUNDER_BITS)
}

/// 2^n for -126 <= n <= 127; some float otherwise.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// exp(r) - 1 for |r| <= 0.3467.
#[inline(always)]
fn exp_minus_one_near_zero(r: f32) -> f32 {
    let q = 4.9999997e-1 + r * (1.6666546e-1 + r * (4.1667435e-2 + r * (8.366259e-3 + r * 1.3870652e-3)));
    r * (1.0 + r * q)
}

/// factor * exp(x) for -120 <= x <= 120, rounded once where the result is subnormal.
#[inline(always)]
fn scaled_exp(x: f32, factor: f32) -> f32 {
    let n = nearest_integer(x * LOG2_E);
    let r = (x - n as f32 * LN2_HIGH) - n as f32 * LN2_LOW;
    let half = n >> 1;
    let mantissa = factor + factor * exp_minus_one_near_zero(r);
    (mantissa * power_of_two(half)) * power_of_two(n.wrapping_sub(half))
}

/// log(1 + f) - f for sqrt(1/2) <= 1 + f <= sqrt(2).
#[inline(always)]
fn log_one_plus_tail(f: f32) -> f32 {
    let high = 1.420158e-1 + f * (-1.315961e-1 + f * (1.2762216e-1 + f * -7.636435e-2));
    let p = 3.333333e-1 + f * (-2.500082e-1 + f * (2.0001242e-1 + f * (-1.6623409e-1 + f * high)));
    (f * f) * (f * p - 0.5)
}

/// x = (1 + fraction) * 2^exponent with sqrt(1/2) <= 1 + fraction < sqrt(2), for finite x > 0, subnormals too.
#[derive(Clone, Copy)]
struct LogParts {
    exponent: i32,
    fraction: f32,
}

#[inline(always)]
fn log_parts(x: f32) -> LogParts {
    let tiny = x < 1.1754944e-38;
    let bits = (select(x, x * 8388608.0, tiny).to_bits() as i32).wrapping_add(0x3f800000 - 0x3f3504f3);
    let exponent = (bits >> 23) - select(127, 150, tiny);
    let fraction = f32::from_bits(((bits & 0x007fffff) + 0x3f3504f3) as u32) - 1.0;
    LogParts { exponent, fraction }
}

/// log(1 + fraction) + exponent * ln 2.
#[inline(always)]
fn log_of_parts(exponent: i32, fraction: f32) -> f32 {
    let k = exponent as f32;
    ((fraction + log_one_plus_tail(fraction)) + k * LN2_LOW) + k * LN2_HIGH
}

/// The logarithm of x where x is zero (-inf), negative (NaN), +inf or NaN (x itself); `otherwise` elsewhere.
#[inline(always)]
fn log_special(x: f32, otherwise: f32) -> f32 {
    let bits = x.to_bits();
    let odd = select(bits, bits | 0x7fc00000, bits > 0x80000000);
    let special = select(odd, bits | 0xff800000, (bits & 0x7fffffff) == 0);
    let ordinary = bits.wrapping_sub(1) < 0x7f7fffff;
    f32::from_bits(select(special, otherwise.to_bits(), ordinary))
}

// --- one argument --------------------------------------------------------------------------------------------------

functions! { #[inline(always)] f32 =>
    negate(x) = -x;
    absolute(x) = x.abs();
    /// 1 above zero, -1 below, 0 at zero. (`sign` is WGSL's own.)
    sign_of(x) = select(select(x, -1.0, x < 0.0), 1.0, x > 0.0);
    /// 1 above zero, 0 elsewhere. (`step` is WGSL's own.)
    unit_step(x) = select(0.0, 1.0, x > 0.0);
    square(x) = x * x;
    square_root(x) = x.sqrt();
    reciprocal(x) = 1.0 / x;
    /// x above zero, 0 below.
    relu(x) = select(x, 0.0, x < 0.0);
    /// log(1 + exp(x)).
    softplus(x) = relu(x) + log_one_plus(natural_exp(-x.abs()));
    sine(x) = sine_from_quarter(x, 0);
    cosine(x) = sine_from_quarter(x, 1);
}

#[inline(always)]
pub fn natural_exp(x: f32) -> f32 {
    let low = select(x, -120.0, x < -120.0);
    scaled_exp(select(low, 89.0, low > 89.0), 1.0)
}

/// exp(x) - 1, exact to the last bits near zero.
#[inline(always)]
pub fn exp_minus_one(x: f32) -> f32 {
    let low = select(x, -120.0, x < -120.0);
    let bounded = select(low, 89.0, low > 89.0);
    let n = nearest_integer(bounded * LOG2_E);
    let r = (bounded - n as f32 * LN2_HIGH) - n as f32 * LN2_LOW;
    let half = n >> 1;
    let first = power_of_two(half);
    let second = power_of_two(n.wrapping_sub(half));
    // first * second * (1 + e) - 1, with the 1 divided by `second` so that nothing overflows on the way.
    let near = exp_minus_one_near_zero(r);
    let scaled = (first * near + (first - power_of_two(half.wrapping_sub(n)))) * second;
    select(scaled, near, n == 0)
}

#[inline(always)]
pub fn natural_log(x: f32) -> f32 {
    let parts = log_parts(x);
    log_special(x, log_of_parts(parts.exponent, parts.fraction))
}

/// log(1 + x), exact to the last bits near zero.
#[inline(always)]
pub fn log_one_plus(x: f32) -> f32 {
    let sum = 1.0 + x;
    let parts = log_parts(sum);
    // The fraction of the true 1 + x, not of the rounded sum; beyond 2^26 the sum is x itself. Where the exponent is 0
    // the fraction is x, said outright: an optimiser that factors the general form would lose a small x in 1 + x.
    let scale = power_of_two(-parts.exponent.min(26));
    let exact = x * scale + (scale - 1.0);
    let fraction = select(select(exact, parts.fraction, parts.exponent > 26), x, parts.exponent == 0);
    log_special(sum, log_of_parts(parts.exponent, fraction))
}

/// 1 / (1 + exp(-x)).
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    let e = natural_exp(-x.abs());
    select(1.0, e, x < 0.0) / (1.0 + e)
}

#[inline(always)]
pub fn hyperbolic_tangent(x: f32) -> f32 {
    let a = x.abs();
    let bounded = select(a, 10.0, a > 10.0);
    let z = x * x;
    let p = -3.333328e-1 + z * (1.3331406e-1 + z * (-5.373652e-2 + z * (2.0628197e-2 + z * -5.6923525e-3)));
    let small = x + x * (z * p);
    let large = 1.0 - 2.0 / (1.0 + scaled_exp(bounded + bounded, 1.0));
    select(small, select(large, -large, x < 0.0), a > 0.625)
}

/// x * sigmoid(x).
#[inline(always)]
pub fn silu(x: f32) -> f32 {
    let low = select(x, -120.0, x < -120.0);
    let a = low.abs();
    let bounded = select(a, 120.0, a > 120.0);
    // Below zero x enters before the exponent's last factors, so that nothing is lost where exp(x) alone is subnormal.
    select(x, scaled_exp(-bounded, low), x < 0.0) / (1.0 + scaled_exp(-bounded, 1.0))
}

/// x * P(N <= x), N standard normal: the exact form, not the one with tanh.
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    let a = x.abs();
    let bounded = select(a, 15.0, a > 15.0);
    // Near zero, P(N <= x) = 1/2 + x * p(x^2).
    let z = x * x;
    let p = 3.9894223e-1 + z * (-6.648936e-2 + z * (9.967187e-3 + z * (-1.1705133e-3 + z * 9.534433e-5)));
    let near = x * (0.5 + x * p);
    // Elsewhere a * P(N <= -a) = exp(-a^2 / 2) * h(a), with h(a) a polynomial in t = 1 / (1 + a / 2).
    let t = 1.0 / (1.0 + 0.5 * bounded);
    let high = -4.008201e-2 + t * (-7.648044e-1 + t * (1.5408714e0 + t * (-1.0946053e0 + t * 2.8639174e-1)));
    let h = 3.9893925e-1 + t * (-4.4564767e-5 + t * (-9.739719e-2 + t * (-2.2881304e-1 + t * high)));
    // -a^2 / 2 in two parts, the first from the top 12 bits of a and therefore exact.
    let top = f32::from_bits(bounded.to_bits() & 0xfffff000);
    let exact = -0.5 * (top * top);
    let rest = -0.5 * ((bounded - top) * (bounded + top));
    let n = nearest_integer((exact + rest) * LOG2_E);
    let r = ((exact - n as f32 * LN2_HIGH) - n as f32 * LN2_LOW) + rest;
    let half = n >> 1;
    let mantissa = h + h * exp_minus_one_near_zero(r);
    let tail = (mantissa * power_of_two(half)) * power_of_two(n.wrapping_sub(half));
    select(relu(x) - tail, near, a < 0.88)
}

#[inline(always)]
pub fn error_function(x: f32) -> f32 {
    let a = x.abs();
    let t = select(a, 4.0, a > 4.0);
    let z = x * x;
    let high = -2.6807288e-2 + z * (5.0577037e-3 + z * -6.3485187e-4);
    let p = 1.2837917e-1 + z * (-3.761259e-1 + z * (1.1282865e-1 + z * high));
    let small = x + x * p;
    // log(1 - erf(t)) = t * q(t) for 0.85 <= t <= 4.
    let upper = 2.3548923e-2 + t * (-3.5403222e-3 + t * (2.9737205e-4 + t * -8.66149e-6));
    let q = -1.1286134e0 + t * (-6.3529646e-1 + t * (-1.0599301e-1 + t * upper));
    let large = 1.0 - scaled_exp(t * q, 1.0);
    select(small, select(large, -large, x < 0.0), a > 0.85)
}

/// sin(x + quarter * pi/2).
#[inline(always)]
fn sine_from_quarter(x: f32, quarter: i32) -> f32 {
    let n = nearest_integer(x * 6.3661975e-1);
    let k = n as f32;
    // pi/2 in three parts of 8, 11 and 24 bits: the first two products are exact while |n| < 2^13.
    let reduced = ((x - k * 1.5703125) - k * 4.837513e-4) - k * 7.54979e-8;
    // Only where |x| is too large to be reduced does this bound anything.
    let low = select(reduced, -1.0, reduced < -1.0);
    let r = select(low, 1.0, low > 1.0);
    let z = r * r;
    let s = r + r * (z * (-1.6666655e-1 + z * (8.33219e-3 + z * -1.9518392e-4)));
    let c = 1.0 + z * (-0.5 + z * (4.1666646e-2 + z * (-1.3887301e-3 + z * 2.4430668e-5)));
    let turn = n.wrapping_add(quarter) as u32;
    let value = select(s, c, (turn & 1) == 1).to_bits() ^ ((turn & 2) << 30);
    let bits = x.to_bits();
    f32::from_bits(select(value, bits | 0x7fc00000, (bits & 0x7fffffff) >= 0x7f800000))
}

/// The x with P(N <= x) = u, N standard normal, for u a multiple of 2^-24 in [0, 1); 0 counts as 2^-25.
#[inline(always)]
pub fn normal_quantile(u: f32) -> f32 {
    let folded = select(u, 1.0 - u, u > 0.5);
    let p = select(folded, 2.9802322e-8, folded < 2.9802322e-8);
    let parts = log_parts((4.0 * p) * (1.0 - p));
    let w = -log_of_parts(parts.exponent, parts.fraction);
    let c = w - 2.5;
    let center_high = 6.184097e-4 + c * (-1.2574175e-5 + c * (-1.0004023e-5 + c * (9.835929e-7 + c * 8.24006e-8)));
    let center = 4.2466273e0 + c * (6.976048e-1 + c * (-1.18165715e-2 + c * (-3.5455103e-3 + c * center_high)));
    let d = w - 10.5;
    let tail_high = -2.1274867e-5 + d * (1.0371883e-6 + d * (-2.1083778e-8 + d * (-1.2992334e-8 + d * 1.5478395e-9)));
    let tail = 8.6951685e0 + d * (4.3868828e-1 + d * (-1.00773135e-2 + d * (4.3846457e-4 + d * tail_high)));
    (u - 0.5) * select(center, tail, w > 5.0)
}

// --- two arguments -------------------------------------------------------------------------------------------------

functions! { #[inline(always)] f32 =>
    add(x, y) = x + y;
    subtract(x, y) = x - y;
    multiply(x, y) = x * y;
    divide(x, y) = x / y;
    maximum(x, y) = select(y, x, x > y);
    minimum(x, y) = select(y, x, x < y);
    less(x, y) = select(0.0, 1.0, x < y);
    equal(x, y) = select(0.0, 1.0, x == y);
    /// Binary cross-entropy of sigmoid(x) against the target z.
    bce_with_logits(x, z) = (relu(x) - x * z) + log_one_plus(natural_exp(-x.abs()));
    leaky_relu(x, slope) = select(slope * x, x, x > 0.0);
    elu(x, alpha) = select(alpha * exp_minus_one(x), x, x > 0.0);
}

/// x^y for x >= 0 and finite y; NaN for x < 0; 1 for y = 0, whatever x.
#[inline(always)]
pub fn power(x: f32, y: f32) -> f32 {
    // x = (1 + f) 2^k. The whole part of k y goes to the exponent; what remains is small and goes through exp.
    let parts = log_parts(x);
    let k = parts.exponent as f32;
    let product = k * y;
    let far = product.abs() > 320.0;
    let whole = nearest_integer(product);
    // k y - whole without rounding: the top 16 bits of y times k is exact, and so is the rest.
    let y_top = f32::from_bits(y.to_bits() & 0xffffff00);
    let part = (k * y_top - whole as f32) + k * (y - y_top);
    let near = part * LN_2 + y * (parts.fraction + log_one_plus_tail(parts.fraction));
    let exponent = select(near, product, far);
    let low = select(exponent, -120.0, exponent < -120.0);
    let bounded = select(low, 120.0, low > 120.0);
    let n = nearest_integer(bounded * LOG2_E);
    let r = (bounded - n as f32 * LN2_HIGH) - n as f32 * LN2_LOW;
    let total = n.wrapping_add(select(whole, 0, far)).clamp(-250, 250);
    let half = total >> 1;
    let ordinary = ((1.0 + exp_minus_one_near_zero(r)) * power_of_two(half)) * power_of_two(total - half);
    // 0 and inf to a power are 0 or inf; a negative x and NaN give NaN.
    let bits = x.to_bits();
    let zero = (bits & 0x7fffffff) == 0;
    let endless = bits == 0x7f800000;
    let end = select(0, 0x7f800000, zero == (y < 0.0));
    let special = select(bits | 0x7fc00000, end, zero || endless);
    let value = f32::from_bits(select(special, ordinary.to_bits(), bits.wrapping_sub(1) < 0x7f7fffff));
    select(value, 1.0, y == 0.0)
}
