// Rows by index: a table's, their sums back into a table, and the next batch of a resident data set.

// Rows that an index chooses among, rows that come out, and the length of a row.
const ROWS: u32 = 4u;
const COUNT: u32 = 4u;
const WIDTH: u32 = 64u;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> indices: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

// y[k] = x[indices[k]]. One workgroup computes 64 consecutive elements.
@compute @workgroup_size(64)
fn gather(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + lane;
    if i < COUNT * WIDTH {
        let row = min(indices[i / WIDTH], ROWS - 1u);
        y[i] = x[row * WIDTH + i % WIDTH];
    }
}

// y[v] = the sum of x[k] over the k with indices[k] = v: each element looks for its terms, so that their order is fixed.
// One workgroup computes 64 consecutive elements of the [ROWS, WIDTH] table.
@compute @workgroup_size(64)
fn scatter_add(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + lane;
    if i < ROWS * WIDTH {
        var total = 0.0;
        for (var k = 0u; k < COUNT; k++) {
            if indices[k] == i / WIDTH {
                total += x[k * WIDTH + i % WIDTH];
            }
        }
        y[i] = total;
    }
}
