// Products by tiles: result[line, column] = the sum of left[line, k] right[k, column] over the depth k, for every
// panel. This file divides the work; the file of each kernel that is a product has the addresses of its operands. The
// placeholders multiply a [LINES, DEPTH] matrix by a [DEPTH, COLUMNS] matrix.
//
// Operands may be stored in 16 bits. Loads convert them to 32 bits, in which the product of two is exact, and sums have
// 32 bits. A load takes four neighbouring elements wherever the operand's sizes allow, along the depth or along the
// lines. All inner loops have constant bounds, and all arrays become registers.

const PANELS: u32 = 1u;
const LINES: u32 = 64u;
const COLUMNS: u32 = 64u;
const DEPTH: u32 = 64u;
// The depth is cut into SPLITS parts of SPLIT_DEPTH, whose partial results are SPLIT_STRIDE elements apart.
const SPLITS: u32 = 1u;
const SPLIT_DEPTH: u32 = 64u;
const SPLIT_STRIDE: u32 = 4096u;

// The direction of four neighbouring elements of an operand: 0 none, 1 along the depth, 2 along the lines; and of the
// result: 0 none, 1 along the lines, 2 along the columns.
const LEFT_PACK: u32 = 1u;
const RIGHT_PACK: u32 = 2u;
const RESULT_PACK: u32 = 2u;

// 0 registers, 1 subgroup, 2 workgroup: what computes a tile is an invocation, a subgroup or a workgroup.
const FAMILY: u32 = 0u;
const WORKGROUP: u32 = 64u;
const TILE_LINES: u32 = 8u;
const TILE_COLUMNS: u32 = 8u;
// The depth that workgroup memory holds at a time.
const TILE_DEPTH: u32 = 4u;
// The part of the tile that one invocation computes.
const THREAD_LINES: u32 = 8u;
const THREAD_COLUMNS: u32 = 8u;
// Invocations of a workgroup that share the depth of such a part: each sums every DEPTH_LANES-th step of the depth.
const DEPTH_LANES: u32 = 1u;
// Invocations whose totals are added up before they are stored: 1, or all of a workgroup.
const TOTAL_LANES: u32 = 1u;

@group(0) @binding(0) var<storage, read> left: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> right: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y0: array<vec4<f32>>;

// The place of an operand's element (line, k) is left_line(panel, line) + left_step(panel, k), and likewise for right:
// an address, and the row and the column in a picture, outside of which elements are zero. Sums wrap, so that rows and
// columns before the picture become large numbers, outside too.
fn left_line(panel: u32, line: u32) -> vec3<u32> { return vec3<u32>(line * DEPTH, 0u, 0u); }
fn left_step(panel: u32, k: u32) -> vec3<u32> { return vec3<u32>(k, 0u, 0u); }
fn left_inside(place: vec3<u32>) -> bool { return true; }
fn right_line(panel: u32, line: u32) -> vec3<u32> { return vec3<u32>(line, 0u, 0u); }
fn right_step(panel: u32, k: u32) -> vec3<u32> { return vec3<u32>(k * COLUMNS, 0u, 0u); }
fn right_inside(place: vec3<u32>) -> bool { return true; }
// The depth of a panel; and the address of an element of the result, as the beginning of the result's row (OUTSIDE
// where the result has no such row) and the offset in the row. The epilogue computes what depends on one of them only
// once.
fn depth_of(panel: u32) -> u32 { return DEPTH; }
fn result_at(panel: u32, line: u32, column: u32) -> vec2<u32> { return vec2<u32>(line * COLUMNS, column); }
const OUTSIDE: u32 = 0xffffffffu;

// Stores one element, or four neighbouring elements, of the result: y0[row + offset] = value. `finish_totals` stores
// the partial sums of a fused reduction. The plan replaces all three.
fn finish(row: u32, offset: u32, value: f32) { y0[(row + offset) / 4u][(row + offset) % 4u] = value; }
fn finish4(row: u32, offset: u32, value: vec4<f32>) { y0[(row + offset) / 4u] = value; }
fn finish_totals(invocation: u32) {}

// left[place .. place + 4]; zeros where `live` is false or the place is outside.
fn left_vector(place: vec3<u32>, live: bool) -> vec4<f32> {
    let inside = live && left_inside(place);
    return select(vec4<f32>(), vec4<f32>(left[select(0u, place.x, inside) / 4u]), inside);
}

