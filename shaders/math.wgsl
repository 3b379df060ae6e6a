// Scalar math: one function per elementwise op, f32 in and f32 out.
//
// The twin of this file is `src/cpu/math.rs`: same names, same operations in the same order, so that a driver which
// neither contracts nor reassociates, keeps subnormals, and rounds `/` and `sqrt` correctly gives the CPU's bits. Only
// + - * /, sqrt, abs, comparison with select, conversion and bit operations are used, and min and max of integers; no
// exp, log, tanh, pow, sin, fma. Errors measured, what happens at the ends, and what is not promised stand in the
// twin's module documentation.
//
// Invariants: no entry point, no binding, no `enable`. Infinities and NaN are never constants (WGSL refuses them), and
// NaN is never looked for by `x != x` (drivers may fold it): both go through the bits of a run-time value. Every
// product that must be exact is exact because its factors are short, so that contraction to fma changes nothing about
// it. Rounding to an integer reads the bits of `x + 1.5 * 2^23`, so that no optimiser can cancel the constant. Sums
// like 1 + (v * w + x) are avoided: Mesa turns them into (1 + x) + v * w.

// ln 2 in two parts: the first has 15 significant bits, so that a product with |n| < 512 is exact.
const LN2_HIGH: f32 = 0.69314575;
const LN2_LOW: f32 = 1.4286068e-6;
const LN_2: f32 = 0.6931472;
const LOG2_E: f32 = 1.442695;
// 1.5 * 2^23: adding it rounds |x| < 2^22 to the nearest integer, which is then the difference of the bit patterns.
const ROUNDER: f32 = 12582912.0;
const ROUNDER_BITS: i32 = 0x4b400000;

// --- parts shared by the ops below ---------------------------------------------------------------------------------

// The integer nearest to x, for |x| < 2^22; some integer otherwise.
fn nearest_integer(x: f32) -> i32 {
    return bitcast<i32>(x + ROUNDER) - ROUNDER_BITS;
}

// 2^n for -126 <= n <= 127; some float otherwise.
fn power_of_two(n: i32) -> f32 {
    return bitcast<f32>((n + 127) << 23u);
}

// exp(r) - 1 for |r| <= 0.3467.
fn exp_minus_one_near_zero(r: f32) -> f32 {
    let q = 4.9999997e-1 + r * (1.6666546e-1 + r * (4.1667435e-2 + r * (8.366259e-3 + r * 1.3870652e-3)));
    return r * (1.0 + r * q);
}

// factor * exp(x) for -120 <= x <= 120, rounded once where the result is subnormal.
fn scaled_exp(x: f32, factor: f32) -> f32 {
    let n = nearest_integer(x * LOG2_E);
    let r = (x - f32(n) * LN2_HIGH) - f32(n) * LN2_LOW;
    let half = n >> 1u;
    let mantissa = factor + factor * exp_minus_one_near_zero(r);
    return (mantissa * power_of_two(half)) * power_of_two(n - half);
}

// log(1 + f) - f for sqrt(1/2) <= 1 + f <= sqrt(2).
fn log_one_plus_tail(f: f32) -> f32 {
    let high = 1.420158e-1 + f * (-1.315961e-1 + f * (1.2762216e-1 + f * -7.636435e-2));
    let p = 3.333333e-1 + f * (-2.500082e-1 + f * (2.0001242e-1 + f * (-1.6623409e-1 + f * high)));
    return (f * f) * (f * p - 0.5);
}

// x = (1 + fraction) * 2^exponent with sqrt(1/2) <= 1 + fraction < sqrt(2), for finite x > 0, subnormals too.
struct LogParts {
    exponent: i32,
    fraction: f32,
}

// The exponent and the fraction of x.
fn log_parts(x: f32) -> LogParts {
    let tiny = x < 1.1754944e-38;
    let bits = bitcast<i32>(select(x, x * 8388608.0, tiny)) + (0x3f800000 - 0x3f3504f3);
    let exponent = (bits >> 23u) - select(127, 150, tiny);
    let fraction = bitcast<f32>((bits & 0x007fffff) + 0x3f3504f3) - 1.0;
    return LogParts(exponent, fraction);
}

