// The convolution trio, in PyTorch's layouts: n batch, c in-channels, o out-channels, h w input, p q output, r s kernel.
// x [n, c, h, w], weight [o, c, r, s], y [n, o, p, q].

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
// Parts into which grad_weight cuts the batch.
const SPLITS: u32 = 1u;

// Channels and positions that one invocation computes; its positions lie evenly apart, so that neighbouring invocations
// touch neighbouring addresses.
const TILE_CHANNELS: u32 = 4u;
const TILE_POSITIONS: u32 = 4u;

@group(0) @binding(0) var<storage, read> left: array<f32>;
@group(0) @binding(1) var<storage, read> right: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;
@group(0) @binding(3) var<storage, read> x0: array<f32>;
@group(0) @binding(4) var<storage, read> x1: array<f32>;
@group(0) @binding(5) var<storage, read> x2: array<f32>;
@group(0) @binding(6) var<storage, read> x3: array<f32>;
@group(0) @binding(7) var<storage, read> x4: array<f32>;

fn epilogue(value: f32, i: u32) -> f32 { return value; }

const FORWARD_CHANNEL_TILES: u32 = (O + TILE_CHANNELS - 1u) / TILE_CHANNELS;
const FORWARD_POSITION_TILES: u32 = (P * Q + TILE_POSITIONS - 1u) / TILE_POSITIONS;

// y from x (left) and weight (right). One invocation computes TILE_CHANNELS out-channels at TILE_POSITIONS positions of
// one image; a workgroup holds 64 such tiles.
@compute @workgroup_size(64)
fn forward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = (group.y * groups.x + group.x) * 64u + lane;
    let n = tile / (FORWARD_POSITION_TILES * FORWARD_CHANNEL_TILES);
    if n >= BATCH {
        return;
    }
    let first_o = tile / FORWARD_POSITION_TILES % FORWARD_CHANNEL_TILES * TILE_CHANNELS;
    let first_position = tile % FORWARD_POSITION_TILES;

    // Top left corners of the windows. They wrap below zero, where `< H` and `< W` reject them like those beyond.
    var top: array<u32, TILE_POSITIONS>;
    var side: array<u32, TILE_POSITIONS>;
    for (var j = 0u; j < TILE_POSITIONS; j++) {
        let position = min(first_position + j * FORWARD_POSITION_TILES, P * Q - 1u);
        top[j] = position / Q * STRIDE_H - PAD_H;
        side[j] = position % Q * STRIDE_W - PAD_W;
    }

    var total: array<array<f32, TILE_POSITIONS>, TILE_CHANNELS>;
    for (var c = 0u; c < C; c++) {
        let plane = (n * C + c) * H * W;
        for (var r = 0u; r < R; r++) {
            for (var s = 0u; s < S; s++) {
                var window: array<f32, TILE_POSITIONS>;
                for (var j = 0u; j < TILE_POSITIONS; j++) {
                    let h = top[j] + r;
                    let w = side[j] + s;
                    let inside = h < H && w < W;
                    window[j] = select(0.0, left[plane + select(0u, h * W + w, inside)], inside);
                }
                for (var i = 0u; i < TILE_CHANNELS; i++) {
                    let o = min(first_o + i, O - 1u);
                    let weight = right[((o * C + c) * R + r) * S + s];
                    for (var j = 0u; j < TILE_POSITIONS; j++) {
                        total[i][j] += weight * window[j];
                    }
                }
            }
        }
    }

    for (var i = 0u; i < TILE_CHANNELS; i++) {
        for (var j = 0u; j < TILE_POSITIONS; j++) {
            let o = first_o + i;
            let position = first_position + j * FORWARD_POSITION_TILES;
            if o < O && position < P * Q {
                let at = (n * O + o) * P * Q + position;
                result[at] = epilogue(total[i][j], at);
            }
        }
    }
}

const PHASE_POSITION_TILES: u32 = (PHASE_H * PHASE_W + TILE_POSITIONS - 1u) / TILE_POSITIONS;
const INPUT_CHANNEL_TILES: u32 = (C + TILE_CHANNELS - 1u) / TILE_CHANNELS;

