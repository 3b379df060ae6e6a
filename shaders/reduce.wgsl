// Reductions. The plan orders axes so that element r of output o is fused(o * LENGTH + r); `fused` also holds the
// elementwise chain before the reduction. A long reduction is split into SPLITS partial results for each output, which
// a second launch joins in a fixed order.

const OUTPUTS: u32 = 64u;
const LENGTH: u32 = 64u;
const SPLITS: u32 = 1u;
// Neighbouring invocations that share a partial result, a power of two up to 64.
const LANES: u32 = 1u;

@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@group(0) @binding(1) var<storage, read> x0: array<vec4<f32>>;

@group(0) @binding(2) var<storage, read_write> totals: array<vec4<f32>>;

// Element i of the expression, and its elements i to i + 3, where i is a multiple of four. The plan replaces both.
fn fused(i: u32) -> f32 { return x0[i / 4u][i % 4u]; }
fn fused4(i: u32) -> vec4<f32> { return x0[i / 4u]; }

var<workgroup> exchanged: array<f32, 64>;

// y[o * SPLITS + s] = the sum of fused(o * LENGTH + r) over r = s, s + SPLITS, .. LANES invocations share a
// partial sum, each with every LANES-th of these r; one half then adds the other half's sums until one is left.
fn sum_part(group: u32, lane: u32) {
    let i = (group * 64u + lane) / LANES;
    var total = 0.0;
    if i < OUTPUTS * SPLITS {
        let start = i / SPLITS * LENGTH;
        for (var r = i % SPLITS + lane % LANES * SPLITS; r < LENGTH; r += SPLITS * LANES) {
            total += fused(start + r);
        }
    }
    if LANES > 1u {
        exchanged[lane] = total;
        workgroupBarrier();
        for (var half = LANES / 2u; half > 0u; half /= 2u) {
            if lane % LANES < half {
                exchanged[lane] += exchanged[lane + half];
            }
            workgroupBarrier();
        }
        total = exchanged[lane];
    }
    if i < OUTPUTS * SPLITS && lane % LANES == 0u {
        y[i] = total;
    }
}

@compute @workgroup_size(64)
fn sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    sum_part(group.y * groups.x + group.x, lane);
}

// y[o * SPLITS + s] = the maximum of fused(o * LENGTH + r) over r = s, s + SPLITS, .., shared by LANES invocations as sums are.
fn maximum_of_part(group: u32, lane: u32) {
    let i = (group * 64u + lane) / LANES;
    var largest = 0.0;
    if i < OUTPUTS * SPLITS {
        let start = i / SPLITS * LENGTH;
        largest = fused(start + i % SPLITS);
        for (var r = i % SPLITS + (lane % LANES + 1u) * SPLITS; r < LENGTH; r += SPLITS * LANES) {
            largest = max(largest, fused(start + r));
        }
    }
    if LANES > 1u {
        exchanged[lane] = largest;
        workgroupBarrier();
        for (var half = LANES / 2u; half > 0u; half /= 2u) {
            if lane % LANES < half {
                exchanged[lane] = max(exchanged[lane], exchanged[lane + half]);
            }
            workgroupBarrier();
        }
        largest = exchanged[lane];
    }
    if i < OUTPUTS * SPLITS && lane % LANES == 0u {
        y[i] = largest;
    }
}

@compute @workgroup_size(64)
fn maximum_of(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    maximum_of_part(group.y * groups.x + group.x, lane);
}

// Sums over the rows of a [ROWS, COLUMNS] matrix, in PARTS partial sums that are PART_STRIDE elements apart.
const ROWS: u32 = 64u;
const COLUMNS: u32 = 64u;
const PARTS: u32 = 1u;
const PART_STRIDE: u32 = 64u;
// Invocations of a workgroup that share the rows of a part, a power of two.
const ROW_LANES: u32 = 1u;
const WORKGROUP: u32 = 64u;
const FOURS: u32 = (COLUMNS + 3u) / 4u;
const COLUMN_LANES: u32 = WORKGROUP / ROW_LANES;

var<workgroup> exchanged_columns: array<vec4<f32>, WORKGROUP>;


// totals[part * PART_STRIDE + column] = the sum of fused(row * COLUMNS + column) over rows part, part + PARTS, .. ROW_LANES
// invocations sum four neighbouring columns, each over every ROW_LANES-th of these rows; one half then adds the other
// half's sums until one is left. Neighbouring invocations have neighbouring columns.
fn column_sums_part(group: u32, lane: u32) {
    let unit = group * COLUMN_LANES + lane % COLUMN_LANES;
    let part = unit / FOURS;
    let column = unit % FOURS * 4u;
    var total = vec4<f32>();
    if part < PARTS {
        for (var row = part + lane / COLUMN_LANES * PARTS; row < ROWS; row += PARTS * ROW_LANES) {
            let at = row * COLUMNS + column;
            if COLUMNS % 4u == 0u {
                total += fused4(at);
            } else {
                for (var j = 0u; j < 4u; j++) {
                    if column + j < COLUMNS {
                        total[j] += fused(at + j);
                    }
                }
            }
        }
    }
    if ROW_LANES > 1u {
        exchanged_columns[lane] = total;
        workgroupBarrier();
        for (var half = ROW_LANES / 2u; half > 0u; half /= 2u) {
            if lane / COLUMN_LANES < half {
                exchanged_columns[lane] += exchanged_columns[lane + half * COLUMN_LANES];
            }
            workgroupBarrier();
        }
        total = exchanged_columns[lane];
    }
    if part < PARTS && lane < COLUMN_LANES {
        let at = part * PART_STRIDE + column;
        if COLUMNS % 4u == 0u {
            totals[at / 4u] = total;
        } else {
            for (var j = 0u; j < 4u; j++) {
                if column + j < COLUMNS {
                    totals[(at + j) / 4u][(at + j) % 4u] = total[j];
                }
            }
        }
    }
}

// One workgroup computes 4 WORKGROUP / ROW_LANES neighbouring partial sums.
@compute @workgroup_size(WORKGROUP)
fn column_sums(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    column_sums_part(group.y * groups.x + group.x, lane);
}
