// Pooling and resizing of images, channels last: n batch, c channels, h w the large image, p q the small one, r s the
// window, whose elements are DILATION apart. An R of 0 means adaptive windows, which share the large image among the
// positions of the small one and may overlap. Each pair of entry points is a linear map and its transpose, so that
// either is the other's derivative. One invocation computes four neighbouring elements of the result. Images may be
// stored in 16 bits, and are computed with in 32.

const BATCH: u32 = 1u;
const C: u32 = 4u;
const H: u32 = 8u;
const W: u32 = 8u;
const P: u32 = 4u;
const Q: u32 = 4u;
const R: u32 = 2u;
const S: u32 = 2u;
const STRIDE_H: u32 = 2u;
const STRIDE_W: u32 = 2u;
const PAD_H: u32 = 0u;
const PAD_W: u32 = 0u;
const DILATION_H: u32 = 1u;
const DILATION_W: u32 = 1u;

@group(0) @binding(0) var<storage, read> x: array<f32>;
// By what a maximum is chosen; of the large image's shape.
@group(0) @binding(1) var<storage, read> keys: array<f32>;
@group(0) @binding(2) var<storage, read_write> y0: array<vec4<f32>>;

fn finish(row: u32, offset: u32, value: f32) { y0[(row + offset) / 4u][(row + offset) % 4u] = value; }
fn finish4(row: u32, offset: u32, value: vec4<f32>) { y0[(row + offset) / 4u] = value; }
fn finish_totals(invocation: u32) {}

const LARGE: u32 = BATCH * H * W * C;
const SMALL: u32 = BATCH * P * Q * C;

const SIZE: vec2<u32> = vec2<u32>(H, W);
const POSITIONS: vec2<u32> = vec2<u32>(P, Q);
const WINDOW: vec2<u32> = vec2<u32>(R, S);
const STRIDE: vec2<u32> = vec2<u32>(STRIDE_H, STRIDE_W);
const PADDING: vec2<u32> = vec2<u32>(PAD_H, PAD_W);
const DILATION: vec2<u32> = vec2<u32>(DILATION_H, DILATION_W);
// What a window covers, its gaps included.
const COVERED: vec2<u32> = WINDOW * DILATION + vec2<u32>(1u) - DILATION;
const ADAPTIVE: bool = R == 0u;

// Row and column of an element of either image.
fn large_place(i: u32) -> vec2<u32> {
    return vec2<u32>(i / (W * C) % H, i / C % W);
}

fn small_place(i: u32) -> vec2<u32> {
    return vec2<u32>(i / (Q * C) % P, i / C % Q);
}

// The element of the large image in channel and picture of element i of the small one; and the other way round.
fn large_at(i: u32, place: vec2<u32>) -> u32 {
    return ((i / (P * Q * C) * H + place.x) * W + place.y) * C + i % C;
}

fn small_at(i: u32, place: vec2<u32>) -> u32 {
    return ((i / (H * W * C) * P + place.x) * Q + place.y) * C + i % C;
}

// The part of a position's window that lies inside the picture: from the first row and column to before the second, in
// steps of DILATION.
fn window_from(position: vec2<u32>) -> vec2<u32> {
    if ADAPTIVE {
        return position * SIZE / POSITIONS;
    }
    let start = position * STRIDE;
    let outside = (max(start, PADDING) - start + DILATION - vec2<u32>(1u)) / DILATION;
    return start + outside * DILATION - PADDING;
}

fn window_to(position: vec2<u32>) -> vec2<u32> {
    if ADAPTIVE {
        return ((position + vec2<u32>(1u)) * SIZE + POSITIONS - vec2<u32>(1u)) / POSITIONS;
    }
    return min(position * STRIDE + COVERED - PADDING, SIZE);
}

// The positions whose windows meet a place or have it in a gap: from the first to before the second.
fn positions_from(place: vec2<u32>) -> vec2<u32> {
    if ADAPTIVE {
        return place * POSITIONS / SIZE;
    }
    return (max(place + PADDING + STRIDE, COVERED) - COVERED) / STRIDE;
}

fn positions_to(place: vec2<u32>) -> vec2<u32> {
    if ADAPTIVE {
        return ((place + vec2<u32>(1u)) * POSITIONS + SIZE - vec2<u32>(1u)) / SIZE;
    }
    return min((place + PADDING) / STRIDE + vec2<u32>(1u), POSITIONS);
}

