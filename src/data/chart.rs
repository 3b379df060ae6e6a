//! Line charts as PNG files: how a loss went. Drawn here, letters included, so that no plotting library is needed.

use std::path::Path;

use super::font;
use super::images::write_png;
use crate::error::{Error, Result};

/// The picture, in pixels.
const WIDTH: usize = 960;
const HEIGHT: usize = 600;
/// The plot's edges within it.
const LEFT: f32 = 112.0;
const RIGHT: f32 = 928.0;
const TOP: f32 = 56.0;
const BOTTOM: f32 = 528.0;
/// Pixels per dot of the font.
const LETTER_SCALE: usize = 2;
const LETTER_WIDTH: f32 = (font::ADVANCE * LETTER_SCALE) as f32;
const LETTER_HEIGHT: f32 = (font::HEIGHT * LETTER_SCALE) as f32;
/// A y axis whose largest value is more than this many times its smallest is logarithmic.
const LOGARITHMIC_FROM: f64 = 20.0;
/// Letters of a name that fit in the legend.
const LONGEST_NAME: usize = 40;
/// A line of up to this many points shows each as a dot.
const DOTTED_UP_TO: usize = 30;

type Color = [u8; 3];
const PAPER: Color = [255, 255, 255];
const TEXT: Color = [64, 68, 76];
const FRAME: Color = [150, 155, 163];
const RULER: Color = [231, 233, 237];
/// One colour per series, over and over; told apart by most colour-blind people too.
const COLORS: [Color; 6] =
    [[32, 98, 178], [222, 122, 24], [28, 140, 104], [190, 52, 74], [126, 82, 168], [104, 110, 118]];

/// Writes a PNG of 960 x 600 pixels with one line per series, each a name and its points `(x, y)` in order of x.
///
/// The y axis is logarithmic where all y are positive and span more than a factor of 20. A point that is not finite
/// breaks its line. Letters outside ASCII show as `?`. Fails where there is no finite point, and where the file cannot
/// be written.
pub fn line_chart(
    path: impl AsRef<Path>,
    series: &[(&str, Vec<(f64, f64)>)],
    x_label: &str,
    y_label: &str,
) -> Result<()> {
    let points: Vec<(f64, f64)> = series.iter().flat_map(|(_, points)| points).copied().filter(is_finite).collect();
    if points.is_empty() {
        return Err(Error::invalid("chart", "there is no finite point to draw", "give at least one"));
    }
    let x_axis = Axis::new(points.iter().map(|point| point.0), false);
    let y_axis = Axis::new(points.iter().map(|point| point.1), true);
    let place = |point: &(f64, f64)| {
        let x = LEFT + (RIGHT - LEFT) * x_axis.position(point.0);
        (x, BOTTOM + (TOP - BOTTOM) * y_axis.position(point.1))
    };

    let mut canvas = Canvas::new();
    draw_axes(&mut canvas, &x_axis, &y_axis, x_label, y_label);
    for ((_, points), color) in series.iter().zip(COLORS.iter().cycle()) {
        for pair in points.windows(2).filter(|pair| pair.iter().all(is_finite)) {
            canvas.line(place(&pair[0]), place(&pair[1]), 2.2, *color);
        }
        let radius = if points.len() <= DOTTED_UP_TO { 6.0 } else { 2.2 };
        for point in points.iter().filter(|point| is_finite(point)) {
            canvas.line(place(point), place(point), radius, *color);
        }
    }
    draw_legend(&mut canvas, series);
    write_png(path, &[3, HEIGHT, WIDTH].into(), &canvas.planes())
}

fn is_finite(point: &(f64, f64)) -> bool {
    point.0.is_finite() && point.1.is_finite()
}

