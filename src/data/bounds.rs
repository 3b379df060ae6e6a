//! The extent of numbers, and the bounds that a loss sets to it.

/// What rounding may add to a number that a bound holds.
const ROUNDING: f32 = 1e-6;
/// Floats that reach above this, and not above 255, have the range of bytes.
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
                // A cast is cheaper than `fract`, and what it cannot hold is no byte either.
                whole: extent.whole & (value as i32 as f32 == value),
            }
        })
    }

    pub fn join(self, other: Extent) -> Extent {
        let (least, most) = (self.least.min(other.least), self.most.max(other.most));
        Extent { least, most, whole: self.whole & other.whole }
    }

    /// Whether all lie in 0 to 1, or less far outside than that is wide.
    pub fn is_near_unit(self) -> bool {
        self.least > -1.0 && self.most < 2.0
    }

    /// Whether they reach over the range of bytes, as pictures do that were made floats and not divided by 255.
    pub fn is_of_bytes(self) -> bool {
        self.least >= 0.0 && self.most > MIDDLE_BYTE && self.most <= 255.0
    }
}

/// The numbers that something takes: a loss, say.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bounds {
    /// What takes them, as `loss "bce"`.
    pub whose: String,
    /// The smallest, which is 0, up to the largest, where there is one.
    pub most: Option<f32>,
    /// What to do without scaling.
    pub otherwise: String,
}

impl Bounds {
    /// Whether all numbers of an extent are taken.
    pub fn hold(&self, extent: Extent) -> bool {
        extent.least >= -ROUNDING && self.most.is_none_or(|most| extent.most <= most + ROUNDING)
    }

    /// Whether a number is taken.
    pub fn holds(&self, value: f32) -> bool {
        self.hold(Extent { least: value, most: value, whole: false })
    }

    /// The numbers that are taken, and the rest of a sentence.
    pub fn text(&self) -> String {
        match self.most {
            Some(most) => format!("{} takes numbers from 0 to {most}", self.whose),
            None => format!("{} takes numbers of at least 0", self.whose),
        }
    }
}
