//! The ops. No match on [`Op`], [`Unary`] or [`Binary`] has a wildcard arm: the compiler names what a new op needs.

use super::element::ElementKernel;
use crate::shape::{dilated, pool_output};

/// Defines an enum of elementwise ops, the list of all of them, and the name of each op's function in
/// `shaders/math.wgsl`, `cpu/math.rs` and `cpu/double.rs`. `$each!` passes the caller's arguments and then all variants
/// and functions to another macro.
macro_rules! elementwise_ops {
    ($dollar:tt $each:ident $(#[$doc:meta])* $name:ident {
        $($(#[$variant_doc:meta])* $variant:ident = $function:ident,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every op of this kind.
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// The function's name in `shaders/math.wgsl` and in printed plans.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => stringify!($function),)* }
            }
        }

        macro_rules! $each {
            ($dollar callback:ident $dollar arguments:tt) => {
                $dollar callback! { $dollar arguments $name $($variant $function)* }
            };
        }
        pub(crate) use $each;
    };
}

elementwise_ops! { $ each_unary
    /// An elementwise function of one operand.
    Unary {
        /// -x
        Negate = negate,
        /// |x|
        Absolute = absolute,
        /// 1, 0 or -1, as x is positive, zero or negative.
        Sign = sign_of,
        /// 1 where x > 0, else 0.
        Step = unit_step,
        /// x²
        Square = square,
        /// √x
        SquareRoot = square_root,
        /// 1/x
        Reciprocal = reciprocal,
        /// eˣ
        Exp = natural_exp,
        /// The natural logarithm.
        Ln = natural_log,
        /// The larger of x and 0.
        Relu = relu,
        /// 1/(1 + e⁻ˣ)
        Sigmoid = sigmoid,
        /// The hyperbolic tangent.
        Tanh = hyperbolic_tangent,
        /// ln(1 + eˣ)
        Softplus = softplus,
        /// x sigmoid(x): Elfwing et al., arXiv 1702.03118.
        Silu = silu,
        /// x Φ(x), exact: Hendrycks and Gimpel, arXiv 1606.08415.
        Gelu = gelu,
        /// The error function.
        Erf = error_function,
        /// sin x, x in radians.
        Sine = sine,
        /// cos x, x in radians.
        Cosine = cosine,
        /// The inverse of the standard normal's distribution function, for x in `[0, 1)`.
        NormalQuantile = normal_quantile,
    }
}

elementwise_ops! { $ each_binary
    /// An elementwise function of two operands.
    Binary {
        /// x + y
        Add = add,
        /// x - y
        Subtract = subtract,
        /// x y
        Multiply = multiply,
        /// x / y
        Divide = divide,
        /// The larger of the two.
        Maximum = maximum,
        /// The smaller of the two.
        Minimum = minimum,
        /// x to the power y, for x >= 0.
        Power = power,
        /// 1 where x < y, else 0.
        Less = less,
        /// 1 where x = y, else 0.
        Equal = equal,
        /// Binary cross-entropy of target y in `[0, 1]` against the logit x: max(x, 0) - x y + ln(1 + e^-|x|).
        BceWithLogits = bce_with_logits,
        /// x where x > 0, else y x.
        LeakyRelu = leaky_relu,
        /// x where x > 0, else y (eˣ - 1): Clevert et al., arXiv 1511.07289.
        Elu = elu,
    }
}

/// Stride, padding, dilation `[vertical, horizontal]` and groups of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Elements from one position to the next; at least 1.
    pub stride: [usize; 2],
    /// Zeros added to the input on each side.
    pub padding: [usize; 2],
    /// Elements of the input from one element of the kernel to the next; at least 1.
    pub dilation: [usize; 2],
    /// Number of groups that input and output channels are divided into, each convolved separately: 1 for an ordinary
    /// convolution, the number of channels for a depthwise one.
    pub groups: usize,
}

impl Default for Window {
    /// Stride 1, no padding, no dilation, one group.
    fn default() -> Window {
        Window { stride: [1; 2], padding: [0; 2], dilation: [1; 2], groups: 1 }
    }
}

impl Window {
    /// A window with one stride and one padding for both directions, neither dilated nor grouped.
    pub fn square(stride: usize, padding: usize) -> Window {
        Window { stride: [stride; 2], padding: [padding; 2], ..Window::default() }
    }
}

/// The windows of a pooling over the large image, `[vertical, horizontal]`, without the padding's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pooling {
    /// Elements of a window; 0 for [adaptive](Pooling::ADAPTIVE) windows.
    pub kernel: [usize; 2],
    /// Elements from one window to the next; at least 1.
    pub stride: [usize; 2],
    /// Elements by which the first and the last windows may extend beyond the image; at most half the kernel.
    pub padding: [usize; 2],
    /// Elements of the image from one element of a window to the next; at least 1.
    pub dilation: [usize; 2],
    /// Whether the number of windows is rounded up, so that the last window may extend further: PyTorch's `ceil_mode`.
    pub ceil: bool,
}

