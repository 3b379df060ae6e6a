// Reductions. The plan orders axes so that element r of output o is fused(o * LENGTH + r); `fused` also holds the
// elementwise chain before the reduction. A long reduction is split into SPLITS partial results for each output, which
// a second launch joins in a fixed order.

const OUTPUTS: u32 = 64u;
const LENGTH: u32 = 64u;
const SPLITS: u32 = 1u;

@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@group(0) @binding(1) var<storage, read> x0: array<vec4<f32>>;

@group(0) @binding(2) var<storage, read_write> totals: array<vec4<f32>>;

// Element i of the expression, and its elements i to i + 3, where i is a multiple of four. The plan replaces both.
fn fused(i: u32) -> f32 { return x0[i / 4u][i % 4u]; }
fn fused4(i: u32) -> vec4<f32> { return x0[i / 4u]; }

// y[o * SPLITS + s] = the sum of fused(o * LENGTH + r) over r = s, s + SPLITS, .. One workgroup computes 64 consecutive
// partial sums.
@compute @workgroup_size(64)
fn sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + lane;
    if i < OUTPUTS * SPLITS {
        let start = i / SPLITS * LENGTH;
        var total = 0.0;
        for (var r = i % SPLITS; r < LENGTH; r += SPLITS) {
            total += fused(start + r);
        }
        y[i] = total;
    }
}

// y[o * SPLITS + s] = the maximum of fused(o * LENGTH + r) over r = s, s + SPLITS, .. One workgroup computes 64
// consecutive partial maxima.
@compute @workgroup_size(64)
fn maximum_of(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + lane;
    if i < OUTPUTS * SPLITS {
        let start = i / SPLITS * LENGTH;
        var largest = fused(start + i % SPLITS);
        for (var r = i % SPLITS + SPLITS; r < LENGTH; r += SPLITS) {
            largest = max(largest, fused(start + r));
        }
        y[i] = largest;
    }
}

// Sums over the rows of a [ROWS, COLUMNS] matrix, in PARTS partial sums that are PART_STRIDE elements apart.
const ROWS: u32 = 64u;
const COLUMNS: u32 = 64u;
const PARTS: u32 = 1u;
const PART_STRIDE: u32 = 64u;
const WORKGROUP: u32 = 64u;
const FOURS: u32 = (COLUMNS + 3u) / 4u;

// totals[part * PART_STRIDE + column] = the sum of fused(row * COLUMNS + column) over rows part, part + PARTS, .. Each
// invocation sums four neighbouring columns.
fn column_sums_part(group: u32, lane: u32) {
    let invocation = group * WORKGROUP + lane;
    let part = invocation / FOURS;
    let column = invocation % FOURS * 4u;
    if part < PARTS {
        var total = vec4<f32>();
        for (var row = part; row < ROWS; row += PARTS) {
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

// One workgroup computes 4 WORKGROUP neighbouring partial sums.
@compute @workgroup_size(WORKGROUP)
fn column_sums(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    column_sums_part(group.y * groups.x + group.x, lane);
}
