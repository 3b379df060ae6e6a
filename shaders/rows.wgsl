// Rows that are reduced and then computed from what they were reduced to: softmax, normalisations. The plan replaces `part`,
// which says what a phase reduces, and `fused`, which makes an element of the result; both may use what earlier phases have
// left in `reduced`. As it stands the file divides each row by its sum.

const ROWS: u32 = 4u;
const LENGTH: u32 = 64u;
// The type of y's elements: a plan may store them in 16 bits.
alias Stored = f32;

@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@group(0) @binding(1) var<storage, read> x0: array<vec4<f32>>;

const PHASES: u32 = 1u;
fn part(phase: u32, i: u32) -> f32 { return x0[i / 4u][i % 4u]; }
fn is_maximum(phase: u32) -> bool { return false; }
fn fused(i: u32) -> f32 { return x0[i / 4u][i % 4u] / reduced[0]; }
fn fused4(i: u32) -> vec4<f32> { return x0[i / 4u] / reduced[0]; }

// What each phase has reduced this workgroup's row to.
var<private> reduced: array<f32, PHASES>;
var<workgroup> parts: array<f32, 64>;

fn joined(phase: u32, a: f32, b: f32) -> f32 {
    if is_maximum(phase) {
        return max(a, b);
    }
    return a + b;
}

// One workgroup computes one row. In every phase each invocation joins every 64th element, then halves join halves.
@compute @workgroup_size(64)
fn rows(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.y * groups.x + group.x;
    if row < ROWS {
        let start = row * LENGTH;
        for (var phase = 0u; phase < PHASES; phase++) {
            // The first element is neutral to a maximum, and where there is none for this invocation.
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