// left[place]; zero where `live` is false or the place is outside.
fn left_element(place: vec3<u32>, live: bool) -> f32 {
    let inside = live && left_inside(place);
    let at = select(0u, place.x, inside);
    return select(0.0, f32(left[at / 4u][at % 4u]), inside);
}

// right[place .. place + 4]; zeros where `live` is false or the place is outside.
fn right_vector(place: vec3<u32>, live: bool) -> vec4<f32> {
    let inside = live && right_inside(place);
    return select(vec4<f32>(), vec4<f32>(right[select(0u, place.x, inside) / 4u]), inside);
}

// right[place]; zero where `live` is false or the place is outside.
fn right_element(place: vec3<u32>, live: bool) -> f32 {
    let inside = live && right_inside(place);
    let at = select(0u, place.x, inside);
    return select(0.0, f32(right[at / 4u][at % 4u]), inside);
}

// The places of lines `line` to `line + 3` of left; where one load takes four lines, only the first place is used.
fn left_lines(panel: u32, line: u32) -> array<vec3<u32>, 4> {
    if LEFT_PACK == 2u {
        let first = left_line(panel, min(line, max(LINES, 4u) - 4u));
        return array<vec3<u32>, 4>(first, first, first, first);
    }
    return array<vec3<u32>, 4>(
        left_line(panel, min(line, LINES - 1u)),
        left_line(panel, min(line + 1u, LINES - 1u)),
        left_line(panel, min(line + 2u, LINES - 1u)),
        left_line(panel, min(line + 3u, LINES - 1u)),
    );
}

// The places of columns `line` to `line + 3` of right; where one load takes four columns, only the first place is used.
fn right_lines(panel: u32, line: u32) -> array<vec3<u32>, 4> {
    if RIGHT_PACK == 2u {
        let first = right_line(panel, min(line, max(COLUMNS, 4u) - 4u));
        return array<vec3<u32>, 4>(first, first, first, first);
    }
    return array<vec3<u32>, 4>(
        right_line(panel, min(line, COLUMNS - 1u)),
        right_line(panel, min(line + 1u, COLUMNS - 1u)),
        right_line(panel, min(line + 2u, COLUMNS - 1u)),
        right_line(panel, min(line + 3u, COLUMNS - 1u)),
    );
}

// left[lines[i], k + j] as element j of column i of a matrix, for i and j from 0 to 3; zeros from the depth `end` on.
fn left_block(lines: array<vec3<u32>, 4>, panel: u32, k: u32, end: u32) -> mat4x4<f32> {
    if LEFT_PACK == 1u {
        let step = left_step(panel, k);
        let live = k < end;
        return mat4x4<f32>(
            left_vector(lines[0] + step, live),
            left_vector(lines[1] + step, live),
            left_vector(lines[2] + step, live),
            left_vector(lines[3] + step, live),
        );
    }
    let k0 = left_step(panel, k);
    let k1 = left_step(panel, k + 1u);
    let k2 = left_step(panel, k + 2u);
    let k3 = left_step(panel, k + 3u);
    if LEFT_PACK == 2u {
        return transpose(mat4x4<f32>(
            left_vector(lines[0] + k0, k < end),
            left_vector(lines[0] + k1, k + 1u < end),
            left_vector(lines[0] + k2, k + 2u < end),
            left_vector(lines[0] + k3, k + 3u < end),
        ));
    }
    var block: mat4x4<f32>;
    for (var i = 0u; i < 4u; i++) {
        block[i] = vec4<f32>(
            left_element(lines[i] + k0, k < end),
            left_element(lines[i] + k1, k + 1u < end),
            left_element(lines[i] + k2, k + 2u < end),
            left_element(lines[i] + k3, k + 3u < end),
        );
    }
    return block;
}

