//! Search for the nearest binary codes by Hamming distance, the number of bits in which two codes differ.

use crate::Autoencoder;
use crate::autoencoder::AT_ONCE;
use crate::data::Dataset;
use crate::error::{Error, Result};

/// Bits of a word.
const WORD: usize = 64;

/// A result of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Neighbour {
    /// Number of bits in which the found code differs from the query.
    pub distance: u32,
    /// Position of the found code in the index, counted from 0.
    pub index: usize,
}

/// An index of packed codes: Salakhutdinov and Hinton, "Semantic hashing", 2009.
///
/// ```
/// use pinhole::task::{HammingIndex, pack};
/// let codes = [1.0, 0.0, 1.0, /**/ 1.0, 1.0, 1.0, /**/ 0.0, 0.0, 0.0];
/// let index = HammingIndex::new(pack(&codes, 3)?, 3)?;
/// let found = index.nearest(&pack(&[1.0, 1.0, 0.0], 3)?, 2)?;
/// assert_eq!(found.iter().map(|found| (found.index, found.distance)).collect::<Vec<_>>(), [(1, 1), (0, 2)]);
/// # Ok::<(), pinhole::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HammingIndex {
    bits: usize,
    words: Vec<u64>,
}

/// Packs concatenated codes of 0 and 1 into words. Every code begins a new word; bit i of a code is bit i modulo 64 of
/// the code's word i / 64, and unused bits are 0. Fails if a number is neither 0 nor 1, or if the numbers do not fill
/// whole codes of `bits` bits.
pub fn pack(codes: &[f32], bits: usize) -> Result<Vec<u64>> {
    if bits == 0 || !codes.len().is_multiple_of(bits) {
        let problem = format!("{} numbers do not make codes of {bits} bits", codes.len());
        return Err(Error::invalid("codes", problem, "give a 0 or 1 for every bit of every code"));
    }
    if let Some(other) = codes.iter().find(|number| **number != 0.0 && **number != 1.0) {
        let problem = format!("{other} is not a bit");
        return Err(Error::invalid("codes", problem, "give 0 and 1, as the codes of a model whose latent is binary"));
    }
    let word = |bits: &[f32]| bits.iter().rev().fold(0, |word, bit| word << 1 | u64::from(*bit == 1.0));
    Ok(codes.chunks(bits).flat_map(|code| code.chunks(WORD).map(word)).collect())
}

impl HammingIndex {
    /// An index of codes from [`pack`], of `bits` bits each. Fails if there are no codes, or if the words do not fill
    /// whole codes.
    pub fn new(words: Vec<u64>, bits: usize) -> Result<HammingIndex> {
        if bits == 0 || words.is_empty() || !words.len().is_multiple_of(bits.div_ceil(WORD)) {
            let problem = format!("{} words do not make codes of {bits} bits", words.len());
            return Err(Error::invalid("codes", problem, format!("give {} for each", bits.div_ceil(WORD))));
        }
        Ok(HammingIndex { bits, words })
    }

    /// An index of the codes of a data set. Fails if the model's latent is not binary.
    pub fn of(autoencoder: &Autoencoder, data: &Dataset) -> Result<HammingIndex> {
        let spec = autoencoder.network().spec();
        if !spec.latent.is_binary() {
            let problem = format!("it is {}, whose codes are not bits", spec.latent);
            return Err(Error::invalid("latent", problem, "use a model whose latent is binary"));
        }
        let bits = autoencoder.network().checked().latent.elements();
        let mut words = Vec::new();
        for range in data.ranges(AT_ONCE) {
            words.extend(pack(&autoencoder.encode_range(data, range)?.to_f32(), bits)?);
        }
        HammingIndex::new(words, bits)
    }

    /// Bits of a code.
    pub fn bits(&self) -> usize {
        self.bits
    }

    /// Number of codes, at least 1.
    #[allow(clippy::len_without_is_empty, reason = "an index without codes cannot be made")]
    pub fn len(&self) -> usize {
        self.words.len() / self.bits.div_ceil(WORD)
    }

    /// The packed codes, concatenated.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// The packed code at `index`; `None` beyond the last.
    pub fn code(&self, index: usize) -> Option<&[u64]> {
        self.words.chunks(self.bits.div_ceil(WORD)).nth(index)
    }

    /// The `count` nearest codes (all if there are fewer), ordered by distance and then by position. Fails if the query
    /// has another number of words than the indexed codes.
    pub fn nearest(&self, code: &[u64], count: usize) -> Result<Vec<Neighbour>> {
        let mut all = self.distances(code)?.collect::<Vec<_>>();
        if count < all.len() {
            all.select_nth_unstable(count);
            all.truncate(count);
        }
        all.sort_unstable();
        Ok(all)
    }

    /// All codes that differ in at most `radius` bits, ordered by distance and then by position. Fails as
    /// [`nearest`](HammingIndex::nearest) does.
    pub fn within(&self, code: &[u64], radius: u32) -> Result<Vec<Neighbour>> {
        let mut found: Vec<Neighbour> = self.distances(code)?.filter(|found| found.distance <= radius).collect();
        found.sort_unstable();
        Ok(found)
    }

    fn distances<'a>(&'a self, code: &'a [u64]) -> Result<impl Iterator<Item = Neighbour> + 'a> {
        let width = self.bits.div_ceil(WORD);
        if code.len() != width {
            let problem = format!("it has {} words, the codes of the index have {width}", code.len());
            return Err(Error::invalid("code", problem, "pack a query of the same model"));
        }
        let differ = move |other: &[u64]| other.iter().zip(code).map(|(a, b)| (a ^ b).count_ones()).sum();
        Ok(self.words.chunks(width).enumerate().map(move |(index, other)| Neighbour { distance: differ(other), index }))
    }
}
