//! The built-in digits: handwritten-like pictures in MNIST's format, drawn from strokes, so that everything can be
//! tried without a download.
//!
//! Each picture is drawn independently from `(seed, index)`: a digit and a style are chosen, the control points are
//! perturbed, the whole is bent, slanted and rotated, and a pen of varying width follows the curves. The result is
//! scaled into a box of 20 x 20 pixels and centred in 28 x 28 by its centre of mass, as in MNIST. The styles are those
//! of `strokes.txt`.
//!
//! Only `+ - * /` and square roots are used, which are exact to the last bit everywhere, so that a seed gives the
//! same bytes on every machine and with any number of threads.

use rayon::prelude::*;

use super::dataset::Dataset;
use crate::rng::SplitMix;
use crate::tensor::Values;
use std::sync::LazyLock;

/// Height and width of a picture, in pixels.
const SIDE: usize = 28;
const PIXELS: usize = SIDE * SIDE;
/// Number of line segments per curve between two control points.
const PIECES: usize = 5;

/// One way to write a digit.
struct Style {
    /// How often people write the digit in this way, relative to the digit's other styles.
    frequency: f32,
    /// What the pen draws without being lifted: control points (x, y), in heights of the digit.
    strokes: Vec<Vec<(f32, f32)>>,
}

/// The styles of each digit, by the digit.
static STYLES: LazyLock<[Vec<Style>; 10]> = LazyLock::new(|| {
    let mut styles: [Vec<Style>; 10] = Default::default();
    let numbers = |text: &str| text.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect();
    let stroke = |text: &str| {
        let hundredths: Vec<f32> = numbers(text);
        hundredths.as_chunks().0.iter().map(|[x, y]| (x / 100.0, y / 100.0)).collect()
    };
    for line in include_str!("strokes.txt").lines().filter(|line| !line.starts_with('#')) {
        let mut parts = line.split('|');
        if let [digit, frequency] = numbers(parts.next().unwrap_or_default())[..] {
            styles[digit as usize].push(Style { frequency, strokes: parts.map(stroke).collect() });
        }
    }
    styles
});

/// Makes `count` pictures of handwritten-like digits, `[1, 28, 28]`, white on black, labelled 0 to 9 in random order.
///
/// Sample `i` depends only on `seed` and `i`, so a longer set begins with the shorter one. If `count` is 0, there is
/// one sample, since a data set is never empty.
pub fn digits(count: usize, seed: u64) -> Dataset {
    let count = count.max(1);
    let mut bytes = vec![0; count * PIXELS];
    let mut labels = vec![0u8; count];
    bytes.par_chunks_exact_mut(PIXELS).zip(labels.par_iter_mut()).enumerate().for_each(|(index, (pixels, label))| {
        // Mix the seed before adding the index, or neighbouring seeds would share most samples.
        let start = SplitMix::new(seed).next().wrapping_add(index as u64);
        let mut random = SplitMix::new(SplitMix::new(start).next());
        let digit = random.below(STYLES.len());
        *label = digit as u8;
        draw(digit, &mut random, pixels);
    });
    Dataset::from_parts("digits", [1, SIDE, SIDE].into(), Values::U8(bytes), Some(labels.into()))
}

/// A point on the paper with the pen's radius there: first in units of the digit's height, then in pixels.
#[derive(Clone, Copy)]
struct Dot {
    x: f32,
    y: f32,
    radius: f32,
}

/// Writes one digit into `pixels`, which is black.
fn draw(digit: usize, random: &mut SplitMix, pixels: &mut [u8]) {
    let hand = Hand::random(random);
    let strokes = choose(&STYLES[digit], random).strokes.iter();
    let mut lines: Vec<Vec<Dot>> = strokes.map(|stroke| flatten(&hand.shake(stroke, random))).collect();
    for dot in lines.iter_mut().flatten() {
        hand.bend(dot);
    }
    fit(&mut lines, &hand);
    for dot in lines.iter_mut().flatten() {
        // Imitate the rough edge of a pen on paper, and of the scan.
        dot.x += 0.10 * random.normal();
        dot.y += 0.10 * random.normal();
        dot.radius *= 1.0 + 0.05 * random.normal();
    }
    let mut ink = [0.0; PIXELS];
    for line in &lines {
        for piece in line.windows(2) {
            stamp(&mut ink, piece[0], piece[1], hand.softness);
        }
    }
    centre(&ink, pixels);
}