// right[k + j, lines[i]] as element i of column j of a matrix, for i and j from 0 to 3; zeros from the depth `end` on.
fn right_block(lines: array<vec3<u32>, 4>, panel: u32, k: u32, end: u32) -> mat4x4<f32> {
    if RIGHT_PACK == 1u {
        let step = right_step(panel, k);
        let live = k < end;
        return transpose(mat4x4<f32>(
            right_vector(lines[0] + step, live),
            right_vector(lines[1] + step, live),
            right_vector(lines[2] + step, live),
            right_vector(lines[3] + step, live),
        ));
    }
    let k0 = right_step(panel, k);
    let k1 = right_step(panel, k + 1u);
    let k2 = right_step(panel, k + 2u);
    let k3 = right_step(panel, k + 3u);
    if RIGHT_PACK == 2u {
        return mat4x4<f32>(
            right_vector(lines[0] + k0, k < end),
            right_vector(lines[0] + k1, k + 1u < end),
            right_vector(lines[0] + k2, k + 2u < end),
            right_vector(lines[0] + k3, k + 3u < end),
        );
    }
    var block: mat4x4<f32>;
    for (var i = 0u; i < 4u; i++) {
        block[i] = vec4<f32>(
            right_element(lines[i] + k0, k < end),
            right_element(lines[i] + k1, k + 1u < end),
            right_element(lines[i] + k2, k + 2u < end),
            right_element(lines[i] + k3, k + 3u < end),
        );
    }
    return transpose(block);
}

var<workgroup> exchanged_totals: array<f32, TOTAL_LANES>;

// The sum of `value` over the invocations of a workgroup, of which one half adds the other half's sums until one is left.
fn sum_of_lanes(lane: u32, value: f32) -> f32 {
    exchanged_totals[lane] = value;
    workgroupBarrier();
    for (var half = TOTAL_LANES / 2u; half > 0u; half /= 2u) {
        if lane < half {
            exchanged_totals[lane] += exchanged_totals[lane + half];
        }
        workgroupBarrier();
    }
    let sum = exchanged_totals[0];
    workgroupBarrier();
    return sum;
}

// Whether tiles cover the result exactly, so that no invocation has to compare its lines and columns with the edges.
const WHOLE: bool = LINES % TILE_LINES == 0u && COLUMNS % TILE_COLUMNS == 0u;

// Stores result[line + i, column + j] = total[i][j] for i and j from 0 to 3, where that is within the result.
fn leave(panel: u32, split: u32, line: u32, column: u32, total: array<vec4<f32>, 4>) {
    let start = split * SPLIT_STRIDE;
    if RESULT_PACK == 2u {
        for (var i = 0u; i < 4u; i++) {
            if WHOLE || (line + i < LINES && column < COLUMNS) {
                let at = result_at(panel, line + i, column);
                finish4(start + at.x, at.y, total[i]);
            }
        }
    } else if RESULT_PACK == 1u {
        for (var j = 0u; j < 4u; j++) {
            if WHOLE || (line < LINES && column + j < COLUMNS) {
                let at = result_at(panel, line, column + j);
                if at.x != OUTSIDE {
                    finish4(start + at.x, at.y, vec4<f32>(total[0][j], total[1][j], total[2][j], total[3][j]));
                }
            }
        }
    } else {
        for (var i = 0u; i < 4u; i++) {
            for (var j = 0u; j < 4u; j++) {
                if WHOLE || (line + i < LINES && column + j < COLUMNS) {
                    let at = result_at(panel, line + i, column + j);
                    if at.x != OUTSIDE {
                        finish(start + at.x, at.y, total[i][j]);
                    }
                }
            }
        }
    }
}

const TILES_LINES: u32 = (LINES + TILE_LINES - 1u) / TILE_LINES;
const TILES_COLUMNS: u32 = (COLUMNS + TILE_COLUMNS - 1u) / TILE_COLUMNS;
const TILES: u32 = TILES_LINES * TILES_COLUMNS * SPLITS * PANELS;

// A tile's first line, first column, split and panel. Neighbouring tiles have the same columns, so that caches still
// hold the elements of right that a tile has loaded when the next tile needs them.
fn tile_place(tile: u32) -> vec4<u32> {
    return vec4<u32>(
        tile % TILES_LINES * TILE_LINES,
        tile / TILES_LINES % TILES_COLUMNS * TILE_COLUMNS,
        tile / (TILES_LINES * TILES_COLUMNS) % SPLITS,
        tile / (TILES_LINES * TILES_COLUMNS * SPLITS),
    );
}

const LINE_BLOCKS: u32 = THREAD_LINES / 4u;
const COLUMN_BLOCKS: u32 = THREAD_COLUMNS / 4u;

