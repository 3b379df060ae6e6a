// Optimizers: one launch updates every parameter. Parameters are in one buffer, moments in another, several in the
// layout of the parameters. The gradient of a parameter is a list of partial sums, which are added here in order.
// Settings that change from step to step are in the schedule, a row for each step of the epoch and each group of
// parameters.

const COUNT: u32 = 64u;
const GROUPS: u32 = 1u;
// Which function changes a parameter, and for RMSprop whether it is centred and whether it has momentum.
const METHOD: u32 = 0u;
const CENTERED: u32 = 0u;
const MOMENTUM: u32 = 0u;
// 0, or one more than the moment that holds the gradients of the batches before this one.
const ACCUMULATED: u32 = 1u;
// Whether the gradients' elements are limited, and whether gradients that are not finite change nothing.
const LIMITED: u32 = 0u;
const SKIP: u32 = 0u;
// Without a binding for each input of an update: whether the norm of the gradients is limited, and the offset of this
// step's row of the schedule, which then follows that norm.
const NORMED: u32 = 0u;
const CURRENT: u32 = 64u;
// Whether gradients come multiplied by a scale, which `join` keeps.
const SCALED: u32 = 0u;
// Sums of squares that are joined.
const PARTS: u32 = 1u;
// The word of the state that holds the row, and a row's numbers.
const POSITION: u32 = 0u;
const SCHEDULE_COLUMNS: u32 = 16u;
const RATE: u32 = 0u;
const DECAY: u32 = 1u;
const SHRINK: u32 = 2u;
const VALUE_LIMIT: u32 = 3u;
const NORM_LIMIT: u32 = 4u;
const SHARE: u32 = 5u;
const WAIT: u32 = 6u;
const AVERAGING: u32 = 7u;
const METHOD_NUMBERS: u32 = 8u;
// Results of `join`: the sum of the squares of all gradients, the count of skipped updates, and for scaled gradients
// the factor of this update, the scale of the next gradients, and the updates since the scale changed.
const SQUARES: u32 = 0u;
const SKIPPED: u32 = 1u;
const INVERSE: u32 = 2u;
const SCALE: u32 = 3u;
const GOOD: u32 = 4u;
// Updates after which the scale is doubled, and up to where.
const GROWTH_INTERVAL: u32 = 2000u;
const LARGEST_SCALE: f32 = 1.2676506e30;
// A segment describes BLOCK consecutive slots of parameters: the offset of their gradients, the number of partial sums
// and their distance, the number of slots that are parameters, and their group. The other slots are gaps and never
// change.
const BLOCK: u32 = 64u;
const SEGMENT: u32 = 5u;

@group(0) @binding(0) var<storage, read> gradients: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> segments: array<u32>;
@group(0) @binding(2) var<storage, read> schedule: array<f32>;
@group(0) @binding(3) var<storage, read> state: array<u32>;
@group(0) @binding(4) var<storage, read_write> parameters: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> moments: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> norm: array<f32>;

@group(0) @binding(7) var<storage, read> accumulated: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> parts: array<f32>;

@group(0) @binding(9) var<storage, read> squares_of_parts: array<f32>;
@group(0) @binding(10) var<storage, read_write> joined: array<f32>;

@group(0) @binding(11) var<storage, read> current: array<vec4<f32>>;
@group(0) @binding(12) var<storage, read_write> averages: array<vec4<f32>>;

// The gradients of parameters i to i + 3 by this step's batch.
fn gradient_of(i: u32) -> vec4<f32> {
    let segment = i / BLOCK * SEGMENT;
    let stride = segments[segment + 2u] / 4u;
    var at = (segments[segment] + i % BLOCK) / 4u;
    var total = vec4<f32>();
    for (var part = 0u; part < segments[segment + 1u]; part++) {
        total += gradients[at];
        at += stride;
    }
    let place = vec4<u32>(i % BLOCK) + vec4<u32>(0u, 1u, 2u, 3u);
    return select(vec4<f32>(), total, place < vec4<u32>(segments[segment + 3u]));
}

// Whether i is in range and trained: a parameter that is not has no partial sums, and stays as it is.
fn is_trained(i: u32) -> bool {
    return i < COUNT && segments[i / BLOCK * SEGMENT + 1u] > 0u;
}

// Where the schedule's row of parameter i begins.
fn row_of(i: u32) -> u32 {
    return (state[POSITION] * GROUPS + segments[i / BLOCK * SEGMENT + 4u]) * SCHEDULE_COLUMNS;
}

fn number(row: u32, index: u32) -> f32 { return schedule[row + METHOD_NUMBERS + index]; }