/// Draws a style by the styles' frequencies.
fn choose<'a>(styles: &'a [Style], random: &mut SplitMix) -> &'a Style {
    let whole: f32 = styles.iter().map(|style| style.frequency).sum();
    let mut left = random.unit() * whole;
    for style in styles {
        left -= style.frequency;
        if left < 0.0 {
            return style;
        }
    }
    &styles[styles.len() - 1]
}

/// A writer's random parameters for one digit.
struct Hand {
    /// Deviation of control points, in heights of the digit.
    shake: f32,
    /// Width relative to height, as a factor on the style's.
    width: f32,
    /// Slant to the right at the top, per height.
    slant: f32,
    /// The tangent of half the rotation angle.
    turn: f32,
    /// Coefficients of the bending of the paper: a smooth field, so that strokes that meet still meet.
    bend: [f32; 8],
    /// The pen's radius in pixels.
    radius: f32,
    /// How wide the grey edge of a line is, in pixels.
    softness: f32,
    /// The larger side of the digit, in pixels.
    size: f32,
}

impl Hand {
    fn random(random: &mut SplitMix) -> Hand {
        // Most pens are near the mean width, a few are markers: the square makes that tail.
        let thickness = random.normal();
        Hand {
            shake: 0.018 + 0.030 * random.unit(),
            width: 1.09 + 0.26 * random.normal(),
            slant: 0.17 + 0.27 * random.normal(),
            turn: 0.045 * random.normal(),
            bend: std::array::from_fn(|_| 0.088 * random.normal()),
            radius: (1.18 + 0.30 * thickness + 0.06 * thickness * thickness).max(0.6),
            softness: 0.85 + 0.35 * random.unit(),
            size: 20.0 - 1.0 * random.unit(),
        }
    }

    /// Perturbs the stroke's control points, and sets the pen's radius in pixels at each.
    fn shake(&self, stroke: &[(f32, f32)], random: &mut SplitMix) -> Vec<Dot> {
        let mut dots: Vec<Dot> = Vec::with_capacity(stroke.len());
        // Deviations decay over a few points, so that neighbours deviate together.
        let (mut stray_x, mut stray_y) = (self.shake * random.normal(), self.shake * random.normal());
        for (index, &(x, y)) in stroke.iter().enumerate() {
            let corner = index > 0 && stroke[index - 1] == (x, y);
            let dot = match dots.last() {
                // Keep the two points of a corner together.
                Some(&last) if corner => last,
                _ => {
                    // The ends of a stroke deviate most.
                    let end = index == 0 || index + 1 == stroke.len();
                    let reach = if end { 1.8 * self.shake } else { self.shake };
                    stray_x = 0.75 * stray_x + 0.8 * reach * random.normal();
                    stray_y = 0.75 * stray_y + 0.8 * reach * random.normal();
                    Dot { x: x + stray_x, y: y + stray_y, radius: self.radius * (1.0 + 0.13 * random.normal()) }
                }
            };
            dots.push(dot);
        }
        dots
    }

    /// Bends, widens, slants and turns a point.
    fn bend(&self, dot: &mut Dot) {
        let (u, v) = (2.0 * dot.x - 0.6, 2.0 * dot.y - 1.0);
        let b = &self.bend;
        let x = u + b[0] * u * v + b[1] * (v * v - 0.4) + b[2] * v * (v * v - 0.6) * 1.6 + b[3] * u * u;
        let y = v + b[4] * u * v + b[5] * (u * u - 0.2) + b[6] * (v * v - 1.0) * 0.8 + b[7] * v * (v * v - 1.0) * 1.6;
        let x = x * self.width - self.slant * y;
        let square = self.turn * self.turn;
        let (cosine, sine) = ((1.0 - square) / (1.0 + square), 2.0 * self.turn / (1.0 + square));
        (dot.x, dot.y) = (cosine * x - sine * y, sine * x + cosine * y);
    }
}

/// A smooth curve through the dots, as short segments: Catmull-Rom splines, broken at corners.
fn flatten(dots: &[Dot]) -> Vec<Dot> {
    let same = |a: Dot, b: Dot| a.x == b.x && a.y == b.y;
    let mut line = Vec::with_capacity(dots.len() * PIECES + 1);
    for index in 0..dots.len().saturating_sub(1) {
        let (from, to) = (dots[index], dots[index + 1]);
        if same(from, to) {
            continue;
        }
        // At an end or a corner the curve starts and ends straight.
        let before = if index > 0 && !same(dots[index - 1], from) { dots[index - 1] } else { from };
        let after = dots.get(index + 2).copied().filter(|next| !same(*next, to)).unwrap_or(to);
        for piece in 0..PIECES {
            line.push(between(before, from, to, after, piece as f32 / PIECES as f32));
        }
    }
    line.extend(dots.last());
    line
}

