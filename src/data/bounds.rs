//! The range of a data set's numbers, and the bounds that a loss sets.

/// Largest rounding error by which a number may exceed a bound.
const ROUNDING: f32 = 1e-6;
/// Floats whose largest is above this, and at most 255, have the range of bytes.
const MIDDLE_BYTE: f32 = 127.0;

/// The smallest and the largest of some numbers, and whether all are whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Extent {
    pub least: f32,
    pub most: f32,
    pub whole: bool,
}

impl Extent {
    pub const NOTHING: Extent = Extent { least: f32::INFINITY, most: f32::NEG_INFINITY, whole: true };

    pub fn of<T: Copy + Into<f32>>(values: &[T]) -> Extent {
        values.iter().fold(Extent::NOTHING, |extent, value| {
            let value: f32 = (*value).into();
            Extent {
                least: extent.least.min(value),
                most: extent.most.max(value),
                // A cast is cheaper than `fract`; numbers outside i32 are not bytes either.
                whole: extent.whole & (value as i32 as f32 == value),
            }
        })
    }

    pub fn join(self, other: Extent) -> Extent {
        let (least, most) = (self.least.min(other.least), self.most.max(other.most));
        Extent { least, most, whole: self.whole & other.whole }
    }

    /// Whether all numbers are in 0 to 1, or less than that interval's width outside.
    pub fn is_near_unit(self) -> bool {
        self.least > -1.0 && self.most < 2.0
    }

    /// Whether the numbers span the range of bytes, as those of pictures converted to floats without division by 255.
    pub fn is_of_bytes(self) -> bool {
        self.least >= 0.0 && self.most > MIDDLE_BYTE && self.most <= 255.0
    }
}

/// The numbers that are accepted, by a loss for example.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bounds {
    /// What sets the bounds, as `loss "bce"`.
    pub whose: String,
    /// The upper bound, if there is one. The lower bound is 0.
    pub most: Option<f32>,
    /// What to do instead of scaling, for messages.
    pub otherwise: String,
}

impl Bounds {
    /// Whether all numbers of a range are within the bounds.
    pub fn contain(&self, extent: Extent) -> bool {
        extent.least >= -ROUNDING && self.most.is_none_or(|most| extent.most <= most + ROUNDING)
    }

    /// Whether a number is within the bounds.
    pub fn contains(&self, value: f32) -> bool {
        self.contain(Extent { least: value, most: value, whole: false })
    }

    /// Describes the accepted numbers, as the end of a sentence.
    pub fn text(&self) -> String {
        match self.most {
            Some(most) => format!("{} takes numbers from 0 to {most}", self.whose),
            None => format!("{} takes numbers of at least 0", self.whose),
        }
    }
}
