//! Philox4x32-10, the counter-based generator of all random numbers of training and sampling; the twin of
//! `shaders/random.wgsl`. Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
//!
//! A draw is a pure function of seed, step, stream and element, so its value does not depend on the device or on the
//! order of computation.

#![allow(clippy::excessive_precision, reason = "the coefficients have the digits that their authors published")]

use rand_core::{TryRng, utils};
use std::convert::Infallible;
use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// Ten rounds of Philox on a 128-bit counter under a 64-bit key.
#[inline]
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let mut c = counter;
    let mut k = key;
    for _ in 0..10 {
        let left = 0xD251_1F53_u64 * c[0] as u64;
        let right = 0xCD9E_8D57_u64 * c[2] as u64;
        c = [(right >> 32) as u32 ^ c[1] ^ k[0], right as u32, (left >> 32) as u32 ^ c[3] ^ k[1], left as u32];
        k = [k[0].wrapping_add(0x9E37_79B9), k[1].wrapping_add(0xBB67_AE85)];
    }
    c
}

/// Words `4 block .. 4 block + 4` of a stream at a step.
#[inline]
pub fn words(seed: u64, step: u32, stream: u32, block: u32) -> [u32; 4] {
    philox([block, step, stream, 0], [seed as u32, (seed >> 32) as u32])
}

/// A word as a real number in `[0, 1)`: a multiple of 2⁻²⁴, which is exact in f32.
#[inline]
pub fn unit(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// Streams of draws on the host, disjoint from the streams of graphs, which are numbered from 0.
#[derive(Clone, Copy, Debug)]
pub enum HostStream {
    /// Initial weights, by the number of the parameter.
    Initial(u32),
    /// The order of an epoch's samples, where the step is the epoch.
    Shuffle,
    /// Validation samples, and a user's held-out items, where the step is the number of the user.
    Split,
    /// Codes of new samples.
    Codes,
    /// The values of a trial of a search over keys, where the step is the number of the trial.
    Search,
}

/// A sequence of draws on the host: one stream at one step.
#[derive(Clone, Debug)]
pub struct Sequence {
    seed: u64,
    step: u32,
    stream: u32,
    drawn: u32,
    block: [u32; 4],
}

impl Sequence {
    /// The sequence of a stream. `step` is the epoch, user or trial that [`HostStream`] names, else 0.
    pub fn new(seed: u64, stream: HostStream, step: u32) -> Sequence {
        let stream = match stream {
            HostStream::Initial(parameter) => 0x8000_0000 | parameter,
            HostStream::Shuffle => 0x4000_0000,
            HostStream::Split => 0x4000_0001,
            HostStream::Codes => 0x4000_0002,
            HostStream::Search => 0x4000_0003,
        };
        Sequence { seed, step, stream, drawn: 0, block: [0; 4] }
    }

    /// The next word.
    pub fn word(&mut self) -> u32 {
        if self.drawn.is_multiple_of(4) {
            self.block = words(self.seed, self.step, self.stream, self.drawn / 4);
        }
        self.drawn += 1;
        self.block[((self.drawn - 1) % 4) as usize]
    }

    /// The next number in `[0, 1)`.
    pub fn unit(&mut self) -> f32 {
        unit(self.word())
    }

    /// A random order of `0..count`: Fisher and Yates, with Lemire's multiply-and-shift.
    pub fn permutation(&mut self, count: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..count as u32).collect();
        for last in (1..count).rev() {
            let other = (self.word() as u64 * (last as u64 + 1)) >> 32;
            order.swap(last, other as usize);
        }
        order
    }
}

/// The interface of the crate `rand_core`, for libraries that take a generator.
impl TryRng for Sequence {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.word())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        utils::next_u64_via_u32(self)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        utils::fill_bytes_via_next_word(bytes, || self.try_next_u32())
    }
}

/// SplitMix64, which draws the built-in data and splits data sets: a short generator with the same numbers on every
/// machine. Training uses Philox, which devices have too.
pub(crate) struct SplitMix(u64);

impl SplitMix {
    pub(crate) fn new(seed: u64) -> SplitMix {
        SplitMix(seed)
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A whole number from 0 to `bound - 1`. The bias of the multiplication is below 2^-32 for bounds up to 2^32.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// The numbers from 0 to `count - 1` in a random order: Fisher and Yates.
    pub(crate) fn shuffled(&mut self, count: u32) -> Vec<u32> {
        let mut order: Vec<u32> = (0..count).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }

    /// A number in `[0, 1)`, a multiple of 2^-24.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u32 << 24) as f32
    }

