// The convolution trio, by the tiles of tile.wgsl, channels last: n batch, c in-channels, o out-channels, h w input, p q
// output, r s kernel; x [n, h, w, c], weight [o, r, s, c], y [n, p, q, o]. What meets the padding lies outside the picture.

const BATCH: u32 = 1u;
const C: u32 = 4u;
const H: u32 = 8u;
const W: u32 = 8u;
const O: u32 = 4u;
const P: u32 = 4u;
const Q: u32 = 4u;
const R: u32 = 3u;
const S: u32 = 3u;
const STRIDE_H: u32 = 2u;
const STRIDE_W: u32 = 2u;
const PAD_H: u32 = 1u;
const PAD_W: u32 = 1u;
// Rows and columns of one phase: ceil(H / STRIDE_H), ceil(W / STRIDE_W). Input positions whose row and column leave the
// same rests by the strides form a phase: they meet the same taps.
const PHASE_H: u32 = 4u;
const PHASE_W: u32 = 4u;

// The place of x's element at a window's corner, or at a tap within the window, channel c of it.
fn input_place(n: u32, h: u32, w: u32, c: u32) -> vec3<u32> {
    return vec3<u32>(((n * H + h) * W + w) * C + c, h, w);
}

fn output_place(n: u32, p: u32, q: u32, o: u32) -> vec3<u32> {
    return vec3<u32>(((n * P + p) * Q + q) * O + o, p, q);
}

fn in_input(place: vec3<u32>) -> bool {
    return place.y < H && place.z < W;
}

fn in_output(place: vec3<u32>) -> bool {
    return place.y < P && place.z < Q;
}

// --- y from weight (left) and x (right): lines are out-channels, columns positions of y, the depth [r, s, c].

fn forward_left_line(panel: u32, line: u32) -> vec3<u32> {
    return vec3<u32>(line * (R * S * C), 0u, 0u);
}

fn forward_left_step(panel: u32, k: u32) -> vec3<u32> {
    return vec3<u32>(k, 0u, 0u);
}

fn forward_left_inside(place: vec3<u32>) -> bool {
    return true;
}

fn forward_right_line(panel: u32, line: u32) -> vec3<u32> {
    return input_place(line / (P * Q), line / Q % P * STRIDE_H - PAD_H, line % Q * STRIDE_W - PAD_W, 0u);
}

fn forward_right_step(panel: u32, k: u32) -> vec3<u32> {
    return input_place(0u, k / (S * C), k / C % S, k % C);
}

fn forward_right_inside(place: vec3<u32>) -> bool {
    return in_input(place);
}

fn forward_depth_of(panel: u32, depth: u32) -> u32 {
    return depth;
}

fn forward_result_at(panel: u32, line: u32, column: u32) -> vec2<u32> {
    return vec2<u32>(column * O, line);
}

// --- x's gradient from weight (left) and y's (right); also transposed convolution. A panel is a phase of the stride; lines
// are in-channels, columns the positions of the phase, the depth [taps of the phase down, across, o].

// The first tap that a panel's positions meet; the others follow at the stride.
fn first_tap(panel: u32) -> vec2<u32> {
    return vec2<u32>((panel / STRIDE_W + PAD_H) % STRIDE_H, (panel % STRIDE_W + PAD_W) % STRIDE_W);
}

fn taps(panel: u32) -> vec2<u32> {
    let stride = vec2<u32>(STRIDE_H, STRIDE_W);
    return (vec2<u32>(R, S) + stride - vec2<u32>(1u) - first_tap(panel)) / stride;
}

fn grad_input_left_line(panel: u32, line: u32) -> vec3<u32> {
    return vec3<u32>(line, 0u, 0u);
}

fn grad_input_left_step(panel: u32, k: u32) -> vec3<u32> {
    let tap = k / O;
    let across = max(taps(panel).y, 1u);
    let rs = first_tap(panel) + vec2<u32>(tap / across * STRIDE_H, tap % across * STRIDE_W);
    return vec3<u32>(((k % O * R + rs.x) * S + rs.y) * C, 0u, 0u);
}

fn grad_input_left_inside(place: vec3<u32>) -> bool {
    return true;
}

// The position of y that meets the first tap; each further tap meets the one before.
fn grad_input_right_line(panel: u32, line: u32) -> vec3<u32> {
    let h = line / PHASE_W % PHASE_H * STRIDE_H + panel / STRIDE_W;
    let w = line % PHASE_W * STRIDE_W + panel % STRIDE_W;
    let first = first_tap(panel);
    return output_place(line / (PHASE_H * PHASE_W), (h + PAD_H - first.x) / STRIDE_H, (w + PAD_W - first.y) / STRIDE_W, 0u);
}

fn grad_input_right_step(panel: u32, k: u32) -> vec3<u32> {
    let tap = k / O;
    let across = max(taps(panel).y, 1u);
    return output_place(0u, 0u - tap / across, 0u - tap % across, k % O);
}

fn grad_input_right_inside(place: vec3<u32>) -> bool {
    return in_output(place);
}

fn grad_input_depth_of(panel: u32, depth: u32) -> u32 {
    return taps(panel).x * taps(panel).y * O;
}

// Where the strides do not divide the picture, some positions of a phase are beyond it.
fn grad_input_result_at(panel: u32, line: u32, column: u32) -> vec2<u32> {
    let h = column / PHASE_W % PHASE_H * STRIDE_H + panel / STRIDE_W;
    let w = column % PHASE_W * STRIDE_W + panel % STRIDE_W;
    let row = ((column / (PHASE_H * PHASE_W) * H + h) * W + w) * C;
    return vec2<u32>(select(0xffffffffu, row, h < H && w < W), line);
}

// --- weight's gradient from y's (left) and x (right): lines are out-channels, columns [r, s, c], the depth positions of y.

fn grad_weight_left_line(panel: u32, line: u32) -> vec3<u32> {
    return vec3<u32>(line, 0u, 0u);
}

fn grad_weight_left_step(panel: u32, k: u32) -> vec3<u32> {
    return vec3<u32>(k * O, 0u, 0u);
}

fn grad_weight_left_inside(place: vec3<u32>) -> bool {
    return true;
}

fn grad_weight_right_line(panel: u32, line: u32) -> vec3<u32> {
    return input_place(0u, line / (S * C) - PAD_H, line / C % S - PAD_W, line % C);
}

fn grad_weight_right_step(panel: u32, k: u32) -> vec3<u32> {
    return input_place(k / (P * Q), k / Q % P * STRIDE_H, k % Q * STRIDE_W, 0u);
}

fn grad_weight_right_inside(place: vec3<u32>) -> bool {
    return in_input(place);
}

fn grad_weight_depth_of(panel: u32, depth: u32) -> u32 {
    return depth;
}

fn grad_weight_result_at(panel: u32, line: u32, column: u32) -> vec2<u32> {
    return vec2<u32>(line * (R * S * C), column);
}
