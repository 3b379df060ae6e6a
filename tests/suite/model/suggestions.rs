//! Suggestions for names that are not known: a slip of the hand gets one, another thing of the field does not.

use pinhole::error::suggest;
use pinhole::nn::Layer;

const OPTIMIZERS: [&str; 5] = ["sgd", "rmsprop", "adam", "adamw", "nadam"];

fn layers() -> Vec<&'static str> {
    Layer::templates().iter().map(Layer::name).collect()
}

fn suggestion(typed: &str, known: &[&str]) -> Option<String> {
    let said = suggest(typed, known.iter().copied());
    let all = format!("known are {}", known.join(", "));
    let name = said.strip_prefix("did you mean \"").and_then(|rest| rest.strip_suffix("\"?"));
    assert!(name.is_some() || said == all, "{said}");
    name.map(str::to_owned)
}

#[test]
fn what_was_probably_meant_is_suggested() {
    for (typed, meant) in [
        ("LeakyReLU", "leaky_relu"),
        ("leakyrelu", "leaky_relu"),
        ("leaky-relu", "leaky_relu"),
        ("ReLU6", "relu6"),
        ("Hardswish", "hardswish"),
        ("hard_swish", "hardswish"),
        ("swish", "silu"),
        ("SELU", "selu"),
        ("Conv2d", "conv2d"),
        ("ConvTranspose2d", "conv_transpose2d"),
        ("Conv2DTranspose", "conv_transpose2d"),
        ("BatchNorm2d", "batch_norm"),
        ("MaxPool2d", "max_pool2d"),
        ("Dense", "linear"),
        ("LSTM", "lstm"),
        ("rleu", "relu"),
        ("reluu", "relu"),
        ("linaer", "linear"),
        ("sigmiod", "sigmoid"),
        ("conv_tranpsose2d", "conv_transpose2d"),
        ("uflatten", "unflatten"),
        ("batchnorm", "batch_norm"),
        ("log_sofmtax", "log_softmax"),
    ] {
        assert_eq!(suggestion(typed, &layers()).as_deref(), Some(meant), "{typed}");
    }
    for (typed, meant) in
        [("Adam", "adam"), ("AdamW", "adamw"), ("RMSprop", "rmsprop"), ("adma", "adam"), ("adamm", "adam")]
    {
        assert_eq!(suggestion(typed, &OPTIMIZERS).as_deref(), Some(meant), "{typed}");
    }
    let keys = ["out", "kernel", "stride", "padding"];
    for (typed, meant) in
        [("kernel_size", "kernel"), ("out_channels", "out"), ("kernle", "kernel"), ("pading", "padding")]
    {
        assert_eq!(suggestion(typed, &keys).as_deref(), Some(meant), "{typed}");
    }
}

#[test]
fn another_thing_is_never_suggested() {
    for typed in [
        "gelu_tanh",
        "swiglu",
        "geglu",
        "reglu",
        "threshold",
        "rrelu",
        "relu1",
        "relu2",
        "crelu",
        "srelu",
        "quick_gelu",
        "softmin",
        "softshrink",
        "hardshrink",
        "tanhshrink",
        "logsigmoid",
        "LogSigmoid",
        "maxout",
        "max_pool3d",
        "MaxPool3d",
        "conv3d",
        "conv_transpose3d",
        "avg_pool3d",
        "batch_norm3d",
        "max_unpool2d",
        "lp_pool2d",
        "AlphaDropout",
        "RNN",
        "LSTMCell",
        "GRUCell",
        "weight_norm",
        "spectral_norm",
        "SyncBatchNorm",
        "batch_renorm",
        "transformer",
        "x",
        "",
    ] {
        assert_eq!(suggestion(typed, &layers()), None, "{typed}");
    }
    for typed in
        ["adan", "lamb", "lars", "sgdw", "sgdp", "asgd", "rprop", "nadamw", "adamp", "adabelief", "adamod", "lion8bit"]
    {
        assert_eq!(suggestion(typed, &OPTIMIZERS), None, "{typed}");
    }
    for typed in ["hinge", "rmse", "mape", "msle", "l2", "mce", "kl"] {
        assert_eq!(suggestion(typed, &["mse", "mae", "huber", "bce", "ssim"]), None, "{typed}");
    }
    let known = layers();
    assert!(known.iter().all(|name| suggestion(name, &known).as_deref() == Some(*name)));
}
