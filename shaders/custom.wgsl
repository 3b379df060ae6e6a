// An application's kernel: the plan puts the application's text, which has the function `element`, before this text,
// and declarations of the inputs x0, x1, .. and of all sizes after it.

const COUNT: u32 = 64u;

@group(0) @binding(0) var<storage, read_write> y: array<f32>;

// Element i of y, from the inputs. The application's function replaces this one.
fn element(i: u32) -> f32 { return f32(i); }

// y[i] = element(i). One workgroup computes 64 consecutive elements of y.
@compute @workgroup_size(64)
fn custom(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + lane;
    if i < COUNT {
        y[i] = element(i);
    }
}
