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
    /// Sums along axes, possibly partial.
    Sum,
    /// Maxima along axes, possibly partial.
    Max,
    /// Rows of a table.
    Gather,
    /// Rows summed into a table.
    ScatterAdd,
    /// The next batch of a data set of floats.
    BatchFloats,
    /// The next batch of a data set of bytes.
    BatchBytes,
    /// Uniform draws.
    RandomUniform,
    /// The generator's words.
    RandomBits,
    /// Gradient descent on every parameter.
    Sgd,
    /// Adam on every parameter.
    Adam,
    /// Keeps the step's metrics and moves the state on.
    Advance,
}

/// What a launch does with a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads it.
    Read,
    /// Writes every element and reads none.
    Write,
    /// Reads and writes: only the state, the parameters and the optimiser's moments, which live as long as the run.
    Update,
}

/// The element type of a binding in the shader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// f32
    Float,
    /// u32; bytes are packed four to a word.
    Word,
}

/// A storage buffer of a kernel. Its position in [`Row::bindings`] is its position among a step's slots.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// The variable's name in the shader.
    pub name: &'static str,
    /// Its `@binding` number.
    pub number: u32,
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
    /// `epilogue(value, i)` turns the kernel's result for element `i` into what is stored.
    Epilogue,
}

/// A factor of a kernel's number of invocations: the product of some constants, divided by a tile and rounded up.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Constants that are multiplied.
    pub product: &'static [&'static str],
    /// The constant that says how many of them one invocation computes; `""` for one.
    pub tile: &'static str,
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
    /// Its own storage buffers; those of a fused expression, `x0`, `x1`, ..., come after them.
    pub bindings: &'static [Binding],
    /// The `const`s of the file that a step sets, in the order of [`Step::constants`](super::Step::constants).
    pub constants: &'static [&'static str],
    /// Invocations: the product of these extents.
    pub grid: &'static [Extent],
    /// Invocations in a workgroup, all along x.
    pub workgroup: u32,
    /// Where a fused expression goes.
    pub fusion: Fusion,
    /// How many inputs of its own a fused expression may have: 8 storage buffers are the floor of WebGPU's limits.
    pub fused_inputs: usize,
    /// The `@binding` number of `x0`; the others follow.
    pub first_input: u32,
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
    Extent { product, tile: "" }
}

const fn tiled(product: &'static [&'static str], tile: &'static str) -> Extent {
    Extent { product, tile }
}

const fn binding(name: &'static str, number: u32, access: Access, element: Element) -> Binding {
    Binding { name, number, access, element }
}

const CONV_BINDINGS: &[Binding] = &[
    binding("left", 0, Access::Read, Element::Float),
    binding("right", 1, Access::Read, Element::Float),
    binding("result", 2, Access::Write, Element::Float),
];
const CONV_CONSTANTS: &[&str] = &[
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
    "PHASE_H",
    "PHASE_W",
    "SPLITS",
    "TILE_CHANNELS",
    "TILE_POSITIONS",
];
const CONV: Row = Row {
    kernel: Kernel::Conv2d,
    file: "conv2d.wgsl",
    source: include_str!("../../shaders/conv2d.wgsl"),
    entry: "forward",
    bindings: CONV_BINDINGS,
    constants: CONV_CONSTANTS,
    grid: &[each(&["BATCH"]), tiled(&["O"], "TILE_CHANNELS"), tiled(&["P", "Q"], "TILE_POSITIONS")],
    workgroup: 64,
    fusion: Fusion::Epilogue,
    fused_inputs: 5,
    first_input: 3,
};
const REDUCE: Row = Row {
    kernel: Kernel::Sum,
    file: "reduce.wgsl",
    source: include_str!("../../shaders/reduce.wgsl"),
    entry: "sum",
    bindings: &[binding("y", 0, Access::Write, Element::Float)],
    constants: &["OUTPUTS", "LENGTH", "SPLITS"],
    grid: &[each(&["OUTPUTS", "SPLITS"])],
    workgroup: 64,
    fusion: Fusion::Source,
    fused_inputs: 7,
    first_input: 1,
};
const GATHER: Row = Row {
    kernel: Kernel::Gather,
    file: "gather.wgsl",
    source: include_str!("../../shaders/gather.wgsl"),
    entry: "gather",
    bindings: &[
        binding("x", 0, Access::Read, Element::Float),
        binding("indices", 1, Access::Read, Element::Word),
        binding("y", 2, Access::Write, Element::Float),
    ],
    constants: &["ROWS", "COUNT", "WIDTH"],
    grid: &[each(&["COUNT", "WIDTH"])],
    workgroup: 64,
    fusion: Fusion::No,
    fused_inputs: 0,
    first_input: 0,
};
const BATCH: Row = Row {
    kernel: Kernel::BatchFloats,
    file: "batch.wgsl",
    source: include_str!("../../shaders/batch.wgsl"),
    entry: "batch_floats",
    bindings: &[
        binding("floats", 0, Access::Read, Element::Float),
        binding("permutation", 1, Access::Read, Element::Word),
        binding("state", 2, Access::Read, Element::Word),
        binding("y", 3, Access::Write, Element::Float),
    ],
    constants: &["ROWS", "COUNT", "WIDTH"],
    grid: &[each(&["COUNT", "WIDTH"])],
    workgroup: 64,
    fusion: Fusion::No,
    fused_inputs: 0,
    first_input: 0,
};
const RANDOM: Row = Row {
    kernel: Kernel::RandomUniform,
    file: "random.wgsl",
    source: include_str!("../../shaders/random.wgsl"),
    entry: "uniform_draw",
    bindings: &[binding("state", 0, Access::Read, Element::Word), binding("y", 1, Access::Write, Element::Float)],
    constants: &["COUNT", "BLOCKS", "STREAM"],
    grid: &[each(&["BLOCKS"])],
    workgroup: 64,
    fusion: Fusion::Epilogue,
    fused_inputs: 5,
    first_input: 2,
};
const OPTIMIZER: Row = Row {
    kernel: Kernel::Sgd,
    file: "optimizer.wgsl",
    source: include_str!("../../shaders/optimizer.wgsl"),
    entry: "sgd",
    bindings: &[
        binding("gradients", 0, Access::Read, Element::Float),
        binding("schedule", 1, Access::Read, Element::Float),
        binding("state", 2, Access::Read, Element::Word),
        binding("parameters", 3, Access::Update, Element::Float),
    ],
    constants: &["COUNT"],
    grid: &[each(&["COUNT"])],
    workgroup: 64,
    fusion: Fusion::No,
    fused_inputs: 0,
    first_input: 0,
};