fn draw_axes(canvas: &mut Canvas, x_axis: &Axis, y_axis: &Axis, x_label: &str, y_label: &str) {
    let mut free_from = 0.0;
    for (value, label) in x_axis.ticks(8) {
        let x = (LEFT + (RIGHT - LEFT) * x_axis.position(value)).round() + 0.5;
        canvas.line((x, TOP), (x, BOTTOM), 1.0, RULER);
        canvas.line((x, BOTTOM), (x, BOTTOM + 5.0), 1.0, FRAME);
        // A label stays on the picture, and one that would run into the one before it is left out.
        let start = (x - 0.5 * text_width(&label)).min(WIDTH as f32 - 8.0 - text_width(&label));
        if start >= free_from {
            canvas.text(start, BOTTOM + 12.0, &label, TEXT);
            free_from = start + text_width(&label) + LETTER_WIDTH;
        }
    }
    for (value, label) in y_axis.ticks(8) {
        let y = (BOTTOM + (TOP - BOTTOM) * y_axis.position(value)).round() + 0.5;
        canvas.line((LEFT, y), (RIGHT, y), 1.0, RULER);
        canvas.line((LEFT - 5.0, y), (LEFT, y), 1.0, FRAME);
        canvas.text(LEFT - 12.0 - text_width(&label), y - 0.45 * LETTER_HEIGHT, &label, TEXT);
    }
    canvas.line((LEFT + 0.5, TOP), (LEFT + 0.5, BOTTOM + 0.5), 1.0, FRAME);
    canvas.line((LEFT, BOTTOM + 0.5), (RIGHT, BOTTOM + 0.5), 1.0, FRAME);

    canvas.text(0.5 * (LEFT + RIGHT - text_width(x_label)), BOTTOM + 42.0, x_label, TEXT);
    let scale = if y_axis.logarithmic { " (log scale)" } else { "" };
    canvas.text(16.0, 20.0, &format!("{y_label}{scale}"), TEXT);
}

/// Names and colours at the top right, where a falling loss leaves room.
fn draw_legend(canvas: &mut Canvas, series: &[(&str, Vec<(f64, f64)>)]) {
    let names: Vec<String> = series.iter().map(|(name, _)| name.chars().take(LONGEST_NAME).collect()).collect();
    let widest = names.iter().map(|name| text_width(name)).fold(0.0, f32::max);
    let (left, line_height) = (RIGHT - widest - 60.0, LETTER_HEIGHT + 8.0);
    canvas.clear(left, TOP + 8.0, RIGHT - 8.0, TOP + 16.0 + line_height * names.len() as f32);
    for (index, (name, color)) in names.iter().zip(COLORS.iter().cycle()).enumerate() {
        let top = TOP + 16.0 + line_height * index as f32;
        canvas.line((left + 10.0, top + 7.0), (left + 34.0, top + 7.0), 3.0, *color);
        canvas.text(left + 44.0, top, name, TEXT);
    }
}

fn text_width(text: &str) -> f32 {
    text.chars().count() as f32 * LETTER_WIDTH
}

/// What an axis shows, from `low` to `high`: the values, or their decimal logarithms.
struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Axis {
    /// An axis for these values, of which there is at least one. A y axis may become logarithmic, and gets some air.
    fn new(values: impl Iterator<Item = f64> + Clone, is_y: bool) -> Axis {
        let (mut low, mut high) = (values.clone().fold(f64::MAX, f64::min), values.fold(f64::MIN, f64::max));
        let logarithmic = is_y && low > 0.0 && high / low > LOGARITHMIC_FROM;
        if logarithmic {
            (low, high) = (low.log10(), high.log10());
        }
        // Values that are all but equal get a range around them; halves keep the largest floats from overflowing.
        let smallest = 1e-6 * low.abs().max(high.abs());
        if 0.5 * high - 0.5 * low <= smallest {
            let around = if smallest > 0.0 { (0.1 * low.abs()).max(smallest) } else { 0.5 };
            (low, high) = (low - around, high + around);
        } else if is_y {
            let air = 0.05 * high - 0.05 * low;
            (low, high) = (low - air, high + air);
        }
        Axis { low: low.max(-1e300), high: high.min(1e300), logarithmic }
    }

    /// Where a value is: 0 at the low end, 1 at the high end.
    fn position(&self, value: f64) -> f32 {
        let shown = if self.logarithmic { value.log10() } else { value };
        ((shown - self.low) / (self.high - self.low)).clamp(0.0, 1.0) as f32
    }

    /// About `wanted` round values on the axis, with their labels.
    fn ticks(&self, wanted: usize) -> Vec<(f64, String)> {
        if self.logarithmic { self.logarithmic_ticks(wanted) } else { self.linear_ticks(wanted) }
    }

    fn linear_ticks(&self, wanted: usize) -> Vec<(f64, String)> {
        let rough = (self.high - self.low) / wanted as f64;
        let power = rough.log10().floor();
        let unit = 10f64.powf(power);
        let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * unit >= rough).unwrap_or(10.0);
        let step = factor * unit;
        // A step of 10 units needs one decimal less than its unit does.
        let decimals = if factor == 10.0 { -power - 1.0 } else { -power };
        let first = (self.low / step).ceil();
        let count = ((self.high / step).floor() - first).clamp(0.0, 4.0 * wanted as f64) as usize;
        let values = (0..=count).map(|index| (first + index as f64) * step);
        let largest = self.low.abs().max(self.high.abs());
        values.map(|value| (value, linear_label(value, largest, decimals))).collect()
    }

    fn logarithmic_ticks(&self, wanted: usize) -> Vec<(f64, String)> {
        // Whole powers where there are many of them, and rounder and rounder numbers between where there are few.
        let decades = self.high - self.low;
        let every = (decades / wanted as f64).ceil().max(1.0) as i32;
        let factors: &[f64] = if decades < 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let mut ticks = Vec::new();
        for power in (self.low.floor() as i32)..=(self.high.ceil() as i32) {
            for factor in factors {
                let value = factor * 10f64.powi(power);
                let inside = (self.low..=self.high).contains(&value.log10());
                if inside && power.rem_euclid(every) == 0 {
                    ticks.push((value, logarithmic_label(*factor, power)));
                }
            }
        }
        ticks
    }
}

