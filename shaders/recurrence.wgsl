// Recurrences over the steps of sequences: one workgroup takes one sequence through all of its steps, its invocations side by
// side along the hidden units. What a step needs of all units of the one before lies in workgroup memory; what a unit needs
// of itself, its invocation reads where it has written it.

const BATCH: u32 = 4u;
const STEPS: u32 = 8u;
const HIDDEN: u32 = 64u;
// 4 for a state of hidden units and cells, as an LSTM's; 3 where the hidden units are the cells, as a GRU's.
const GATES: u32 = 4u;
// Numbers in workgroup memory.
const SHARED: u32 = 256u;
const WORKGROUP: u32 = 64u;
// 1 where the steps are taken from the last to the first.
const BACKWARD: u32 = 0u;

// [BATCH, STEPS, GATES HIDDEN]: the gates without the part of the state.
@group(0) @binding(0) var<storage, read> before: array<f32>;
// [HIDDEN, GATES HIDDEN]; for `linear_backward` [GATES HIDDEN, HIDDEN].
@group(0) @binding(1) var<storage, read> weight: array<f32>;
// [HIDDEN]: of a GRU's third gate.
@group(0) @binding(2) var<storage, read> bias: array<f32>;
// [BATCH, STEPS, (2 GATES - 2) HIDDEN]: of each gate, of the cell before, and, with 4 gates, of the cell.
@group(0) @binding(3) var<storage, read> factors: array<f32>;
// [BATCH, STEPS, (GATES - 2) HIDDEN]
@group(0) @binding(4) var<storage, read> source: array<f32>;
// [BATCH, STEPS, (GATES - 2) HIDDEN]: hidden units, then cells where they are not the same.
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

var<workgroup> carried: array<f32, SHARED>;

// In place of these two stand math.wgsl's, which give every driver the same bits.
fn sigmoid(x: f32) -> f32 { return 1.0 / (1.0 + exp(-x)); }
fn hyperbolic_tangent(x: f32) -> f32 { return tanh(x); }

// What all units of the last step give the gates of unit j.
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

fn rest(lane: u32) {
    for (var j = lane; j < SHARED; j += WORKGROUP) {
        carried[j] = 0.0;
    }
    workgroupBarrier();
}

// The step that is taken after `done` others, and the one before step `at`: `direction` is 0 or 1, as BACKWARD.
fn taken(row: u32, done: u32, direction: u32) -> u32 {
    return row * STEPS + select(done, STEPS - 1u - done, direction == 1u);
}
fn before_step(at: u32, direction: u32) -> u32 {
    return select(at - 1u, at + 1u, direction == 1u);
}

// The hidden units of a step become those that the next one sees.
fn carry(lane: u32, at: u32, stride: u32) {
    workgroupBarrier();
    for (var j = lane; j < HIDDEN; j += WORKGROUP) {
        carried[j] = y[at * stride + j];
    }
    workgroupBarrier();
}

// Gates i, f, g, o: c = f c + i g, h = o tanh(c).
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

// Gates r, z, n: h = (1 - z) n + z h, with n = tanh(its part of the input + r (its part of the state + bias)).
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

// c = source + the first three gates' factors times their parts of the state + factor c;
// with 4 gates, h = source + the fourth's factor times its part + factor c, else h = c.
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
                // The cell is the last part of the state.
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

// The transpose of `linear_forward`, which takes the steps the other way.
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