    /// A nearly normal number with mean 0 and deviation 1, between -3.5 and 3.5: a sum of four uniform numbers, since
    /// the last bits of a logarithm or a sine differ between systems.
    pub(crate) fn normal(&mut self) -> f32 {
        let sum = self.unit() + self.unit() + self.unit() + self.unit();
        (sum - 2.0) * 1.732_050_8
    }
}

// The normal distribution in f64, for draws and as the reference of ops. In each table of coefficients, the first of a
// pair belongs to the numerator of a rational function and the second to the denominator.

/// P(N >= x) for a standard normal N.
pub(crate) fn normal_tail(x: f64) -> f64 {
    0.5 * complementary_error_function(x * FRAC_1_SQRT_2)
}

/// The values of two polynomials, whose coefficients are in ascending order.
fn polynomials(x: f64, coefficients: &[[f64; 2]]) -> [f64; 2] {
    coefficients.iter().rev().fold([0.0; 2], |[p, q], [a, b]| [p * x + a, q * x + b])
}

/// The quotient of the first of two [`polynomials`] by the second.
fn quotient(x: f64, coefficients: &[[f64; 2]]) -> f64 {
    let [p, q] = polynomials(x, coefficients);
    p / q
}

// The error function: the rational approximations of FreeBSD's msun, s_erf.c (Copyright (C) 1993 by Sun
// Microsystems, Inc. All rights reserved. Developed at SunPro, a Sun Microsystems, Inc. business. Permission to
// use, copy, modify, and distribute this software is freely granted, provided that this notice is preserved.) The
// coefficients are theirs, the code around them is ours. Within 2e-16 relative of the true values.

// (erf(x) - x) / x on |x| < 0.84375, in x^2.
const NEAR: [[f64; 2]; 6] = [
    [1.28379167095512558561e-01, 1.0],
    [-3.25042107247001499370e-01, 3.97917223959155352819e-01],
    [-2.84817495755985104766e-02, 6.50222499887672944485e-02],
    [-5.77027029648944159157e-03, 5.08130628187576562776e-03],
    [-2.37630166566501626084e-05, 1.32494738004321644526e-04],
    [0.0, -3.96022827877536812320e-06],
];
// erf(x) - ERF_ONE on 0.84375 <= x < 1.25, in x - 1. ERF_ONE has few bits.
const ERF_ONE: f64 = 8.45062911510467529297e-01;
const ONE: [[f64; 2]; 7] = [
    [-2.36211856075265944077e-03, 1.0],
    [4.14856118683748331666e-01, 1.06420880400844228286e-01],
    [-3.72207876035701323847e-01, 5.40397917702171048937e-01],
    [3.18346619901161753674e-01, 7.18286544141962662868e-02],
    [-1.10894694282396677476e-01, 1.26171219808761642112e-01],
    [3.54783043256182359371e-02, 1.36370839120290507362e-02],
    [-2.16637559486879084300e-03, 1.19844998467991074170e-02],
];
// log(x exp(x^2) erfc(x)) + 0.5625 on 1.25 <= x < 1 / 0.35, in 1 / x^2.
const MIDDLE: [[f64; 2]; 9] = [
    [-9.86494403484714822705e-03, 1.0],
    [-6.93858572707181764372e-01, 1.96512716674392571292e+01],
    [-1.05586262253232909814e+01, 1.37657754143519042600e+02],
    [-6.23753324503260060396e+01, 4.34565877475229228821e+02],
    [-1.62396669462573470355e+02, 6.45387271733267880336e+02],
    [-1.84605092906711035994e+02, 4.29008140027567833386e+02],
    [-8.12874355063065934246e+01, 1.08635005541779435134e+02],
    [-9.81432934416914548592e+00, 6.57024977031928170135e+00],
    [0.0, -6.04244152148580987438e-02],
];
// log(x exp(x^2) erfc(x)) + 0.5625 on x >= 1 / 0.35, in 1 / x^2.
const FAR: [[f64; 2]; 8] = [
    [-9.86494292470009928597e-03, 1.0],
    [-7.99283237680523006574e-01, 3.03380607434824582924e+01],
    [-1.77579549177547519889e+01, 3.25792512996573918826e+02],
    [-1.60636384855821916062e+02, 1.53672958608443695994e+03],
    [-6.37566443368389627722e+02, 3.19985821950859553908e+03],
    [-1.02509513161107724954e+03, 2.55305040643316442583e+03],
    [-4.83519191608651397019e+02, 4.74528541206955367215e+02],
    [0.0, -2.24409524465858183362e+01],
];

