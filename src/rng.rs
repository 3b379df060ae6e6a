//! Philox4x32-10, the counter-based generator of every random draw of the crate; the twin of `shaders/random.wgsl`.
//! Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
//!
//! A draw is a pure function of seed, step, stream and element, so its value does not depend on the device or on the
//! order of computation.

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

/// A word as a real number in `[0, 1)`: a multiple of 2⁻²⁴, which is exact in 32 bits.
#[inline]
pub fn unit(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// Streams of draws on the host, disjoint from those of graphs, which count from 0.
#[derive(Clone, Copy, Debug)]
pub enum HostStream {
    /// Initial weights, by the number of the parameter.
    Initial(u32),
    /// The order of an epoch's samples.
    Shuffle,
    /// The choice of validation samples, and of a user's held-out items; the step is the number of the user.
    Split,
    /// Codes of new samples.
    Codes,
    /// The values of a trial of a tuning; the step is the number of the trial.
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
    /// The sequence of a stream; `step` is the epoch of a shuffle, the user of held-out items, the trial of a tuning,
    /// and 0 elsewhere.
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

/// The interface of the crate `rand_core`, for libraries that draw random numbers.
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
