// Reductions. The plan orders axes so that element r of output o is element o * LENGTH + r of `fused`, which also holds
// the elementwise chain that feeds the reduction. A long reduction is split into SPLITS partial results for each output,
// which a second launch joins in a fixed order.

const OUTPUTS: u32 = 64u;
const LENGTH: u32 = 64u;
const SPLITS: u32 = 1u;

@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@group(0) @binding(1) var<storage, read> x0: array<f32>;
@group(0) @binding(2) var<storage, read> x1: array<f32>;
@group(0) @binding(3) var<storage, read> x2: array<f32>;
@group(0) @binding(4) var<storage, read> x3: array<f32>;
@group(0) @binding(5) var<storage, read> x4: array<f32>;
@group(0) @binding(6) var<storage, read> x5: array<f32>;
@group(0) @binding(7) var<storage, read> x6: array<f32>;

fn fused(i: u32) -> f32 { return x0[i]; }

// One workgroup computes 64 consecutive partial sums: y[o * SPLITS + s] is the sum of elements s, s + SPLITS, ... of o.
@compute @workgroup_size(64)
fn sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + lane;
    if i < OUTPUTS * SPLITS {
        let start = i / SPLITS * LENGTH;
        var total = 0.0;
        for (var r = i % SPLITS; r < LENGTH; r += SPLITS) {
            total += fused(start + r);
        }
        y[i] = total;
    }
}

// One workgroup computes 64 consecutive partial maxima, laid out as the sums are.
@compute @workgroup_size(64)
fn maximum_of(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + lane;
    if i < OUTPUTS * SPLITS {
        let start = i / SPLITS * LENGTH;
        var largest = fused(start + i % SPLITS);
        for (var r = i % SPLITS + SPLITS; r < LENGTH; r += SPLITS) {
            largest = max(largest, fused(start + r));
        }
        y[i] = largest;
    }
}
