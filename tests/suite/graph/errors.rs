//! What the graph refuses, in whole messages: the op, what disagrees, the operands' shapes, the node.

use expect_test::{Expect, expect};
use pinhole::graph::{Binary, Graph, Pool, Pooling, Unary, Value, Window};
use pinhole::tensor::DType;
use pinhole::{Error, Result};

/// A graph with operands of every kind, in the scope of a layer.
struct Operands {
    graph: Graph,
    matrix: Value,
    other: Value,
    image: Value,
    weight: Value,
    words: Value,
    state: Value,
    bytes: Value,
}

fn operands() -> Result<Operands> {
    let mut graph = Graph::new();
    let matrix = graph.input("matrix", [32, 784], DType::Float)?;
    let other = graph.parameter("other", [128, 64])?;
    let image = graph.input("image", [8, 3, 28, 28], DType::Float)?;
    let weight = graph.parameter("weight", [16, 4, 5, 5])?;
    let words = graph.input("words", [10], DType::U32)?;
    let state = graph.state("state")?;
    let bytes = graph.input("bytes", [60, 1, 28, 28], DType::U8)?;
    graph.set_scope("encoder.0");
    Ok(Operands { graph, matrix, other, image, weight, words, state, bytes })
}

fn refused(build: impl FnOnce(&mut Operands) -> Result<Value>, message: Expect) {
    let mut operands = operands().expect("operands that fit");
    let nodes = operands.graph.nodes().len();
    match build(&mut operands) {
        Ok(_) => message.assert_eq("accepted"),
        Err(error) => {
            assert!(matches!(error, Error::Graph { .. }), "{error:?}");
            assert!(!error.to_string().contains('\n'), "{error}");
            message.assert_eq(&error.to_string());
        }
    }
    // What is refused leaves no broken node behind.
    assert!(operands.graph.nodes()[nodes..].iter().all(|node| node.shape.elements() > 0));
}

