// The step state's own launch, last in every step: keeps the step's metrics in a ring and moves on to the next step.

// Metrics of a step, rows of the ring, samples of a batch.
const METRICS: u32 = 1u;
const CAPACITY: u32 = 4096u;
const SAMPLES: u32 = 128u;
// Words of the state.
const STEP: u32 = 2u;
const POSITION: u32 = 3u;
const OFFSET: u32 = 4u;

@group(0) @binding(0) var<storage, read> metrics: array<f32>;
@group(0) @binding(1) var<storage, read_write> ring: array<f32>;
@group(0) @binding(2) var<storage, read_write> state: array<u32>;

// One invocation does all of it.
@compute @workgroup_size(1)
fn advance() {
    let step = state[STEP];
    for (var j = 0u; j < METRICS; j++) {
        ring[step % CAPACITY * METRICS + j] = metrics[j];
    }
    state[STEP] = step + 1u;
    state[POSITION] += 1u;
    state[OFFSET] += SAMPLES;
}
