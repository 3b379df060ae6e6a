// The three products of a convolution, by the tiles of tile.wgsl, channels last: n batch, c in-channels, o
// out-channels, h w input, p q output, r s kernel; x [n, h, w, c], weight [o, r, s, c], y [n, p, q, o]. Positions in
// the padding are outside the picture and count as 0. A panel is a group of channels; the weight has the in-channels of
// one group only.
//
// Every product sums left[line, k] right[column, k] over its depth k. The address of an element is the sum of an
// address of its line (or column) and one of its depth k: vec3(index in the buffer, row, column of the picture). Rows
// and columns are modulo 2^32, so that positions before the picture are far beyond it and one comparison finds both.

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
// Rows and columns of one phase: ceil(H / STRIDE_H), ceil(W / STRIDE_W). Input positions whose rows and columns are
// equal modulo the strides form a phase: the windows that cover them do so with the same taps of the kernel.
const PHASE_H: u32 = 4u;
const PHASE_W: u32 = 4u;
// Distance of a phase's taps in the kernel: STRIDE / gcd(STRIDE, DILATION), and the inverse of DILATION / gcd modulo
// that.
const TAP_H: u32 = 2u;
const TAP_W: u32 = 2u;
const INVERSE_H: u32 = 1u;
const INVERSE_W: u32 = 1u;
// Channels of a group.
const CG: u32 = C / CHANNEL_GROUPS;
const OG: u32 = O / CHANNEL_GROUPS;

// Address of x[n, h, w, c]: ((n H + h) W + w) C + c. Also of an offset within x, such as that of a tap from a window's
// corner.
fn input_place(n: u32, h: u32, w: u32, c: u32) -> vec3<u32> {
    return vec3<u32>(((n * H + h) * W + w) * C + c, h, w);
}

// Address of y[n, p, q, o]: ((n P + p) Q + q) O + o, or of an offset within y.
fn output_place(n: u32, p: u32, q: u32, o: u32) -> vec3<u32> {
    return vec3<u32>(((n * P + p) * Q + q) * O + o, p, q);
}

// Whether an address of x is within the picture: 0 <= h < H and 0 <= w < W.
fn in_input(place: vec3<u32>) -> bool {
    return place.y < H && place.z < W;
}

// Whether an address of y is within the picture: 0 <= p < P and 0 <= q < Q.
fn in_output(place: vec3<u32>) -> bool {
    return place.y < P && place.z < Q;
}

// --- y from weight (left) and x (right): lines are out-channels, columns positions of y, the depth [r, s, c].

// Line o of the weight, an out-channel of the group: (panel OG + o) R S CG.
fn forward_left_line(panel: u32, line: u32) -> vec3<u32> {
    return vec3<u32>((panel * OG + line) * (R * S * CG), 0u, 0u);
}

// Depth k = (r S + s) CG + c of the weight: k, since a line is contiguous.
fn forward_left_step(panel: u32, k: u32) -> vec3<u32> {
    return vec3<u32>(k, 0u, 0u);
}

// The weight has no padding.
fn forward_left_inside(place: vec3<u32>) -> bool {
    return true;
}

// Column (n P + p) Q + q: corner of the window in x, [n, p STRIDE_H - PAD_H, q STRIDE_W - PAD_W, panel CG].
fn forward_right_line(panel: u32, line: u32) -> vec3<u32> {
    return input_place(line / (P * Q), line / Q % P * STRIDE_H - PAD_H, line % Q * STRIDE_W - PAD_W, panel * CG);
}

// Depth k = (r S + s) CG + c: offset of a tap from the corner, [0, r DILATION_H, s DILATION_W, c].
fn forward_right_step(panel: u32, k: u32) -> vec3<u32> {
    return input_place(0u, k / (S * CG) * DILATION_H, k / CG % S * DILATION_W, k % CG);
}

// Whether the tap meets the picture rather than its padding.
fn forward_right_inside(place: vec3<u32>) -> bool {
    return in_input(place);
}

// Every panel has the whole depth R S CG.
fn forward_depth_of(panel: u32, depth: u32) -> u32 {
    return depth;
}

// Index of y at a position and an out-channel, in two parts: column O, and panel OG + line.
fn forward_result_at(panel: u32, line: u32, column: u32) -> vec2<u32> {
    return vec2<u32>(column * O, panel * OG + line);
}

// --- x's gradient from weight (left) and y's (right); also transposed convolution. A panel is a phase of the stride,
// of a group; lines are in-channels, columns the positions of the phase, the depth [taps of the phase down, across, o].

const STRIDES: vec2<u32> = vec2<u32>(STRIDE_H, STRIDE_W);
const DILATIONS: vec2<u32> = vec2<u32>(DILATION_H, DILATION_W);
const PADDING: vec2<u32> = vec2<u32>(PAD_H, PAD_W);
const TAP: vec2<u32> = vec2<u32>(TAP_H, TAP_W);
const PHASES: u32 = STRIDE_H * STRIDE_W;
// What stride and dilation have in common, and how far the position of y moves back from one tap to the next.
const COMMON: vec2<u32> = STRIDES / TAP;
const BACK: vec2<u32> = DILATIONS / COMMON;

// Row and column of a panel's phase: phase = panel % PHASES is row STRIDE_W + column.
fn phase_of(panel: u32) -> vec2<u32> {
    let phase = panel % PHASES;
    return vec2<u32>(phase / STRIDE_W, phase % STRIDE_W);
}

// The first tap [r, s] that reaches the positions of a phase: the least r with (h + PAD_H - r DILATION_H) divisible by
// STRIDE_H, which is (h + PAD_H) % STRIDE_H / gcd times the inverse of DILATION_H / gcd, modulo TAP_H; likewise across.
fn first_tap(panel: u32) -> vec2<u32> {
    return (phase_of(panel) + PADDING) % STRIDES / COMMON * vec2<u32>(INVERSE_H, INVERSE_W) % TAP;
}

