// What an adapter can do at most, and what a launch costs: kernels of `pinhole bench` that no plan uses.

// Multiply-adds of each chain in a launch.
const ROUNDS: u32 = 256u;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;

// One workgroup copies 256 consecutive vectors.
@compute @workgroup_size(256)
fn copy(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 256u + lane;
    if i < arrayLength(&y) {
        y[i] = x[i];
    }
}

// One workgroup runs 256 invocations of eight chains each, four multiply-adds wide. No chain waits for another, nothing
// is read or written in between, and only the end result is kept, so that nothing may be left out.
@compute @workgroup_size(256)
fn multiply_add(@builtin(global_invocation_id) invocation: vec3<u32>) {
    let factor = x[0];
    let addend = x[1];
    let i = invocation.x;
    var c0 = vec4(f32(i));
    var c1 = c0 + 1.0;
    var c2 = c0 + 2.0;
    var c3 = c0 + 3.0;
    var c4 = c0 + 4.0;
    var c5 = c0 + 5.0;
    var c6 = c0 + 6.0;
    var c7 = c0 + 7.0;
    for (var round = 0u; round < ROUNDS; round++) {
        c0 = c0 * factor + addend;
        c1 = c1 * factor + addend;
        c2 = c2 * factor + addend;
        c3 = c3 * factor + addend;
        c4 = c4 * factor + addend;
        c5 = c5 * factor + addend;
        c6 = c6 * factor + addend;
        c7 = c7 * factor + addend;
    }
    if i < arrayLength(&y) {
        y[i] = ((c0 + c1) + (c2 + c3)) + ((c4 + c5) + (c6 + c7));
    }
}

// One workgroup changes a few vectors in place: next to nothing, so that what is measured is the launch.
@compute @workgroup_size(64)
fn change(@builtin(local_invocation_index) lane: u32) {
    if lane < arrayLength(&y) {
        y[lane] += vec4(1.0);
    }
}

// Like `change`, from one buffer to another.
@compute @workgroup_size(64)
fn pass_on(@builtin(local_invocation_index) lane: u32) {
    if lane < arrayLength(&y) {
        y[lane] = x[lane] + vec4(1.0);
    }
}
