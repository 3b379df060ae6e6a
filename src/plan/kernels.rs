//! The table of kernels: one row each, data only, from which the enum [`Kernel`] is made as well. A test reflects every
//! shader with naga and compares; the twin on the CPU is an arm of the match in `cpu/mod.rs`, which has no wildcard.

use self::Element::{Float, Vector, Word};

/// How a launch uses a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reads the buffer.
    Read,
    /// Writes every element. Only a recurrence reads elements as well: those of the time steps that it has written.
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
    /// The use of the buffer.
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
    /// `element(i)`, an application's function of the inputs, makes element `i`.
    Own,
}

/// A factor of a kernel's number of invocations: the product of some constants, divided and rounded up.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Constants that are multiplied.
    pub product: &'static [&'static str],
    /// Elements that one invocation computes.
    pub each: u32,
}

/// Words of workgroup memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scratch {
    /// A fixed number of words.
    Words(u64),
    /// The value of the constant of this name.
    Constant(&'static str),
    /// One word for each invocation of the workgroup.
    EachInvocation,
    /// This number of words for each invocation, where the constant of this name is above 1: invocations then share sums.
    Shared(&'static str, u64),
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
    /// The kernel's storage buffers, which those of outcomes and of fused inputs, `x0`, `x1`, ..., follow.
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
    /// Whether a launch may share a dispatch: the file then has a function `ENTRY_part(group, lane)` with the work of a
    /// workgroup. Products have one by their family.
    pub joins: bool,
    /// Whether the float buffers in `bindings` may be 16-bit; those of outcomes and of fused inputs always may.
    pub halves: bool,
    /// The function of the shader that a fused expression replaces.
    pub fusion: Fusion,
    /// Workgroup memory in addition to tiles.
    pub scratch: Scratch,
    /// Whether the grid counts workgroups, each of which computes a row, rather than invocations.
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
    /// The constant of this name among a launch's constants; `None` where the kernel has none.
    pub(super) fn constant(&self, constants: &[u32], name: &str) -> Option<u64> {
        let position = self.constant_names().position(|known| known == name)?;
        Some(constants[position] as u64)
    }

    /// Invocations of a workgroup of a launch with these constants.
    pub(super) fn invocations(&self, constants: &[u32]) -> u64 {
        self.constant(constants, "WORKGROUP").unwrap_or(self.workgroup as u64)
    }

    /// The use that a launch with `outcomes` outcomes makes of a slot.
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

/// A list of names, such as those of constants.
macro_rules! names {
    ($($name:ident)*) => { &[$(stringify!($name)),*] };
}

/// The text of `shaders/tile.wgsl`.
pub const TILE_SOURCE: &str = include_str!("../../shaders/tile.wgsl");

/// The constants of `shaders/tile.wgsl`, which follow those of [`Row::constants`] in every tiled kernel.
pub const TILE_CONSTANTS: &[&str] = names![
    PANELS LINES COLUMNS DEPTH SPLITS SPLIT_DEPTH SPLIT_STRIDE LEFT_PACK RIGHT_PACK RESULT_PACK
    TOTAL_LANES FAMILY WORKGROUP TILE_LINES TILE_COLUMNS TILE_DEPTH THREAD_LINES THREAD_COLUMNS DEPTH_LANES
];

const fn read(name: &'static str, element: Element) -> Binding {
    Binding { name, access: Access::Read, element }
}

const fn write(name: &'static str, element: Element) -> Binding {
    Binding { name, access: Access::Write, element }
}

const fn update(name: &'static str, element: Element) -> Binding {
    Binding { name, access: Access::Update, element }
}

/// One invocation for each combination of these constants' values.
const fn each(product: &'static [&'static str]) -> Extent {
    Extent { product, each: 1 }
}

/// One invocation for every four of the combinations.
const fn by_four(product: &'static [&'static str]) -> Extent {
    Extent { product, each: 4 }
}

/// The columns that most kernels have in common.
const COMMON: Row = Row {
    kernel: Kernel::Map,
    file: "elementwise.wgsl",
    source: include_str!("../../shaders/elementwise.wgsl"),
    entry: "map",
    bindings: &[write("y", Vector)],
    constants: names![COUNT],
    grid: &[by_four(names![COUNT])],
    workgroup: 64,
    tiled: false,
    joins: false,
    halves: false,
    fusion: Fusion::No,
    scratch: Scratch::Words(0),
    row_per_workgroup: false,
    table_rows: None,
    row_length: None,
    parts: None,
    math: false,
};

