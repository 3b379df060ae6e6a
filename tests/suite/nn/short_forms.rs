//! Layers written by one value in place of a table, axes that count from the end, and what is refused of them.

use crate::support::*;
use expect_test::{Expect, expect};
use pinhole::model::ModelSpec;
use pinhole::nn::{Activation, Glu, Layer, LayerNorm, Softmax};

/// A model of pictures `[4, 6, 8]` with one layer that is looked at.
fn with(layer: &str) -> String {
    format!(
        "input = [4, 6, 8]\nloss = \"mse\"\nencoder = [\n  {layer},\n  \"flatten\", {{ linear = 3 }},\n]\ndecoder = [{{ linear = 192 }}]\n"
    )
}

#[test]
fn one_value_stands_for_a_table_and_is_written_again() {
    for (short, long, layer) in [
        (
            "{ leaky_relu = 0.2 }",
            "{ leaky_relu = { slope = 0.2 } }",
            Layer::Activation(Activation::LeakyRelu { slope: 0.2 }),
        ),
        ("{ elu = 0.5 }", "{ elu = { alpha = 0.5 } }", Layer::Activation(Activation::Elu { alpha: 0.5 })),
        ("{ celu = 2 }", "{ celu = { alpha = 2.0 } }", Layer::Activation(Activation::Celu { alpha: 2.0 })),
        (
            "{ prelu = true }",
            "{ prelu = { per_channel = true } }",
            Layer::Activation(Activation::Prelu { per_channel: true }),
        ),
        (
            "{ hardtanh = [-2, 0.5] }",
            "{ hardtanh = { min = -2.0, max = 0.5 } }",
            Layer::Activation(Activation::Hardtanh { min: -2.0, max: 0.5 }),
        ),
        ("{ softmax = 1 }", "{ softmax = { axis = 1 } }", Layer::Softmax(Softmax { axis: 1, logarithm: false })),
        (
            "{ log_softmax = -1 }",
            "{ log_softmax = { axis = -1 } }",
            Layer::Softmax(Softmax { axis: -1, logarithm: true }),
        ),
        ("{ glu = 0 }", "{ glu = { axis = 0 } }", Layer::Glu(Glu { axis: 0 })),
        ("\"glu\"", "{ glu = { axis = -1 } }", Layer::Glu(Glu { axis: -1 })),
        ("{ layer_norm = 2 }", "{ layer_norm = { axes = 2 } }", Layer::LayerNorm(LayerNorm::new(2))),
    ] {
        for text in [short, long] {
            let read = spec(&with(text));
            assert_eq!(read.encoder[0], layer, "{text}");
            assert_eq!(spec(&read.to_toml()), read, "{}", read.to_toml());
        }
    }
    // One value is written where it is all that is said; the table's keys can be set in any case.
    let mut read = spec(&with("{ leaky_relu = { slope = 0.2 } }"));
    assert!(read.to_toml().contains("{ leaky_relu = 0.2 }"), "{}", read.to_toml());
    read.set("encoder.0.leaky_relu.slope=0.3").expect("a key of its table");
    assert!(read.to_toml().contains("{ leaky_relu = 0.3 }"), "{}", read.to_toml());
    read.set("encoder.0.leaky_relu=0.4").expect("its value");
    assert!(read.to_toml().contains("{ leaky_relu = 0.4 }"), "{}", read.to_toml());
    let both = spec(&with("{ layer_norm = { axes = 1, eps = 1e-3 } }"));
    assert!(both.to_toml().contains("{ layer_norm = { eps = 0.001 } }"), "{}", both.to_toml());
}