// Each invocation computes one tile: result[line, column] += left[line, k] right[k, column] in registers.
fn by_registers_part(group: u32, lane: u32) {
    let invocation = group * WORKGROUP + lane;
    if invocation < TILES {
        let place = tile_place(invocation);
        let panel = place.w;
        var lines: array<array<vec3<u32>, 4>, LINE_BLOCKS>;
        for (var i = 0u; i < LINE_BLOCKS; i++) {
            lines[i] = left_lines(panel, place.x + 4u * i);
        }
        var columns: array<array<vec3<u32>, 4>, COLUMN_BLOCKS>;
        for (var j = 0u; j < COLUMN_BLOCKS; j++) {
            columns[j] = right_lines(panel, place.y + 4u * j);
        }
        let start = place.z * SPLIT_DEPTH;
        let end = min(start + SPLIT_DEPTH, depth_of(panel));
        var total: array<array<array<vec4<f32>, 4>, COLUMN_BLOCKS>, LINE_BLOCKS>;
        for (var k = start; k < end; k += 4u) {
            var r: array<mat4x4<f32>, COLUMN_BLOCKS>;
            for (var j = 0u; j < COLUMN_BLOCKS; j++) {
                r[j] = right_block(columns[j], panel, k, end);
            }
            for (var i = 0u; i < LINE_BLOCKS; i++) {
                let l = left_block(lines[i], panel, k, end);
                for (var line = 0u; line < 4u; line++) {
                    let v = l[line];
                    for (var j = 0u; j < COLUMN_BLOCKS; j++) {
                        total[i][j][line] += r[j][0] * v.x + r[j][1] * v.y + r[j][2] * v.z + r[j][3] * v.w;
                    }
                }
            }
        }
        for (var i = 0u; i < LINE_BLOCKS; i++) {
            for (var j = 0u; j < COLUMN_BLOCKS; j++) {
                leave(panel, place.z, place.x + 4u * i, place.y + 4u * j, total[i][j]);
            }
        }
    }
    finish_totals(invocation);
}

// The elements of left that one invocation of a subgroup loads: four depths of a line, or four lines at some depths.
const OWN_LINES: u32 = (TILE_LINES + WORKGROUP - 1u) / WORKGROUP;
const GROUPS: u32 = TILE_LINES / 4u;
const TOGETHER: u32 = min(4u, max(WORKGROUP / GROUPS, 1u));

// A subgroup computes one tile, and each invocation four columns of the tile. One invocation loads each element of left
// and shuffles it to all others.
fn by_subgroup_part(group: u32, lane: u32) {
    let place = tile_place(group);
    let panel = place.w;
    let columns = right_lines(panel, place.y + 4u * lane);
    let start = place.z * SPLIT_DEPTH;
    let end = min(start + SPLIT_DEPTH, depth_of(panel));
    var total: array<vec4<f32>, TILE_LINES>;
    if LEFT_PACK == 2u {
        let line = left_line(panel, min(place.x + lane % GROUPS * 4u, max(LINES, 4u) - 4u));
        let depth = min(lane / GROUPS, TOGETHER - 1u);
        for (var k = start; k < end; k += 4u) {
            let r = right_block(columns, panel, k, end);
            var own: array<vec4<f32>, 4>;
            for (var i = 0u; i < 4u; i += TOGETHER) {
                own[i] = left_vector(line + left_step(panel, k + i + depth), k + i + depth < end);
            }
            for (var g = 0u; g < GROUPS; g++) {
                let v0 = subgroupShuffle(own[0], g);
                let v1 = subgroupShuffle(own[1u / TOGETHER * TOGETHER], 1u % TOGETHER * GROUPS + g);
                let v2 = subgroupShuffle(own[2u / TOGETHER * TOGETHER], 2u % TOGETHER * GROUPS + g);
                let v3 = subgroupShuffle(own[3u / TOGETHER * TOGETHER], 3u % TOGETHER * GROUPS + g);
                for (var i = 0u; i < 4u; i++) {
                    total[4u * g + i] += r[0] * v0[i] + r[1] * v1[i] + r[2] * v2[i] + r[3] * v3[i];
                }
            }
        }
    } else {
        var lines: array<vec3<u32>, OWN_LINES>;
        for (var i = 0u; i < OWN_LINES; i++) {
            lines[i] = left_line(panel, min(place.x + i * WORKGROUP + lane, LINES - 1u));
        }
        for (var k = start; k < end; k += 4u) {
            let r = right_block(columns, panel, k, end);
            var own: array<vec4<f32>, OWN_LINES>;
            for (var i = 0u; i < OWN_LINES; i++) {
                if LEFT_PACK == 1u {
                    own[i] = left_vector(lines[i] + left_step(panel, k), k < end);
                } else {
                    own[i] = vec4<f32>(
                        left_element(lines[i] + left_step(panel, k), k < end),
                        left_element(lines[i] + left_step(panel, k + 1u), k + 1u < end),
                        left_element(lines[i] + left_step(panel, k + 2u), k + 2u < end),
                        left_element(lines[i] + left_step(panel, k + 3u), k + 3u < end),
                    );
                }
            }
            for (var i = 0u; i < TILE_LINES; i++) {
                let v = subgroupShuffle(own[i / WORKGROUP], i % WORKGROUP);
                total[i] += r[0] * v.x + r[1] * v.y + r[2] * v.z + r[3] * v.w;
            }
        }
    }
    // `leave` is long once the epilogue is in it, and unrolled copies of it would take most of a driver's time to
    // compile. So this loop over the lines stays a loop, whose end depends on the tile, and picks its four lines by
    // `select`, since an array with a variable index cannot be in registers.
    var four = array<vec4<f32>, 4>(total[0], total[1], total[2], total[3]);
    if GROUPS == 1u {
        leave(panel, place.z, place.x, place.y + 4u * lane, four);
    } else {
        for (var g = 0u; g < GROUPS && place.x + 4u * g < LINES; g++) {
            for (var h = 0u; h < GROUPS; h++) {
                for (var i = 0u; i < 4u; i++) {
                    four[i] = select(four[i], total[4u * h + i], g == h);
                }
            }
            leave(panel, place.z, place.x + 4u * g, place.y + 4u * lane, four);
        }
    }
    finish_totals(group * WORKGROUP + lane);
}

