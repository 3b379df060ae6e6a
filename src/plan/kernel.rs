//! The table of kernels: one row each, data only. A test reflects every shader with naga and compares; the CPU's twin is
//! an arm of the match in `cpu/mod.rs`, which has no wildcard.

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

impl Kernel {
    /// The kernel's row.
    pub fn row(self) -> &'static Row {
        // The table stands in the order of the enum, which a test checks.
        &TABLE[self as usize]
    }

    /// `file.entry`, such as `conv2d.forward`.
    pub fn name(self) -> String {
        let row = self.row();
        format!("{}.{}", row.file.trim_end_matches(".wgsl"), row.entry)
    }
}

const fn each(product: &'static [&'static str]) -> Extent {
    Extent { product, each: 1 }
}

const fn tiled(product: &'static [&'static str], each: u32) -> Extent {
    Extent { product, each }
}

const fn binding(name: &'static str, access: Access, element: Element) -> Binding {
    Binding { name, access, element }
}

/// What every product by tiles reads.
const PRODUCT_BINDINGS: &[Binding] =
    &[binding("left", Access::Read, Element::Vector), binding("right", Access::Read, Element::Vector)];

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

/// The text of `shaders/tile.wgsl`.
pub const TILE_SOURCE: &str = include_str!("../../shaders/tile.wgsl");

const CONV: Row = Row {
    kernel: Kernel::Conv2d,
    file: "conv2d.wgsl",
    source: include_str!("../../shaders/conv2d.wgsl"),
    entry: "forward",
    bindings: PRODUCT_BINDINGS,
    constants: &[
        "BATCH",
        "C",
        "H",
        "W",
        "O",
        "P",
        "Q",
        "R",
        "S",
        "STRIDE_H",
        "STRIDE_W",
        "PAD_H",
        "PAD_W",
        "DILATION_H",
        "DILATION_W",
        "CHANNEL_GROUPS",
        "PHASE_H",
        "PHASE_W",
        "TAP_H",
        "TAP_W",
        "INVERSE_H",
        "INVERSE_W",
    ],
    grid: &[],
    workgroup: 64,
    tiled: true,
    halves: true,
    fusion: Fusion::Epilogue,
};
const POOL: Row = Row {
    kernel: Kernel::SumPool,
    file: "pool.wgsl",
    source: include_str!("../../shaders/pool.wgsl"),
    entry: "sum_pool",
    bindings: &[binding("x", Access::Read, Element::Float)],
    constants: &[
        "BATCH",
        "C",
        "H",
        "W",
        "P",
        "Q",
        "R",
        "S",
        "STRIDE_H",
        "STRIDE_W",
        "PAD_H",
        "PAD_W",
        "DILATION_H",
        "DILATION_W",
    ],
    grid: SMALL_IMAGE,
    workgroup: 64,
    tiled: false,
    halves: true,
    fusion: Fusion::Epilogue,
};
const SMALL_IMAGE: &[Extent] = &[tiled(&["BATCH", "P", "Q", "C"], 4)];
const LARGE_IMAGE: &[Extent] = &[tiled(&["BATCH", "H", "W", "C"], 4)];
const KEYED: &[Binding] = &[binding("x", Access::Read, Element::Float), binding("keys", Access::Read, Element::Float)];
const REDUCE: Row = Row {
    kernel: Kernel::Sum,
    file: "reduce.wgsl",
    source: include_str!("../../shaders/reduce.wgsl"),
    entry: "sum",
    bindings: &[binding("y", Access::Write, Element::Float)],
    constants: &["OUTPUTS", "LENGTH", "SPLITS"],
    grid: &[each(&["OUTPUTS", "SPLITS"])],
    workgroup: 64,
    tiled: false,
    halves: false,
    fusion: Fusion::Source,
};
const GATHER: Row = Row {
    kernel: Kernel::Gather,
    file: "gather.wgsl",
    source: include_str!("../../shaders/gather.wgsl"),
    entry: "gather",
    bindings: &[
        binding("x", Access::Read, Element::Float),
        binding("indices", Access::Read, Element::Word),
        binding("y", Access::Write, Element::Float),
    ],
    constants: &["ROWS", "COUNT", "WIDTH"],
    grid: &[each(&["COUNT", "WIDTH"])],
    workgroup: 64,
    tiled: false,
    halves: false,
    fusion: Fusion::No,
};
const WARP: Row = Row {
    kernel: Kernel::Warp,
    file: "warp.wgsl",
    source: include_str!("../../shaders/warp.wgsl"),
    entry: "warp",
    bindings: &[
        binding("x", Access::Read, Element::Float),
        binding("maps", Access::Read, Element::Float),
        binding("y", Access::Write, Element::Float),
    ],
    constants: &["COUNT", "CHANNELS", "HEIGHT", "WIDTH"],
    grid: &[each(&["COUNT", "CHANNELS", "HEIGHT", "WIDTH"])],
    workgroup: 64,
    tiled: false,
    halves: false,
    fusion: Fusion::No,
};
const RECURRENCE: Row = Row {
    kernel: Kernel::Lstm,
    file: "recurrence.wgsl",
    source: include_str!("../../shaders/recurrence.wgsl"),
    entry: "lstm",
    bindings: &[
        binding("before", Access::Read, Element::Float),
        binding("weight", Access::Read, Element::Float),
        binding("y", Access::Write, Element::Float),
    ],
    constants: &["BATCH", "STEPS", "HIDDEN", "GATES", "SHARED", "WORKGROUP", "BACKWARD"],
    // A workgroup for each sequence.
    grid: &[each(&["BATCH"]), each(&["WORKGROUP"])],
    workgroup: 64,
    tiled: false,
    halves: false,
    fusion: Fusion::No,
};
/// Bindings of the linear recurrences.
const LINEAR_BINDINGS: &[Binding] = &[
    binding("factors", Access::Read, Element::Float),
    binding("weight", Access::Read, Element::Float),
    binding("source", Access::Read, Element::Float),
    binding("y", Access::Write, Element::Float),
];
const BATCH: Row = Row {
    kernel: Kernel::BatchFloats,
    file: "batch.wgsl",
    source: include_str!("../../shaders/batch.wgsl"),
    entry: "batch_floats",
    bindings: &[
        binding("floats", Access::Read, Element::Float),
        binding("permutation", Access::Read, Element::Word),
        binding("state", Access::Read, Element::Word),
    ],
    constants: &["ROWS", "COUNT", "WIDTH"],
    grid: &[tiled(&["COUNT", "WIDTH"], 4)],
    workgroup: 64,
    tiled: false,
    halves: false,
    fusion: Fusion::Epilogue,
};
const RANDOM: Row = Row {
    kernel: Kernel::RandomUniform,
    file: "random.wgsl",
    source: include_str!("../../shaders/random.wgsl"),
    entry: "uniform_draw",
    bindings: &[binding("state", Access::Read, Element::Word)],
    constants: &["COUNT", "STREAM"],
    grid: &[tiled(&["COUNT"], 4)],
    workgroup: 64,
    tiled: false,
    halves: false,
    fusion: Fusion::Epilogue,
};
const UPDATE: Row = Row {
    kernel: Kernel::Update,
    file: "optimizer.wgsl",
    source: include_str!("../../shaders/optimizer.wgsl"),
    entry: "update",
    bindings: &[
        binding("gradients", Access::Read, Element::Vector),
        binding("segments", Access::Read, Element::Word),
        binding("schedule", Access::Read, Element::Float),
        binding("state", Access::Read, Element::Word),
        binding("parameters", Access::Update, Element::Vector),
        binding("moments", Access::Update, Element::Vector),
    ],
    constants: &["COUNT", "GROUPS", "METHOD", "CENTERED", "MOMENTUM", "ACCUMULATED", "LIMITED", "SKIP", "SCALED"],
    grid: &[tiled(&["COUNT"], 4)],
    workgroup: 64,
    tiled: false,
    halves: false,
    fusion: Fusion::No,
};

