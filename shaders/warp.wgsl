// Pictures [n, c, h, w] resampled under affine maps [n, 2, 3].

const COUNT: u32 = 4u;
const CHANNELS: u32 = 3u;
const HEIGHT: u32 = 8u;
const WIDTH: u32 = 8u;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> maps: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

// x[base + row * WIDTH + column], a pixel of the plane that begins at element `base`; zero outside the plane.
fn pixel(base: u32, row: i32, column: i32) -> f32 {
    if row < 0 || column < 0 || row >= i32(HEIGHT) || column >= i32(WIDTH) {
        return 0.0;
    }
    return x[base + u32(row) * WIDTH + u32(column)];
}

// y[n, c, i, j] = x[n, c] at the point to which map n takes (i, j), interpolated bilinearly between the four pixels
// around the point. Both points are relative to the picture's centre. One workgroup computes 64 consecutive elements.
@compute @workgroup_size(64)
fn warp(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = (group.y * groups.x + group.x) * 64u + lane;
    if at < COUNT * CHANNELS * HEIGHT * WIDTH {
        let base = at / (HEIGHT * WIDTH) * (HEIGHT * WIDTH);
        let map = at / (CHANNELS * HEIGHT * WIDTH) * 6u;
        let middle = vec2<f32>((f32(HEIGHT) - 1.0) * 0.5, (f32(WIDTH) - 1.0) * 0.5);
        let place = vec2<f32>(f32(at / WIDTH % HEIGHT), f32(at % WIDTH)) - middle;
        let source = vec2<f32>(
            maps[map] * place.x + maps[map + 1u] * place.y + maps[map + 2u],
            maps[map + 3u] * place.x + maps[map + 4u] * place.y + maps[map + 5u],
        ) + middle;
        // A point far outside is moved to just outside, where pixels are zero too and coordinates fit an i32.
        let inside = clamp(source, vec2<f32>(-1.0), vec2<f32>(f32(HEIGHT), f32(WIDTH)));
        let corner = floor(inside);
        let part = inside - corner;
        let row = i32(corner.x);
        let column = i32(corner.y);
        let above = pixel(base, row, column) * (1.0 - part.y) + pixel(base, row, column + 1) * part.y;
        let below = pixel(base, row + 1, column) * (1.0 - part.y) + pixel(base, row + 1, column + 1) * part.y;
        y[at] = above * (1.0 - part.x) + below * part.x;
    }
}
