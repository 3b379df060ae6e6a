// Recurrences over the steps of sequences: one workgroup takes one sequence through all steps, and its invocations
// share the hidden units. Workgroup memory holds the values of the last step that all units need; an invocation reads
// the last values of its own units from y, where it has written them.

const BATCH: u32 = 4u;
const STEPS: u32 = 8u;
const HIDDEN: u32 = 64u;
// 4 where the state has hidden units and cells, as an LSTM's; 3 where the hidden units are the cells, as a GRU's.
const GATES: u32 = 4u;
// Number of floats in workgroup memory.
const SHARED: u32 = 256u;
const WORKGROUP: u32 = 64u;
// 1 where the recurrence runs from the last step to the first.
const BACKWARD: u32 = 0u;

// [BATCH, STEPS, GATES HIDDEN]: the input's part of the gates, before activation.
@group(0) @binding(0) var<storage, read> before: array<f32>;
// [HIDDEN, GATES HIDDEN]; for `linear_backward` [GATES HIDDEN, HIDDEN].
@group(0) @binding(1) var<storage, read> weight: array<f32>;
// [HIDDEN]: the bias of the state's part of a GRU's third gate.
@group(0) @binding(2) var<storage, read> bias: array<f32>;
// [BATCH, STEPS, (2 GATES - 2) HIDDEN]: factors of each gate, of the last step's cell, and, with 4 gates, of the cell.
@group(0) @binding(3) var<storage, read> factors: array<f32>;
// [BATCH, STEPS, (GATES - 2) HIDDEN]: the terms of hidden units and cells that do not depend on the state.
@group(0) @binding(4) var<storage, read> source: array<f32>;
// [BATCH, STEPS, (GATES - 2) HIDDEN]: hidden units, and, with 4 gates, cells after them.
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

var<workgroup> carried: array<f32, SHARED>;

// Placeholders: the functions of math.wgsl replace these two, and give the same bits on every driver.
fn sigmoid(x: f32) -> f32 { return 1.0 / (1.0 + exp(-x)); }
fn hyperbolic_tangent(x: f32) -> f32 { return tanh(x); }

// The state's part of the gates of unit j: element g is the sum of carried[k] weight[k, g HIDDEN + j] over all units k.
fn product(j: u32) -> vec4<f32> {
    var sum = vec4<f32>(0.0);
    for (var k = 0u; k < HIDDEN; k++) {
        let w = k * GATES * HIDDEN + j;
        var four = vec4<f32>(weight[w], weight[w + HIDDEN], weight[w + 2u * HIDDEN], 0.0);
        if GATES == 4u {
            four.w = weight[w + 3u * HIDDEN];
        }
        sum += carried[k] * four;
    }
    return sum;
}

// carried[j] = 0 for all j: the state before the first step.
fn rest(lane: u32) {
    for (var j = lane; j < SHARED; j += WORKGROUP) {
        carried[j] = 0.0;
    }
    workgroupBarrier();
}

// The index row * STEPS + t of the step that follows `done` others; direction 0 is forward, 1 backward.
fn taken(row: u32, done: u32, direction: u32) -> u32 {
    return row * STEPS + select(done, STEPS - 1u - done, direction == 1u);
}
// The index of the step that the recurrence takes before step `at`.
fn before_step(at: u32, direction: u32) -> u32 {
    return select(at - 1u, at + 1u, direction == 1u);
}

// carried[j] = y[at * stride + j] for all hidden units j: the next step sees the hidden units of step `at`.
fn carry(lane: u32, at: u32, stride: u32) {
    workgroupBarrier();
    for (var j = lane; j < HIDDEN; j += WORKGROUP) {
        carried[j] = y[at * stride + j];
    }
    workgroupBarrier();
}

// An LSTM with gates i, f, g, o: c[t] = f c[t - 1] + i g, h[t] = o tanh(c[t]). One workgroup computes one sequence.
@compute @workgroup_size(WORKGROUP)
fn lstm(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.y * groups.x + group.x;
    if row < BATCH {
        rest(lane);
        for (var t = 0u; t < STEPS; t++) {
            let at = taken(row, t, BACKWARD);
            for (var j = lane; j < HIDDEN; j += WORKGROUP) {
                let x = at * 4u * HIDDEN + j;
                let own = vec4<f32>(before[x], before[x + HIDDEN], before[x + 2u * HIDDEN], before[x + 3u * HIDDEN]);
                let z = own + product(j);
                var c = sigmoid(z.x) * hyperbolic_tangent(z.z);
                if t > 0u {
                    c += sigmoid(z.y) * y[before_step(at, BACKWARD) * 2u * HIDDEN + HIDDEN + j];
                }
                y[at * 2u * HIDDEN + HIDDEN + j] = c;
                y[at * 2u * HIDDEN + j] = sigmoid(z.w) * hyperbolic_tangent(c);
            }
            carry(lane, at, 2u * HIDDEN);
        }
    }
}