const ASSIGN: Row = Row {
    kernel: Kernel::Assign,
    file: "assign.wgsl",
    source: include_str!("../../shaders/assign.wgsl"),
    entry: "assign",
    bindings: &[
        binding("values", Access::Read, Element::Float),
        binding("blocks", Access::Read, Element::Word),
        binding("parameters", Access::Update, Element::Float),
    ],
    constants: &["COUNT"],
    grid: &[each(&["COUNT"])],
    workgroup: 64,
    tiled: false,
    halves: false,
    fusion: Fusion::No,
};

/// Every kernel, in the order of [`Kernel`].
pub const TABLE: &[Row] = &[
    Row {
        kernel: Kernel::Map,
        file: "elementwise.wgsl",
        source: include_str!("../../shaders/elementwise.wgsl"),
        entry: "map",
        bindings: &[binding("y", Access::Write, Element::Vector)],
        constants: &["COUNT"],
        grid: &[tiled(&["COUNT"], 4)],
        workgroup: 64,
        tiled: false,
        halves: true,
        fusion: Fusion::Source,
    },
    Row {
        kernel: Kernel::MatMul,
        file: "matmul.wgsl",
        source: include_str!("../../shaders/matmul.wgsl"),
        entry: "product",
        constants: &["LEFT_BATCH", "LEFT_LINE", "LEFT_STEP", "RIGHT_BATCH", "RIGHT_COLUMN", "RIGHT_STEP", "M", "N"],
        ..CONV
    },
    CONV,
    Row { kernel: Kernel::Conv2dGradInput, entry: "grad_input", ..CONV },
    Row { kernel: Kernel::Conv2dGradWeight, entry: "grad_weight", ..CONV },
    POOL,
    Row { kernel: Kernel::SumPoolSpread, entry: "sum_pool_spread", grid: LARGE_IMAGE, ..POOL },
    Row { kernel: Kernel::MaxPool, entry: "max_pool", bindings: KEYED, ..POOL },
    Row { kernel: Kernel::MaxPoolSpread, entry: "max_pool_spread", bindings: KEYED, grid: LARGE_IMAGE, ..POOL },
    Row { kernel: Kernel::LinearResize, entry: "linear_resize", grid: LARGE_IMAGE, ..POOL },
    Row { kernel: Kernel::LinearResizeSpread, entry: "linear_resize_spread", ..POOL },
    REDUCE,
    Row {
        kernel: Kernel::ColumnSums,
        entry: "column_sums",
        bindings: &[binding("totals", Access::Write, Element::Vector)],
        constants: &["ROWS", "COLUMNS", "PARTS", "PART_STRIDE", "WORKGROUP"],
        grid: &[each(&["PARTS"]), tiled(&["COLUMNS"], 4)],
        ..REDUCE
    },
    Row {
        kernel: Kernel::Rows,
        file: "rows.wgsl",
        source: include_str!("../../shaders/rows.wgsl"),
        entry: "rows",
        bindings: &[binding("y", Access::Write, Element::Float)],
        constants: &["ROWS", "LENGTH"],
        // A workgroup for each row.
        grid: &[tiled(&["ROWS"], 1)],
        halves: true,
        ..REDUCE
    },
    Row { kernel: Kernel::Max, entry: "maximum_of", ..REDUCE },
    GATHER,
    Row { kernel: Kernel::ScatterAdd, entry: "scatter_add", grid: &[each(&["ROWS", "WIDTH"])], ..GATHER },
    WARP,
    Row {
        kernel: Kernel::Indices,
        file: "indices.wgsl",
        source: include_str!("../../shaders/indices.wgsl"),
        entry: "indices",
        bindings: &[binding("x", Access::Read, Element::Float), binding("y", Access::Write, Element::Word)],
        constants: &["COUNT", "LIMIT"],
        grid: &[each(&["COUNT"])],
        ..GATHER
    },
    Row {
        kernel: Kernel::TopK,
        file: "top_k.wgsl",
        source: include_str!("../../shaders/top_k.wgsl"),
        entry: "top_k",
        bindings: &[binding("x", Access::Read, Element::Float), binding("y", Access::Write, Element::Float)],
        constants: &["ROWS", "LENGTH", "COUNT"],
        // A workgroup for each row.
        grid: &[each(&["ROWS"])],
        workgroup: 256,
        ..GATHER
    },
    RECURRENCE,
    Row {
        kernel: Kernel::Gru,
        entry: "gru",
        bindings: &[
            binding("before", Access::Read, Element::Float),
            binding("weight", Access::Read, Element::Float),
            binding("bias", Access::Read, Element::Float),
            binding("y", Access::Write, Element::Float),
        ],
        ..RECURRENCE
    },
    Row { kernel: Kernel::LinearForward, entry: "linear_forward", bindings: LINEAR_BINDINGS, ..RECURRENCE },
    Row { kernel: Kernel::LinearBackward, entry: "linear_backward", bindings: LINEAR_BINDINGS, ..RECURRENCE },
    BATCH,
    Row {
        kernel: Kernel::BatchBytes,
        entry: "batch_bytes",
        bindings: &[
            binding("bytes", Access::Read, Element::Word),
            binding("permutation", Access::Read, Element::Word),
            binding("state", Access::Read, Element::Word),
        ],
        ..BATCH
    },
    RANDOM,
    Row {
        kernel: Kernel::RandomBits,
        entry: "bits",
        bindings: &[binding("state", Access::Read, Element::Word), binding("words_out", Access::Write, Element::Word)],
        fusion: Fusion::No,
        ..RANDOM
    },
    UPDATE,
    Row {
        kernel: Kernel::LimitedUpdate,
        entry: "limited_update",
        bindings: &[
            binding("gradients", Access::Read, Element::Vector),
            binding("segments", Access::Read, Element::Word),
            binding("schedule", Access::Read, Element::Float),
            binding("state", Access::Read, Element::Word),
            binding("norm", Access::Read, Element::Float),
            binding("parameters", Access::Update, Element::Vector),
            binding("moments", Access::Update, Element::Vector),
        ],
        ..UPDATE
    },
    Row {
        kernel: Kernel::Collect,
        entry: "collect",
        bindings: &[
            binding("gradients", Access::Read, Element::Vector),
            binding("segments", Access::Read, Element::Word),
            binding("schedule", Access::Read, Element::Float),
            binding("moments", Access::Update, Element::Vector),
        ],
        constants: &["COUNT", "ACCUMULATED"],
        ..UPDATE
    },
    Row {
        kernel: Kernel::CollectedUpdate,
        entry: "collected_update",
        bindings: &[
            binding("segments", Access::Read, Element::Word),
            binding("schedule", Access::Read, Element::Float),
            binding("parameters", Access::Update, Element::Vector),
            binding("moments", Access::Update, Element::Vector),
        ],
        constants: &[
            "COUNT",
            "GROUPS",
            "METHOD",
            "CENTERED",
            "MOMENTUM",
            "ACCUMULATED",
            "LIMITED",
            "SKIP",
            "SCALED",
            "NORMED",
        ],
        ..UPDATE
    },
    Row {
        kernel: Kernel::Squares,
        entry: "squares",
        bindings: &[
            binding("gradients", Access::Read, Element::Vector),
            binding("segments", Access::Read, Element::Word),
            binding("parts", Access::Write, Element::Float),
        ],
        constants: &["COUNT"],
        ..UPDATE
    },
    Row {
        kernel: Kernel::SquaresOfSums,
        entry: "squares_of_sums",
        bindings: &[
            binding("gradients", Access::Read, Element::Vector),
            binding("segments", Access::Read, Element::Word),
            binding("schedule", Access::Read, Element::Float),
            binding("state", Access::Read, Element::Word),
            binding("accumulated", Access::Read, Element::Vector),
            binding("parts", Access::Write, Element::Float),
        ],
        constants: &["COUNT", "GROUPS", "ACCUMULATED"],
        ..UPDATE
    },
    Row {
        kernel: Kernel::Norm,
        entry: "join",
        bindings: &[
            binding("squares_of_parts", Access::Read, Element::Float),
            binding("schedule", Access::Read, Element::Float),
            binding("state", Access::Read, Element::Word),
            binding("joined", Access::Update, Element::Float),
        ],
        constants: &["GROUPS", "PARTS", "SCALED"],
        grid: &[],
        ..UPDATE
    },
    Row {
        kernel: Kernel::Average,
        entry: "average",
        bindings: &[
            binding("current", Access::Read, Element::Vector),
            binding("schedule", Access::Read, Element::Float),
            binding("state", Access::Read, Element::Word),
            binding("averages", Access::Update, Element::Vector),
        ],
        constants: &["COUNT", "GROUPS"],
        ..UPDATE
    },
    Row {
        kernel: Kernel::Advance,
        file: "state.wgsl",
        source: include_str!("../../shaders/state.wgsl"),
        entry: "advance",
        bindings: &[
            binding("metrics", Access::Read, Element::Float),
            binding("ring", Access::Update, Element::Float),
            binding("state", Access::Update, Element::Word),
        ],
        constants: &["METRICS", "PARTS", "CAPACITY", "SAMPLES"],
        grid: &[],
        workgroup: 64,
        tiled: false,
        halves: false,
        fusion: Fusion::No,
    },
    ASSIGN,
    Row {
        kernel: Kernel::UnitColumns,
        file: "columns.wgsl",
        source: include_str!("../../shaders/unit_columns.wgsl"),
        entry: "unit_columns",
        bindings: &[binding("parameters", Access::Update, Element::Float)],
        constants: &["FIRST", "ROWS", "COLUMNS"],
        grid: &[each(&["COLUMNS"])],
        ..ASSIGN
    },
    Row {
        kernel: Kernel::Narrow,
        entry: "narrow",
        bindings: &[
            binding("weights", Access::Read, Element::Vector),
            binding("copied", Access::Read, Element::Word),
            binding("copies", Access::Write, Element::Vector),
        ],
        grid: &[tiled(&["COUNT"], 4)],
        halves: true,
        ..ASSIGN
    },
    Row {
        kernel: Kernel::GuardedAssign,
        entry: "guarded_assign",
        bindings: &[
            binding("values", Access::Read, Element::Float),
            binding("blocks", Access::Read, Element::Word),
            binding("norm", Access::Read, Element::Float),
            binding("parameters", Access::Update, Element::Float),
        ],
        ..ASSIGN
    },
    Row {
        kernel: Kernel::Custom,
        file: "custom.wgsl",
        source: include_str!("../../shaders/custom.wgsl"),
        entry: "custom",
        bindings: &[binding("y", Access::Write, Element::Float)],
        constants: &["COUNT"],
        grid: &[each(&["COUNT"])],
        workgroup: 64,
        tiled: false,
        halves: false,
        fusion: Fusion::Own,
    },
];
