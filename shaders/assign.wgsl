// Blocks of parameters that are moved. Numbers that follow no gradient, such as running means: their new values go to
// their places among the parameters. And copies of weights for products to read, which the plan stores in 16 bits.

const COUNT: u32 = 64u;

@group(0) @binding(0) var<storage, read> values: array<f32>;
// For each block of 64 values: where it goes, and how many of them are no gap.
@group(0) @binding(1) var<storage, read> blocks: array<u32>;
@group(0) @binding(2) var<storage, read_write> parameters: array<f32>;

@group(0) @binding(3) var<storage, read> norm: array<f32>;

fn move_one(block: u32, lane: u32) {
    if block * 64u < COUNT && lane < blocks[2u * block + 1u] {
        parameters[blocks[2u * block] + lane] = values[64u * block + lane];
    }
}

// One workgroup moves one block.
@compute @workgroup_size(64)
fn assign(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    move_one(group.y * groups.x + group.x, lane);
}

// Like `assign`, but only if the norm of all gradients is finite, which is tested by bits: a skipped step changes
// nothing.
@compute @workgroup_size(64)
fn guarded_assign(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    if (bitcast<u32>(norm[0]) & 0x7f800000u) != 0x7f800000u {
        move_one(group.y * groups.x + group.x, lane);
    }
}

// The type of the copies.
alias Stored = f32;

@group(0) @binding(3) var<storage, read> weights: array<vec4<f32>>;
// For each block of 64 weights: where it lies, and where its copy does.
@group(0) @binding(4) var<storage, read> copied: array<u32>;
@group(0) @binding(5) var<storage, read_write> copies: array<vec4<f32>>;

// One workgroup copies four blocks.
@compute @workgroup_size(64)
fn narrow(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = ((group.y * groups.x + group.x) * 64u + lane) * 4u;
    if i < COUNT {
        let block = i / 64u;
        copies[(copied[2u * block + 1u] + i % 64u) / 4u] = vec4<Stored>(weights[(copied[2u * block] + i % 64u) / 4u]);
    }
}