#[test]
fn values_that_are_none_of_a_layer_are_refused() {
    let refused = |layer: &str, expected: Expect| {
        let error = ModelSpec::parse(&with(layer), "m.toml".as_ref()).expect_err(layer);
        expected.assert_eq(&error.to_string());
    };
    refused(
        "{ leaky_relu = \"0.2\" }",
        expect![[r#"m.toml: line 4, encoder.0.leaky_relu: expects a number, got "0.2"; write 0.01, say"#]],
    );
    refused(
        "{ hardtanh = -2 }",
        expect![
            "m.toml: line 4, encoder.0.hardtanh: expects a table, or a list of 2 numbers, got -2; write { hardtanh = [-1.0, 1.0] }, say"
        ],
    );
    refused(
        "{ hardtanh = [-1, 0, 1] }",
        expect![
            "m.toml: line 4, encoder.0.hardtanh: expects a table, or a list of 2 numbers, got [-1, 0, 1]; write { hardtanh = [-1.0, 1.0] }, say"
        ],
    );
    refused(
        "{ hardtanh = [1, -1] }",
        expect![
            "m.toml: line 4, encoder.0.hardtanh: expects min below max, got 1 and -1; write min = -1.0, max = 1.0, say"
        ],
    );
    refused(
        "{ prelu = 8 }",
        expect!["m.toml: line 4, encoder.0.prelu: expects true or false, got 8; write one of them, without quotes"],
    );
    refused(
        "{ batch_norm = 4 }",
        expect!["m.toml: line 4, encoder.0.batch_norm: expects a table, got 4; write { eps = .. }"],
    );
    refused(
        "{ celu = 0 }",
        expect!["m.toml: line 4, encoder.0.celu: alpha must be a positive number, got 0.0; use 1.0, say"],
    );
    refused(
        "{ softmax = 3 }",
        expect!["m.toml: line 4, encoder.0.softmax: [4, 6, 8] has no axis 3; use 0 to 2, or -1 to -3 from the end"],
    );
    refused(
        "{ softmax = -4 }",
        expect!["m.toml: line 4, encoder.0.softmax: [4, 6, 8] has no axis -4; use 0 to 2, or -1 to -3 from the end"],
    );
    refused(
        "{ softmax = { axis = 0.5 } }",
        expect![
            "m.toml: line 4, encoder.0.softmax.axis: expects a whole number, got 0.5; write 0 for the first axis or -1 for the last, say"
        ],
    );
    refused(
        "{ layer_norm = 192 }",
        expect!["m.toml: line 4, encoder.0.layer_norm: axes = 192 does not fit [4, 6, 8]; use 1 to 3"],
    );
    refused(
        "{ dropout = 1.5 }",
        expect!["m.toml: line 4, encoder.0.dropout: p must be between 0 and 1, got 1.5; use 0.1, say"],
    );
    refused(
        "{ spatial_dropout = -0.1 }",
        expect!["m.toml: line 4, encoder.0.spatial_dropout: p must be between 0 and 1, got -0.1; use 0.1, say"],
    );
    refused("{ relu6 = 6 }", expect![[r#"m.toml: line 4, encoder.0.relu6: takes no settings; write "relu6""#]]);
    refused(
        "{ pixel_unshuffle = 2 }, { conv2d = { out = 3, kernel = 1 } }, { glu = 0 }",
        expect![
            "m.toml: line 4, encoder.2.glu: axis 0 of [3, 3, 4] has no two halves; make its size even in the layer before it"
        ],
    );
    refused(
        "\"swiglu\"",
        expect![[
            r#"m.toml: line 4, encoder.0: unknown layer "swiglu"; known are linear, tied_linear, conv1d, conv2d, conv_transpose1d, conv_transpose2d, max_pool2d, avg_pool2d, max_pool1d, avg_pool1d, adaptive_max_pool2d, adaptive_avg_pool2d, adaptive_max_pool1d, adaptive_avg_pool1d, global_max_pool, global_avg_pool, upsample_nearest, upsample_bilinear, upsample_linear, pixel_shuffle, pixel_unshuffle, flatten, unflatten, relu, leaky_relu, elu, selu, celu, gelu, silu, softplus, sigmoid, tanh, hardtanh, relu6, hardsigmoid, hardswish, mish, softsign, prelu, batch_norm, layer_norm, group_norm, instance_norm, rms_norm, unit_norm, softmax, log_softmax, glu, dropout, spatial_dropout, gaussian_noise, embedding, patches, unpatch, learned_positions, sinusoidal_positions, repeat_vector, mask_steps, attention, lstm, gru, residual, skip, repeat, teacher_forced, block, custom"#
        ]],
    );
}