// Whether a place that a position's window covers is in no gap of it.
fn meets(place: vec2<u32>, position: vec2<u32>) -> bool {
    return ADAPTIVE || all((place + PADDING - position * STRIDE) % DILATION == vec2<u32>(0u));
}

fn sum_at(i: u32) -> f32 {
    let position = small_place(i);
    let start = window_from(position);
    let end = window_to(position);
    var sum = 0.0;
    for (var h = start.x; h < end.x; h += DILATION_H) {
        for (var w = start.y; w < end.y; w += DILATION_W) {
            sum += f32(x[large_at(i, vec2<u32>(h, w))]);
        }
    }
    return sum;
}

fn sum_spread_at(i: u32) -> f32 {
    let place = large_place(i);
    let start = positions_from(place);
    let end = positions_to(place);
    var sum = 0.0;
    for (var p = start.x; p < end.x; p++) {
        for (var q = start.y; q < end.y; q++) {
            if meets(place, vec2<u32>(p, q)) {
                sum += f32(x[small_at(i, vec2<u32>(p, q))]);
            }
        }
    }
    return sum;
}

// Of equal keys the first counts.
fn max_at(i: u32) -> f32 {
    let position = small_place(i);
    let start = window_from(position);
    let end = window_to(position);
    var best = large_at(i, start);
    for (var h = start.x; h < end.x; h += DILATION_H) {
        for (var w = start.y; w < end.y; w += DILATION_W) {
            let at = large_at(i, vec2<u32>(h, w));
            if f32(keys[at]) > f32(keys[best]) {
                best = at;
            }
        }
    }
    return f32(x[best]);
}

// Whether element i has the first largest key of a position's window.
fn wins(i: u32, position: vec2<u32>) -> bool {
    let place = large_place(i);
    let picture = i / (H * W * C) * (H * W * C) + i % C;
    let start = window_from(position);
    let end = window_to(position);
    let own = f32(keys[i]);
    for (var h = start.x; h < end.x; h += DILATION_H) {
        for (var w = start.y; w < end.y; w += DILATION_W) {
            let other = f32(keys[picture + (h * W + w) * C]);
            let before = h < place.x || (h == place.x && w < place.y);
            if other > own || (before && other == own) {
                return false;
            }
        }
    }
    return true;
}

fn max_spread_at(i: u32) -> f32 {
    let place = large_place(i);
    let start = positions_from(place);
    let end = positions_to(place);
    var sum = 0.0;
    for (var p = start.x; p < end.x; p++) {
        for (var q = start.y; q < end.y; q++) {
            if meets(place, vec2<u32>(p, q)) && wins(i, vec2<u32>(p, q)) {
                sum += f32(x[small_at(i, vec2<u32>(p, q))]);
            }
        }
    }
    return sum;
}

// Linear interpolation: pixels are squares whose centres carry their values; beyond the outer centres the value stays.
// STRIDE is how many pixels of the large image are as wide as one of the small one. Row or column of the small image
// before a place, the one after it, and how near that is.
fn before(place: u32, stride: u32) -> u32 {
    return (max(2u * place + 1u, stride) - stride) / (2u * stride);
}

fn nearness(place: u32, stride: u32) -> f32 {
    return f32((max(2u * place + 1u, stride) - stride) % (2u * stride)) / f32(2u * stride);
}

fn linear_at(i: u32) -> f32 {
    let place = large_place(i);
    let start = vec2<u32>(before(place.x, STRIDE_H), before(place.y, STRIDE_W));
    let end = min(start + vec2<u32>(1u), POSITIONS - vec2<u32>(1u));
    let down = nearness(place.x, STRIDE_H);
    let across = nearness(place.y, STRIDE_W);
    let upper = f32(x[small_at(i, start)]) * (1.0 - across) + f32(x[small_at(i, vec2<u32>(start.x, end.y))]) * across;
    let lower = f32(x[small_at(i, vec2<u32>(end.x, start.y))]) * (1.0 - across) + f32(x[small_at(i, end)]) * across;
    return upper * (1.0 - down) + lower * down;
}

