// Rows of a table by index, and sums of rows back into a table by index.

// Number of rows of the table, number of indices, and length of a row.
const ROWS: u32 = 4u;
const COUNT: u32 = 4u;
const WIDTH: u32 = 64u;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> indices: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

// y[k] = x[indices[k]]. One workgroup computes 64 consecutive elements.
fn gather_part(group: u32, lane: u32) {
    let i = group * 64u + lane;
    if i < COUNT * WIDTH {
        let row = min(indices[i / WIDTH], ROWS - 1u);
        y[i] = x[row * WIDTH + i % WIDTH];
    }
}

@compute @workgroup_size(64)
fn gather(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    gather_part(group.y * groups.x + group.x, lane);
}

// y[v] = the sum of x[k] over all k with indices[k] = v. Each invocation searches the indices for the terms of one
// element, so that the order of the sum is fixed. One workgroup computes 64 consecutive elements of the [ROWS, WIDTH]
// table.
fn scatter_add_part(group: u32, lane: u32) {
    let i = group * 64u + lane;
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

@compute @workgroup_size(64)
fn scatter_add(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    scatter_add_part(group.y * groups.x + group.x, lane);
}
