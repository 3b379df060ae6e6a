//! Charts as PNG files: how a loss went, and what came of a search's trials. Drawn here, letters included, so that no
//! plotting library is needed.

use std::path::Path;

use super::font;
use crate::data::images::write_png;
use crate::error::{Error, Result};

/// The picture's first panel, in pixels, and those below it, of which two stand side by side.
const WIDTH: usize = 960;
const HEIGHT: usize = 600;
const SMALL_HEIGHT: usize = 360;
/// Between a panel's edges and its plot's: left, right, top, bottom.
const MARGINS: [f32; 4] = [112.0, 32.0, 56.0, 72.0];
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

/// Points of one kind in a panel.
pub struct Series<'a> {
    /// What they are, for the legend.
    pub name: &'a str,
    /// Where they are, `(x, y)`, in order of x where a line joins them.
    pub points: Vec<(f64, f64)>,
    /// Whether a line joins them. One that is not finite breaks it.
    pub joined: bool,
}

/// What a panel's x axis shows.
pub enum Along {
    /// Numbers.
    Linear,
    /// Positive numbers, by their ratios.
    Logarithmic,
    /// Names: x counts them from 0.
    Names(Vec<String>),
}

/// A plot with its axes.
pub struct Panel<'a> {
    /// What is drawn. Series of which one has a name get a legend.
    pub series: Vec<Series<'a>>,
    /// What the x axis shows.
    pub along: Along,
    /// What x is.
    pub x_label: &'a str,
    /// What y is.
    pub y_label: &'a str,
}

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
    let series = series.iter().map(|(name, points)| Series { name, points: points.clone(), joined: true });
    panels(path, &[Panel { series: series.collect(), along: Along::Linear, x_label, y_label }])
}

/// Writes a PNG with a panel of 960 x 600 pixels, and the others below it, half as wide. As [`line_chart`] does otherwise.
pub fn panels(path: impl AsRef<Path>, panels: &[Panel]) -> Result<()> {
    let small = panels.len().saturating_sub(1);
    let mut canvas = Canvas::new(WIDTH, HEIGHT + small.div_ceil(2) * SMALL_HEIGHT);
    for (index, panel) in panels.iter().enumerate() {
        let (left, top, width, height) = match index {
            0 => (0, 0, WIDTH, HEIGHT),
            _ => ((index - 1) % 2 * WIDTH / 2, HEIGHT + (index - 1) / 2 * SMALL_HEIGHT, WIDTH / 2, SMALL_HEIGHT),
        };
        let [from_left, from_right, from_top, from_bottom] = MARGINS;
        let frame = Frame {
            left: left as f32 + from_left,
            right: (left + width) as f32 - from_right,
            top: top as f32 + from_top,
            bottom: (top + height) as f32 - from_bottom,
        };
        frame.draw(&mut canvas, panel)?;
    }
    write_png(path, &[3, canvas.height, canvas.width].into(), &canvas.planes())
}

/// The edges of a plot.
struct Frame {
    left: f32,
    right: f32,
    top: f32,
    bottom: f32,
}

impl Frame {
    fn draw(&self, canvas: &mut Canvas, panel: &Panel) -> Result<()> {
        let series = &panel.series;
        let points = || series.iter().flat_map(|series| &series.points).copied().filter(is_finite);
        if points().next().is_none() {
            return Err(Error::invalid("chart", "there is no finite point to draw", "give at least one"));
        }
        let x_axis = match &panel.along {
            Along::Linear => Axis::new(points().map(|point| point.0), Scale::Linear, 0.0),
            Along::Logarithmic => Axis::new(points().map(|point| point.0), Scale::Logarithmic, 0.05),
            Along::Names(names) => {
                Axis { low: -0.5, high: names.len().max(1) as f64 - 0.5, logarithmic: false, names: names.clone() }
            }
        };
        let y_axis = Axis::new(points().map(|point| point.1), Scale::ByRange, 0.05);
        let place = |point: &(f64, f64)| {
            let x = self.left + (self.right - self.left) * x_axis.position(point.0);
            (x, self.bottom + (self.top - self.bottom) * y_axis.position(point.1))
        };
        self.draw_axes(canvas, &x_axis, &y_axis, panel);
        for (Series { points, joined, .. }, color) in series.iter().zip(COLORS.iter().cycle()) {
            for pair in points.windows(2).filter(|pair| *joined && pair.iter().all(is_finite)) {
                canvas.line(place(&pair[0]), place(&pair[1]), 2.2, *color);
            }
            let radius = if !joined || points.len() <= DOTTED_UP_TO { 6.0 } else { 2.2 };
            for point in points.iter().filter(|point| is_finite(point)) {
                canvas.line(place(point), place(point), radius, *color);
            }
        }
        self.draw_legend(canvas, series);
        Ok(())
    }