// Weight of a row (column) of the small image, one of `positions`, in a row (column) `place` of the large one.
fn part_of(position: u32, positions: u32, place: u32, stride: u32) -> f32 {
    let start = before(place, stride);
    let near = nearness(place, stride);
    return select(0.0, 1.0 - near, start == position) + select(0.0, near, min(start + 1u, positions - 1u) == position);
}

fn linear_spread_at(i: u32) -> f32 {
    let position = small_place(i);
    let start = (max(position, vec2<u32>(1u)) - vec2<u32>(1u)) * STRIDE;
    let end = min((position + vec2<u32>(2u)) * STRIDE, SIZE);
    var sum = 0.0;
    for (var h = start.x; h < end.x; h++) {
        var row = 0.0;
        for (var w = start.y; w < end.y; w++) {
            row += f32(x[large_at(i, vec2<u32>(h, w))]) * part_of(position.y, Q, w, STRIDE_W);
        }
        sum += row * part_of(position.x, P, h, STRIDE_H);
    }
    return sum;
}

// Leaves four neighbouring elements of `count`, from i on.
fn leave(i: u32, count: u32, four: vec4<f32>) {
    if count % 4u == 0u {
        finish4(i, 0u, four);
    } else {
        for (var j = i; j < min(i + 4u, count); j++) {
            finish(j, 0u, four[j - i]);
        }
    }
}

// Of four neighbouring elements of `count` each that exists; for the others the last one.
fn neighbours(i: u32, count: u32) -> vec4<u32> {
    return min(i + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(count - 1u));
}

// The sum of each window.
@compute @workgroup_size(64)
fn sum_pool(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let invocation = (group.y * groups.x + group.x) * 64u + lane;
    if invocation * 4u < SMALL {
        let i = neighbours(invocation * 4u, SMALL);
        leave(i.x, SMALL, vec4<f32>(sum_at(i.x), sum_at(i.y), sum_at(i.z), sum_at(i.w)));
    }
    finish_totals(invocation);
}

// For each place, the sum over the positions whose windows it is in.
@compute @workgroup_size(64)
fn sum_pool_spread(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let invocation = (group.y * groups.x + group.x) * 64u + lane;
    if invocation * 4u < LARGE {
        let i = neighbours(invocation * 4u, LARGE);
        leave(i.x, LARGE, vec4<f32>(sum_spread_at(i.x), sum_spread_at(i.y), sum_spread_at(i.z), sum_spread_at(i.w)));
    }
    finish_totals(invocation);
}

// In each window, the value at its first largest key.
@compute @workgroup_size(64)
fn max_pool(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let invocation = (group.y * groups.x + group.x) * 64u + lane;
    if invocation * 4u < SMALL {
        let i = neighbours(invocation * 4u, SMALL);
        leave(i.x, SMALL, vec4<f32>(max_at(i.x), max_at(i.y), max_at(i.z), max_at(i.w)));
    }
    finish_totals(invocation);
}

// For each place, the sum over the positions in whose windows it has the first largest key.
@compute @workgroup_size(64)
fn max_pool_spread(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let invocation = (group.y * groups.x + group.x) * 64u + lane;
    if invocation * 4u < LARGE {
        let i = neighbours(invocation * 4u, LARGE);
        leave(i.x, LARGE, vec4<f32>(max_spread_at(i.x), max_spread_at(i.y), max_spread_at(i.z), max_spread_at(i.w)));
    }
    finish_totals(invocation);
}

// The small image enlarged.
@compute @workgroup_size(64)
fn linear_resize(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let invocation = (group.y * groups.x + group.x) * 64u + lane;
    if invocation * 4u < LARGE {
        let i = neighbours(invocation * 4u, LARGE);
        leave(i.x, LARGE, vec4<f32>(linear_at(i.x), linear_at(i.y), linear_at(i.z), linear_at(i.w)));
    }
    finish_totals(invocation);
}

// For each position, the sum of the large image by its part in each place.
@compute @workgroup_size(64)
fn linear_resize_spread(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let invocation = (group.y * groups.x + group.x) * 64u + lane;
    if invocation * 4u < SMALL {
        let i = neighbours(invocation * 4u, SMALL);
        leave(i.x, SMALL, vec4<f32>(linear_spread_at(i.x), linear_spread_at(i.y), linear_spread_at(i.z), linear_spread_at(i.w)));
    }
    finish_totals(invocation);
}
