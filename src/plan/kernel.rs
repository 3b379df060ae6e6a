//! Kernels, and the columns of the kernel table.

/// A kernel: an entry point under `shaders/` and its twin of the same name under `src/cpu/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// A fused elementwise expression.
    Map,
    /// A batched matrix product.
    MatMul,
    /// Convolution.
    Conv2d,
    /// Gradient of a convolution with respect to its input; transposed convolution.
    Conv2dGradInput,
    /// Gradient of a convolution with respect to its weight, as partial sums.
    Conv2dGradWeight,
    /// Sums of windows.
    SumPool,
    /// Transpose of [`Kernel::SumPool`]: copies each element to every place of its window.
    SumPoolSpread,
    /// Elements at the first largest keys of windows.
    MaxPool,
    /// Transpose of [`Kernel::MaxPool`]: puts each element at the first largest key of its window.
    MaxPoolSpread,
    /// An image enlarged by linear interpolation.
    LinearResize,
    /// Transpose of [`Kernel::LinearResize`].
    LinearResizeSpread,
    /// Sums along axes, possibly partial.
    Sum,
    /// Sums along all axes but the last ones, possibly partial.
    ColumnSums,
    /// A fused elementwise expression of rows and their reductions, such as a softmax or a normalisation.
    Rows,
    /// Maxima along axes, possibly partial.
    Max,
    /// Rows of a table.
    Gather,
    /// Rows summed into a table.
    ScatterAdd,
    /// Images sampled along affine maps.
    Warp,
    /// Conversion of real numbers to indices.
    Indices,
    /// Mask of the largest elements of each row.
    TopK,
    /// An LSTM over all steps of sequences.
    Lstm,
    /// A GRU over all steps of sequences.
    Gru,
    /// The linear recurrence that small changes of an LSTM's or GRU's states follow.
    LinearForward,
    /// Transpose of [`Kernel::LinearForward`].
    LinearBackward,
    /// The next batch of a data set of floats.
    BatchFloats,
    /// The next batch of a data set of bytes.
    BatchBytes,
    /// Uniform draws.
    RandomUniform,
    /// Random words of the generator.
    RandomBits,
    /// The optimiser's update of every parameter.
    Update,
    /// [`Kernel::Update`] with a limit on the gradients' norm.
    LimitedUpdate,
    /// Collects gradients among the moments, for devices that bind too few buffers for the update.
    Collect,
    /// The optimiser's update of every parameter by collected gradients.
    CollectedUpdate,
    /// Sums of the gradients' squares.
    Squares,
    /// Sums of the squares of accumulated gradients, those of earlier batches included.
    SquaresOfSums,
    /// Joins the sums of squares to the gradients' norm, and counts skipped updates.
    Norm,
    /// Updates the running average of the parameters.
    Average,
    /// Records the step's metrics and advances the state.
    Advance,
    /// Assigns new values to parameters that are not trained by gradient.
    Assign,
    /// Scales the columns of a matrix of parameters to length 1.
    UnitColumns,
    /// Copies of weights in 16 bits.
    Narrow,
    /// [`Kernel::Assign`], only where all gradients are finite.
    GuardedAssign,
    /// An application's own kernel: the step carries its text and CPU twin, see [`Step::own`](super::Step::own).
    Custom,
}

/// What a launch does with a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reads it.
    Read,
    /// Writes every element; only a recurrence reads some of them: those of the steps that it has just written.
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
    /// How the kernel uses the buffer.
    pub access: Access,
    /// The type of its elements.
    pub element: Element,
}

/// The function of a kernel that the plan replaces by a fused expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fusion {
    /// None.
    No,
    /// `fused(i)` makes element `i`.
    Source,
    /// `finish(at, value)` and `finish4` take the kernel's result for element `at`, or four from there on, and store
    /// the step's outcomes.
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
    /// A fixed number of words.
    Words(u64),
    /// The value of the constant of this name.
    Constant(&'static str),
    /// So many words for each invocation of the workgroup.
    EachInvocation(u64),
}

/// A row of the kernel table: the description of a kernel before it is specialised.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The kernel.
    pub kernel: Kernel,
    /// The file under `shaders/`.
    pub file: &'static str,
    /// The file's text.
    pub source: &'static str,
    /// The entry point, and the twin's name on the CPU.
    pub entry: &'static str,
    /// The kernel's own storage buffers; those of outcomes and of fused inputs, `x0`, `x1`, ..., follow.
    pub bindings: &'static [Binding],
    /// The `const`s of the file that a step sets, in the order of [`Step::constants`](super::Step::constants).
    pub constants: &'static [&'static str],
    /// Invocations: the product of these extents.
    pub grid: &'static [Extent],
    /// Invocations in a workgroup, all along x; those of a tiled kernel are a constant.
    pub workgroup: u32,
    /// Whether the kernel is a tiled product: `shaders/tile.wgsl` with the operands that this file's functions named
    /// `ENTRY_..` describe.
    pub tiled: bool,
    /// Whether the kernel's own float buffers may be 16-bit; those of outcomes and of fused inputs always may.
    pub halves: bool,
    /// The function that a fused expression replaces.
    pub fusion: Fusion,
    /// Workgroup memory in addition to tiles.
    pub scratch: Scratch,
    /// Whether a workgroup computes a row, rather than each invocation an element of the grid.
    pub row_per_workgroup: bool,
    /// The constant that gives the number of rows read from the first two bindings, which may hold more.
    pub table_rows: Option<&'static str>,
    /// The constant that gives the row length of a product's results, where they come in rows.
    pub row_length: Option<&'static str>,
    /// The constants of the stride and the length of partial sums in the result, apart from a product's splits.
    pub parts: Option<[&'static str; 2]>,
    /// Whether the kernel itself, not just its fused expression, calls functions of `shaders/math.wgsl`.
    pub math: bool,
}

impl Row {
    /// The constant of a name, of those that a launch of the kernel has.
    pub(super) fn constant(&self, constants: &[u32], name: &str) -> Option<u64> {
        let position = self.constant_names().position(|known| known == name)?;
        Some(constants[position] as u64)
    }

    /// Invocations of a workgroup of a launch with these constants.
    pub(super) fn invocations(&self, constants: &[u32]) -> u64 {
        self.constant(constants, "WORKGROUP").unwrap_or(self.workgroup as u64)
    }

    /// What a launch that stores `outcomes` further results does with a slot.
    pub(super) fn access(&self, slot: usize, outcomes: usize) -> Access {
        match self.bindings.get(slot) {
            Some(binding) => binding.access,
            None if slot < self.bindings.len() + outcomes => Access::Write,
            None => Access::Read,
        }
    }

    /// The names of a step's constants, in their order.
    pub fn constant_names(&self) -> impl Iterator<Item = &'static str> {
        let shared: &[&str] = if self.tiled { TILE_CONSTANTS } else { &[] };
        self.constants.iter().chain(shared).copied()
    }

    /// The most outcomes and inputs that a fused expression may have where a launch binds `storage_buffers` buffers.
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
    "DEPTH_LANES",
    "TOTAL_LANES",
];
