//! The table of kernels: one row each, data only. A test reflects every shader with naga and compares; the CPU's twin is
//! an arm of the match in `cpu/mod.rs`, which has no wildcard.

use super::kernel::{Access, Binding, Element, Extent, Fusion, Kernel, Row, Scratch};

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

/// The columns that most rows have alike.
const COMMON: Row = Row {
    kernel: Kernel::Map,
    file: "elementwise.wgsl",
    source: include_str!("../../shaders/elementwise.wgsl"),
    entry: "map",
    bindings: &[binding("y", Access::Write, Element::Vector)],
    constants: &["COUNT"],
    grid: &[tiled(&["COUNT"], 4)],
    workgroup: 64,
    tiled: false,
    halves: false,
    fusion: Fusion::No,
    scratch: Scratch::Words(0),
    row_per_workgroup: false,
    table_rows: None,
    row_length: None,
    parts: None,
    math: false,
};

/// What every product by tiles reads.
const PRODUCT_BINDINGS: &[Binding] =
    &[binding("left", Access::Read, Element::Vector), binding("right", Access::Read, Element::Vector)];

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
    tiled: true,
    halves: true,
    fusion: Fusion::Epilogue,
    row_length: Some("O"),
    ..COMMON
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
    halves: true,
    fusion: Fusion::Epilogue,
    ..COMMON
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
    constants: &["OUTPUTS", "LENGTH", "SPLITS", "LANES"],
    grid: &[each(&["OUTPUTS", "SPLITS", "LANES"])],
    scratch: Scratch::EachInvocation(1),
    fusion: Fusion::Source,
    ..COMMON
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
    table_rows: Some("COUNT"),
    ..COMMON
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
    ..COMMON
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
    scratch: Scratch::Constant("SHARED"),
    math: true,
    ..COMMON
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
    fusion: Fusion::Epilogue,
    table_rows: Some("COUNT"),
    ..COMMON
};
const RANDOM: Row = Row {
    kernel: Kernel::RandomUniform,
    file: "random.wgsl",
    source: include_str!("../../shaders/random.wgsl"),
    entry: "uniform_draw",
    bindings: &[binding("state", Access::Read, Element::Word)],
    constants: &["COUNT", "STREAM"],
    grid: &[tiled(&["COUNT"], 4)],
    fusion: Fusion::Epilogue,
    ..COMMON
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
    ..COMMON
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
    ..COMMON
};

/// Every kernel, in the order of [`Kernel`].
pub const TABLE: &[Row] = &[
    Row { halves: true, fusion: Fusion::Source, ..COMMON },
    Row {
        kernel: Kernel::MatMul,
        file: "matmul.wgsl",
        source: include_str!("../../shaders/matmul.wgsl"),
        entry: "product",
        constants: &["LEFT_BATCH", "LEFT_LINE", "LEFT_STEP", "RIGHT_BATCH", "RIGHT_COLUMN", "RIGHT_STEP", "M", "N"],
        row_length: Some("N"),
        ..CONV
    },
    CONV,
    Row { kernel: Kernel::Conv2dGradInput, entry: "grad_input", row_length: Some("C"), ..CONV },
    Row { kernel: Kernel::Conv2dGradWeight, entry: "grad_weight", row_length: None, ..CONV },
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
        constants: &["ROWS", "COLUMNS", "PARTS", "PART_STRIDE", "ROW_LANES", "WORKGROUP"],
        grid: &[each(&["PARTS", "ROW_LANES"]), tiled(&["COLUMNS"], 4)],
        scratch: Scratch::EachInvocation(4),
        parts: Some(["PART_STRIDE", "COLUMNS"]),
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
        grid: &[each(&["ROWS"])],
        halves: true,
        scratch: Scratch::EachInvocation(1),
        row_per_workgroup: true,
        ..REDUCE
    },
    Row { kernel: Kernel::Max, entry: "maximum_of", ..REDUCE },
    GATHER,
    Row {
        kernel: Kernel::ScatterAdd,
        entry: "scatter_add",
        grid: &[each(&["ROWS", "WIDTH"])],
        table_rows: None,
        ..GATHER
    },
    WARP,
    Row {
        kernel: Kernel::Indices,
        file: "indices.wgsl",
        source: include_str!("../../shaders/indices.wgsl"),
        entry: "indices",
        bindings: &[binding("x", Access::Read, Element::Float), binding("y", Access::Write, Element::Word)],
        constants: &["COUNT", "LIMIT"],
        grid: &[each(&["COUNT"])],
        table_rows: None,
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
        // Counts of 256 digits, their sums, and what is found.
        scratch: Scratch::Words(256 + 256 + 2),
        row_per_workgroup: true,
        table_rows: None,
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
    Row {
        kernel: Kernel::LinearForward,
        entry: "linear_forward",
        bindings: LINEAR_BINDINGS,
        math: false,
        ..RECURRENCE
    },
    Row {
        kernel: Kernel::LinearBackward,
        entry: "linear_backward",
        bindings: LINEAR_BINDINGS,
        math: false,
        ..RECURRENCE
    },
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
        scratch: Scratch::EachInvocation(1),
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
        scratch: Scratch::EachInvocation(1),
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
        scratch: Scratch::EachInvocation(1),
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
        scratch: Scratch::EachInvocation(1),
        fusion: Fusion::No,
        ..COMMON
    },
    ASSIGN,
    Row {
        kernel: Kernel::UnitColumns,
        file: "unit_columns.wgsl",
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
        fusion: Fusion::Own,
        ..COMMON
    },
];
