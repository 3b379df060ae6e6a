// Batched matrix products [b, m, k] x [b, k, n] -> [b, m, n]. Transposes and batches that share an operand are strides.

const BATCH: u32 = 1u;
const M: u32 = 64u;
const N: u32 = 64u;
const K: u32 = 64u;
const LHS_BATCH: u32 = 0u;
const LHS_M: u32 = 64u;
const LHS_K: u32 = 1u;
const RHS_BATCH: u32 = 0u;
const RHS_K: u32 = 64u;
const RHS_N: u32 = 1u;

const TILE_M: u32 = 4u;
const TILE_N: u32 = 4u;
const TILES_M: u32 = (M + TILE_M - 1u) / TILE_M;
const TILES_N: u32 = (N + TILE_N - 1u) / TILE_N;

@group(0) @binding(0) var<storage, read> lhs: array<f32>;
@group(0) @binding(1) var<storage, read> rhs: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read> x0: array<f32>;
@group(0) @binding(4) var<storage, read> x1: array<f32>;
@group(0) @binding(5) var<storage, read> x2: array<f32>;
@group(0) @binding(6) var<storage, read> x3: array<f32>;
@group(0) @binding(7) var<storage, read> x4: array<f32>;

fn epilogue(value: f32, i: u32) -> f32 { return value; }

// One invocation computes TILE_M consecutive rows by TILE_N columns that lie TILES_N apart, so that neighbours read and
// write neighbouring addresses; a workgroup holds 64 such tiles. Rows and columns beyond the edge are computed from the
// last one and not stored.
@compute @workgroup_size(64)
fn product(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = (group.y * groups.x + group.x) * 64u + lane;
    let b = tile / (TILES_M * TILES_N);
    if b >= BATCH {
        return;
    }
    let first_m = tile / TILES_N % TILES_M * TILE_M;
    let first_n = tile % TILES_N;

    var row: array<u32, TILE_M>;
    var column: array<u32, TILE_N>;
    for (var i = 0u; i < TILE_M; i++) {
        row[i] = b * LHS_BATCH + min(first_m + i, M - 1u) * LHS_M;
    }
    for (var j = 0u; j < TILE_N; j++) {
        column[j] = b * RHS_BATCH + min(first_n + j * TILES_N, N - 1u) * RHS_N;
    }

    var total: array<array<f32, TILE_N>, TILE_M>;
    for (var k = 0u; k < K; k++) {
        var right: array<f32, TILE_N>;
        for (var j = 0u; j < TILE_N; j++) {
            right[j] = rhs[column[j] + k * RHS_K];
        }
        for (var i = 0u; i < TILE_M; i++) {
            let left = lhs[row[i] + k * LHS_K];
            for (var j = 0u; j < TILE_N; j++) {
                total[i][j] += left * right[j];
            }
        }
    }

    for (var i = 0u; i < TILE_M; i++) {
        for (var j = 0u; j < TILE_N; j++) {
            let m = first_m + i;
            let n = first_n + j * TILES_N;
            if m < M && n < N {
                let at = (b * M + m) * N + n;
                y[at] = epilogue(total[i][j], at);
            }
        }
    }
}
