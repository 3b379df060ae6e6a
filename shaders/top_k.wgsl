// Marks the COUNT largest elements of each row with 1, and the others with 0. Of equal elements the first ones are
// marked, so that exactly COUNT are. A NaN is not counted and stays NaN, so that it shows in everything computed from
// the marks.
//
// The least of them is found by radix: order-preserving keys of 32 bits, eight bits at a time from the highest on.
// Counts of whole numbers do not depend on the order of additions, so that atomics keep every result exact.

const ROWS: u32 = 4u;
const LENGTH: u32 = 64u;
const COUNT: u32 = 8u;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

const WORKGROUP: u32 = 256u;
// Elements of a row that one invocation marks, side by side.
const RUN: u32 = (LENGTH + WORKGROUP - 1u) / WORKGROUP;

var<workgroup> bins: array<atomic<u32>, 256>;
var<workgroup> sums: array<u32, 256>;
// The digit of the least element, and how many of those that have it are wanted.
var<workgroup> found: vec2<u32>;

// A key that orders numbers: larger for larger numbers, equal for both zeros, and 0 for NaN.
fn key(number: f32) -> u32 {
    var bits = bitcast<u32>(number);
    if (bits & 0x7fffffffu) > 0x7f800000u {
        return 0u;
    }
    if bits == 0x80000000u {
        bits = 0u;
    }
    return select(~bits, bits | 0x80000000u, bits < 0x80000000u);
}

// One workgroup marks one row.
@compute @workgroup_size(256)
fn top_k(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.y * groups.x + group.x;
    if row < ROWS {
        let start = row * LENGTH;
        var least = 0u;
        var known = 0u;
        var wanted = COUNT;
        for (var digit = 0u; digit < 4u; digit++) {
            let shift = 24u - 8u * digit;
            atomicStore(&bins[lane], 0u);
            workgroupBarrier();
            for (var i = lane; i < LENGTH; i += WORKGROUP) {
                let k = key(x[start + i]);
                if k != 0u && (k & known) == least {
                    atomicAdd(&bins[(k >> shift) & 255u], 1u);
                }
            }
            workgroupBarrier();
            // How many have this digit or a larger one.
            sums[lane] = atomicLoad(&bins[lane]);
            workgroupBarrier();
            for (var step = 1u; step < 256u; step *= 2u) {
                var more = 0u;
                if lane + step < 256u {
                    more = sums[lane + step];
                }
                workgroupBarrier();
                sums[lane] += more;
                workgroupBarrier();
            }
            // There may be fewer numbers than are wanted; where there are none, no key is the least.
            wanted = min(wanted, sums[0]);
            if lane == 0u {
                found = vec2<u32>(255u, 0u);
            }
            workgroupBarrier();
            var above = 0u;
            if lane < 255u {
                above = sums[lane + 1u];
            }
            if above < wanted && sums[lane] >= wanted {
                found = vec2<u32>(lane, wanted - above);
            }
            workgroupBarrier();
            least |= found.x << shift;
            known |= 255u << shift;
            wanted = found.y;
            workgroupBarrier();
        }
        // Of those that equal the least, the first ones: each invocation counts those before its run.
        let first = min(lane * RUN, LENGTH);
        let end = min(first + RUN, LENGTH);
        var equal = 0u;
        for (var i = first; i < end; i++) {
            equal += select(0u, 1u, key(x[start + i]) == least);
        }
        sums[lane] = equal;
        workgroupBarrier();
        for (var step = 1u; step < 256u; step *= 2u) {
            var more = 0u;
            if lane >= step {
                more = sums[lane - step];
            }
            workgroupBarrier();
            sums[lane] += more;
            workgroupBarrier();
        }
        var rank = sums[lane] - equal;
        for (var i = first; i < end; i++) {
            let k = key(x[start + i]);
            var mark = select(0.0, 1.0, k > least);
            if k == 0u {
                mark = x[start + i];
            } else if k == least {
                mark = select(0.0, 1.0, rank < wanted);
                rank += 1u;
            }
            y[start + i] = mark;
        }
    }
}