/// Defines the enum [`Kernel`] and [`TABLE`]. A row is `Kernel in "FILE" { COLUMNS, ..KERNEL }`: the file under
/// `shaders/` and the other columns are those of the kernel named last, unless the row gives them.
macro_rules! kernels {
    ($($(#[$doc:meta])* $name:ident $(in $file:literal)? { $($column:ident: $value:expr,)* ..$base:ident })*) => {
        /// A kernel: an entry point under `shaders/` and its twin of the same name under `src/cpu/`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kernel { $($(#[$doc])* $name,)* }

        /// Every kernel, in the order of [`Kernel`].
        #[allow(non_upper_case_globals, reason = "a row's constant has the name of its kernel")]
        pub const TABLE: &[Row] = {
            $(const $name: Row = Row {
                kernel: Kernel::$name,
                $(file: $file, source: include_str!(concat!("../../shaders/", $file)),)?
                $($column: $value,)*
                ..$base
            };)*
            &[$($name),*]
        };
    };
}

kernels! {
    /// A fused elementwise expression.
    Map { joins: true, halves: true, fusion: Fusion::Source, ..COMMON }
    /// A batched matrix product.
    MatMul in "matmul.wgsl" {
        entry: "product",
        constants: names![LEFT_BATCH LEFT_LINE LEFT_STEP RIGHT_BATCH RIGHT_COLUMN RIGHT_STEP M N],
        row_length: Some("N"),
        ..Conv2d
    }
    /// Convolution.
    Conv2d in "conv2d.wgsl" {
        entry: "forward",
        bindings: &[read("left", Vector), read("right", Vector)],
        constants: names![
            BATCH C H W O P Q R S STRIDE_H STRIDE_W PAD_H PAD_W DILATION_H DILATION_W
            CHANNEL_GROUPS PHASE_H PHASE_W TAP_H TAP_W INVERSE_H INVERSE_W
        ],
        grid: &[],
        tiled: true,
        halves: true,
        fusion: Fusion::Epilogue,
        row_length: Some("O"),
        ..COMMON
    }
    /// Gradient of a convolution with respect to its input; transposed convolution.
    Conv2dGradInput { entry: "grad_input", row_length: Some("C"), ..Conv2d }
    /// Gradient of a convolution with respect to its weight, as partial sums.
    Conv2dGradWeight { entry: "grad_weight", row_length: None, ..Conv2d }
    /// Sums of windows.
    SumPool in "pool.wgsl" {
        entry: "sum_pool",
        bindings: &[read("x", Float)],
        constants: names![BATCH C H W P Q R S STRIDE_H STRIDE_W PAD_H PAD_W DILATION_H DILATION_W],
        grid: &[by_four(names![BATCH P Q C])],
        halves: true,
        fusion: Fusion::Epilogue,
        ..COMMON
    }
    /// Transpose of [`Kernel::SumPool`]: copies each element to every place of its window.
    SumPoolSpread { entry: "sum_pool_spread", grid: &[by_four(names![BATCH H W C])], ..SumPool }
    /// Elements at the first largest keys of windows.
    MaxPool { entry: "max_pool", bindings: &[read("x", Float), read("keys", Float)], ..SumPool }
    /// Transpose of [`Kernel::MaxPool`]: puts each element at the first largest key of its window.
    MaxPoolSpread { entry: "max_pool_spread", grid: &[by_four(names![BATCH H W C])], ..MaxPool }
    /// An image enlarged by linear interpolation.
    LinearResize { entry: "linear_resize", ..SumPoolSpread }
    /// Transpose of [`Kernel::LinearResize`].
    LinearResizeSpread { entry: "linear_resize_spread", ..SumPool }
    /// Sums along axes, possibly partial.
    Sum in "reduce.wgsl" {
        entry: "sum",
        joins: true,
        bindings: &[write("y", Float)],
        constants: names![OUTPUTS LENGTH SPLITS LANES],
        grid: &[each(names![OUTPUTS SPLITS LANES])],
        scratch: Scratch::Shared("LANES", 1),
        fusion: Fusion::Source,
        ..COMMON
    }
    /// Sums along all axes but the last ones, possibly partial.
    ColumnSums {
        entry: "column_sums",
        bindings: &[write("totals", Vector)],
        constants: names![ROWS COLUMNS PARTS PART_STRIDE ROW_LANES WORKGROUP],
        grid: &[each(names![PARTS ROW_LANES]), by_four(names![COLUMNS])],
        scratch: Scratch::Shared("ROW_LANES", 4),
        parts: Some(["PART_STRIDE", "COLUMNS"]),
        ..Sum
    }
    /// A fused elementwise expression of rows and their reductions, such as a softmax or a normalisation; a workgroup
    /// computes a row.
    Rows in "rows.wgsl" {
        entry: "rows",
        constants: names![ROWS LENGTH],
        grid: &[each(names![ROWS])],
        halves: true,
        scratch: Scratch::EachInvocation,
        row_per_workgroup: true,
        ..Sum
    }
    /// Maxima along axes, possibly partial.
    Max { entry: "maximum_of", ..Sum }
    /// Rows of a table.
    Gather in "gather.wgsl" {
        entry: "gather",
        joins: true,
        bindings: &[read("x", Float), read("indices", Word), write("y", Float)],
        constants: names![ROWS COUNT WIDTH],
        grid: &[each(names![COUNT WIDTH])],
        table_rows: Some("COUNT"),
        ..COMMON
    }
    /// Rows summed into a table.
    ScatterAdd { entry: "scatter_add", grid: &[each(names![ROWS WIDTH])], table_rows: None, ..Gather }
    /// Images sampled along affine maps.
    Warp in "warp.wgsl" {
        entry: "warp",
        bindings: &[read("x", Float), read("maps", Float), write("y", Float)],
        constants: names![COUNT CHANNELS HEIGHT WIDTH],
        grid: &[each(names![COUNT CHANNELS HEIGHT WIDTH])],
        ..COMMON
    }
    /// Conversion of real numbers to indices.
    Indices in "indices.wgsl" {
        entry: "indices",
        joins: true,
        bindings: &[read("x", Float), write("y", Word)],
        constants: names![COUNT LIMIT],
        grid: &[each(names![COUNT])],
        ..COMMON
    }
    /// Mask of the largest elements of each row; a workgroup computes a row.
    TopK in "top_k.wgsl" {
        entry: "top_k",
        bindings: &[read("x", Float), write("y", Float)],
        constants: names![ROWS LENGTH COUNT],
        grid: &[each(names![ROWS])],
        workgroup: 256,
        // Counts of 256 digits, their sums, and the digit and the rest that are found.
        scratch: Scratch::Words(256 + 256 + 2),
        row_per_workgroup: true,
        ..COMMON
    }
    /// An LSTM over all steps of sequences; a workgroup computes a sequence.
    Lstm in "recurrence.wgsl" {
        entry: "lstm",
        bindings: &[read("before", Float), read("weight", Float), write("y", Float)],
        constants: names![BATCH STEPS HIDDEN GATES SHARED WORKGROUP BACKWARD],
        grid: &[each(names![BATCH]), each(names![WORKGROUP])],
        scratch: Scratch::Constant("SHARED"),
        math: true,
        ..COMMON
    }
    /// A GRU over all steps of sequences.
    Gru {
        entry: "gru",
        bindings: &[read("before", Float), read("weight", Float), read("bias", Float), write("y", Float)],
        ..Lstm
    }
    /// The linear recurrence that small changes of an LSTM's or GRU's states follow.
    LinearForward {
        entry: "linear_forward",
        bindings: &[read("factors", Float), read("weight", Float), read("source", Float), write("y", Float)],
        math: false,
        ..Lstm
    }
    /// Transpose of [`Kernel::LinearForward`].
    LinearBackward { entry: "linear_backward", ..LinearForward }
    /// The next batch of a data set of floats.
    BatchFloats in "batch.wgsl" {
        entry: "batch_floats",
        bindings: &[read("floats", Float), read("permutation", Word), read("state", Word)],
        constants: names![ROWS COUNT WIDTH],
        grid: &[by_four(names![COUNT WIDTH])],
        fusion: Fusion::Epilogue,
        table_rows: Some("COUNT"),
        ..COMMON
    }
    /// The next batch of a data set of bytes.
    BatchBytes {
        entry: "batch_bytes",
        bindings: &[read("bytes", Word), read("permutation", Word), read("state", Word)],
        ..BatchFloats
    }
    /// Uniform draws.
    RandomUniform in "random.wgsl" {
        entry: "uniform_draw",
        joins: true,
        bindings: &[read("state", Word)],
        constants: names![COUNT STREAM],
        fusion: Fusion::Epilogue,
        ..COMMON
    }
    /// Random words of the generator.
    RandomBits {
        entry: "bits",
        bindings: &[read("state", Word), write("words_out", Word)],
        fusion: Fusion::No,
        ..RandomUniform
    }
    /// The optimiser's update of every parameter.
    Update in "optimizer.wgsl" {
        entry: "update",
        bindings: &[
            read("gradients", Vector), read("segments", Word), read("schedule", Float), read("state", Word),
            update("parameters", Vector), update("moments", Vector),
        ],
        constants: names![COUNT GROUPS METHOD CENTERED MOMENTUM ACCUMULATED LIMITED SKIP SCALED],
        ..COMMON
    }
    /// [`Kernel::Update`] with a limit on the gradients' norm.
    LimitedUpdate {
        entry: "limited_update",
        bindings: &[
            read("gradients", Vector), read("segments", Word), read("schedule", Float), read("state", Word),
            read("norm", Float), update("parameters", Vector), update("moments", Vector),
        ],
        ..Update
    }
    /// Collects gradients among the moments, for devices that bind too few buffers for the update.
    Collect {
        entry: "collect",
        bindings: &[
            read("gradients", Vector), read("segments", Word), read("schedule", Float), update("moments", Vector),
        ],
        constants: names![COUNT ACCUMULATED],
        ..Update
    }
    /// The optimiser's update of every parameter by collected gradients.
    CollectedUpdate {
        entry: "collected_update",
        bindings: &[
            read("segments", Word), read("schedule", Float), update("parameters", Vector), update("moments", Vector),
        ],
        constants: names![COUNT GROUPS METHOD CENTERED MOMENTUM ACCUMULATED LIMITED SKIP SCALED NORMED],
        ..Update
    }
    /// Sums of the gradients' squares.
    Squares {
        entry: "squares",
        bindings: &[read("gradients", Vector), read("segments", Word), write("parts", Float)],
        constants: names![COUNT],
        scratch: Scratch::EachInvocation,
        ..Update
    }
    /// Sums of the squares of accumulated gradients, those of earlier batches included.
    SquaresOfSums {
        entry: "squares_of_sums",
        bindings: &[
            read("gradients", Vector), read("segments", Word), read("schedule", Float), read("state", Word),
            read("accumulated", Vector), write("parts", Float),
        ],
        constants: names![COUNT GROUPS ACCUMULATED],
        ..Squares
    }
    /// Joins the sums of squares to the gradients' norm, and counts skipped updates.
    Norm {
        entry: "join",
        bindings: &[
            read("squares_of_parts", Float), read("schedule", Float), read("state", Word), update("joined", Float),
        ],
        constants: names![GROUPS PARTS SCALED],
        grid: &[],
        ..Squares
    }
    /// Updates the running average of the parameters.
    Average {
        entry: "average",
        bindings: &[
            read("current", Vector), read("schedule", Float), read("state", Word), update("averages", Vector),
        ],
        constants: names![COUNT GROUPS],
        ..Update
    }
    /// Records the step's metrics and advances the state.
    Advance in "state.wgsl" {
        entry: "advance",
        bindings: &[read("metrics", Float), update("ring", Float), update("state", Word)],
        constants: names![METRICS PARTS CAPACITY SAMPLES],
        grid: &[],
        scratch: Scratch::EachInvocation,
        ..COMMON
    }
    /// Assigns new values to parameters that are not trained by gradient.
    Assign in "assign.wgsl" {
        entry: "assign",
        bindings: &[read("values", Float), read("blocks", Word), update("parameters", Float)],
        grid: &[each(names![COUNT])],
        ..COMMON
    }
    /// Scales the columns of a matrix of parameters to length 1.
    UnitColumns in "unit_columns.wgsl" {
        entry: "unit_columns",
        bindings: &[update("parameters", Float)],
        constants: names![FIRST ROWS COLUMNS],
        grid: &[each(names![COLUMNS])],
        ..COMMON
    }
    /// Copies of weights in 16 bits.
    Narrow {
        entry: "narrow",
        bindings: &[read("weights", Vector), read("copied", Word), write("copies", Vector)],
        grid: &[by_four(names![COUNT])],
        halves: true,
        ..Assign
    }
    /// [`Kernel::Assign`], only where all gradients are finite.
    GuardedAssign {
        entry: "guarded_assign",
        bindings: &[read("values", Float), read("blocks", Word), read("norm", Float), update("parameters", Float)],
        ..Assign
    }
    /// An application's kernel, whose text and CPU twin the step carries in [`Step::own`](super::Step::own).
    Custom in "custom.wgsl" {
        entry: "custom",
        bindings: &[write("y", Float)],
        grid: &[each(names![COUNT])],
        fusion: Fusion::Own,
        ..COMMON
    }
}

impl Kernel {
    /// The kernel's row.
    pub fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// `file.entry`, such as `conv2d.forward`.
    pub fn name(self) -> String {
        let row = self.row();
        format!("{}.{}", row.file.trim_end_matches(".wgsl"), row.entry)
    }
}
