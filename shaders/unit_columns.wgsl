// The columns of a [ROWS, COLUMNS] matrix of parameters, scaled to length 1 after the optimiser's step. A column of
// zeros stays as it is.

const FIRST: u32 = 0u;
const ROWS: u32 = 4u;
const COLUMNS: u32 = 64u;

@group(0) @binding(0) var<storage, read_write> parameters: array<f32>;

// w[row, column] /= sqrt(the sum of w[row, column]^2 over all rows). One workgroup scales 64 columns, one for each
// invocation.
@compute @workgroup_size(64)
fn unit_columns(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = (group.y * groups.x + group.x) * 64u + lane;
    if column < COLUMNS {
        var squares = 0.0;
        for (var row = 0u; row < ROWS; row++) {
            let number = parameters[FIRST + row * COLUMNS + column];
            squares += number * number;
        }
        if squares > 0.0 {
            let scale = 1.0 / sqrt(squares);
            for (var row = 0u; row < ROWS; row++) {
                parameters[FIRST + row * COLUMNS + column] *= scale;
            }
        }
    }
}