// Where moment number `moment` of four parameters lies.
fn place(moment: u32, at: u32) -> u32 { return moment * (COUNT / 4u) + at; }

// Drivers may take it that no number is infinite or NaN, and compare accordingly. The bits do not lie.
fn is_finite(x: f32) -> bool { return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u; }

// What is subtracted from four parameters by each method. `g` is their gradient.

// Numbers: the momentum, and the gradient's and the velocity's part in the change.
fn momentum(at: u32, row: u32, g: vec4<f32>) -> vec4<f32> {
    let velocity = number(row, 0u) * moments[at] + g;
    moments[at] = velocity;
    return schedule[row + RATE] * (number(row, 1u) * g + number(row, 2u) * velocity);
}

// Numbers: alpha, 1 - alpha, epsilon, the momentum. Moments: the mean square, the mean where it is centred, the
// velocity.
fn rmsprop(at: u32, row: u32, g: vec4<f32>) -> vec4<f32> {
    let square = number(row, 0u) * moments[at] + number(row, 1u) * g * g;
    moments[at] = square;
    var variance = square;
    if CENTERED == 1u {
        let mean = moments[place(1u, at)];
        let moved = mean + number(row, 1u) * (g - mean);
        moments[place(1u, at)] = moved;
        // Rounding may leave it below zero.
        variance = max(variance - moved * moved, vec4<f32>());
    }
    var change = g / (sqrt(variance) + number(row, 2u));
    if MOMENTUM == 1u {
        change += number(row, 3u) * moments[place(1u + CENTERED, at)];
        moments[place(1u + CENTERED, at)] = change;
    }
    return schedule[row + RATE] * change;
}

// Rate: rate / (1 - beta1^t). Numbers: 1 / sqrt(1 - beta2^t), epsilon, 1 - beta1, beta2, 1 - beta2.
fn adam(at: u32, row: u32, g: vec4<f32>) -> vec4<f32> {
    let first = moments[at] + number(row, 2u) * (g - moments[at]);
    let second = number(row, 3u) * moments[place(1u, at)] + number(row, 4u) * g * g;
    moments[at] = first;
    moments[place(1u, at)] = second;
    return schedule[row + RATE] * first / (sqrt(second) * number(row, 0u) + number(row, 1u));
}

// Numbers: epsilon.
fn adagrad(at: u32, row: u32, g: vec4<f32>) -> vec4<f32> {
    let sum = moments[at] + g * g;
    moments[at] = sum;
    return schedule[row + RATE] * g / (sqrt(sum) + number(row, 0u));
}

// Numbers: rho, 1 - rho, epsilon. Moments: mean squares of the gradient and of the change.
fn adadelta(at: u32, row: u32, g: vec4<f32>) -> vec4<f32> {
    let square = number(row, 0u) * moments[at] + number(row, 1u) * g * g;
    let before = moments[place(1u, at)];
    let change = sqrt(before + number(row, 2u)) / sqrt(square + number(row, 2u)) * g;
    moments[at] = square;
    moments[place(1u, at)] = number(row, 0u) * before + number(row, 1u) * change * change;
    return schedule[row + RATE] * change;
}

// Rate: that of the first moment. Numbers: as Adam's, and the gradient's own rate.
fn nadam(at: u32, row: u32, g: vec4<f32>) -> vec4<f32> {
    let first = moments[at] + number(row, 2u) * (g - moments[at]);
    let second = number(row, 3u) * moments[place(1u, at)] + number(row, 4u) * g * g;
    moments[at] = first;
    moments[place(1u, at)] = second;
    let root = sqrt(second) * number(row, 0u) + number(row, 1u);
    return number(row, 5u) * g / root + schedule[row + RATE] * first / root;
}

// Numbers: beta1, 1 - beta1, beta2, 1 - beta2.
fn lion(at: u32, row: u32, g: vec4<f32>) -> vec4<f32> {
    let change = sign(number(row, 0u) * moments[at] + number(row, 1u) * g);
    moments[at] = number(row, 2u) * moments[at] + number(row, 3u) * g;
    return schedule[row + RATE] * change;
}

// As Adam's, by the largest second moment so far, which is the third moment that is kept.
fn amsgrad(at: u32, row: u32, g: vec4<f32>) -> vec4<f32> {
    let first = moments[at] + number(row, 2u) * (g - moments[at]);
    let second = number(row, 3u) * moments[place(1u, at)] + number(row, 4u) * g * g;
    let largest = max(moments[place(2u, at)], second);
    moments[at] = first;
    moments[place(1u, at)] = second;
    moments[place(2u, at)] = largest;
    return schedule[row + RATE] * first / (sqrt(largest) * number(row, 0u) + number(row, 1u));
}