    fn draw_axes(&self, canvas: &mut Canvas, x_axis: &Axis, y_axis: &Axis, panel: &Panel) {
        let Frame { left, right, top, bottom } = *self;
        let wanted = ((right - left) / 100.0).round() as usize;
        let mut free_from = 0.0;
        for (value, label) in x_axis.ticks(wanted) {
            let x = (left + (right - left) * x_axis.position(value)).round() + 0.5;
            canvas.line((x, top), (x, bottom), 1.0, RULER);
            canvas.line((x, bottom), (x, bottom + 5.0), 1.0, FRAME);
            // A label stays on the picture, and one that would run into the one before it is left out.
            let end = right + MARGINS[1] - 8.0;
            let start = (x - 0.5 * text_width(&label)).min(end - text_width(&label));
            if start >= free_from {
                canvas.text(start, bottom + 12.0, &label, TEXT);
                free_from = start + text_width(&label) + LETTER_WIDTH;
            }
        }
        for (value, label) in y_axis.ticks(((bottom - top) / 59.0).round() as usize) {
            let y = (bottom + (top - bottom) * y_axis.position(value)).round() + 0.5;
            canvas.line((left, y), (right, y), 1.0, RULER);
            canvas.line((left - 5.0, y), (left, y), 1.0, FRAME);
            canvas.text(left - 12.0 - text_width(&label), y - 0.45 * LETTER_HEIGHT, &label, TEXT);
        }
        canvas.line((left + 0.5, top), (left + 0.5, bottom + 0.5), 1.0, FRAME);
        canvas.line((left, bottom + 0.5), (right, bottom + 0.5), 1.0, FRAME);

        canvas.text(0.5 * (left + right - text_width(panel.x_label)), bottom + 42.0, panel.x_label, TEXT);
        let scale = if y_axis.logarithmic { " (log scale)" } else { "" };
        canvas.text(left - MARGINS[0] + 16.0, top - MARGINS[2] + 20.0, &format!("{}{scale}", panel.y_label), TEXT);
    }

    /// Names and colours at the top right, where a falling loss leaves room.
    fn draw_legend(&self, canvas: &mut Canvas, series: &[Series]) {
        let names: Vec<String> = series.iter().map(|series| series.name.chars().take(LONGEST_NAME).collect()).collect();
        let widest = names.iter().map(|name| text_width(name)).fold(0.0, f32::max);
        if widest == 0.0 {
            return;
        }
        let (left, line_height) = (self.right - widest - 60.0, LETTER_HEIGHT + 8.0);
        let below = self.top + 16.0 + line_height * names.len() as f32;
        canvas.clear(left, self.top + 8.0, self.right - 8.0, below);
        for (index, (name, color)) in names.iter().zip(COLORS.iter().cycle()).enumerate() {
            let top = self.top + 16.0 + line_height * index as f32;
            canvas.line((left + 10.0, top + 7.0), (left + 34.0, top + 7.0), 3.0, *color);
            canvas.text(left + 44.0, top, name, TEXT);
        }
    }
}

fn is_finite(point: &(f64, f64)) -> bool {
    point.0.is_finite() && point.1.is_finite()
}

fn text_width(text: &str) -> f32 {
    text.chars().count() as f32 * LETTER_WIDTH
}

/// Whether an axis shows logarithms.
#[derive(Clone, Copy, PartialEq)]
enum Scale {
    Linear,
    Logarithmic,
    /// Where values are positive and far apart.
    ByRange,
}

/// What an axis shows, from `low` to `high`: the values, or their decimal logarithms, or names.
struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    names: Vec<String>,
}

impl Axis {
    /// An axis for these values, of which there is at least one, with this part of its length as air at either end.
    fn new(values: impl Iterator<Item = f64> + Clone, scale: Scale, air: f64) -> Axis {
        let (mut low, mut high) = (values.clone().fold(f64::MAX, f64::min), values.fold(f64::MIN, f64::max));
        let logarithmic = match scale {
            Scale::Linear => false,
            Scale::Logarithmic => low > 0.0,
            Scale::ByRange => low > 0.0 && high / low > LOGARITHMIC_FROM,
        };
        if logarithmic {
            (low, high) = (low.log10(), high.log10());
        }
        // Values that are all but equal get a range around them; halves keep the largest floats from overflowing.
        let smallest = 1e-6 * low.abs().max(high.abs());
        if 0.5 * high - 0.5 * low <= smallest {
            let around = if smallest > 0.0 { (0.1 * low.abs()).max(smallest) } else { 0.5 };
            (low, high) = (low - around, high + around);
        } else if air > 0.0 {
            let air = air * high - air * low;
            (low, high) = (low - air, high + air);
        }
        Axis { low: low.max(-1e300), high: high.min(1e300), logarithmic, names: vec![] }
    }

    /// Where a value is: 0 at the low end, 1 at the high end.
    fn position(&self, value: f64) -> f32 {
        let shown = if self.logarithmic { value.log10() } else { value };
        ((shown - self.low) / (self.high - self.low)).clamp(0.0, 1.0) as f32
    }

    /// About `wanted` round values on the axis, with their labels.
    fn ticks(&self, wanted: usize) -> Vec<(f64, String)> {
        match (&self.names[..], self.logarithmic) {
            ([], true) => self.logarithmic_ticks(wanted),
            ([], false) => self.linear_ticks(wanted),
            (names, _) => names.iter().enumerate().map(|(index, name)| (index as f64, name.clone())).collect(),
        }
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
struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<Color>,
}

impl Canvas {
    fn new(width: usize, height: usize) -> Canvas {
        Canvas { width, height, pixels: vec![PAPER; width * height] }
    }

    /// Blends `color` into a pixel, which may lie outside.
    fn blend(&mut self, x: usize, y: usize, color: Color, share: f32) {
        if x < self.width && y < self.height {
            for (old, new) in self.pixels[y * self.width + x].iter_mut().zip(color) {
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
        for y in first(from.1.min(to.1))..last(from.1.max(to.1), self.height) {
            for x in first(from.0.min(to.0))..last(from.0.max(to.0), self.width) {
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
        (0..3).flat_map(|channel| self.pixels.iter().map(move |pixel| pixel[channel])).collect()
    }
}
