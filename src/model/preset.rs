//! Built-in models, and the choice between one of them and a file.

use std::path::Path;

use super::config::ModelSpec;
use crate::error::{Error, Result, suggest};

/// A built-in model.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// Name on the command line.
    pub name: &'static str,
    /// Description in one line.
    pub about: &'static str,
    /// Publication; empty for models older than papers on them.
    pub paper: &'static str,
    /// Its model file.
    pub text: &'static str,
}

macro_rules! presets {
    ($($name:literal $file:literal $about:literal $paper:literal)*) => {
        /// The built-in models, by family.
        pub const PRESETS: &[Preset] = &[$(Preset {
            name: $name,
            about: $about,
            paper: $paper,
            text: include_str!(concat!("../../examples/models/", $file)),
        },)*];
    };
}

presets! {
    "conv" "conv-ae.toml" "convolutional" ""
    "dense" "dense-ae.toml" "undercomplete, two hidden layers" "Hinton and Salakhutdinov 2006"
    "linear" "linear.toml" "linear: the subspace of principal components" "Baldi and Hornik 1989"
    "undercomplete" "undercomplete.toml" "one hidden layer, smaller than the input" "Rumelhart et al. 1986"
    "overcomplete" "overcomplete.toml" "code larger than the input, held by weight decay and input noise" "Vincent et al. 2010"
    "deep" "deep.toml" "1000-500-250 hidden units" "Hinton and Salakhutdinov 2006"
    "residual" "residual-ae.toml" "30 layers of residual blocks with batch normalisation" "arXiv 1512.03385"
    "stacked" "stacked-ae.toml" "1000-1000-1000 hidden units, to be pretrained layer by layer" "Vincent et al. 2010"
    "denoising" "denoising.toml" "convolutional, removes gaussian noise" "Vincent et al. 2008"
    "sparse" "sparse.toml" "L1 penalty on the code" "Ng 2011"
    "kl-sparse" "kl-sparse.toml" "sigmoid units whose mean activation is held at a target" "Ng 2011"
    "top-k" "top-k.toml" "32 numbers of a code twice as wide as the input" "arXiv 2406.04093"
    "batch-top-k" "batch-top-k.toml" "32 numbers of each code, on average over a batch" "arXiv 2412.06410"
    "contractive" "contractive.toml" "codes that change little where samples do" "Rifai et al. 2011"
    "vae" "vae.toml" "variational" "arXiv 1312.6114"
    "conv-vae" "conv-vae.toml" "convolutional variational, a code of two numbers" "arXiv 1312.6114"
    "beta-vae" "beta-vae.toml" "variational, its divergence times four after a warm-up" "Higgins et al. 2017"
    "cvae" "cvae.toml" "conditional variational: receives each sample's label" "Sohn et al. 2015"
    "iwae" "iwae.toml" "importance-weighted: five codes for each sample" "arXiv 1509.00519"
    "info-vae" "info-vae.toml" "variational, its codes' distribution held by MMD" "arXiv 1706.02262"
    "wae" "wae.toml" "Wasserstein autoencoder with MMD" "arXiv 1711.01558"
    "aae" "aae.toml" "adversarial: a discriminator makes codes normal" "arXiv 1511.05644"
    "mult-vae" "mult-vae.toml" "recommender: users' items through a variational code" "arXiv 1802.05814"
    "mult-dae" "mult-dae.toml" "recommender: users' items through a denoised code" "arXiv 1802.05814"
    "table" "table.toml" "tables: numbers, and learned vectors for categories" "arXiv 1604.06737"
    "vq-vae" "vq-vae.toml" "vector-quantised: codes of vectors from a codebook" "arXiv 1711.00937"
    "hashing" "hashing.toml" "codes of 64 bits, for search by Hamming distance" "Salakhutdinov and Hinton 2009"
    "transformer" "transformer-ae.toml" "rows of a picture that attend to each other" "arXiv 2010.11929"
    "masked" "masked-ae.toml" "three of four patches are hidden in training" "arXiv 2111.06377"
    "lstm" "lstm-ae.toml" "recurrent: a picture as a sequence of its rows" "arXiv 1502.04681"
    "gru" "gru-ae.toml" "recurrent: a code of what is known after the last row" "arXiv 1406.1078"
}

/// The built-in model of this name.
pub fn preset(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|known| known.name == name)
}

impl ModelSpec {
    /// The built-in model of this name, else the model file at this path.
    pub fn resolve(name_or_path: &str) -> Result<ModelSpec> {
        let path = Path::new(name_or_path);
        if let Some(preset) = preset(name_or_path) {
            return ModelSpec::parse(preset.text, path);
        }
        if path.exists() {
            return ModelSpec::read(path);
        }
        // Paths get no suggestion: any similarity to a preset's name would be chance.
        let alike = suggest(name_or_path, PRESETS.iter().map(|preset| preset.name));
        let help = match path.extension() {
            Some(_) => "check the path".to_owned(),
            None if alike.starts_with("did") => alike,
            None => "\"pinhole models\" lists the presets".to_owned(),
        };
        let problem = "it is no preset, and there is no .toml file of that name";
        Err(Error::invalid(format!("model {name_or_path:?}"), problem, help))
    }
}
