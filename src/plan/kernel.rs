//! Kernels, and what a row of their table says of one.

/// A kernel: an entry point under `shaders/` and its twin of the same name under `src/cpu/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// A fused elementwise expression.
    Map,
    /// A batched matrix product.
    MatMul,
    /// Convolution.
    Conv2d,
    /// Its derivative by the input; transposed convolution.
    Conv2dGradInput,
    /// Its derivative by the weight, as partial sums.
    Conv2dGradWeight,
    /// Sums of windows.
    SumPool,
    /// Its transpose: each element in every place of its window.
    SumPoolSpread,
    /// Elements at the first largest keys of windows.
    MaxPool,
    /// Its transpose: each element at the first largest key of its window.
    MaxPoolSpread,
    /// An image enlarged by linear interpolation.
    LinearResize,
    /// Its transpose.
    LinearResizeSpread,
    /// Sums along axes, possibly partial.
    Sum,
    /// Sums along all axes but the last ones, possibly partial.
    ColumnSums,
    /// A fused elementwise expression of rows and of what they are reduced to, such as a softmax or a normalisation.
    Rows,
    /// Maxima along axes, possibly partial.
    Max,
    /// Rows of a table.
    Gather,
    /// Rows summed into a table.
    ScatterAdd,
    /// Pictures sampled along affine maps.
    Warp,
    /// Real numbers as indices.
    Indices,
    /// Which elements are the largest of their rows.
    TopK,
    /// An LSTM over all steps of sequences.
    Lstm,
    /// A GRU over all steps of sequences.
    Gru,
    /// The linear recurrence that small changes of their states follow.
    LinearForward,
    /// Its transpose.
    LinearBackward,
    /// The next batch of a data set of floats.
    BatchFloats,
    /// The next batch of a data set of bytes.
    BatchBytes,
    /// Uniform draws.
    RandomUniform,
    /// The generator's words.
    RandomBits,
    /// The optimiser on every parameter.
    Update,
    /// The same under a limit of the gradients' norm.
    LimitedUpdate,
    /// Gradients to where the next kernel finds them, where it has no binding for them.
    Collect,
    /// The optimiser on every parameter, by these gradients.
    CollectedUpdate,
    /// Sums of the gradients' squares.
    Squares,
    /// The same with the gradients of the batches before.
    SquaresOfSums,
    /// Joins these and counts updates that are left out.
    Norm,
    /// Lets the parameters' average follow them.
    Average,
    /// Keeps the step's metrics and moves the state on.
    Advance,
    /// Numbers that follow no gradient take their new values.
    Assign,
    /// Columns of a matrix of parameters are scaled to length 1.
    UnitColumns,
    /// Copies of weights in 16 bits.
    Narrow,
    /// The same where all gradients are finite.
    GuardedAssign,
    /// An application's own: whose text and twin come with the step, see [`Step::own`](super::Step::own).
    Custom,
}

/// What a launch does with a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reads it.
    Read,
    /// Writes every element, and reads none but, in a recurrence, those of the steps that it has just written.
    Write,
    /// Reads and writes: only the state, the parameters and the optimiser's moments, which live as long as the run.
    Update,
}

/// The element type of a binding in the shader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// f32
    Float,
    /// f32, four at a time.
    Vector,
    /// u32; bytes are packed four to a word.
    Word,
}

/// A storage buffer of a kernel. Its position in [`Row::bindings`] is its position among a step's slots, and there its
/// `@binding` number; the number in the file serves the file alone.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// The variable's name in the shader.
    pub name: &'static str,
    /// How it is used.
    pub access: Access,
    /// What it holds.
    pub element: Element,
}

/// The function of a kernel that the plan replaces by a fused expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fusion {
    /// None.
    No,
    /// `fused(i)` makes element `i`.
    Source,
    /// `finish(at, value)` and `finish4` take the kernel's result for element `at`, or four from there on, and leave the
    /// step's outcomes.
    Epilogue,
    /// `element(i)` is an application's own function of the inputs, and makes element `i`.
    Own,
}

/// A factor of a kernel's number of invocations: the product of some constants, divided and rounded up.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Constants that are multiplied.
    pub product: &'static [&'static str],
    /// How many of them one invocation computes.
    pub each: u32,
}

/// Words of workgroup memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scratch {
    /// As many.
    Words(u64),
    /// As many as a constant says.
    Constant(&'static str),
    /// One for each invocation of the workgroup.
    EachInvocation,
}

/// All that is known of a kernel before it is specialised.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Which kernel.
    pub kernel: Kernel,
    /// The file under `shaders/`.
    pub file: &'static str,
    /// Its text.
    pub source: &'static str,
    /// The entry point, and the twin's name on the CPU.
    pub entry: &'static str,
    /// Its own storage buffers; those of a step's outcomes, and of a fused expression, `x0`, `x1`, ..., come after them.
    pub bindings: &'static [Binding],
    /// The `const`s of the file that a step sets, in the order of [`Step::constants`](super::Step::constants).
    pub constants: &'static [&'static str],
    /// Invocations: the product of these extents.
    pub grid: &'static [Extent],
    /// Invocations in a workgroup, all along x; those of a tiled kernel are a constant.
    pub workgroup: u32,
    /// Whether it is a product by tiles: `shaders/tile.wgsl` with the operands that the functions named `ENTRY_..` of this
    /// file describe.
    pub tiled: bool,
    /// Whether its own buffers of real numbers may hold 16-bit ones; those of outcomes and of inputs may anyway.
    pub halves: bool,
    /// Where a fused expression goes.
    pub fusion: Fusion,
    /// What it takes of workgroup memory besides tiles.
    pub scratch: Scratch,
    /// Whether a workgroup computes a row, rather than each invocation an element of the grid.
    pub row_per_workgroup: bool,
    /// The constant that says how many rows of the first two bindings are read, which may hold more.
    pub table_rows: Option<&'static str>,
    /// The constant that is the length of the rows that the results of a product come in, where they do.
    pub row_length: Option<&'static str>,
    /// The constants of the stride and the length of partial sums which the result is, apart from a product's splits.
    pub parts: Option<[&'static str; 2]>,
    /// Whether it calls functions of `shaders/math.wgsl` itself, besides those of its fused expression.
    pub math: bool,
}

impl Row {
    /// The names of a step's constants, in their order.
    pub fn constant_names(&self) -> impl Iterator<Item = &'static str> {
        let shared: &[&str] = if self.tiled { TILE_CONSTANTS } else { &[] };
        self.constants.iter().chain(shared).copied()
    }

    /// How many outcomes and inputs a fused expression may have where a launch binds so many storage buffers.
    pub fn fused(&self, storage_buffers: usize) -> usize {
        match self.fusion {
            Fusion::No => 0,
            Fusion::Source | Fusion::Epilogue | Fusion::Own => storage_buffers.saturating_sub(self.bindings.len()),
        }
    }
}

/// The constants of `shaders/tile.wgsl`, which every tiled kernel has after its own.
pub const TILE_CONSTANTS: &[&str] = &[
    "PANELS",
    "LINES",
    "COLUMNS",
    "DEPTH",
    "SPLITS",
    "SPLIT_DEPTH",
    "SPLIT_STRIDE",
    "LEFT_PACK",
    "RIGHT_PACK",
    "RESULT_PACK",
    "FAMILY",
    "WORKGROUP",
    "TILE_LINES",
    "TILE_COLUMNS",
    "TILE_DEPTH",
    "THREAD_LINES",
    "THREAD_COLUMNS",
];
