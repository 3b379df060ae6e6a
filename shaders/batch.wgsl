// The next batch of a resident data set: y[k] = x[permutation[state[OFFSET] + k]] for COUNT rows of WIDTH elements.

const ROWS: u32 = 4u;
const COUNT: u32 = 4u;
const WIDTH: u32 = 64u;
// The word of the state that holds the offset.
const OFFSET: u32 = 4u;

@group(0) @binding(0) var<storage, read> floats: array<f32>;
@group(0) @binding(1) var<storage, read> permutation: array<u32>;
@group(0) @binding(2) var<storage, read> state: array<u32>;
@group(0) @binding(3) var<storage, read_write> y0: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> bytes: array<u32>;

// Stores one element, or four neighbouring elements, of the result: y0[row + offset] = value. `finish_totals` stores
// the partial sums of a fused reduction. The plan replaces all three.
fn finish(row: u32, offset: u32, value: f32) { y0[(row + offset) / 4u][(row + offset) % 4u] = value; }
fn finish4(row: u32, offset: u32, value: vec4<f32>) { y0[(row + offset) / 4u] = value; }
fn finish_totals(invocation: u32) {}

// The position in the data set of element i of the batch: permutation[state[OFFSET] + i / WIDTH] * WIDTH + i % WIDTH.
fn source(i: u32) -> u32 {
    let row = permutation[min(state[OFFSET] + i / WIDTH, ROWS - 1u)];
    return min(row, ROWS - 1u) * WIDTH + i % WIDTH;
}

// y[i] = floats[source(i)]. One workgroup copies 256 consecutive elements.
@compute @workgroup_size(64)
fn batch_floats(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let invocation = (group.y * groups.x + group.x) * 64u + lane;
    let i = invocation * 4u;
    if WIDTH % 4u == 0u {
        if i < COUNT * WIDTH {
            let at = source(i);
            finish4(i, 0u, vec4<f32>(floats[at], floats[at + 1u], floats[at + 2u], floats[at + 3u]));
        }
    } else {
        for (var j = i; j < i + 4u; j++) {
            if j < COUNT * WIDTH {
                finish(j, 0u, floats[source(j)]);
            }
        }
    }
    finish_totals(invocation);
}

// The lowest byte of a word, divided by 255. A division may be off by two units in the last place, and drivers may
// factor a sum of two products. 341 times a byte is exact, and its product with 1/(255 341), which 32 bits hold to
// 2^-40, is the correctly rounded quotient for all 256 bytes.
fn pixel(byte: u32) -> f32 {
    return f32((byte & 255u) * 341u) * 1.15002013e-5;
}

// y[i] = bytes[source(i)] / 255. One workgroup converts 256 consecutive bytes.
@compute @workgroup_size(64)
fn batch_bytes(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let invocation = (group.y * groups.x + group.x) * 64u + lane;
    let i = invocation * 4u;
    if WIDTH % 4u == 0u {
        if i < COUNT * WIDTH {
            let word = bytes[source(i) / 4u];
            finish4(i, 0u, vec4<f32>(pixel(word), pixel(word >> 8u), pixel(word >> 16u), pixel(word >> 24u)));
        }
    } else {
        for (var j = i; j < i + 4u; j++) {
            if j < COUNT * WIDTH {
                let at = source(j);
                finish(j, 0u, pixel(bytes[at / 4u] >> (at % 4u * 8u)));
            }
        }
    }
    finish_totals(invocation);
}
