// The last launch of every step: adds up the partial sums of the step's metrics, stores them in a ring buffer, and
// advances the step state.

// Number of metrics of a step, partial sums of each metric, rows of the ring, and samples of a batch.
const METRICS: u32 = 1u;
const PARTS: u32 = 1u;
const CAPACITY: u32 = 4096u;
const SAMPLES: u32 = 128u;
// Words of the state.
const STEP: u32 = 3u;
const POSITION: u32 = 0u;
const OFFSET: u32 = 4u;

@group(0) @binding(0) var<storage, read> metrics: array<f32>;
@group(0) @binding(1) var<storage, read_write> ring: array<f32>;
@group(0) @binding(2) var<storage, read_write> state: array<u32>;

var<workgroup> sums: array<f32, 64>;

// ring[state[STEP] % CAPACITY, j] = the sum of metrics[j * PARTS + part] over all parts. One workgroup does everything:
// each invocation adds up every 64th part, and a tree joins the invocations' sums.
@compute @workgroup_size(64)
fn advance(@builtin(local_invocation_index) lane: u32) {
    for (var j = 0u; j < METRICS; j++) {
        var sum = 0.0;
        for (var part = lane; part < PARTS; part += 64u) {
            sum += metrics[j * PARTS + part];
        }
        sums[lane] = sum;
        workgroupBarrier();
        for (var half = 32u; half > 0u; half /= 2u) {
            if lane < half {
                sums[lane] += sums[lane + half];
            }
            workgroupBarrier();
        }
        if lane == 0u {
            ring[state[STEP] % CAPACITY * METRICS + j] = sums[0];
        }
        workgroupBarrier();
    }
    if lane == 0u {
        state[STEP] += 1u;
        state[POSITION] += 1u;
        state[OFFSET] += SAMPLES;
    }
}