impl Pooling {
    /// Windows that divide the image among any number of positions, as in PyTorch's adaptive poolings: of `p` positions
    /// over `h` elements, window `i` begins at `i h / p` rounded down and ends at `(i + 1) h / p` rounded up.
    pub const ADAPTIVE: Pooling =
        Pooling { kernel: [0; 2], stride: [1; 2], padding: [0; 2], dilation: [1; 2], ceil: false };

    /// Windows that cover the image side by side.
    pub fn tiles(kernel: [usize; 2]) -> Pooling {
        Pooling { kernel, stride: kernel, ..Pooling::ADAPTIVE }
    }

    /// The number of windows along an axis of `size` elements. `None` where no window fits, where the padding is more
    /// than half the kernel, and where the gaps of a dilated window would contain all elements of the image.
    pub fn positions(&self, axis: usize, size: usize) -> Option<usize> {
        let [kernel, stride, padding, dilation] =
            [self.kernel, self.stride, self.padding, self.dilation].map(|s| s[axis]);
        let count = pool_output(size, dilated(kernel, dilation), stride, padding, self.ceil)?;
        if padding > kernel / 2 {
            return None;
        }
        // A window that begins in the padding needs an element in the image: the first one that is not before it.
        let reaches = |position: usize| {
            let before = padding - position * stride;
            before.div_ceil(dilation) * dilation - before < size
        };
        (0..count).take_while(|position| position * stride < padding).all(reaches).then_some(count)
    }
}

/// A linear map between a large image `[n, c, h, w]` and a small one `[n, c, p, q]`. The kinds are listed in pairs:
/// each is the transpose, and so the derivative, of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pool {
    /// Large to small: the sum of each window.
    Sum,
    /// Small to large: the sum over all windows that contain an element.
    SumSpread,
    /// Large to small: in each window, the element at its first largest key. The second operand holds the keys.
    Max,
    /// Small to large: the sum over all windows in which an element has the first largest key. The second operand, a
    /// large image, holds the keys.
    MaxSpread,
    /// Small to large: linear interpolation between the centres of pixels (align_corners = false). A window is the area
    /// of a pixel of the small image.
    Linear,
    /// Large to small: each element is divided among the pixels from which it was interpolated.
    LinearSpread,
}

impl Pool {
    /// The name in errors and printed plans, and the transpose.
    fn name_and_transpose(self) -> (&'static str, Pool) {
        match self {
            Pool::Sum => ("sum_pool", Pool::SumSpread),
            Pool::SumSpread => ("sum_pool_spread", Pool::Sum),
            Pool::Max => ("max_pool", Pool::MaxSpread),
            Pool::MaxSpread => ("max_pool_spread", Pool::Max),
            Pool::Linear => ("linear_resize", Pool::LinearSpread),
            Pool::LinearSpread => ("linear_resize_spread", Pool::Linear),
        }
    }

    /// The name in errors and printed plans.
    pub fn name(self) -> &'static str {
        self.name_and_transpose().0
    }

    /// The kind that maps the other way.
    pub fn transposed(self) -> Pool {
        self.name_and_transpose().1
    }

    /// Whether the result is the large image.
    pub fn enlarges(self) -> bool {
        matches!(self, Pool::SumSpread | Pool::MaxSpread | Pool::Linear)
    }
}

/// The order in which a recurrence takes the steps of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the first to the last.
    Forward,
    /// From the last to the first.
    Backward,
}

/// The function of a reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// The sum.
    Sum,
    /// The largest.
    Max,
}