/// erf(x) = 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x.
pub(crate) fn error_function(x: f64) -> f64 {
    let a = x.abs();
    if a.is_nan() {
        x
    } else if a < 0.84375 {
        let z = x * x;
        x + x * (quotient(z, &NEAR))
    } else if a < 1.25 {
        let s = a - 1.0;
        (ERF_ONE + quotient(s, &ONE)).copysign(x)
    } else {
        (1.0 - erfc_beyond(a)).copysign(x)
    }
}

/// 1 - erf(x), without cancellation.
fn complementary_error_function(x: f64) -> f64 {
    let a = x.abs();
    if a.is_nan() {
        x
    } else if a < 0.84375 {
        let z = x * x;
        let y = quotient(z, &NEAR);
        if x < 0.25 { 1.0 - (x + x * y) } else { 0.5 - ((x - 0.5) + x * y) }
    } else if a < 1.25 {
        let s = a - 1.0;
        let y = quotient(s, &ONE);
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
    let ratio = if a < 1.0 / 0.35 { quotient(s, &MIDDLE) } else { quotient(s, &FAR) };
    // exp(-a^2), with a^2 split so that its rounding error is not multiplied.
    let top = f64::from_bits(a.to_bits() & 0xffff_ffff_0000_0000);
    (-top * top - 0.5625).exp() * ((top - a) * (top + a) + ratio).exp() / a
}

// The normal quantile: M. J. Wichura, Algorithm AS 241 (PPND16), Applied Statistics 37 (1988) 477-484.

// For |u - 0.5| <= 0.425, in 0.180625 - (u - 0.5)^2.
const CENTER: [[f64; 2]; 8] = [
    [3.3871328727963666080e0, 1.0],
    [1.3314166789178437745e+2, 4.2313330701600911252e+1],
    [1.9715909503065514427e+3, 6.8718700749205790830e+2],
    [1.3731693765509461125e+4, 5.3941960214247511077e+3],
    [4.5921953931549871457e+4, 2.1213794301586595867e+4],
    [6.7265770927008700853e+4, 3.9307895800092710610e+4],
    [3.3430575583588128105e+4, 2.8729085735721942674e+4],
    [2.5090809287301226727e+3, 5.2264952788528545610e+3],
];
// For u nearer to 0 or 1, in r - 1.6, where r = sqrt(-log p) <= 5 and p is the distance of u from 0 or 1.
const SHOULDER: [[f64; 2]; 8] = [
    [1.42343711074968357734e0, 1.0],
    [4.63033784615654529590e0, 2.05319162663775882187e0],
    [5.76949722146069140550e0, 1.67638483018380384940e0],
    [3.64784832476320460504e0, 6.89767334985100004550e-1],
    [1.27045825245236838258e0, 1.48103976427480074590e-1],
    [2.41780725177450611770e-1, 1.51986665636164571966e-2],
    [2.27238449892691845833e-2, 5.47593808499534494600e-4],
    [7.74545014278341407640e-4, 1.05075007164441684324e-9],
];

/// The inverse of the standard normal's distribution function: P(N < result) = u. A distance of u from 0 or 1 below
/// 2^-25 counts as 2^-25, so that r stays below 5 and AS 241's third piece is not needed. A step of Halley's method
/// against the error function makes the result exact to 4e-16, relative.
pub(crate) fn normal_quantile(u: f64) -> f64 {
    let q = u - 0.5;
    let density = |x: f64| (-0.5 * x * x).exp() / (2.0 * PI).sqrt();
    if q.abs() <= 0.425 {
        let [above, below] = polynomials(0.180625 - q * q, &CENTER);
        let x = q * above / below;
        let step = (0.5 * error_function(x * FRAC_1_SQRT_2) - q) / density(x);
        x - step / (1.0 + 0.5 * x * step)
    } else {
        let p = (if q < 0.0 { u } else { 1.0 - u }).max(2f64.powi(-25));
        let r = (-p.ln()).sqrt() - 1.6;
        let x = quotient(r, &SHOULDER);
        let step = (p - normal_tail(x)) / density(x);
        (x - step / (1.0 + 0.5 * x * step)).copysign(q)
    }
}
