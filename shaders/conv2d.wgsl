// The convolution trio, by the tiles of tile.wgsl, channels last: n batch, c in-channels, o out-channels, h w input, p q
// output, r s kernel; x [n, h, w, c], weight [o, r, s, c], y [n, p, q, o]. What meets the padding lies outside the picture.
// Each group has panels of its own: its in- and out-channels, of which the weight has the first.

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
const DILATION_H: u32 = 1u;
const DILATION_W: u32 = 1u;
const CHANNEL_GROUPS: u32 = 1u;
// Rows and columns of one phase: ceil(H / STRIDE_H), ceil(W / STRIDE_W). Input positions whose row and column leave the
// same rests by the strides form a phase: they meet the same taps.
const PHASE_H: u32 = 4u;
const PHASE_W: u32 = 4u;
// These taps lie so far apart in the kernel: STRIDE / gcd(STRIDE, DILATION). The inverse of DILATION / gcd modulo that.
const TAP_H: u32 = 2u;
const TAP_W: u32 = 2u;
const INVERSE_H: u32 = 1u;
const INVERSE_W: u32 = 1u;
// Channels of a group.
const CG: u32 = C / CHANNEL_GROUPS;
const OG: u32 = O / CHANNEL_GROUPS;

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
    return vec3<u32>((panel * OG + line) * (R * S * CG), 0u, 0u);
}

fn forward_left_step(panel: u32, k: u32) -> vec3<u32> {
    return vec3<u32>(k, 0u, 0u);
}

fn forward_left_inside(place: vec3<u32>) -> bool {
    return true;
}

fn forward_right_line(panel: u32, line: u32) -> vec3<u32> {
    return input_place(line / (P * Q), line / Q % P * STRIDE_H - PAD_H, line % Q * STRIDE_W - PAD_W, panel * CG);
}

fn forward_right_step(panel: u32, k: u32) -> vec3<u32> {
    return input_place(0u, k / (S * CG) * DILATION_H, k / CG % S * DILATION_W, k % CG);
}

fn forward_right_inside(place: vec3<u32>) -> bool {
    return in_input(place);
}

fn forward_depth_of(panel: u32, depth: u32) -> u32 {
    return depth;
}

fn forward_result_at(panel: u32, line: u32, column: u32) -> vec2<u32> {
    return vec2<u32>(column * O, panel * OG + line);
}

// --- x's gradient from weight (left) and y's (right); also transposed convolution. A panel is a phase of the stride, of a
// group; lines are in-channels, columns the positions of the phase, the depth [taps of the phase down, across, o].

const STRIDES: vec2<u32> = vec2<u32>(STRIDE_H, STRIDE_W);
const DILATIONS: vec2<u32> = vec2<u32>(DILATION_H, DILATION_W);
const PADDING: vec2<u32> = vec2<u32>(PAD_H, PAD_W);
const TAP: vec2<u32> = vec2<u32>(TAP_H, TAP_W);
const PHASES: u32 = STRIDE_H * STRIDE_W;
// What stride and dilation have in common, and how far the position of y moves back from one tap to the next.
const COMMON: vec2<u32> = STRIDES / TAP;
const BACK: vec2<u32> = DILATIONS / COMMON;

// Row and column of a panel's phase.
fn phase_of(panel: u32) -> vec2<u32> {
    let phase = panel % PHASES;
    return vec2<u32>(phase / STRIDE_W, phase % STRIDE_W);
}

// The first tap that a panel's positions meet.
fn first_tap(panel: u32) -> vec2<u32> {
    return (phase_of(panel) + PADDING) % STRIDES / COMMON * vec2<u32>(INVERSE_H, INVERSE_W) % TAP;
}

// How many taps they meet. With a dilation, some phases meet none.
fn taps(panel: u32) -> vec2<u32> {
    let count = (vec2<u32>(R, S) + TAP - vec2<u32>(1u) - first_tap(panel)) / TAP;
    return select(vec2<u32>(), count, (phase_of(panel) + PADDING) % COMMON == vec2<u32>());
}

fn grad_input_left_line(panel: u32, line: u32) -> vec3<u32> {
    return vec3<u32>(line, 0u, 0u);
}

fn grad_input_left_step(panel: u32, k: u32) -> vec3<u32> {
    let tap = k / OG;
    let across = max(taps(panel).y, 1u);
    let rs = first_tap(panel) + vec2<u32>(tap / across, tap % across) * TAP;
    return vec3<u32>((((panel / PHASES * OG + k % OG) * R + rs.x) * S + rs.y) * CG, 0u, 0u);
}

fn grad_input_left_inside(place: vec3<u32>) -> bool {
    return true;
}

// The position of y that meets the first tap; each further tap meets the one before.
fn grad_input_right_line(panel: u32, line: u32) -> vec3<u32> {
    let hw = vec2<u32>(line / PHASE_W % PHASE_H, line % PHASE_W) * STRIDES + phase_of(panel);
    let pq = (hw + PADDING - first_tap(panel) * DILATIONS) / STRIDES;
    return output_place(line / (PHASE_H * PHASE_W), pq.x, pq.y, panel / PHASES * OG);
}

fn grad_input_right_step(panel: u32, k: u32) -> vec3<u32> {
    let tap = k / OG;
    let across = max(taps(panel).y, 1u);
    let back = vec2<u32>(tap / across, tap % across) * BACK;
    return output_place(0u, 0u - back.x, 0u - back.y, k % OG);
}

fn grad_input_right_inside(place: vec3<u32>) -> bool {
    return in_output(place);
}

fn grad_input_depth_of(panel: u32, depth: u32) -> u32 {
    return taps(panel).x * taps(panel).y * OG;
}

// Where the strides do not divide the picture, some positions of a phase are beyond it.
fn grad_input_result_at(panel: u32, line: u32, column: u32) -> vec2<u32> {
    let hw = vec2<u32>(column / PHASE_W % PHASE_H, column % PHASE_W) * STRIDES + phase_of(panel);
    let row = ((column / (PHASE_H * PHASE_W) * H + hw.x) * W + hw.y) * C;
    return vec2<u32>(select(0xffffffffu, row, hw.x < H && hw.y < W), panel / PHASES * CG + line);
}

// --- weight's gradient from y's (left) and x (right): lines are out-channels, columns [r, s, c], the depth positions of y.

fn grad_weight_left_line(panel: u32, line: u32) -> vec3<u32> {
    return vec3<u32>(panel * OG + line, 0u, 0u);
}

fn grad_weight_left_step(panel: u32, k: u32) -> vec3<u32> {
    return vec3<u32>(k * O, 0u, 0u);
}

fn grad_weight_left_inside(place: vec3<u32>) -> bool {
    return true;
}

fn grad_weight_right_line(panel: u32, line: u32) -> vec3<u32> {
    let rs = vec2<u32>(line / (S * CG), line / CG % S) * DILATIONS - PADDING;
    return input_place(0u, rs.x, rs.y, panel * CG + line % CG);
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
    return vec2<u32>((panel * OG + line) * (R * S * CG), column);
}