/// The computation of a node from its operands. [`Node`](super::Node) has the result's shape.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// A value that the caller writes before a run.
    Input {
        /// The name of its buffer on the device.
        name: String,
    },
    /// A trained value.
    Parameter {
        /// PyTorch's name, such as `encoder.0.weight`.
        name: String,
    },
    /// One number in every element.
    Constant(f64),
    /// 0, 1, 2, .. along its one axis.
    Iota,
    /// An elementwise function.
    Unary(Unary),
    /// An elementwise function of two operands of one shape.
    Binary(Binary),
    /// `[.., m, k] x [.., k, n] -> [.., m, n]`; a transposed operand has its last two axes swapped first.
    MatMul {
        /// The first operand is `[.., k, m]`.
        transpose_lhs: bool,
        /// The second operand is `[.., n, k]`.
        transpose_rhs: bool,
    },
    /// `[n, c, h, w]`, `[o, c / groups, r, s]` -> `[n, o, p, q]`: cross-correlation, as PyTorch's conv2d.
    Conv2d(Window),
    /// `[n, o, p, q]`, `[o, c / groups, r, s]` -> `[n, c, h, w]`: conv2d's derivative by its input, and transposed
    /// convolution.
    Conv2dGradInput(Window),
    /// `[n, c, h, w]`, `[n, o, p, q]` -> `[o, c / groups, r, s]`: conv2d's derivative by its weight.
    Conv2dGradWeight(Window),
    /// Pooling and resizing, or the derivative of one.
    Pool(Pool, Pooling),
    /// The operand repeated along axes of size 1 and missing leading axes.
    Broadcast,
    /// The elements of the operand in another shape, row-major.
    Reshape,
    /// Output axis `i` is operand axis `axes[i]`.
    Permute(Vec<usize>),
    /// A box of the operand that begins at `start`.
    Slice {
        /// The first kept index along each axis.
        start: Vec<usize>,
    },
    /// Zeros around the operand.
    Pad {
        /// Zeros before the operand along each axis. The number of zeros after it follows from the shape.
        before: Vec<usize>,
    },
    /// Operands one after the other along an axis.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// The sum or maximum along `axes`, which disappear from the shape.
    Reduce {
        /// Sum or maximum.
        reduction: Reduction,
        /// The axes, ascending.
        axes: Vec<usize>,
    },
    /// Rows of a table `[v, ..]` at indices `[n]` -> `[n, ..]`.
    Gather,
    /// Rows `[n, ..]` added to a table of zeros at indices `[n]` -> `[v, ..]`.
    ScatterAdd,
    /// Indices from real numbers: rounded to the nearest whole number and limited to `0..limit`.
    Indices {
        /// The number of rows of the table.
        limit: usize,
    },
    /// 1 for the k largest elements along the last axis, else 0: see [`Graph::top_k`](super::Graph::top_k).
    TopK {
        /// The number of ones in a row, k.
        count: usize,
    },
    /// An LSTM over `[n, t, 4 h]`, with weight `[h, 4 h]` -> `[n, t, 2 h]`: see [`Graph::lstm`](super::Graph::lstm).
    Lstm(Direction),
    /// A GRU over `[n, t, 3 h]`, with weight `[h, 3 h]` and bias `[h]` -> `[n, t, h]`: see
    /// [`Graph::gru`](super::Graph::gru).
    Gru(Direction),
    /// The recurrence that small changes of the state of an LSTM follow: factors `[n, t, 6 h]`, weight `[h, 4 h]`,
    /// source `[n, t, 2 h]` -> `[n, t, 2 h]`. For a GRU: factors `[n, t, 4 h]`, weight `[h, 3 h]`, source `[n, t, h]`
    /// -> `[n, t, h]`.
    LinearRecurrence {
        /// Whether this is the transpose, which takes the steps in reverse and has the transposed weight.
        transposed: bool,
        /// The direction of the recurrence that is not transposed.
        direction: Direction,
    },
    /// Uniform draws in `[0, 1)`, multiples of 2⁻²⁴, from the state's seed and step: Philox4x32-10, Salmon et al. 2011.
    RandomUniform {
        /// The stream of the generator.
        stream: u32,
    },
    /// The generator's 32-bit words.
    RandomBits {
        /// The stream of the generator.
        stream: u32,
    },
    /// Pictures `[n, c, h, w]` sampled along affine maps `[n, 6]`: see [`Graph::warp`](super::Graph::warp).
    Warp,
    /// An application's kernel: see [`Graph::custom`](super::Graph::custom).
    Custom(ElementKernel),
    /// The next rows of a resident data set in the epoch's order; bytes become multiples of 1/255.
    Batch,
}

impl Op {
    /// The name in errors and printed plans: the method of [`Graph`](super::Graph) that adds the op.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Input { .. } => "input",
            Op::Parameter { .. } => "parameter",
            Op::Constant(_) => "constant",
            Op::Iota => "iota",
            Op::Unary(op) => op.name(),
            Op::Binary(op) => op.name(),
            Op::MatMul { .. } => "matmul",
            Op::Conv2d(_) => "conv2d",
            Op::Conv2dGradInput(_) => "conv2d_grad_input",
            Op::Conv2dGradWeight(_) => "conv2d_grad_weight",
            Op::Pool(pool, _) => pool.name(),
            Op::Broadcast => "broadcast",
            Op::Reshape => "reshape",
            Op::Permute(_) => "permute",
            Op::Slice { .. } => "slice",
            Op::Pad { .. } => "pad",
            Op::Concat { .. } => "concat",
            Op::Reduce { reduction: Reduction::Sum, .. } => "sum",
            Op::Reduce { reduction: Reduction::Max, .. } => "max",
            Op::Gather => "gather",
            Op::ScatterAdd => "scatter_add",
            Op::Indices { .. } => "indices",
            Op::TopK { .. } => "top_k",
            Op::Lstm(_) => "lstm",
            Op::Gru(_) => "gru",
            Op::LinearRecurrence { .. } => "linear_recurrence",
            Op::RandomUniform { .. } => "random_uniform",
            Op::RandomBits { .. } => "random_bits",
            Op::Warp => "warp",
            Op::Custom(_) => "custom",
            Op::Batch => "batch",
        }
    }
}
