// Elementwise expressions, and ops that only move data: the plan replaces `fused` by the expression of a whole chain of
// ops, whose loads may broadcast, permute, slice, pad or join their inputs.

const COUNT: u32 = 64u;
// The type of y's elements: a plan may store them in 16 bits.
alias Stored = f32;

@group(0) @binding(0) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> x0: array<vec4<f32>>;

// Element i of the expression, and its elements i to i + 3, where i is a multiple of four. The plan replaces both.
fn fused(i: u32) -> f32 { return x0[i / 4u][i % 4u]; }
fn fused4(i: u32) -> vec4<f32> { return x0[i / 4u]; }

// y[i] = fused(i). One workgroup computes 256 consecutive elements of y.
fn map_part(group: u32, lane: u32) {
    let i = (group * 64u + lane) * 4u;
    if COUNT % 4u == 0u {
        if i < COUNT {
            y[i / 4u] = vec4<Stored>(fused4(i));
        }
    } else {
        for (var j = 0u; j < 4u; j++) {
            if i + j < COUNT {
                y[i / 4u][j] = Stored(fused(i + j));
            }
        }
    }
}

@compute @workgroup_size(64)
fn map(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    map_part(group.y * groups.x + group.x, lane);
}