#[test]
fn products() {
    refused(
        |o| o.graph.matmul(o.matrix, o.other, false, false),
        expect![[r#"matmul: inner sizes differ: lhs [32, 784] x rhs [128, 64] (node 7 "encoder.0")"#]],
    );
    refused(
        |o| o.graph.matmul(o.matrix, o.other, true, true),
        expect![[
            r#"matmul: inner sizes differ: lhs [32, 784] transposed x rhs [128, 64] transposed (node 7 "encoder.0")"#
        ]],
    );
    refused(
        |o| o.graph.matmul(o.matrix, o.words, false, false),
        expect![[r#"matmul: operand [10] is U32, not Float (node 7 "encoder.0")"#]],
    );
    refused(
        |o| {
            let row = o.graph.reshape(o.matrix, [32 * 784])?;
            o.graph.matmul(row, o.other, false, false)
        },
        expect![[r#"matmul: operands need two axes or more: lhs [25088] x rhs [128, 64] (node 8 "encoder.0")"#]],
    );
    refused(
        |o| {
            let (x, y) = (o.graph.reshape(o.matrix, [4, 8, 784])?, o.graph.reshape(o.matrix, [2, 784, 16])?);
            o.graph.matmul(x, y, false, false)
        },
        expect![[r#"matmul: leading sizes differ: lhs [4, 8, 784] x rhs [2, 784, 16] (node 9 "encoder.0")"#]],
    );
}

#[test]
fn convolutions() {
    refused(
        |o| o.graph.conv2d(o.image, o.weight, Window::square(2, 1)),
        expect![[r#"conv2d: channels differ: x [8, 3, 28, 28] x weight [16, 4, 5, 5] (node 7 "encoder.0")"#]],
    );
    refused(
        |o| o.graph.conv2d(o.matrix, o.weight, Window::square(2, 1)),
        expect![[r#"conv2d: x needs four axes, has [32, 784] (node 7 "encoder.0")"#]],
    );
    refused(
        |o| {
            let image = o.graph.reshape(o.image, [32, 4, 7, 21])?;
            let image = o.graph.slice(image, &[0, 0, 0, 0], [32, 4, 4, 21])?;
            o.graph.conv2d(image, o.weight, Window::square(1, 0))
        },
        expect![[
            r#"conv2d: kernel [5, 5] does not fit input [4, 21] with stride [1, 1], padding [0, 0] (node 9 "encoder.0")"#
        ]],
    );
    refused(
        |o| {
            let image = o.graph.reshape(o.image, [32, 4, 7, 21])?;
            o.graph.conv2d(image, o.weight, Window { stride: [0, 1], padding: [2, 2], ..Window::default() })
        },
        expect![[
            r#"conv2d: kernel [5, 5] does not fit input [7, 21] with stride [0, 1], padding [2, 2] (node 8 "encoder.0")"#
        ]],
    );
    refused(
        |o| o.graph.conv2d_grad_input(o.image, o.weight, Window::square(2, 1), [56, 56]),
        expect![[
            r#"conv2d_grad_input: channels differ: upstream [8, 3, 28, 28] x weight [16, 4, 5, 5] (node 7 "encoder.0")"#
        ]],
    );
    refused(
        |o| {
            let upstream = o.graph.reshape(o.image, [8, 16, 7, 21])?;
            o.graph.conv2d_grad_input(upstream, o.weight, Window::square(2, 2), [40, 42])
        },
        expect![[
            r#"conv2d_grad_input: input [40, 42] does not give upstream [8, 16, 7, 21] with stride [2, 2], padding [2, 2] (node 8 "encoder.0")"#
        ]],
    );
    refused(
        |o| o.graph.conv2d_grad_weight(o.image, o.image, Window::square(2, 1), [3, 3]),
        expect![[r#"conv2d_grad_weight: x [8, 3, 28, 28] does not give upstream [8, 3, 28, 28] (node 7 "encoder.0")"#]],
    );
}

#[test]
fn groups_and_dilation() {
    let grouped = |groups| Window { groups, ..Window::default() };
    refused(
        |o| o.graph.conv2d(o.image, o.weight, grouped(2)),
        expect![[r#"conv2d: 3 channels in and 16 out cannot be cut into 2 groups (node 7 "encoder.0")"#]],
    );
    refused(
        |o| o.graph.conv2d(o.image, o.weight, grouped(0)),
        expect![[r#"conv2d: 3 channels in and 16 out cannot be cut into 0 groups (node 7 "encoder.0")"#]],
    );
    refused(
        |o| {
            let image = o.graph.reshape(o.image, [6, 4, 14, 56])?;
            o.graph
                .slice(image, &[0, 0, 0, 0], [6, 4, 14, 16])
                .and_then(|image| o.graph.conv2d(image, o.weight, Window { dilation: [1, 4], ..Window::default() }))
        },
        expect![[
            r#"conv2d: kernel [5, 5] does not fit input [14, 16] with stride [1, 1], padding [0, 0], dilation [1, 4] (node 9 "encoder.0")"#
        ]],
    );
}

#[test]
fn pooling() {
    refused(
        |o| o.graph.max_pool(o.matrix, Pooling::tiles([2, 2])),
        expect![[r#"max_pool: x needs four axes, has [32, 784] (node 7 "encoder.0")"#]],
    );
    refused(
        |o| o.graph.sum_pool(o.image, Pooling { stride: [2, 2], padding: [2, 1], ..Pooling::tiles([3, 3]) }),
        expect![[
            r#"sum_pool: windows of [3, 3] at [2, 2] do not fit [28, 28] with padding [2, 1] of at most half a window (node 7 "encoder.0")"#
        ]],
    );
    refused(
        |o| o.graph.pool(Pool::MaxSpread, o.image, None, Pooling::tiles([2, 2]), [56, 56]),
        expect![[r#"max_pool_spread: keys are for the choice of maxima, and needed there (node 7 "encoder.0")"#]],
    );
    refused(
        |o| o.graph.pool(Pool::MaxSpread, o.image, Some(o.image), Pooling::tiles([2, 2]), [56, 56]),
        expect![[r#"max_pool_spread: keys [8, 3, 28, 28] are not of the large image's shape (node 7 "encoder.0")"#]],
    );
    refused(
        |o| o.graph.pool(Pool::SumSpread, o.image, None, Pooling::tiles([2, 2]), [50, 56]),
        expect![[r#"sum_pool_spread: [50, 56] in windows of [2, 2] at [2, 2] is not [28, 28] (node 7 "encoder.0")"#]],
    );
    refused(
        |o| o.graph.linear_resize(o.image, [0, 2]),
        expect![[r#"linear_resize: [28, 28] cannot be enlarged by [0, 2] (node 7 "encoder.0")"#]],
    );
}

#[test]
fn elementwise_ops() {
    refused(
        |o| o.graph.add(o.matrix, o.other),
        expect![[r#"add: shapes do not broadcast: lhs [32, 784] x rhs [128, 64] (node 7 "encoder.0")"#]],
    );
    refused(
        |o| o.graph.binary(Binary::BceWithLogits, o.matrix, o.image),
        expect![[
            r#"bce_with_logits: shapes do not broadcast: lhs [32, 784] x rhs [8, 3, 28, 28] (node 7 "encoder.0")"#
        ]],
    );
    refused(
        |o| o.graph.unary(Unary::Relu, o.words),
        expect![[r#"relu: operand [10] is U32, not Float (node 7 "encoder.0")"#]],
    );
    refused(
        |o| o.graph.broadcast(o.matrix, [16, 784]),
        expect![[r#"broadcast: [32, 784] does not broadcast to [16, 784] (node 7 "encoder.0")"#]],
    );
    refused(
        |o| o.graph.constant(f64::NAN, [3]),
        expect![[r#"constant: NaN is no finite 32-bit number (node 7 "encoder.0")"#]],
    );
    refused(
        |o| o.graph.scale(o.matrix, 1e60),
        expect![[
            r#"constant: 1000000000000000000000000000000000000000000000000000000000000 is no finite 32-bit number (node 7 "encoder.0")"#
        ]],
    );
}

#[test]
fn movement() {
    refused(
        |o| o.graph.reshape(o.matrix, [32, 785]),
        expect![[r#"reshape: [32, 784] holds 25088 elements, [32, 785] another number (node 7 "encoder.0")"#]],
    );
    refused(
        |o| o.graph.permute(o.image, &[0, 1, 1, 3]),
        expect![[r#"permute: [0, 1, 1, 3] is no order of the axes of [8, 3, 28, 28] (node 7 "encoder.0")"#]],
    );
    refused(
        |o| o.graph.slice(o.matrix, &[1, 0], [32, 784]),
        expect![[r#"slice: [32, 784] from [1, 0] is not inside [32, 784] (node 7 "encoder.0")"#]],
    );
    refused(
        |o| o.graph.slice(o.matrix, &[0, usize::MAX], [1, 1]),
        expect![[r#"slice: [1, 1] from [0, 18446744073709551615] is not inside [32, 784] (node 7 "encoder.0")"#]],
    );
    refused(
        |o| o.graph.pad(o.matrix, &[1], &[1]),
        expect![[r#"pad: [1] and [1] do not match the axes of [32, 784] (node 7 "encoder.0")"#]],
    );
    refused(
        |o| o.graph.pad(o.matrix, &[1, usize::MAX], &[1, 1]),
        expect![[r#"pad: [34, 18446744073709551615] has more than 2^31 elements (node 7 "encoder.0")"#]],
    );
    refused(
        |o| o.graph.concat(&[o.matrix, o.other], 0),
        expect![[r#"concat: [32, 784] and [128, 64] differ beside axis 0 (node 7 "encoder.0")"#]],
    );
    refused(|o| o.graph.concat(&[o.matrix], 2), expect![[r#"concat: [32, 784] has no axis 2 (node 7 "encoder.0")"#]]);
    refused(|o| o.graph.concat(&[], 0), expect![[r#"concat: no operands (node 7 "encoder.0")"#]]);
    refused(
        |o| o.graph.sum(o.matrix, &[0, 2]),
        expect![[r#"sum: [32, 784] has not all of the axes [0, 2] (node 7 "encoder.0")"#]],
    );
    refused(|o| o.graph.max(o.words, &[0]), expect![[r#"max: operand [10] is U32, not Float (node 7 "encoder.0")"#]]);
}

#[test]
fn indices_and_draws() {
    refused(
        |o| o.graph.gather(o.matrix, o.matrix),
        expect![[r#"gather: operand [32, 784] is Float, not U32 (node 7 "encoder.0")"#]],
    );
    refused(
        |o| o.graph.gather(o.bytes, o.words),
        expect![[r#"gather: operand [60, 1, 28, 28] is U8, not Float (node 7 "encoder.0")"#]],
    );
    refused(
        |o| o.graph.scatter_add(o.matrix, o.words, 5),
        expect![[
            r#"scatter_add: [32, 784] has not one row for each of the indices [10], or the table has no rows (node 7 "encoder.0")"#
        ]],
    );
    refused(
        |o| o.graph.batch(o.bytes, o.words, o.state, 8),
        expect![[r#"batch: data [60, 1, 28, 28] and permutation [10] differ in samples (node 7 "encoder.0")"#]],
    );
    refused(
        |o| {
            let order = o.graph.input("order", [60], DType::U32)?;
            o.graph.batch(o.bytes, order, o.state, 61)
        },
        expect![[r#"batch: batch 61 is not between 1 and 60 samples (node 8 "encoder.0")"#]],
    );
    refused(
        |o| o.graph.random_uniform(o.words, [3]),
        expect![[r#"random_uniform: a step state is [8], not [10] (node 7 "encoder.0")"#]],
    );
    refused(
        |o| o.graph.random_bernoulli(o.state, 1.5, [3]),
        expect![[r#"random_bernoulli: probability 1.5 is not between 0 and 1 (node 7 "encoder.0")"#]],
    );
}

#[test]
fn sources_and_gradients() {
    refused(
        |o| o.graph.input("nothing", [3, 0, 4], DType::Float),
        expect![[r#"input: [3, 0, 4] has a size of zero (node 7 "encoder.0")"#]],
    );
    refused(
        |o| o.graph.input("huge", [1 << 20, 1 << 20], DType::Float),
        expect![[r#"input: [1048576, 1048576] has more than 2^31 elements (node 7 "encoder.0")"#]],
    );
    refused(
        |o| o.graph.input("beyond counting", [usize::MAX, 3], DType::Float),
        expect![[r#"input: [18446744073709551615, 3] has more than 2^31 elements (node 7 "encoder.0")"#]],
    );
    refused(
        |o| o.graph.parameter("other", [128, 65]),
        expect![[r#"parameter: "other" is [128, 64], asked for as [128, 65] (node 7 "encoder.0")"#]],
    );
    refused(
        |o| o.graph.gradients(o.matrix, &[o.matrix]).map(|gradients| gradients[0]),
        expect![[r#"gradients: the loss must be one number, not [32, 784] (node 7 "encoder.0")"#]],
    );
}

#[test]
fn an_error_outside_any_scope_names_only_the_node() {
    let mut graph = Graph::new();
    let x = graph.input("x", [2, 3], DType::Float).expect("an input");
    let error = graph.matmul(x, x, false, false).err().map(|error| error.to_string()).unwrap_or_default();
    expect!["matmul: inner sizes differ: lhs [2, 3] x rhs [2, 3] (node 1)"].assert_eq(&error);
}