// log(1 + fraction) + exponent * ln 2.
fn log_of_parts(exponent: i32, fraction: f32) -> f32 {
    let k = f32(exponent);
    return ((fraction + log_one_plus_tail(fraction)) + k * LN2_LOW) + k * LN2_HIGH;
}

// The logarithm of x where x is zero (-inf), negative (NaN), +inf or NaN (x itself); `otherwise` elsewhere.
fn log_special(x: f32, otherwise: f32) -> f32 {
    let bits = bitcast<u32>(x);
    let odd = select(bits, bits | 0x7fc00000u, bits > 0x80000000u);
    let special = select(odd, bits | 0xff800000u, (bits & 0x7fffffffu) == 0u);
    let ordinary = (bits - 1u) < 0x7f7fffffu;
    return bitcast<f32>(select(special, bitcast<u32>(otherwise), ordinary));
}

// --- one argument --------------------------------------------------------------------------------------------------

// -x.
fn negate(x: f32) -> f32 {
    return -x;
}

// |x|.
fn absolute(x: f32) -> f32 {
    return abs(x);
}

// 1 above zero, -1 below, 0 at zero. (`sign` is WGSL's own.)
fn sign_of(x: f32) -> f32 {
    return select(select(x, -1.0, x < 0.0), 1.0, x > 0.0);
}

// 1 above zero, 0 elsewhere. (`step` is WGSL's own.)
fn unit_step(x: f32) -> f32 {
    return select(0.0, 1.0, x > 0.0);
}

// x^2.
fn square(x: f32) -> f32 {
    return x * x;
}

// The square root of x.
fn square_root(x: f32) -> f32 {
    return sqrt(x);
}

// 1 / x.
fn reciprocal(x: f32) -> f32 {
    return 1.0 / x;
}

// exp(x).
fn natural_exp(x: f32) -> f32 {
    let low = select(x, -120.0, x < -120.0);
    return scaled_exp(select(low, 89.0, low > 89.0), 1.0);
}

// exp(x) - 1, exact to the last bits near zero.
fn exp_minus_one(x: f32) -> f32 {
    let low = select(x, -120.0, x < -120.0);
    let bounded = select(low, 89.0, low > 89.0);
    let n = nearest_integer(bounded * LOG2_E);
    let r = (bounded - f32(n) * LN2_HIGH) - f32(n) * LN2_LOW;
    let half = n >> 1u;
    let first = power_of_two(half);
    let second = power_of_two(n - half);
    // first * second * (1 + e) - 1, with the 1 divided by `second` so that nothing overflows on the way.
    let near = exp_minus_one_near_zero(r);
    let scaled = (first * near + (first - power_of_two(half - n))) * second;
    return select(scaled, near, n == 0);
}

// log(x), to the base e.
fn natural_log(x: f32) -> f32 {
    let parts = log_parts(x);
    return log_special(x, log_of_parts(parts.exponent, parts.fraction));
}

// log(1 + x), exact to the last bits near zero.
fn log_one_plus(x: f32) -> f32 {
    let sum = 1.0 + x;
    let parts = log_parts(sum);
    // The fraction of the true 1 + x, not of the rounded sum; beyond 2^26 the sum is x itself. Where the exponent is 0
    // the fraction is x, said outright: an optimiser that factors the general form would lose a small x in 1 + x.
    let scale = power_of_two(-min(parts.exponent, 26));
    let exact = x * scale + (scale - 1.0);
    let fraction = select(select(exact, parts.fraction, parts.exponent > 26), x, parts.exponent == 0);
    return log_special(sum, log_of_parts(parts.exponent, fraction));
}

// x above zero, 0 below.
fn relu(x: f32) -> f32 {
    return select(x, 0.0, x < 0.0);
}

// 1 / (1 + exp(-x)).
fn sigmoid(x: f32) -> f32 {
    let e = natural_exp(-abs(x));
    return select(1.0, e, x < 0.0) / (1.0 + e);
}

