// The generator Philox4x32-10 (Salmon et al., SC 2011), in integers only, so that every device draws the same words.
// The twin of src/rng.rs.

const COUNT: u32 = 64u;
const STREAM: u32 = 0u;
// Words of the step state.
const SEED: u32 = 1u;
const STEP: u32 = 3u;

@group(0) @binding(0) var<storage, read> state: array<u32>;
@group(0) @binding(1) var<storage, read_write> y0: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> words_out: array<u32>;

// Stores one element, or four neighbouring elements, of the result: y0[row + offset] = value. `finish_totals` stores
// the partial sums of a fused reduction. The plan replaces all three.
fn finish(row: u32, offset: u32, value: f32) { y0[(row + offset) / 4u][(row + offset) % 4u] = value; }
fn finish4(row: u32, offset: u32, value: vec4<f32>) { y0[(row + offset) / 4u] = value; }
fn finish_totals(invocation: u32) {}

// The upper 32 bits of a b, from four products of 16-bit halves.
fn high(a: u32, b: u32) -> u32 {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let middle = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
    let other = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
    return (a >> 16u) * (b >> 16u) + (middle >> 16u) + (other >> 16u);
}

// The four random words of elements 4 block to 4 block + 3.
fn words(block: u32) -> vec4<u32> {
    var c = vec4<u32>(block, state[STEP], STREAM, 0u);
    var k = vec2<u32>(state[SEED], state[SEED + 1u]);
    for (var round = 0u; round < 10u; round++) {
        let left = c.x;
        let right = c.z;
        c = vec4<u32>(
            high(0xCD9E8D57u, right) ^ c.y ^ k.x,
            0xCD9E8D57u * right,
            high(0xD2511F53u, left) ^ c.w ^ k.y,
            0xD2511F53u * left,
        );
        k = vec2<u32>(k.x + 0x9E3779B9u, k.y + 0xBB67AE85u);
    }
    return c;
}

// y[i] = (word i >> 8) 2^-24, a multiple of 2^-24 in [0, 1). One invocation draws four.
fn uniform_draw_part(group: u32, lane: u32) {
    let block = group * 64u + lane;
    if block * 4u < COUNT {
        let drawn = vec4<f32>(words(block) >> vec4<u32>(8u)) * 0.000000059604644775390625;
        if COUNT % 4u == 0u {
            finish4(block * 4u, 0u, drawn);
        } else {
            for (var j = 0u; j < 4u; j++) {
                if block * 4u + j < COUNT {
                    finish(block * 4u, j, drawn[j]);
                }
            }
        }
    }
    finish_totals(block);
}

@compute @workgroup_size(64)
fn uniform_draw(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    uniform_draw_part(group.y * groups.x + group.x, lane);
}

// words_out[i] = word i. One invocation draws four.
fn bits_part(group: u32, lane: u32) {
    let block = group * 64u + lane;
    if block * 4u < COUNT {
        let drawn = words(block);
        for (var j = 0u; j < 4u; j++) {
            let i = block * 4u + j;
            if i < COUNT {
                words_out[i] = drawn[j];
            }
        }
    }
}

@compute @workgroup_size(64)
fn bits(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    bits_part(group.y * groups.x + group.x, lane);
}