fn linear_label(value: f64, largest: f64, decimals: f64) -> String {
    if largest >= 1e7 || decimals > 6.0 {
        let digits = (largest.log10().floor() + decimals).clamp(0.0, 6.0) as usize;
        return if value == 0.0 { "0".into() } else { format!("{value:.digits$e}") };
    }
    // Zero may come out of the arithmetic with a minus sign.
    let value = if value == 0.0 { 0.0 } else { value };
    format!("{value:.*}", decimals.max(0.0) as usize)
}

fn logarithmic_label(factor: f64, power: i32) -> String {
    match power {
        -4..=-1 => format!("{:.*}", power.unsigned_abs() as usize, factor * 10f64.powi(power)),
        0..=5 => format!("{:.0}", factor * 10f64.powi(power)),
        _ => format!("{factor}e{power}"),
    }
}

/// The picture while it is drawn, pixel by pixel.
struct Canvas(Vec<Color>);

impl Canvas {
    fn new() -> Canvas {
        Canvas(vec![PAPER; WIDTH * HEIGHT])
    }

    /// Blends `color` into a pixel, which may lie outside.
    fn blend(&mut self, x: usize, y: usize, color: Color, share: f32) {
        if x < WIDTH && y < HEIGHT {
            for (old, new) in self.0[y * WIDTH + x].iter_mut().zip(color) {
                *old = (f32::from(*old) + share * (f32::from(new) - f32::from(*old))).round() as u8;
            }
        }
    }

    /// A line with smooth edges and ends; a dot where its ends are one.
    fn line(&mut self, from: (f32, f32), to: (f32, f32), thickness: f32, color: Color) {
        let reach = 0.5 * thickness + 1.0;
        let first = |low: f32| (low - reach).max(0.0) as usize;
        let last = |high: f32, end: usize| ((high + reach).max(0.0) as usize + 1).min(end);
        let (along_x, along_y) = (to.0 - from.0, to.1 - from.1);
        let square = (along_x * along_x + along_y * along_y).max(1e-6);
        for y in first(from.1.min(to.1))..last(from.1.max(to.1), HEIGHT) {
            for x in first(from.0.min(to.0))..last(from.0.max(to.0), WIDTH) {
                let (off_x, off_y) = (x as f32 + 0.5 - from.0, y as f32 + 0.5 - from.1);
                let t = ((off_x * along_x + off_y * along_y) / square).clamp(0.0, 1.0);
                let distance = (off_x - t * along_x).hypot(off_y - t * along_y);
                self.blend(x, y, color, (0.5 * thickness - distance + 0.5).clamp(0.0, 1.0));
            }
        }
    }

    /// A line of text from its top left corner.
    fn text(&mut self, left: f32, top: f32, text: &str, color: Color) {
        let (mut left, top) = (left.max(0.0).round() as usize, top.max(0.0).round() as usize);
        for letter in text.chars() {
            for (column, row) in font::dots(letter) {
                for (x, y) in (0..LETTER_SCALE * LETTER_SCALE).map(|dot| (dot % LETTER_SCALE, dot / LETTER_SCALE)) {
                    self.blend(left + column * LETTER_SCALE + x, top + row * LETTER_SCALE + y, color, 1.0);
                }
            }
            left += font::ADVANCE * LETTER_SCALE;
        }
    }

    /// Covers a rectangle with paper, leaving a hint of what is below.
    fn clear(&mut self, left: f32, top: f32, right: f32, bottom: f32) {
        for y in top as usize..bottom as usize {
            for x in left as usize..right as usize {
                self.blend(x, y, PAPER, 0.88);
            }
        }
    }

    fn planes(&self) -> Vec<u8> {
        (0..3).flat_map(|channel| self.0.iter().map(move |pixel| pixel[channel])).collect()
    }
}