// tanh(x).
fn hyperbolic_tangent(x: f32) -> f32 {
    let a = abs(x);
    let bounded = select(a, 10.0, a > 10.0);
    let z = x * x;
    let p = -3.333328e-1 + z * (1.3331406e-1 + z * (-5.373652e-2 + z * (2.0628197e-2 + z * -5.6923525e-3)));
    let small = x + x * (z * p);
    let large = 1.0 - 2.0 / (1.0 + scaled_exp(bounded + bounded, 1.0));
    return select(small, select(large, -large, x < 0.0), a > 0.625);
}

// log(1 + exp(x)).
fn softplus(x: f32) -> f32 {
    return relu(x) + log_one_plus(natural_exp(-abs(x)));
}

// x * sigmoid(x).
fn silu(x: f32) -> f32 {
    let low = select(x, -120.0, x < -120.0);
    let a = abs(low);
    let bounded = select(a, 120.0, a > 120.0);
    // Below zero x enters before the exponent's last factors, so that nothing is lost where exp(x) alone is subnormal.
    return select(x, scaled_exp(-bounded, low), x < 0.0) / (1.0 + scaled_exp(-bounded, 1.0));
}

// x * P(N <= x), N standard normal: the exact form, not the one with tanh.
fn gelu(x: f32) -> f32 {
    let a = abs(x);
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
    let top = bitcast<f32>(bitcast<u32>(bounded) & 0xfffff000u);
    let exact = -0.5 * (top * top);
    let rest = -0.5 * ((bounded - top) * (bounded + top));
    let n = nearest_integer((exact + rest) * LOG2_E);
    let r = ((exact - f32(n) * LN2_HIGH) - f32(n) * LN2_LOW) + rest;
    let half = n >> 1u;
    let mantissa = h + h * exp_minus_one_near_zero(r);
    let tail = (mantissa * power_of_two(half)) * power_of_two(n - half);
    return select(relu(x) - tail, near, a < 0.88);
}

// erf(x) = 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x.
fn error_function(x: f32) -> f32 {
    let a = abs(x);
    let t = select(a, 4.0, a > 4.0);
    let z = x * x;
    let high = -2.6807288e-2 + z * (5.0577037e-3 + z * -6.3485187e-4);
    let p = 1.2837917e-1 + z * (-3.761259e-1 + z * (1.1282865e-1 + z * high));
    let small = x + x * p;
    // log(1 - erf(t)) = t * q(t) for 0.85 <= t <= 4.
    let upper = 2.3548923e-2 + t * (-3.5403222e-3 + t * (2.9737205e-4 + t * -8.66149e-6));
    let q = -1.1286134e0 + t * (-6.3529646e-1 + t * (-1.0599301e-1 + t * upper));
    let large = 1.0 - scaled_exp(t * q, 1.0);
    return select(small, select(large, -large, x < 0.0), a > 0.85);
}

// sin(x + quarter * pi/2).
fn sine_from_quarter(x: f32, quarter: i32) -> f32 {
    let n = nearest_integer(x * 6.3661975e-1);
    let k = f32(n);
    // pi/2 in three parts of 8, 11 and 24 bits: the first two products are exact while |n| < 2^13.
    let reduced = ((x - k * 1.5703125) - k * 4.837513e-4) - k * 7.54979e-8;
    // Only where |x| is too large to be reduced does this bound anything.
    let low = select(reduced, -1.0, reduced < -1.0);
    let r = select(low, 1.0, low > 1.0);
    let z = r * r;
    let s = r + r * (z * (-1.6666655e-1 + z * (8.33219e-3 + z * -1.9518392e-4)));
    let c = 1.0 + z * (-0.5 + z * (4.1666646e-2 + z * (-1.3887301e-3 + z * 2.4430668e-5)));
    let turn = bitcast<u32>(n + quarter);
    let value = bitcast<u32>(select(s, c, (turn & 1u) == 1u)) ^ ((turn & 2u) << 30u);
    let bits = bitcast<u32>(x);
    return bitcast<f32>(select(value, bits | 0x7fc00000u, (bits & 0x7fffffffu) >= 0x7f800000u));
}