const LEFT_WIDTH: u32 = TILE_LINES / 4u;
const RIGHT_WIDTH: u32 = TILE_COLUMNS / 4u;
const STEPS: u32 = (SPLIT_DEPTH + TILE_DEPTH - 1u) / TILE_DEPTH;
// Blocks of four by four elements in workgroup memory, and the number of them that each invocation loads.
const LEFT_BLOCKS: u32 = LEFT_WIDTH * (TILE_DEPTH / 4u);
const RIGHT_BLOCKS: u32 = RIGHT_WIDTH * (TILE_DEPTH / 4u);
const LEFT_EACH: u32 = (LEFT_BLOCKS + WORKGROUP - 1u) / WORKGROUP;
const RIGHT_EACH: u32 = (RIGHT_BLOCKS + WORKGROUP - 1u) / WORKGROUP;

// Invocations that share a depth exchange their sums through left_tile.
const RESULT_LANES: u32 = WORKGROUP / DEPTH_LANES;
const EXCHANGED: u32 = DEPTH_LANES / 2u * RESULT_LANES * THREAD_LINES * THREAD_COLUMNS / 4u;
const LEFT_TILE: u32 = max(TILE_DEPTH * LEFT_WIDTH, EXCHANGED);

var<workgroup> left_tile: array<vec4<f32>, LEFT_TILE>;
var<workgroup> right_tile: array<vec4<f32>, TILE_DEPTH * RIGHT_WIDTH>;

// The part of a tile that an invocation computes.
fn result_lane(lane: u32) -> u32 {
    if DEPTH_LANES == 1u {
        return lane;
    }
    return lane % RESULT_LANES;
}

// The i-th of the depths in workgroup memory that an invocation sums.
fn depth_step(lane: u32, i: u32) -> u32 {
    if DEPTH_LANES == 1u {
        return i;
    }
    return i * DEPTH_LANES + lane / RESULT_LANES;
}

