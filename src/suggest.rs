//! Suggestions for names that are not known: only what was probably meant, since a wrong one leads to another model.

/// Names that other libraries have, without `_` and in lower case, for what goes by another name here.
const ALIASES: &[(&str, &str)] = &[
    // Layers.
    ("adaptiveavgpool2d", "adaptive_avg_pool2d"),
    ("batchnorm1d", "batch_norm"),
    ("batchnorm2d", "batch_norm"),
    ("batchnormalization", "batch_norm"),
    ("conv1dtranspose", "conv_transpose1d"),
    ("conv2dtranspose", "conv_transpose2d"),
    ("dense", "linear"),
    ("dropout1d", "spatial_dropout"),
    ("dropout2d", "spatial_dropout"),
    ("globalaveragepooling2d", "global_avg_pool"),
    ("globalmaxpooling2d", "global_max_pool"),
    ("groupnormalization", "group_norm"),
    ("hswish", "hardswish"),
    ("instancenorm1d", "instance_norm"),
    ("instancenorm2d", "instance_norm"),
    ("layernormalization", "layer_norm"),
    ("maxpooling2d", "max_pool2d"),
    ("multiheadattention", "attention"),
    ("spatialdropout1d", "spatial_dropout"),
    ("spatialdropout2d", "spatial_dropout"),
    ("swish", "silu"),
    ("upsamplingbilinear2d", "upsample_bilinear"),
    ("upsamplingnearest2d", "upsample_nearest"),
    // Their keys, and those of training.
    ("batchsize", "batch"),
    ("hiddensize", "out"),
    ("kernelsize", "kernel"),
    ("learningrate", "lr"),
    ("negativeslope", "slope"),
    ("numgroups", "groups"),
    ("numheads", "heads"),
    ("numlayers", "layers"),
    ("outchannels", "out"),
    ("outfeatures", "out"),
    ("randomseed", "seed"),
    // Losses.
    ("bceloss", "bce"),
    ("bcewithlogits", "bce"),
    ("bcewithlogitsloss", "bce"),
    ("binarycrossentropy", "bce"),
    ("crossentropyloss", "cross_entropy"),
    ("huberloss", "huber"),
    ("l1loss", "mae"),
    ("mseloss", "mse"),
    // Schedules.
    ("cosineannealing", "cosine"),
    ("cosineannealinglr", "cosine"),
    ("cosineannealingwarmrestarts", "cosine"),
    ("exponentiallr", "exponential"),
    ("linearlr", "linear"),
    ("multisteplr", "multi_step"),
    ("onecyclelr", "one_cycle"),
    ("polynomiallr", "polynomial"),
    ("reducelronplateau", "plateau"),
    ("steplr", "step"),
    // Presets.
    ("denoise", "denoising"),
];

/// Names of the field for what there is not, written alike, which differ by a letter or two from others.
const OTHERS: &[&str] = &[
    // Functions of each element.
    "crelu",
    "elish",
    "geglu",
    "gelutanh",
    "hardelish",
    "hardmish",
    "hardshrink",
    "logsigmoid",
    "maxout",
    "quickgelu",
    "reglu",
    "rrelu",
    "snake",
    "softmin",
    "softshrink",
    "squareplus",
    "srelu",
    "swiglu",
    "tanhshrink",
    "threshold",
    "trelu",
    // Layers.
    "alphadropout",
    "batchrenorm",
    "embeddingbag",
    "grucell",
    "lstmcell",
    "maxunpool1d",
    "maxunpool2d",
    "spectralnorm",
    "syncbatchnorm",
    "weightnorm",
    // Optimisers.
    "adabelief",
    "adabound",
    "adafactor",
    "adahessian",
    "adai",
    "adam8bit",
    "adamod",
    "adamp",
    "adams",
    "adan",
    "adopt",
    "adashift",
    "asgd",
    "lamb",
    "lars",
    "muon",
    "nadamw",
    "radamw",
    "rprop",
    "sgdp",
    "sgdr",
    "sgdw",
    "sophia",
    // Losses.
    "gaussiannll",
    "hinge",
    "logcosh",
    "mape",
    "mase",
    "msle",
    "mssim",
    "rmse",
    "smape",
    // Schedules and latents.
    "cyclic",
    "categorical",
    "triangular",
];

/// What was probably meant by a name that is none of the candidates, as `did you mean "x"?`, or else a list of them all.
///
/// A name counts as meant where it differs in `_`, `-` and capitals only, where another library has it for that, or where a
/// slip or two of the hand lie between, of which neither is its first letter nor a digit. The name of another thing of the field
/// is no slip.
pub fn suggest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    // Names from a file may have line breaks, and a message is one line.
    let shown = |text: &str| text.replace(char::is_control, " ");
    match meant(typed, &candidates) {
        Some(candidate) => format!("did you mean \"{}\"?", shown(candidate)),
        None => format!("known are {}", shown(&candidates.join(", "))),
    }
}

fn meant<'a>(typed: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let name = plain(typed);
    if let Some(same) = candidates.iter().find(|candidate| plain(candidate) == name) {
        return Some(same);
    }
    if let Some((_, ours)) = ALIASES.iter().find(|(theirs, _)| *theirs == name)
        && let Some(known) = candidates.iter().find(|candidate| *candidate == ours)
    {
        return Some(known);
    }
    if OTHERS.contains(&&*name) {
        return None;
    }
    let most = match name.chars().count() {
        0..3 => return None,
        3..8 => 1,
        _ => 2,
    };
    // A key that was hit twice.
    let single = |name: &str| {
        let mut letters: Vec<char> = name.chars().collect();
        letters.dedup();
        letters
    };
    if let Some(once) = candidates.iter().find(|candidate| single(&plain(candidate)) == single(&name)) {
        return Some(once);
    }
    let digits = |name: &str| name.chars().filter(char::is_ascii_digit).collect::<String>();
    let slips = |candidate: &str| {
        let known = plain(candidate);
        let alike = known.chars().next() == name.chars().next() && digits(&known) == digits(&name);
        alike.then(|| strsim::osa_distance(&known, &name)).filter(|slips| *slips <= most)
    };
    let likely: Vec<(usize, &str)> =
        candidates.iter().filter_map(|candidate| Some((slips(candidate)?, *candidate))).collect();
    let least = likely.iter().map(|(slips, _)| *slips).min()?;
    let mut nearest = likely.into_iter().filter(|(slips, _)| *slips == least).map(|(_, candidate)| candidate);
    let first = nearest.next()?;
    // Two that are as near are both a guess.
    nearest.all(|other| other == first).then_some(first)
}

/// A name without what people write in different ways.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect()
}