// A GRU with gates r, z, n: h[t] = (1 - z) n + z h[t - 1], with n = tanh(the input's part + r (the state's part +
// bias)). One workgroup computes one sequence.
@compute @workgroup_size(WORKGROUP)
fn gru(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.y * groups.x + group.x;
    if row < BATCH {
        rest(lane);
        for (var t = 0u; t < STEPS; t++) {
            let at = taken(row, t, BACKWARD);
            for (var j = lane; j < HIDDEN; j += WORKGROUP) {
                let x = at * 3u * HIDDEN + j;
                let part = product(j);
                let z = sigmoid(before[x + HIDDEN] + part.y);
                let n = hyperbolic_tangent(before[x + 2u * HIDDEN] + sigmoid(before[x] + part.x) * (part.z + bias[j]));
                y[at * HIDDEN + j] = (1.0 - z) * n + z * carried[j];
            }
            carry(lane, at, HIDDEN);
        }
    }
}

// The recurrence's derivative along a direction: c[t] = source + the sum of factor times state's part over the first
// three gates + factor c[t - 1]. With 4 gates, h[t] = source + factor times state's part of the fourth gate + factor
// c[t]; with 3, h = c. One workgroup computes one sequence.
@compute @workgroup_size(WORKGROUP)
fn linear_forward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.y * groups.x + group.x;
    let width = (GATES - 2u) * HIDDEN;
    if row < BATCH {
        rest(lane);
        for (var t = 0u; t < STEPS; t++) {
            let at = taken(row, t, BACKWARD);
            for (var j = lane; j < HIDDEN; j += WORKGROUP) {
                let p = at * (2u * GATES - 2u) * HIDDEN + j;
                // Cells follow the hidden units in the state.
                let cell = at * width + width - HIDDEN + j;
                let part = product(j);
                var c = source[cell] + factors[p] * part.x + factors[p + HIDDEN] * part.y;
                c += factors[p + 2u * HIDDEN] * part.z;
                if t > 0u {
                    c += factors[p + GATES * HIDDEN] * y[before_step(at, BACKWARD) * width + width - HIDDEN + j];
                }
                y[cell] = c;
                if GATES == 4u {
                    let h = source[at * width + j] + factors[p + 3u * HIDDEN] * part.w;
                    y[at * width + j] = h + factors[p + 5u * HIDDEN] * c;
                }
            }
            carry(lane, at, width);
        }
    }
}

// The transpose of `linear_forward`, which takes the steps in the opposite order: gradients of h and c at step t from
// those at step t + 1. One workgroup computes one sequence.
@compute @workgroup_size(WORKGROUP)
fn linear_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.y * groups.x + group.x;
    let width = (GATES - 2u) * HIDDEN;
    if row < BATCH {
        rest(lane);
        for (var done = 0u; done < STEPS; done++) {
            let at = taken(row, done, 1u - BACKWARD);
            let past = before_step(at, 1u - BACKWARD);
            for (var j = lane; j < HIDDEN; j += WORKGROUP) {
                let p = at * (2u * GATES - 2u) * HIDDEN + j;
                let cell = at * width + width - HIDDEN + j;
                var sum = 0.0;
                for (var k = 0u; k < GATES * HIDDEN; k++) {
                    sum += carried[k] * weight[k * HIDDEN + j];
                }
                var c = source[cell];
                if done > 0u {
                    c += factors[(past * (2u * GATES - 2u) + GATES) * HIDDEN + j] * y[past * width + width - HIDDEN + j];
                }
                if GATES == 4u {
                    let h = source[at * width + j] + sum;
                    y[at * width + j] = h;
                    c += factors[p + 5u * HIDDEN] * h;
                } else {
                    c += sum;
                }
                y[cell] = c;
            }
            workgroupBarrier();
            for (var j = lane; j < HIDDEN; j += WORKGROUP) {
                let p = at * (2u * GATES - 2u) * HIDDEN + j;
                let c = y[at * width + width - HIDDEN + j];
                carried[j] = factors[p] * c;
                carried[j + HIDDEN] = factors[p + HIDDEN] * c;
                carried[j + 2u * HIDDEN] = factors[p + 2u * HIDDEN] * c;
                if GATES == 4u {
                    carried[j + 3u * HIDDEN] = factors[p + 3u * HIDDEN] * y[at * width + j];
                }
            }
            workgroupBarrier();
        }
    }
}