// Rate: rate / (1 - beta1^t). Numbers: epsilon, 1 - beta1, beta2. Moments: the first one, and the largest magnitude.
fn adamax(at: u32, row: u32, g: vec4<f32>) -> vec4<f32> {
    let first = moments[at] + number(row, 1u) * (g - moments[at]);
    let largest = max(number(row, 2u) * moments[place(1u, at)], abs(g) + number(row, 0u));
    moments[at] = first;
    moments[place(1u, at)] = largest;
    return schedule[row + RATE] * first / largest;
}

// Rate: as Adam's. Numbers: the part of the step that is divided by the root, epsilon, 1 - beta1, beta2, 1 - beta2, and
// the part that is not.
fn radam(at: u32, row: u32, g: vec4<f32>) -> vec4<f32> {
    let first = moments[at] + number(row, 2u) * (g - moments[at]);
    let second = number(row, 3u) * moments[place(1u, at)] + number(row, 4u) * g * g;
    moments[at] = first;
    moments[place(1u, at)] = second;
    return schedule[row + RATE] * first * (number(row, 0u) / (sqrt(second) + number(row, 1u)) + number(row, 5u));
}

// Updates parameters i to i + 3 by gradients that are scaled first.
fn follow(i: u32, row: u32, gradient: vec4<f32>, scale: f32) {
    let at = i / 4u;
    if SKIP == 1u && !is_finite(scale) {
        return;
    }
    var g = gradient * scale;
    if LIMITED == 1u {
        let limit = vec4<f32>(schedule[row + VALUE_LIMIT]);
        g = clamp(g, -limit, limit);
    }
    let p = parameters[at];
    g += schedule[row + DECAY] * p;
    var change = vec4<f32>();
    switch METHOD {
        case 0u: { change = schedule[row + RATE] * g; }
        case 1u: { change = momentum(at, row, g); }
        case 2u: { change = rmsprop(at, row, g); }
        case 3u: { change = adam(at, row, g); }
        case 4u: { change = adagrad(at, row, g); }
        case 5u: { change = adadelta(at, row, g); }
        case 6u: { change = nadam(at, row, g); }
        case 7u: { change = lion(at, row, g); }
        case 8u: { change = amsgrad(at, row, g); }
        case 9u: { change = adamax(at, row, g); }
        default: { change = radam(at, row, g); }
    }
    parameters[at] = schedule[row + SHRINK] * p - change;
}

// Updates four parameters by the gradients of this step, or by those of several batches once all of them are there.
fn follow_batches(i: u32, scale: f32) {
    let row = row_of(i);
    var g = gradient_of(i);
    if ACCUMULATED > 0u {
        let sum = place(ACCUMULATED - 1u, i / 4u);
        g = moments[sum] + schedule[row + SHARE] * g;
        if schedule[row + WAIT] > 0.0 {
            moments[sum] = g;
            return;
        }
        moments[sum] = vec4<f32>();
    }
    follow(i, row, g, scale);
}

// What gradients are multiplied by where their norm, of which this is the square, is limited, and to take away the
// scale they come with.
fn scale_of(square: f32, inverse: f32, limit: f32) -> f32 {
    // Not the smaller of it and 1 where it is not finite, which may be 1.
    return select(square, min(1.0, limit / (sqrt(square) + 1e-6)) * inverse, is_finite(square));
}

// One workgroup updates 256 consecutive parameters.
@compute @workgroup_size(64)
fn update(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = ((group.y * groups.x + group.x) * 64u + lane) * 4u;
    if is_trained(i) {
        follow_batches(i, 1.0);
    }
}

// Like `update`, with a limit of the norm of all gradients, beyond which they are scaled down together. One workgroup
// updates 256 consecutive parameters.
@compute @workgroup_size(64)
fn limited_update(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = ((group.y * groups.x + group.x) * 64u + lane) * 4u;
    if is_trained(i) {
        var inverse = 1.0;
        if SCALED == 1u {
            inverse = norm[INVERSE];
        }
        follow_batches(i, scale_of(norm[SQUARES], inverse, schedule[row_of(i) + NORM_LIMIT]));
    }
}

// Where a launch binds no more than four buffers, an update takes stages: the schedule's row is gathered, gradients are
// collected among the moments, and parameters follow those. In both, `schedule` holds the square of the norm and, from
// CURRENT on, that row.

fn current_row_of(i: u32) -> u32 { return CURRENT + segments[i / BLOCK * SEGMENT + 4u] * SCHEDULE_COLUMNS; }

