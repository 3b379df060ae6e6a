//! How data become samples: the `[data]` of a model file.

use crate::data::Column;
use crate::data::pictures::Fit;
use crate::error::{Error, Result};
use crate::schema::{Key, Table, keys, names};
use crate::shape::Shape;

/// The name of a text in messages, and the help where a file has something else.
pub(super) const TEXT: [&str; 2] = ["a text", "write \"age\", say"];

/// How data become samples of the model's input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DataSpec {
    /// Binarisation of samples; none unless given.
    pub binarise: Binarise,
    /// Treatment of pictures of other proportions; `crop` unless given.
    pub fit: Fit,
    /// Data augmentation of training samples; none unless given.
    pub augment: Augment,
    /// Whether the data sets the number of features: [`ModelSpec::fit_to`](super::ModelSpec::fit_to). Default: no.
    pub sets_input: bool,
    /// Columns of a table, which [`LossKind::Columns`](super::LossKind::Columns) reconstructs. Where the data sets the
    /// input, the table's other columns are appended.
    pub columns: Vec<Column>,
    /// The label column of a CSV file, which is no part of samples: its name, or its number, counted from 1, where the
    /// file has no names. Empty for none.
    pub label: String,
    /// Label names of a model with `condition = { labels = COUNT }`, in the order of their classes; empty where labels
    /// are class numbers, counted from 0. See [`ModelSpec::fit_to`](super::ModelSpec::fit_to).
    pub classes: Vec<String>,
}

/// Data augmentation, drawn anew for every sample of every step. It changes the reconstruction target as well.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Augment {
    /// Largest shift of a picture in both directions, in whole pixels, filled with black.
    pub shift: usize,
    /// Random mirroring of pictures.
    pub flip: Flip,
    /// Largest rotation of a picture either way, in degrees.
    pub rotate: f64,
}

/// Binarisation of numbers from 0 to 1, on the device, in training and in validation, for the encoder's input and for
/// the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Binarise {
    /// No binarisation.
    #[default]
    None,
    /// 1 for numbers of at least a half, else 0.
    Threshold,
    /// 1 with the number as its probability, drawn anew for every step: Salakhutdinov and Murray, ICML 2008.
    Stochastic,
}

names! { "way to make numbers 0 or 1" Binarise { None = "none", Threshold = "threshold", Stochastic = "stochastic", } }

/// Directions in which pictures are mirrored, each with probability one half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flip {
    /// No mirroring.
    #[default]
    None,
    /// Left and right.
    Horizontal,
    /// Top and bottom.
    Vertical,
    /// Both directions, drawn independently.
    Both,
}

names! { "way to mirror pictures" Flip {
    None = "none",
    Horizontal = "horizontal",
    Vertical = "vertical",
    Both = "both",
} }

impl Augment {
    /// Whether any augmentation moves pixels.
    pub fn moves(&self) -> bool {
        self.shift > 0 || self.flip != Flip::None || self.rotate > 0.0
    }

    pub(super) fn validate(&self, input: &Shape) -> Result<()> {
        let refuse =
            |key: &str, problem: String, help: &str| Err(Error::invalid(format!("data.augment.{key}"), problem, help));
        if self.moves() && input.len() != 3 {
            let key = match (self.shift > 0, self.rotate > 0.0) {
                (true, _) => "shift",
                (false, true) => "rotate",
                (false, false) => "flip",
            };
            let problem = format!("it is for pictures, but the input is {input}");
            return refuse(key, problem, "use a model with input [channels, height, width]");
        }
        let most = input.iter().skip(1).min().map_or(0, |size| (size - 1).min(LARGEST_SHIFT));
        if self.shift > most {
            return refuse("shift", format!("must be at most {most}, got {}", self.shift), "use fewer pixels");
        }
        if !(0.0..=180.0).contains(&self.rotate) {
            return refuse("rotate", format!("expects degrees from 0 to 180, got {:?}", self.rotate), "use 10, say");
        }
        Ok(())
    }
}

/// Largest shift, since the plan computes a shift as a sum with one term for each pixel of distance.
const LARGEST_SHIFT: usize = 32;

/// The file's `[data]`.
impl Table for DataSpec {
    fn keys(&mut self) -> Vec<Key<'_>> {
        keys![
            self;
            binarise: name = "Binarisation of numbers: none; threshold, 1 from a half on; or stochastic, 1 with the \
                number as its probability.",
            fit: name = "How pictures of other proportions are fitted to the input: crop, stretch or pad.",
            augment: table = "Data augmentation, drawn anew for every training step.",
            sets_input: Flag =
                "Whether the data sets the number of input features, and that of the decoder's last linear layer.",
            columns: tables["write [{ name = \"work\", size = 4 }], say"] =
                "The columns of a table, which the loss \"columns\" reconstructs; with sets_input, \
                training adds the table's other columns.",
            label: Text[TEXT] = "The column of a CSV file that holds labels and is no part of samples: \
                its name, or its number, counted from 1.",
            classes: texts = "The labels of a model with labels as its condition, where they are not 0, 1, 2 and so \
                on; training fills them in.",
        ]
    }
}

impl Table for Augment {
    fn keys(&mut self) -> Vec<Key<'_>> {
        keys![
            self;
            shift: Whole = "The largest shift of a picture in both directions, in pixels.",
            flip: name = "The directions in which pictures are mirrored.",
            rotate: NotNegative = "The largest rotation of a picture either way, in degrees.",
        ]
    }
}