// A workgroup computes one tile, and loads a depth of TILE_DEPTH into workgroup memory at a time. The number of rounds
// is a constant, so that all invocations meet at the barriers.
fn by_workgroup_part(group: u32, lane: u32) {
    let place = tile_place(group);
    let panel = place.w;
    let start = place.z * SPLIT_DEPTH;
    let end = min(start + SPLIT_DEPTH, depth_of(panel));
    let result = result_lane(lane);
    let across = result % (TILE_COLUMNS / THREAD_COLUMNS) * COLUMN_BLOCKS;
    let down = result / (TILE_COLUMNS / THREAD_COLUMNS) * LINE_BLOCKS;
    var lines: array<array<vec3<u32>, 4>, LEFT_EACH>;
    for (var i = 0u; i < LEFT_EACH; i++) {
        lines[i] = left_lines(panel, place.x + (lane + i * WORKGROUP) % LEFT_WIDTH * 4u);
    }
    var columns: array<array<vec3<u32>, 4>, RIGHT_EACH>;
    for (var i = 0u; i < RIGHT_EACH; i++) {
        columns[i] = right_lines(panel, place.y + (lane + i * WORKGROUP) % RIGHT_WIDTH * 4u);
    }
    var total: array<array<array<vec4<f32>, 4>, COLUMN_BLOCKS>, LINE_BLOCKS>;
    for (var step = 0u; step < STEPS; step++) {
        let first = start + step * TILE_DEPTH;
        for (var i = 0u; i < LEFT_EACH; i++) {
            let block = lane + i * WORKGROUP;
            if block < LEFT_BLOCKS {
                let k = block / LEFT_WIDTH * 4u;
                let v = transpose(left_block(lines[i], panel, first + k, end));
                for (var j = 0u; j < 4u; j++) {
                    left_tile[(k + j) * LEFT_WIDTH + block % LEFT_WIDTH] = v[j];
                }
            }
        }
        for (var i = 0u; i < RIGHT_EACH; i++) {
            let block = lane + i * WORKGROUP;
            if block < RIGHT_BLOCKS {
                let k = block / RIGHT_WIDTH * 4u;
                let v = right_block(columns[i], panel, first + k, end);
                for (var j = 0u; j < 4u; j++) {
                    right_tile[(k + j) * RIGHT_WIDTH + block % RIGHT_WIDTH] = v[j];
                }
            }
        }
        workgroupBarrier();
        for (var i = 0u; i < TILE_DEPTH / DEPTH_LANES; i++) {
            let k = depth_step(lane, i);
            var r: array<vec4<f32>, COLUMN_BLOCKS>;
            for (var j = 0u; j < COLUMN_BLOCKS; j++) {
                r[j] = right_tile[k * RIGHT_WIDTH + across + j];
            }
            for (var i = 0u; i < LINE_BLOCKS; i++) {
                let l = left_tile[k * LEFT_WIDTH + down + i];
                for (var j = 0u; j < COLUMN_BLOCKS; j++) {
                    for (var line = 0u; line < 4u; line++) {
                        total[i][j][line] += r[j] * l[line];
                    }
                }
            }
        }
        workgroupBarrier();
    }
    // Of the invocations that share a depth, one half adds the other half's sums until one has the whole sums.
    for (var half = DEPTH_LANES / 2u; half > 0u; half /= 2u) {
        let part = lane / RESULT_LANES;
        for (var i = 0u; i < LINE_BLOCKS; i++) {
            for (var j = 0u; j < COLUMN_BLOCKS; j++) {
                for (var line = 0u; line < 4u; line++) {
                    let vector = ((i * COLUMN_BLOCKS + j) * 4u + line) * half * RESULT_LANES;
                    if part >= half && part < 2u * half {
                        left_tile[vector + lane - half * RESULT_LANES] = total[i][j][line];
                    }
                }
            }
        }
        workgroupBarrier();
        for (var i = 0u; i < LINE_BLOCKS; i++) {
            for (var j = 0u; j < COLUMN_BLOCKS; j++) {
                for (var line = 0u; line < 4u; line++) {
                    let vector = ((i * COLUMN_BLOCKS + j) * 4u + line) * half * RESULT_LANES;
                    if part < half {
                        total[i][j][line] += left_tile[vector + lane];
                    }
                }
            }
        }
        workgroupBarrier();
    }
    if DEPTH_LANES == 1u || lane < RESULT_LANES {
        for (var i = 0u; i < LINE_BLOCKS; i++) {
            for (var j = 0u; j < COLUMN_BLOCKS; j++) {
                leave(panel, place.z, place.x + 4u * (down + i), place.y + 4u * (across + j), total[i][j]);
            }
        }
    }
    finish_totals(group * WORKGROUP + lane);
}

// A workgroup computes WORKGROUP tiles.
@compute @workgroup_size(WORKGROUP)
fn by_registers(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group.y * groups.x + group.x;
    if index < (TILES + WORKGROUP - 1u) / WORKGROUP {
        by_registers_part(index, lane);
    }
}

// A workgroup is one subgroup and computes one tile.
@compute @workgroup_size(WORKGROUP)
fn by_subgroup(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let index = group.y * groups.x + group.x;
    if index < TILES {
        by_subgroup_part(index, lane);
    }
}

// A workgroup computes one tile.
@compute @workgroup_size(WORKGROUP)
fn by_workgroup(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group.y * groups.x + group.x;
    if index < TILES {
        by_workgroup_part(index, lane);
    }
}