/// The spline's point at `t` from 0 at `from` to 1 at `to`.
fn between(before: Dot, from: Dot, to: Dot, after: Dot, t: f32) -> Dot {
    let curve = |p0: f32, p1: f32, p2: f32, p3: f32| {
        let slope = 0.5 * (p2 - p0);
        let square = p0 - 2.5 * p1 + 2.0 * p2 - 0.5 * p3;
        let cube = 1.5 * (p1 - p2) + 0.5 * (p3 - p0);
        p1 + t * (slope + t * (square + t * cube))
    };
    Dot {
        x: curve(before.x, from.x, to.x, after.x),
        y: curve(before.y, from.y, to.y, after.y),
        radius: from.radius + t * (to.radius - from.radius),
    }
}

/// Scales and moves the lines so that their ink fills the box in the middle of the picture in its larger dimension.
fn fit(lines: &mut [Vec<Dot>], hand: &Hand) {
    let (mut left, mut right, mut top, mut bottom) = (f32::MAX, f32::MIN, f32::MAX, f32::MIN);
    for dot in lines.iter().flatten() {
        (left, right) = (left.min(dot.x), right.max(dot.x));
        (top, bottom) = (top.min(dot.y), bottom.max(dot.y));
    }
    let longer = (right - left).max(bottom - top).max(0.01);
    let scale = (hand.size - 2.0 * hand.radius) / longer;
    let (middle_x, middle_y) = (0.5 * (left + right), 0.5 * (top + bottom));
    for dot in lines.iter_mut().flatten() {
        dot.x = (dot.x - middle_x) * scale + 0.5 * SIDE as f32;
        dot.y = (dot.y - middle_y) * scale + 0.5 * SIDE as f32;
    }
}

/// Inks one segment: each pixel keeps the darkest ink it has received.
fn stamp(ink: &mut [f32; PIXELS], from: Dot, to: Dot, softness: f32) {
    let reach = from.radius.max(to.radius) + softness;
    let first = |low: f32| (low - reach).max(0.0) as usize;
    let last = |high: f32| ((high + reach).max(0.0) as usize + 1).min(SIDE);
    let (along_x, along_y) = (to.x - from.x, to.y - from.y);
    let square = (along_x * along_x + along_y * along_y).max(1e-6);
    for y in first(from.y.min(to.y))..last(from.y.max(to.y)) {
        for x in first(from.x.min(to.x))..last(from.x.max(to.x)) {
            let (off_x, off_y) = (x as f32 + 0.5 - from.x, y as f32 + 0.5 - from.y);
            let t = ((off_x * along_x + off_y * along_y) / square).clamp(0.0, 1.0);
            let (gap_x, gap_y) = (off_x - t * along_x, off_y - t * along_y);
            let distance = (gap_x * gap_x + gap_y * gap_y).sqrt();
            let radius = from.radius + t * (to.radius - from.radius);
            let covered = ((radius - distance) / softness + 0.5).clamp(0.0, 1.0);
            let pixel = &mut ink[y * SIDE + x];
            *pixel = pixel.max(covered);
        }
    }
}

/// Moves the ink by whole pixels so that its centre of mass is at the picture's centre, and converts it to bytes.
fn centre(ink: &[f32; PIXELS], pixels: &mut [u8]) {
    let (mut mass, mut mass_x, mut mass_y) = (1e-6, 0.0, 0.0);
    for (index, amount) in ink.iter().enumerate() {
        mass += amount;
        mass_x += amount * ((index % SIDE) as f32 + 0.5);
        mass_y += amount * ((index / SIDE) as f32 + 0.5);
    }
    let shift = |moment: f32| (0.5 * SIDE as f32 - moment / mass).round() as isize;
    let (shift_x, shift_y) = (shift(mass_x), shift(mass_y));
    for (index, amount) in ink.iter().enumerate() {
        let x = (index % SIDE).checked_add_signed(shift_x).filter(|x| *x < SIDE);
        let y = (index / SIDE).checked_add_signed(shift_y).filter(|y| *y < SIDE);
        if let (Some(x), Some(y)) = (x, y) {
            pixels[y * SIDE + x] = (amount * 255.0).round() as u8;
        }
    }
}