// x's gradient from y's (left) and weight (right); also transposed convolution. One invocation computes TILE_CHANNELS
// in-channels at TILE_POSITIONS positions of one phase of one image, meeting no tap that the stride skips.
@compute @workgroup_size(64)
fn grad_input(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = (group.y * groups.x + group.x) * 64u + lane;
    let first_position = tile % PHASE_POSITION_TILES;
    let first_c = tile / PHASE_POSITION_TILES % INPUT_CHANNEL_TILES * TILE_CHANNELS;
    let phase = tile / (PHASE_POSITION_TILES * INPUT_CHANNEL_TILES) % (STRIDE_H * STRIDE_W);
    let n = tile / (PHASE_POSITION_TILES * INPUT_CHANNEL_TILES * STRIDE_H * STRIDE_W);
    if n >= BATCH {
        return;
    }
    let phase_h = phase / STRIDE_W;
    let phase_w = phase % STRIDE_W;
    let first_r = (phase_h + PAD_H) % STRIDE_H;
    let first_s = (phase_w + PAD_W) % STRIDE_W;

    // Output row and column that meet tap (first_r, first_s); each further tap of the phase lies one before.
    var below: array<u32, TILE_POSITIONS>;
    var beside: array<u32, TILE_POSITIONS>;
    for (var j = 0u; j < TILE_POSITIONS; j++) {
        let position = min(first_position + j * PHASE_POSITION_TILES, PHASE_H * PHASE_W - 1u);
        below[j] = (position / PHASE_W * STRIDE_H + phase_h + PAD_H - first_r) / STRIDE_H;
        beside[j] = (position % PHASE_W * STRIDE_W + phase_w + PAD_W - first_s) / STRIDE_W;
    }

    var total: array<array<f32, TILE_POSITIONS>, TILE_CHANNELS>;
    for (var o = 0u; o < O; o++) {
        let plane = (n * O + o) * P * Q;
        for (var r = first_r; r < R; r += STRIDE_H) {
            for (var s = first_s; s < S; s += STRIDE_W) {
                var window: array<f32, TILE_POSITIONS>;
                for (var j = 0u; j < TILE_POSITIONS; j++) {
                    let p = below[j] - r / STRIDE_H;
                    let q = beside[j] - s / STRIDE_W;
                    let inside = p < P && q < Q;
                    window[j] = select(0.0, left[plane + select(0u, p * Q + q, inside)], inside);
                }
                for (var i = 0u; i < TILE_CHANNELS; i++) {
                    let c = min(first_c + i, C - 1u);
                    let weight = right[((o * C + c) * R + r) * S + s];
                    for (var j = 0u; j < TILE_POSITIONS; j++) {
                        total[i][j] += weight * window[j];
                    }
                }
            }
        }
    }

    for (var i = 0u; i < TILE_CHANNELS; i++) {
        for (var j = 0u; j < TILE_POSITIONS; j++) {
            let c = first_c + i;
            let position = first_position + j * PHASE_POSITION_TILES;
            let h = position / PHASE_W * STRIDE_H + phase_h;
            let w = position % PHASE_W * STRIDE_W + phase_w;
            if c < C && position < PHASE_H * PHASE_W && h < H && w < W {
                let at = ((n * C + c) * H + h) * W + w;
                result[at] = epilogue(total[i][j], at);
            }
        }
    }
}

const TAPS: u32 = C * R * S;
const TAP_TILES: u32 = (TAPS + TILE_POSITIONS - 1u) / TILE_POSITIONS;
const IMAGES: u32 = (BATCH + SPLITS - 1u) / SPLITS;

// weight's gradient from x (left) and y's (right): SPLITS partial sums [split, o, c, r, s], each over IMAGES images. One
// invocation computes TILE_CHANNELS out-channels by TILE_POSITIONS taps of one split.
@compute @workgroup_size(64)
fn grad_weight(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = (group.y * groups.x + group.x) * 64u + lane;
    let first_tap = tile % TAP_TILES;
    let split = tile / TAP_TILES % SPLITS;
    let first_o = tile / (TAP_TILES * SPLITS) * TILE_CHANNELS;
    if first_o >= O {
        return;
    }

    var channel: array<u32, TILE_POSITIONS>;
    var tap_h: array<u32, TILE_POSITIONS>;
    var tap_w: array<u32, TILE_POSITIONS>;
    for (var j = 0u; j < TILE_POSITIONS; j++) {
        let tap = min(first_tap + j * TAP_TILES, TAPS - 1u);
        channel[j] = tap / (R * S);
        tap_h[j] = tap / S % R - PAD_H;
        tap_w[j] = tap % S - PAD_W;
    }

    var total: array<array<f32, TILE_POSITIONS>, TILE_CHANNELS>;
    for (var n = split * IMAGES; n < min((split + 1u) * IMAGES, BATCH); n++) {
        for (var p = 0u; p < P; p++) {
            for (var q = 0u; q < Q; q++) {
                var window: array<f32, TILE_POSITIONS>;
                for (var j = 0u; j < TILE_POSITIONS; j++) {
                    let h = p * STRIDE_H + tap_h[j];
                    let w = q * STRIDE_W + tap_w[j];
                    let inside = h < H && w < W;
                    let plane = (n * C + channel[j]) * H * W;
                    window[j] = select(0.0, left[plane + select(0u, h * W + w, inside)], inside);
                }
                for (var i = 0u; i < TILE_CHANNELS; i++) {
                    let o = min(first_o + i, O - 1u);
                    let upstream = right[((n * O + o) * P + p) * Q + q];
                    for (var j = 0u; j < TILE_POSITIONS; j++) {
                        total[i][j] += upstream * window[j];
                    }
                }
            }
        }
    }

    for (var i = 0u; i < TILE_CHANNELS; i++) {
        for (var j = 0u; j < TILE_POSITIONS; j++) {
            let o = first_o + i;
            let tap = first_tap + j * TAP_TILES;
            if o < O && tap < TAPS {
                result[(split * O + o) * TAPS + tap] = total[i][j];
            }
        }
    }
}