/// Every kernel, in the order of [`Kernel`].
pub const TABLE: &[Row] = &[
    Row {
        kernel: Kernel::Map,
        file: "elementwise.wgsl",
        source: include_str!("../../shaders/elementwise.wgsl"),
        entry: "map",
        bindings: &[binding("y", 0, Access::Write, Element::Float)],
        constants: &["COUNT"],
        grid: &[each(&["COUNT"])],
        workgroup: 64,
        fusion: Fusion::Source,
        fused_inputs: 7,
        first_input: 1,
    },
    Row {
        kernel: Kernel::MatMul,
        file: "matmul.wgsl",
        source: include_str!("../../shaders/matmul.wgsl"),
        entry: "product",
        bindings: &[
            binding("lhs", 0, Access::Read, Element::Float),
            binding("rhs", 1, Access::Read, Element::Float),
            binding("y", 2, Access::Write, Element::Float),
        ],
        constants: &[
            "BATCH",
            "M",
            "N",
            "K",
            "LHS_BATCH",
            "LHS_M",
            "LHS_K",
            "RHS_BATCH",
            "RHS_K",
            "RHS_N",
            "TILE_M",
            "TILE_N",
        ],
        grid: &[each(&["BATCH"]), tiled(&["M"], "TILE_M"), tiled(&["N"], "TILE_N")],
        workgroup: 64,
        fusion: Fusion::Epilogue,
        fused_inputs: 5,
        first_input: 3,
    },
    CONV,
    Row {
        kernel: Kernel::Conv2dGradInput,
        entry: "grad_input",
        grid: &[
            each(&["BATCH", "STRIDE_H", "STRIDE_W"]),
            tiled(&["C"], "TILE_CHANNELS"),
            tiled(&["PHASE_H", "PHASE_W"], "TILE_POSITIONS"),
        ],
        ..CONV
    },
    Row {
        kernel: Kernel::Conv2dGradWeight,
        entry: "grad_weight",
        grid: &[each(&["SPLITS"]), tiled(&["O"], "TILE_CHANNELS"), tiled(&["C", "R", "S"], "TILE_POSITIONS")],
        fusion: Fusion::No,
        fused_inputs: 0,
        first_input: 0,
        ..CONV
    },
    REDUCE,
    Row { kernel: Kernel::Max, entry: "maximum_of", ..REDUCE },
    GATHER,
    Row { kernel: Kernel::ScatterAdd, entry: "scatter_add", grid: &[each(&["ROWS", "WIDTH"])], ..GATHER },
    BATCH,
    Row {
        kernel: Kernel::BatchBytes,
        entry: "batch_bytes",
        bindings: &[
            binding("bytes", 4, Access::Read, Element::Word),
            binding("permutation", 1, Access::Read, Element::Word),
            binding("state", 2, Access::Read, Element::Word),
            binding("y", 3, Access::Write, Element::Float),
        ],
        ..BATCH
    },
    RANDOM,
    Row {
        kernel: Kernel::RandomBits,
        entry: "bits",
        bindings: &[
            binding("state", 0, Access::Read, Element::Word),
            binding("words_out", 7, Access::Write, Element::Word),
        ],
        fusion: Fusion::No,
        fused_inputs: 0,
        first_input: 0,
        ..RANDOM
    },
    OPTIMIZER,
    Row {
        kernel: Kernel::Adam,
        entry: "adam",
        bindings: &[
            binding("gradients", 0, Access::Read, Element::Float),
            binding("schedule", 1, Access::Read, Element::Float),
            binding("state", 2, Access::Read, Element::Word),
            binding("parameters", 3, Access::Update, Element::Float),
            binding("first_moment", 4, Access::Update, Element::Float),
            binding("second_moment", 5, Access::Update, Element::Float),
        ],
        ..OPTIMIZER
    },
    Row {
        kernel: Kernel::Advance,
        file: "state.wgsl",
        source: include_str!("../../shaders/state.wgsl"),
        entry: "advance",
        bindings: &[
            binding("metrics", 0, Access::Read, Element::Float),
            binding("ring", 1, Access::Update, Element::Float),
            binding("state", 2, Access::Update, Element::Word),
        ],
        constants: &["METRICS", "CAPACITY", "SAMPLES"],
        grid: &[],
        workgroup: 1,
        fusion: Fusion::No,
        fused_inputs: 0,
        first_input: 0,
    },
];