// How many taps reach them, down and across: ceil((R - first) / TAP_H), ceil((S - first) / TAP_W). With a dilation, no
// tap reaches some phases.
fn taps(panel: u32) -> vec2<u32> {
    let count = (vec2<u32>(R, S) + TAP - vec2<u32>(1u) - first_tap(panel)) / TAP;
    return select(vec2<u32>(), count, (phase_of(panel) + PADDING) % COMMON == vec2<u32>());
}

// Line c of the weight, an in-channel of the group: c.
fn grad_input_left_line(panel: u32, line: u32) -> vec3<u32> {
    return vec3<u32>(line, 0u, 0u);
}

// Depth k = (i across + j) OG + o, the i-th tap down and j-th across of the phase: index of weight[o, r, s, 0],
// (((group OG + o) R + r) S + s) CG with [r, s] = first_tap + [i, j] TAP.
fn grad_input_left_step(panel: u32, k: u32) -> vec3<u32> {
    let tap = k / OG;
    let across = max(taps(panel).y, 1u);
    let rs = first_tap(panel) + vec2<u32>(tap / across, tap % across) * TAP;
    return vec3<u32>((((panel / PHASES * OG + k % OG) * R + rs.x) * S + rs.y) * CG, 0u, 0u);
}

// The weight has no padding.
fn grad_input_left_inside(place: vec3<u32>) -> bool {
    return true;
}

// Column (n PHASE_H + i) PHASE_W + j, the position [h, w] = [i, j] STRIDES + phase of x: the position of y whose window
// has x[h, w] at the first tap, [n, (h + PAD_H - r DILATION_H) / STRIDE_H, likewise q, group OG].
fn grad_input_right_line(panel: u32, line: u32) -> vec3<u32> {
    let hw = vec2<u32>(line / PHASE_W % PHASE_H, line % PHASE_W) * STRIDES + phase_of(panel);
    let pq = (hw + PADDING - first_tap(panel) * DILATIONS) / STRIDES;
    return output_place(line / (PHASE_H * PHASE_W), pq.x, pq.y, panel / PHASES * OG);
}

// Depth k = (i across + j) OG + o: offset in y of the i-th tap down and j-th across, [0, -i BACK.x, -j BACK.y, o].
fn grad_input_right_step(panel: u32, k: u32) -> vec3<u32> {
    let tap = k / OG;
    let across = max(taps(panel).y, 1u);
    let back = vec2<u32>(tap / across, tap % across) * BACK;
    return output_place(0u, 0u - back.x, 0u - back.y, k % OG);
}

// Whether the position of y exists.
fn grad_input_right_inside(place: vec3<u32>) -> bool {
    return in_output(place);
}

// Depth of a panel: the taps of the phase times the out-channels of the group, 0 where no tap reaches the phase.
fn grad_input_depth_of(panel: u32, depth: u32) -> u32 {
    return taps(panel).x * taps(panel).y * OG;
}

// Index of x in two parts: ((n H + h) W + w) C for the position, and group CG + line for the in-channel. Where the
// strides do not divide the picture, some positions of a phase are beyond it and get no index.
fn grad_input_result_at(panel: u32, line: u32, column: u32) -> vec2<u32> {
    let hw = vec2<u32>(column / PHASE_W % PHASE_H, column % PHASE_W) * STRIDES + phase_of(panel);
    let row = ((column / (PHASE_H * PHASE_W) * H + hw.x) * W + hw.y) * C;
    return vec2<u32>(select(0xffffffffu, row, hw.x < H && hw.y < W), panel / PHASES * CG + line);
}

// --- weight's gradient from y's (left) and x (right): lines are out-channels, columns [r, s, c], the depth positions
// of y.

// Line o of y, an out-channel of the group: panel OG + o.
fn grad_weight_left_line(panel: u32, line: u32) -> vec3<u32> {
    return vec3<u32>(panel * OG + line, 0u, 0u);
}

// Depth k = (n P + p) Q + q of y: k O.
fn grad_weight_left_step(panel: u32, k: u32) -> vec3<u32> {
    return vec3<u32>(k * O, 0u, 0u);
}

// The gradient of y has no padding.
fn grad_weight_left_inside(place: vec3<u32>) -> bool {
    return true;
}

// Column (r S + s) CG + c: offset in x of a tap from a window without padding, [0, r DILATION_H - PAD_H, s DILATION_W -
// PAD_W, panel CG + c].
fn grad_weight_right_line(panel: u32, line: u32) -> vec3<u32> {
    let rs = vec2<u32>(line / (S * CG), line / CG % S) * DILATIONS - PADDING;
    return input_place(0u, rs.x, rs.y, panel * CG + line % CG);
}

// Depth k = (n P + p) Q + q: corner of the window in x, [n, p STRIDE_H, q STRIDE_W, 0].
fn grad_weight_right_step(panel: u32, k: u32) -> vec3<u32> {
    return input_place(k / (P * Q), k / Q % P * STRIDE_H, k % Q * STRIDE_W, 0u);
}

// Whether the tap meets the picture rather than its padding.
fn grad_weight_right_inside(place: vec3<u32>) -> bool {
    return in_input(place);
}

// Every panel has the whole depth n P Q.
fn grad_weight_depth_of(panel: u32, depth: u32) -> u32 {
    return depth;
}

// Index of weight[o, r, s, c] in two parts: (panel OG + line) R S CG, and column.
fn grad_weight_result_at(panel: u32, line: u32, column: u32) -> vec2<u32> {
    return vec2<u32>((panel * OG + line) * (R * S * CG), column);
}
