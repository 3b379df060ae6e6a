// Elementwise expressions, and everything that only moves data: the plan replaces `fused` by the expression of a whole
// chain of ops, whose loads may broadcast, permute, slice, pad or join their inputs.

const COUNT: u32 = 64u;

@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@group(0) @binding(1) var<storage, read> x0: array<f32>;
@group(0) @binding(2) var<storage, read> x1: array<f32>;
@group(0) @binding(3) var<storage, read> x2: array<f32>;
@group(0) @binding(4) var<storage, read> x3: array<f32>;
@group(0) @binding(5) var<storage, read> x4: array<f32>;
@group(0) @binding(6) var<storage, read> x5: array<f32>;
@group(0) @binding(7) var<storage, read> x6: array<f32>;

fn fused(i: u32) -> f32 { return x0[i]; }

// One workgroup computes 64 consecutive elements of y.
@compute @workgroup_size(64)
fn map(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + lane;
    if i < COUNT {
        y[i] = fused(i);
    }
}
