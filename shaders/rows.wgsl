// Ops that reduce each row and compute the row's elements from the reduced values, such as softmax and normalisations.
// The plan replaces `part`, the element that a phase reduces, and `fused`, an element of the result; both may use the
// values of earlier phases in `reduced`. The placeholders divide each row by its sum.

const ROWS: u32 = 4u;
const LENGTH: u32 = 64u;
// The type of y's elements: a plan may store them in 16 bits.
alias Stored = f32;

@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@group(0) @binding(1) var<storage, read> x0: array<vec4<f32>>;

const PHASES: u32 = 1u;
// Element i as `phase` reduces it; whether the phase is a maximum rather than a sum; element i of the result, and its
// elements i to i + 3.
fn part(phase: u32, i: u32) -> f32 { return x0[i / 4u][i % 4u]; }
fn is_maximum(phase: u32) -> bool { return false; }
fn fused(i: u32) -> f32 { return x0[i / 4u][i % 4u] / reduced[0]; }
fn fused4(i: u32) -> vec4<f32> { return x0[i / 4u] / reduced[0]; }

// The value to which each phase has reduced this workgroup's row.
var<private> reduced: array<f32, PHASES>;
var<workgroup> parts: array<f32, 64>;

// The maximum or the sum of a and b, as the phase reduces.
fn joined(phase: u32, a: f32, b: f32) -> f32 {
    if is_maximum(phase) {
        return max(a, b);
    }
    return a + b;
}

// y[row, i] = fused(row * LENGTH + i). One workgroup computes one row. In every phase each invocation joins every 64th
// element, and a tree joins the invocations' values.
fn rows_part(row: u32, lane: u32) {
    if row < ROWS {
        let start = row * LENGTH;
        for (var phase = 0u; phase < PHASES; phase++) {
            // A maximum begins with the row's first element, so that invocations without an element do no harm.
            var total = 0.0;
            if is_maximum(phase) {
                total = part(phase, start);
            }
            for (var i = lane; i < LENGTH; i += 64u) {
                total = joined(phase, total, part(phase, start + i));
            }
            parts[lane] = total;
            workgroupBarrier();
            for (var half = 32u; half > 0u; half /= 2u) {
                if lane < half {
                    parts[lane] = joined(phase, parts[lane], parts[lane + half]);
                }
                workgroupBarrier();
            }
            reduced[phase] = parts[0];
            workgroupBarrier();
        }
        for (var i = lane; i < LENGTH; i += 64u) {
            y[start + i] = Stored(fused(start + i));
        }
    }
}

@compute @workgroup_size(64)
fn rows(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    rows_part(group.y * groups.x + group.x, lane);
}