// Adds this batch's gradients to those of the batches before it. One workgroup does so for 256 consecutive parameters.
@compute @workgroup_size(64)
fn collect(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = ((group.y * groups.x + group.x) * 64u + lane) * 4u;
    if is_trained(i) {
        moments[place(ACCUMULATED - 1u, i / 4u)] += schedule[current_row_of(i) + SHARE] * gradient_of(i);
    }
}

// One workgroup updates 256 consecutive parameters by the gradients that are collected.
@compute @workgroup_size(64)
fn collected_update(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = ((group.y * groups.x + group.x) * 64u + lane) * 4u;
    if is_trained(i) {
        let row = current_row_of(i);
        if schedule[row + WAIT] > 0.0 {
            return;
        }
        let sum = place(ACCUMULATED - 1u, i / 4u);
        let g = moments[sum];
        moments[sum] = vec4<f32>();
        var scale = 1.0;
        if NORMED == 1u {
            var inverse = 1.0;
            if SCALED == 1u {
                inverse = schedule[INVERSE];
            }
            scale = scale_of(schedule[SQUARES], inverse, schedule[row + NORM_LIMIT]);
        }
        follow(i, row, g, scale);
    }
}

var<workgroup> sums: array<f32, 64>;

// The sum over a workgroup's values, for its first invocation.
fn sum_of_all(lane: u32, value: f32) -> f32 {
    sums[lane] = value;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if lane < half {
            sums[lane] += sums[lane + half];
        }
        workgroupBarrier();
    }
    return sums[0];
}

fn sum_squares(part: u32, lane: u32, g: vec4<f32>) {
    let sum = sum_of_all(lane, dot(g, g));
    if lane == 0u && part < (COUNT + 255u) / 256u {
        parts[part] = sum;
    }
}

// One workgroup sums the squares of the gradients of 256 consecutive parameters.
@compute @workgroup_size(64)
fn squares(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let part = group.y * groups.x + group.x;
    let i = (part * 64u + lane) * 4u;
    var g = vec4<f32>();
    if is_trained(i) {
        g = gradient_of(i);
    }
    sum_squares(part, lane, g);
}

// Like `squares`, with the gradients of earlier batches added to those of this one.
@compute @workgroup_size(64)
fn squares_of_sums(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let part = group.y * groups.x + group.x;
    let i = (part * 64u + lane) * 4u;
    var g = vec4<f32>();
    if is_trained(i) {
        g = accumulated[place(ACCUMULATED - 1u, i / 4u)] + schedule[row_of(i) + SHARE] * gradient_of(i);
    }
    sum_squares(part, lane, g);
}

// The scale of the next gradients, as torch.amp.GradScaler has it: half of what was too large, and twice what has long
// been good. Each is a power of two.
fn rescale(good: bool) {
    if !good {
        joined[SCALE] = max(0.5 * joined[SCALE], 1.0 / LARGEST_SCALE);
        joined[GOOD] = 0.0;
    } else if joined[GOOD] + 1.0 < f32(GROWTH_INTERVAL) {
        joined[GOOD] += 1.0;
    } else {
        joined[SCALE] = min(2.0 * joined[SCALE], LARGEST_SCALE);
        joined[GOOD] = 0.0;
    }
}

// One workgroup joins the sums of squares, and counts updates whose gradients are not all finite: the sum, the count.
@compute @workgroup_size(64)
fn join(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var part = lane; part < PARTS; part += 64u) {
        sum += squares_of_parts[part];
    }
    let total = sum_of_all(lane, sum);
    if lane == 0u {
        let updates = schedule[state[POSITION] * GROUPS * SCHEDULE_COLUMNS + WAIT] == 0.0;
        if SCALED == 1u {
            // The scale is a power of two: its inverse has the opposite exponent.
            let inverse = bitcast<f32>(0x7f000000u - bitcast<u32>(joined[SCALE]));
            joined[SQUARES] = total * inverse * inverse;
            joined[INVERSE] = inverse;
            if updates {
                rescale(is_finite(total));
            }
        } else {
            joined[SQUARES] = total;
        }
        if !is_finite(total) && updates {
            joined[SKIPPED] += 1.0;
        }
    }
}

// Moves the average of the parameters towards them. One workgroup does so for 256 consecutive ones.
@compute @workgroup_size(64)
fn average(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = (group.y * groups.x + group.x) * 64u + lane;
    if at * 4u < COUNT {
        let rate = schedule[state[POSITION] * GROUPS * SCHEDULE_COLUMNS + AVERAGING];
        averages[at] += rate * (current[at] - averages[at]);
    }
}
