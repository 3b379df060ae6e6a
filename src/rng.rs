//! Philox4x32-10, the counter-based generator that every random draw of the crate comes from; the twin of
//! `shaders/random.wgsl`. Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
//!
//! A draw is a pure function of seed, step, stream and element, so it does not matter who computes it or in which order.

use rand_core::{TryRng, utils};
use std::convert::Infallible;

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

/// A word as a real number in `[0, 1)`, a multiple of 2⁻²⁴ and so exact in 32 bits.
#[inline]
pub fn unit(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// Streams of the host's own draws, kept away from a graph's, which count from 0.
#[derive(Clone, Copy, Debug)]
pub enum HostStream {
    /// Initial weights; the number is the parameter's.
    Initial(u32),
    /// The order of an epoch's samples.
    Shuffle,
    /// Which samples are held back for validation, and which of a user's items are held out; the step is the user's number.
    Split,
    /// Codes of new samples.
    Codes,
    /// The values of a search's trial, whose number is the step.
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
    /// The sequence of a stream; `step` is an epoch for shuffles, a user for what is held out, a trial for
    /// searches, 0 elsewhere.
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

    /// A random order of `0..count`: Fisher and Yates, by Lemire's multiply-and-shift.
    pub fn permutation(&mut self, count: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..count as u32).collect();
        for last in (1..count).rev() {
            let other = (self.word() as u64 * (last as u64 + 1)) >> 32;
            order.swap(last, other as usize);
        }
        order
    }
}

/// What libraries draw through.
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

/// SplitMix64, which draws the built-in data and splits data sets: a few lines, no state to speak of, and the same numbers on
/// every machine. What trains a model comes from Philox, which devices have too.
pub(crate) struct SplitMix(u64);

impl SplitMix {
    pub(crate) fn new(seed: u64) -> SplitMix {
        SplitMix(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A whole number from 0 to `bound - 1`. The bias of the multiplication is below 2^-32 for any list held here.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// A number from 0 up to, not including, 1, in steps of 2^-24.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u32 << 24) as f32
    }

    /// About normal, with mean 0 and deviation 1: a sum of four uniform numbers, never beyond 3.5. It needs no
    /// logarithm or sine, whose last bits differ between systems.
    pub(crate) fn normal(&mut self) -> f32 {
        let sum = self.unit() + self.unit() + self.unit() + self.unit();
        (sum - 2.0) * 1.732_050_8
    }
}