// sin(x).
fn sine(x: f32) -> f32 {
    return sine_from_quarter(x, 0);
}

// cos(x).
fn cosine(x: f32) -> f32 {
    return sine_from_quarter(x, 1);
}

// The x with P(N <= x) = u, N standard normal, for u a multiple of 2^-24 in [0, 1); 0 counts as 2^-25.
fn normal_quantile(u: f32) -> f32 {
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
    return (u - 0.5) * select(center, tail, w > 5.0);
}

// --- two arguments -------------------------------------------------------------------------------------------------

// x + y.
fn add(x: f32, y: f32) -> f32 {
    return x + y;
}

// x - y.
fn subtract(x: f32, y: f32) -> f32 {
    return x - y;
}

// x y.
fn multiply(x: f32, y: f32) -> f32 {
    return x * y;
}

// x / y.
fn divide(x: f32, y: f32) -> f32 {
    return x / y;
}

// The larger of x and y; y where one of them is NaN.
fn maximum(x: f32, y: f32) -> f32 {
    return select(y, x, x > y);
}

// The smaller of x and y; y where one of them is NaN.
fn minimum(x: f32, y: f32) -> f32 {
    return select(y, x, x < y);
}

// x^y for x >= 0 and finite y; NaN for x < 0; 1 for y = 0, whatever x.
fn power(x: f32, y: f32) -> f32 {
    // x = (1 + f) 2^k. The whole part of k y goes to the exponent; what remains is small and goes through exp.
    let parts = log_parts(x);
    let k = f32(parts.exponent);
    let product = k * y;
    let far = abs(product) > 320.0;
    let whole = nearest_integer(product);
    // k y - whole without rounding: the top 16 bits of y times k is exact, and so is the rest.
    let y_top = bitcast<f32>(bitcast<u32>(y) & 0xffffff00u);
    let part = (k * y_top - f32(whole)) + k * (y - y_top);
    let near = part * LN_2 + y * (parts.fraction + log_one_plus_tail(parts.fraction));
    let exponent = select(near, product, far);
    let low = select(exponent, -120.0, exponent < -120.0);
    let bounded = select(low, 120.0, low > 120.0);
    let n = nearest_integer(bounded * LOG2_E);
    let r = (bounded - f32(n) * LN2_HIGH) - f32(n) * LN2_LOW;
    let total = min(max(n + select(whole, 0, far), -250), 250);
    let half = total >> 1u;
    let ordinary = ((1.0 + exp_minus_one_near_zero(r)) * power_of_two(half)) * power_of_two(total - half);
    // 0 and inf to a power are 0 or inf; a negative x and NaN give NaN.
    let bits = bitcast<u32>(x);
    let zero = (bits & 0x7fffffffu) == 0u;
    let endless = bits == 0x7f800000u;
    let end = select(0u, 0x7f800000u, zero == (y < 0.0));
    let special = select(bits | 0x7fc00000u, end, zero || endless);
    let value = bitcast<f32>(select(special, bitcast<u32>(ordinary), (bits - 1u) < 0x7f7fffffu));
    return select(value, 1.0, y == 0.0);
}

// 1 where x < y, 0 elsewhere.
fn less(x: f32, y: f32) -> f32 {
    return select(0.0, 1.0, x < y);
}

// 1 where x = y, 0 elsewhere.
fn equal(x: f32, y: f32) -> f32 {
    return select(0.0, 1.0, x == y);
}

// Binary cross-entropy of sigmoid(x) against the target z.
fn bce_with_logits(x: f32, z: f32) -> f32 {
    return (relu(x) - x * z) + log_one_plus(natural_exp(-abs(x)));
}

// x above zero, slope x elsewhere.
fn leaky_relu(x: f32, slope: f32) -> f32 {
    return select(slope * x, x, x > 0.0);
}

// x above zero, alpha (exp(x) - 1) elsewhere.
fn elu(x: f32, alpha: f32) -> f32 {
    return select(alpha * exp_minus_one(x), x, x > 0.0);
}
