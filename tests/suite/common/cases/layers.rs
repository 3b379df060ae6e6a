//! Layers as model files write them, each on a batch of odd sizes.

use super::{Derivatives, Fill, PLAIN, Table};
use pinhole::graph::{Pooling, Unary, Window};
use pinhole::shape::Shape;

pub(super) fn layers(table: &mut Table) {
    let mut layer = |text: &str, shape: &[usize], fill: Fill| {
        table.case(format!("{text} of {}", Shape::from(shape)), |b| {
            let x = b.input(shape, fill)?;
            b.layer(text, x)
        });
    };
    // Away from where slopes jump.
    layer("\"hardtanh\"", &[3, 5, 7], Fill::Apart(0.1, 0.9));
    layer("{ hardtanh = { min = -0.05, max = 0.02 } }", &[65], PLAIN);
    layer("\"selu\"", &[3, 5, 7], Fill::Apart(0.1, 3.0));
    layer("{ celu = 0.6 }", &[3, 5, 7], Fill::Apart(0.1, 3.0));
    layer("\"relu6\"", &[3, 5, 7], Fill::Between(0.1, 5.9));
    layer("\"hardsigmoid\"", &[3, 5, 7], Fill::Apart(0.1, 2.9));
    layer("\"hardswish\"", &[3, 5, 7], Fill::Apart(0.1, 2.9));
    layer("\"glu\"", &[3, 5, 8], Fill::Apart(0.1, 4.0));
    layer("{ glu = 0 }", &[3, 2, 5, 3], PLAIN);
    layer("\"mish\"", &[3, 5, 7], Fill::Apart(0.1, 4.0));
    layer("\"softsign\"", &[3, 5, 7], Fill::Apart(0.1, 4.0));
    layer("\"prelu\"", &[3, 4, 5, 3], PLAIN);
    layer("\"prelu\"", &[1, 1], PLAIN);
    layer("{ prelu = { per_channel = true } }", &[3, 4, 5, 3], PLAIN);
    layer("{ prelu = { per_channel = true } }", &[9, 6], PLAIN);
    layer("{ conv1d = { out = 5, kernel = 3, stride = 2, padding = 1 } }", &[3, 4, 11], PLAIN);
    layer("{ conv1d = { out = 6, kernel = 2, dilation = 3, groups = 3 } }", &[2, 3, 9], PLAIN);
    layer("{ conv_transpose1d = { out = 3, kernel = 4, stride = 2, padding = 1 } }", &[2, 5, 6], PLAIN);
    layer("{ conv2d = { out = 8, kernel = 3, padding = 2, dilation = 2, groups = 4 } }", &[2, 4, 6, 5], PLAIN);
    layer("{ conv_transpose2d = { out = 8, kernel = 3, stride = 2, groups = 4 } }", &[2, 4, 3, 4], PLAIN);
    layer(
        "{ conv_transpose2d = { out = 3, kernel = 2, output_padding = [2, 0], dilation = 3 } }",
        &[2, 4, 3, 4],
        PLAIN,
    );
    layer("{ conv2d = { out = 3, kernel = [2, 4], padding = \"same\" } }", &[2, 4, 5, 3], PLAIN);
    layer("{ conv1d = { out = 4, kernel = 3, padding = \"same\", dilation = 2 } }", &[3, 2, 7], PLAIN);
    layer("{ linear = 3 }", &[2, 3, 4, 5], PLAIN);
    // Neighbours apart, so that a finite difference does not change which is the largest.
    let apart = Fill::Distinct;
    layer("{ max_pool2d = 2 }", &[2, 4, 6, 5], apart.clone());
    layer("{ max_pool2d = { kernel = 3, stride = 2, padding = 1 } }", &[2, 3, 7, 8], apart.clone());
    layer("{ max_pool2d = { kernel = [2, 1], stride = [3, 1] } }", &[3, 1, 8, 3], apart.clone());
    layer("{ max_pool2d = 1 }", &[2, 5, 3, 1], apart.clone());
    layer("{ max_pool2d = { kernel = 5, stride = 1, padding = 2 } }", &[1, 8, 3, 4], apart.clone());
    layer("{ avg_pool2d = 2 }", &[2, 4, 6, 5], PLAIN);
    layer("{ avg_pool2d = { kernel = [3, 2], stride = [2, 1], padding = [1, 1] } }", &[2, 3, 7, 5], PLAIN);
    layer("\"global_avg_pool\"", &[2, 5, 3, 4], PLAIN);
    layer("\"global_avg_pool\"", &[2, 3, 7], PLAIN);
    layer("\"global_max_pool\"", &[2, 5, 3, 4], apart.clone());
    layer(
        "{ max_pool2d = { kernel = [2, 3], stride = 2, padding = 1, dilation = [3, 1] } }",
        &[2, 3, 6, 5],
        apart.clone(),
    );
    layer("{ max_pool2d = { kernel = 3, stride = 2, ceil_mode = true } }", &[1, 8, 6, 4], apart.clone());
    layer("{ max_pool1d = { kernel = 3, stride = 1, padding = 1, dilation = 2 } }", &[3, 4, 9], apart.clone());
    layer("{ max_pool1d = 1 }", &[2, 1, 1], apart.clone());
    layer("{ avg_pool1d = { kernel = 3, stride = 2, ceil_mode = true } }", &[3, 5, 8], PLAIN);
    layer("{ avg_pool2d = { kernel = 3, stride = 2, padding = 1, count_include_pad = false } }", &[2, 4, 6, 5], PLAIN);
    layer("{ adaptive_avg_pool2d = [3, 2] }", &[2, 3, 7, 5], PLAIN);
    layer("{ adaptive_avg_pool2d = [2, 5] }", &[2, 4, 6, 3], PLAIN);
    layer("{ adaptive_avg_pool2d = 1 }", &[2, 1, 1, 1], PLAIN);
    layer("{ adaptive_avg_pool1d = 2 }", &[3, 4, 6], PLAIN);
    layer("{ adaptive_max_pool2d = [3, 2] }", &[2, 4, 7, 5], apart.clone());
    layer("{ adaptive_max_pool1d = 4 }", &[2, 3, 6], apart);
    layer("{ upsample_nearest = 3 }", &[2, 3, 5], PLAIN);
    layer("{ upsample_linear = 2 }", &[2, 4, 5], PLAIN);
    layer("{ upsample_nearest = 2 }", &[2, 3, 4, 3], PLAIN);
    layer("{ upsample_nearest = [1, 3] }", &[2, 4, 1, 5], PLAIN);
    layer("{ upsample_bilinear = 2 }", &[2, 3, 4, 3], PLAIN);
    layer("{ upsample_bilinear = [3, 4] }", &[1, 4, 1, 3], PLAIN);
    layer("{ upsample_bilinear = 1 }", &[2, 2, 3, 2], PLAIN);
    layer("{ pixel_shuffle = 2 }", &[2, 12, 3, 2], PLAIN);
    layer("{ pixel_unshuffle = 3 }", &[2, 2, 6, 3], PLAIN);
    layer("{ patches = { size = 2, out = 5 } }", &[3, 1, 4, 6], PLAIN);
    layer("{ patches = { size = [3, 2], out = 3 } }", &[2, 3, 6, 4], PLAIN);
    layer("{ unpatch = { size = [3, 2], shape = [2, 6, 4] } }", &[2, 4, 12], PLAIN);
    layer("\"learned_positions\"", &[3, 5, 4], PLAIN);
    layer("\"sinusoidal_positions\"", &[3, 17, 5], PLAIN);
    layer("{ repeat_vector = 4 }", &[3, 5], PLAIN);
    layer("{ attention = { heads = 2, causal = true } }", &[2, 5, 4], PLAIN);
    layer("{ attention = { heads = 1, causal = true } }", &[2, 1, 3], PLAIN);
    layer("{ lstm = { out = 3, bidirectional = true } }", &[2, 4, 3], PLAIN);
    layer("{ gru = { out = 2, last = true, bidirectional = true } }", &[3, 3, 2], PLAIN);
    layer("{ lstm = { out = 2, layers = 2 } }", &[2, 3, 4], PLAIN);
    layer("{ gru = { out = 2, last = true, bidirectional = true, layers = 2 } }", &[2, 3, 1], PLAIN);
    layer("\"rms_norm\"", &[5, 9], PLAIN);
    // A number alone becomes its sign, whose derivative is rounding where eps is small.
    layer("{ rms_norm = { eps = 0.01 } }", &[3, 1], PLAIN);
    layer("{ rms_norm = { axes = 2, eps = 0.01 } }", &[2, 3, 4, 5], PLAIN);
    layer("\"instance_norm\"", &[2, 3, 7], PLAIN);
    layer("{ instance_norm = { eps = 0.01, affine = true } }", &[2, 3, 4, 5], PLAIN);
    let training = [
        "{ mask_steps = 0.6 }",
        "{ gaussian_noise = 0.5 }",
        "{ attention = { heads = 2, dropout = 0.3 } }",
        "{ lstm = { out = 3, layers = 2, dropout = 0.4 } }",
    ];
    for text in training {
        table.case(format!("{text} of [3, 7, 4] in training"), |b| {
            let (state, x) = (b.state_of(12, 5)?, b.x([3, 7, 4])?);
            b.set_training(state)?;
            b.layer(text, x)
        });
    }
    let ties = table.case("{ max_pool2d = 3 } with ties", |b| {
        let x = b.input([3, 4, 9, 7], Fill::Quarters(0.0))?;
        b.layer("{ max_pool2d = { kernel = 3, stride = 2 } }", x)
    });
    ties.derivatives(Derivatives::Compared);
    table.case("convolution, pooling, enlarging, convolution", |b| {
        let x = b.x([2, 1, 10, 9])?;
        let w = [b.x([5, 1, 3, 3])?, b.x([2, 5, 3, 3])?];
        let y = b.conv2d(x, w[0], Window::square(1, 1))?;
        let y = b.unary(Unary::Tanh, y)?;
        let y = b.max_pool(y, Pooling::tiles([2, 2]))?;
        let y = b.linear_resize(y, [2, 2])?;
        let y = b.unary(Unary::Sine, y)?;
        b.conv2d(y, w[1], Window::square(2, 1))
    });
    table.case("two convolutions of a sequence", |b| {
        let x = b.x([3, 2, 16])?;
        let w = [b.weight([4, 2, 3])?, b.weight([3, 4, 3])?];
        let mut y = b.reshape(x, [3, 2, 1, 16])?;
        for (weight, channels) in w.into_iter().zip([2, 4]) {
            let out = b.shape(weight)[0];
            let weight = b.reshape(weight, [out, channels, 1, 3])?;
            y = b.conv2d(y, weight, Window { stride: [1, 2], padding: [0, 1], ..Window::default() })?;
            y = b.unary(Unary::Tanh, y)?;
        }
        Ok(y)
    });
}
