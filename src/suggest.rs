//! Suggestions for unknown names: only what was probably meant, since a wrong suggestion leads to another model.

/// Names of this crate, and the names that other libraries have for the same thing, in lower case and without `_`.
const ALIASES: &[(&str, &str)] = &[
    // Layers.
    ("adaptive_avg_pool2d", "adaptiveavgpool2d"),
    ("attention", "multiheadattention"),
    ("batch_norm", "batchnorm1d batchnorm2d batchnormalization"),
    ("conv_transpose1d", "conv1dtranspose"),
    ("conv_transpose2d", "conv2dtranspose"),
    ("global_avg_pool", "globalaveragepooling2d"),
    ("global_max_pool", "globalmaxpooling2d"),
    ("group_norm", "groupnormalization"),
    ("hardswish", "hswish"),
    ("instance_norm", "instancenorm1d instancenorm2d"),
    ("layer_norm", "layernormalization"),
    ("linear", "dense"),
    ("max_pool2d", "maxpooling2d"),
    ("silu", "swish"),
    ("spatial_dropout", "dropout1d dropout2d spatialdropout1d spatialdropout2d"),
    ("upsample_bilinear", "upsamplingbilinear2d"),
    ("upsample_nearest", "upsamplingnearest2d"),
    // Keys of layers and of training.
    ("batch", "batchsize"),
    ("groups", "numgroups"),
    ("heads", "numheads"),
    ("kernel", "kernelsize"),
    ("layers", "numlayers"),
    ("lr", "learningrate"),
    ("out", "hiddensize outchannels outfeatures"),
    ("seed", "randomseed"),
    ("slope", "negativeslope"),
    // Losses.
    ("bce", "bceloss bcewithlogits bcewithlogitsloss binarycrossentropy"),
    ("cross_entropy", "crossentropyloss"),
    ("huber", "huberloss"),
    ("mae", "l1loss"),
    ("mse", "mseloss"),
    // Schedules.
    ("cosine", "cosineannealing cosineannealinglr cosineannealingwarmrestarts"),
    ("exponential", "exponentiallr"),
    ("linear", "linearlr"),
    ("multi_step", "multisteplr"),
    ("one_cycle", "onecyclelr"),
    ("plateau", "reducelronplateau"),
    ("polynomial", "polynomiallr"),
    ("step", "steplr"),
    // Presets.
    ("denoising", "denoise"),
];

/// Names of the field for what this crate does not have, in lower case and without `_`: functions of each element,
/// layers, optimisers, losses, schedules and latents. Some differ by a letter or two from a name of this crate.
const OTHERS: &[&str] = &[
    "crelu elish geglu gelutanh hardelish hardmish hardshrink logsigmoid maxout quickgelu reglu rrelu snake",
    "softmin softshrink squareplus srelu swiglu tanhshrink threshold trelu",
    "alphadropout batchrenorm embeddingbag grucell lstmcell maxunpool1d maxunpool2d spectralnorm syncbatchnorm",
    "weightnorm",
    "adabelief adabound adafactor adahessian adai adam8bit adamod adamp adams adan adopt adashift asgd lamb",
    "lars muon nadamw radamw rprop sgdp sgdr sgdw sophia",
    "gaussiannll hinge logcosh mape mase msle mssim rmse smape",
    "cyclic categorical triangular",
];

/// The help for a name that is not among the candidates: `did you mean "x"?`, or else a list of all candidates.
///
/// A candidate counts as meant if it differs from the typed name only in `_`, `-`, spaces and capitals, if another
/// library calls it by the typed name, or if it differs by one or two typing errors, neither of them in the first
/// letter or in a digit. A name that the field uses for something else is no typing error.
pub fn suggest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    // A name from a file may have line breaks, and a message is one line.
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
    let lists = |names: &str| names.split(' ').any(|other| other == name);
    if let Some((ours, _)) = ALIASES.iter().find(|(_, theirs)| lists(theirs))
        && let Some(known) = candidates.iter().find(|candidate| *candidate == ours)
    {
        return Some(known);
    }
    if OTHERS.iter().any(|names| lists(names)) {
        return None;
    }
    let most = match name.chars().count() {
        0..3 => return None,
        3..8 => 1,
        _ => 2,
    };
    // A letter that was typed twice, or once instead of twice.
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
    // Of two equally near candidates neither was probably meant.
    nearest.all(|other| other == first).then_some(first)
}

/// A name without `_`, `-`, spaces and capitals.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect()
}
