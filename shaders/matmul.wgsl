// Batched matrix products [b, m, k] x [b, k, n] -> [b, m, n], by the tiles of tile.wgsl: a panel is one product of the
// batch, a line one row of its result. Strides express transposes and batches that share an operand.

const LEFT_BATCH: u32 = 0u;
const LEFT_LINE: u32 = 64u;
const LEFT_STEP: u32 = 1u;
const RIGHT_BATCH: u32 = 0u;
const RIGHT_COLUMN: u32 = 1u;
const RIGHT_STEP: u32 = 64u;
const M: u32 = 64u;
const N: u32 = 64u;

// The address of left[panel, line, 0].
fn product_left_line(panel: u32, line: u32) -> vec3<u32> {
    return vec3<u32>(panel * LEFT_BATCH + line * LEFT_LINE, 0u, 0u);
}

// The distance from left[panel, line, 0] to left[panel, line, k].
fn product_left_step(panel: u32, k: u32) -> vec3<u32> {
    return vec3<u32>(k * LEFT_STEP, 0u, 0u);
}

// Matrices have no padding, so every address is inside.
fn product_left_inside(place: vec3<u32>) -> bool {
    return true;
}

// The address of right[panel, 0, line]: lines of the right operand are the columns of the result.
fn product_right_line(panel: u32, line: u32) -> vec3<u32> {
    return vec3<u32>(panel * RIGHT_BATCH + line * RIGHT_COLUMN, 0u, 0u);
}

// The distance from right[panel, 0, column] to right[panel, k, column].
fn product_right_step(panel: u32, k: u32) -> vec3<u32> {
    return vec3<u32>(k * RIGHT_STEP, 0u, 0u);
}

// Matrices have no padding, so every address is inside.
fn product_right_inside(place: vec3<u32>) -> bool {
    return true;
}

// All products of the batch have the same depth.
fn product_depth_of(panel: u32, depth: u32) -> u32 {
    return depth;
}

// The address of y[panel, line, column], as the address of its row and the offset in the row.
fn product_result_at(panel: u32, line: u32, column: u32) -> vec2<u32> {
    return vec2<u32>((panel * M + line) * N, column);
}
