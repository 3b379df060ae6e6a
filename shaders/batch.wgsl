// The next batch of a resident data set: COUNT rows of WIDTH elements, in the order of the epoch's permutation, from
// the step state's offset on.

const ROWS: u32 = 4u;
const COUNT: u32 = 4u;
const WIDTH: u32 = 64u;
// The word of the state that holds the offset.
const OFFSET: u32 = 4u;

@group(0) @binding(0) var<storage, read> floats: array<f32>;
@group(0) @binding(1) var<storage, read> permutation: array<u32>;
@group(0) @binding(2) var<storage, read> state: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<storage, read> bytes: array<u32>;

// The element of the data set that element i of the batch is.
fn source(i: u32) -> u32 {
    let row = permutation[min(state[OFFSET] + i / WIDTH, ROWS - 1u)];
    return min(row, ROWS - 1u) * WIDTH + i % WIDTH;
}

// One workgroup copies 64 consecutive elements.
@compute @workgroup_size(64)
fn batch_floats(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + lane;
    if i < COUNT * WIDTH {
        y[i] = floats[source(i)];
    }
}

// One workgroup converts 64 consecutive bytes to multiples of 1/255. A division may be off by two units in the last
// place, and drivers may factor a sum of two products. 341 times a byte is exact, and its product with 1/(255 341),
// which 32 bits hold to 2^-40, is the correctly rounded quotient for all 256 bytes.
@compute @workgroup_size(64)
fn batch_bytes(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + lane;
    if i < COUNT * WIDTH {
        let at = source(i);
        let byte = (bytes[at / 4u] >> (at % 4u * 8u)) & 255u;
        y[i] = f32(byte * 341u) * 1.15002013e-5;
    }
}
