//! Charts of losses over epochs and of the trials of a search. A chart is laid out once and written as PNG and as SVG.

use std::io::Write;
use std::path::Path;

use super::axis::{Axis, Scale};
use super::drawing::{Anchor, Drawing, Ink, Point, TEXT_SIZE};
use super::font::Font;
use crate::data::images::write_png;
use crate::error::{Error, Result};
use crate::files::write_atomically;

/// Size in pixels of the first panel, and height of the panels below it, which come in pairs of half the width.
const WIDTH: usize = 960;
const HEIGHT: usize = 600;
const SMALL_HEIGHT: usize = 360;
/// Pixels between a panel's edges and its content; on the right, half a tick's label reaches beyond the plot.
const EDGE: f32 = 24.0;
const RIGHT_EDGE: f32 = 36.0;
/// Pixels from the top of a panel to the baseline of the legend's first line, from one line to the next, and from the
/// last line to the plot.
const HEADING: f32 = 34.0;
const LINE_HEIGHT: f32 = 24.0;
const BELOW_HEADING: f32 = 18.0;
/// Pixels from the bottom of a plot to the bottom of its panel.
const FOOTER: f32 = 72.0;
/// Pixels between a tick's label and its axis, and between two labels or names.
const GAP: f32 = 12.0;
/// Smallest width in pixels of a name below an axis; where names have less room, some are left out.
const NAME_ROOM: f32 = 60.0;
/// The part of a scatter plot's width that is free at either end.
const AIR: f64 = 0.03;
/// Largest number of lines of a legend; further names are left out.
const MOST_LINES: usize = 6;
/// Pixels of a line sample in the legend with the gap after it.
const SWATCH: f32 = 30.0;
const LINE_WIDTH: f32 = 2.2;
/// A line of at most this number of points shows every point as a dot.
const DOTTED_UP_TO: usize = 30;
/// Lines of more points are drawn by the ends and extremes of each column of pixels.
const MOST_POINTS: usize = 4 * WIDTH;

/// A series of points in a panel.
pub struct Series<'a> {
    /// The name in the legend; an empty name has no entry there.
    pub name: &'a str,
    /// The points `(x, y)`, in order of x where a line joins them.
    pub points: Vec<(f64, f64)>,
    /// Whether a line joins the points. A point that is not finite breaks the line.
    pub joined: bool,
}

/// The kind of a panel's x axis.
pub enum Along {
    /// Numbers on a linear scale. Ticks are whole where all numbers are.
    Linear,
    /// Positive numbers on a logarithmic scale.
    Logarithmic,
    /// Names: x is the index of a name, from 0.
    Names(Vec<String>),
}

/// A plot with its axes.
pub struct Panel<'a> {
    /// The series. Those with a name are in the legend.
    pub series: Vec<Series<'a>>,
    /// The kind of the x axis.
    pub along: Along,
    /// The label of the x axis.
    pub x_label: &'a str,
    /// The label of the y axis.
    pub y_label: &'a str,
}

/// Writes a PNG of 960 x 600 pixels with a line for each series, which is a name and points `(x, y)` in order of x.
/// Also writes an SVG with the ending `.svg` at the same path, which is light or dark as its viewer prefers.
///
/// The y axis is logarithmic where all y are positive and span more than a factor of 20. A point that is not finite
/// breaks its line. Letters that the built-in font lacks show as `?` in the PNG. Fails where no point is finite, or a
/// file cannot be written.
pub fn line_chart(
    path: impl AsRef<Path>,
    series: &[(&str, Vec<(f64, f64)>)],
    x_label: &str,
    y_label: &str,
) -> Result<()> {
    let series = series.iter().map(|(name, points)| Series { name, points: points.clone(), joined: true });
    panels(path, &[Panel { series: series.collect(), along: Along::Linear, x_label, y_label }])
}

/// Writes a PNG and an SVG whose first panel has 960 x 600 pixels, and whose other panels are below it, two in a row.
/// Axes, letters and errors are as in [`line_chart`].
pub fn panels(path: impl AsRef<Path>, panels: &[Panel]) -> Result<()> {
    let path = path.as_ref();
    let small = panels.len().saturating_sub(1);
    let height = HEIGHT + small.div_ceil(2) * SMALL_HEIGHT;
    let mut drawing = Drawing::new(WIDTH, height, Font::new(TEXT_SIZE)?);
    for (index, panel) in panels.iter().enumerate() {
        let [left, top, width, height] = match index {
            0 => [0, 0, WIDTH, HEIGHT],
            _ => [(index - 1) % 2 * WIDTH / 2, HEIGHT + (index - 1) / 2 * SMALL_HEIGHT, WIDTH / 2, SMALL_HEIGHT],
        };
        draw_panel(&mut drawing, panel, [left as f32, top as f32, (left + width) as f32, (top + height) as f32])?;
    }
    let title = panels.first().map_or(String::new(), |first| format!("{} by {}", first.y_label, first.x_label));
    let svg = drawing.svg(&title);
    write_png(path, &[3, height, WIDTH].into(), &drawing.planes())?;
    write_atomically(&path.with_extension("svg"), |file| file.write_all(svg.as_bytes()))
}

/// Draws a panel between the edges left, top, right and bottom, in pixels.
fn draw_panel(drawing: &mut Drawing, panel: &Panel, [left, top, right, bottom]: [f32; 4]) -> Result<()> {
    let points = || panel.series.iter().flat_map(|series| &series.points).copied().filter(is_finite);
    if points().next().is_none() {
        return Err(Error::invalid("chart", "there is no finite point to draw", "give at least one"));
    }
    let x = match &panel.along {
        Along::Linear => {
            let air = if panel.series.iter().all(|series| series.joined) { 0.0 } else { AIR };
            Axis::new(points().map(|point| point.0), Scale::Linear, air)
        }
        Along::Logarithmic => Axis::new(points().map(|point| point.0), Scale::Logarithmic, 0.05),
        Along::Names(names) => Axis::of_names(names.clone()),
    };
    let y = Axis::new(points().map(|point| point.1), Scale::ByRange, 0.05);

    let scale = if y.logarithmic { " (log scale)" } else { "" };
    let y_label = format!("{}{scale}", panel.y_label);
    drawing.text((left + EDGE, top + HEADING), Anchor::Start, &y_label);
    let room = right - RIGHT_EDGE - left - 2.0 * EDGE - drawing.font.width(&y_label);
    let lines = draw_legend(drawing, &panel.series, (right - RIGHT_EDGE, top + HEADING), room);

    let top = top + HEADING + BELOW_HEADING + LINE_HEIGHT * lines.saturating_sub(1) as f32;
    let mut plot = Plot { left, right: right - RIGHT_EDGE, top, bottom: bottom - FOOTER, x, y };
    let y_ticks = plot.y.ticks(((plot.bottom - plot.top) / 50.0) as usize);
    let widest = y_ticks.iter().map(|(_, label)| drawing.font.width(label)).fold(0.0, f32::max);
    plot.left += EDGE + GAP + widest;
    plot.draw_axes(drawing, &y_ticks);
    drawing.text((0.5 * (plot.left + plot.right), bottom - EDGE), Anchor::Middle, panel.x_label);
    for (number, series) in panel.series.iter().enumerate() {
        plot.draw_series(drawing, series, Ink::Series(number));
    }
    Ok(())
}

/// A line of a legend: its width, and its entries, each with the number of the series, the name and the width.
type LegendLine = (f32, Vec<(usize, String, f32)>);

/// Draws the legend in lines of at most `room` pixels, the first of which ends at a point. Returns the number of lines.
fn draw_legend(drawing: &mut Drawing, series: &[Series], (right, baseline): Point, room: f32) -> usize {
    let mut lines: Vec<LegendLine> = Vec::new();
    for (number, series) in series.iter().enumerate().filter(|(_, series)| !series.name.is_empty()) {
        let name = drawing.font.fitted(series.name, room - SWATCH);
        let width = SWATCH + drawing.font.width(&name);
        match lines.last_mut() {
            Some((used, line)) if *used + 2.0 * GAP + width <= room => {
                *used += 2.0 * GAP + width;
                line.push((number, name, width));
            }
            _ => lines.push((width, vec![(number, name, width)])),
        }
    }
    lines.truncate(MOST_LINES);
    for (index, (used, line)) in lines.iter().enumerate() {
        let (mut left, baseline) = (right - used, baseline + LINE_HEIGHT * index as f32);
        for (number, name, width) in line {
            let (ink, middle) = (Ink::Series(*number), baseline - 0.35 * TEXT_SIZE);
            match series[*number].joined {
                true => drawing.line(vec![(left, middle), (left + SWATCH - 8.0, middle)], LINE_WIDTH, ink),
                false => drawing.dot((left + SWATCH - 14.0, middle), 4.0, ink),
            }
            drawing.text((left + SWATCH, baseline), Anchor::Start, name);
            left += width + 2.0 * GAP;
        }
    }
    lines.len()
}

/// The axes of a plot, and its edges in the picture.
struct Plot {
    left: f32,
    right: f32,
    top: f32,
    bottom: f32,
    x: Axis,
    y: Axis,
}

impl Plot {
    fn at_x(&self, value: f64) -> f32 {
        self.left + (self.right - self.left) * self.x.position(value)
    }

    fn at_y(&self, value: f64) -> f32 {
        self.bottom + (self.top - self.bottom) * self.y.position(value)
    }

    fn draw_axes(&self, drawing: &mut Drawing, y_ticks: &[(f64, String)]) {
        let Plot { left, right, top, bottom, .. } = *self;
        for (value, label) in self.x_ticks(&drawing.font) {
            let x = self.at_x(value).floor() + 0.5;
            drawing.line(vec![(x, top), (x, bottom)], 1.0, Ink::Ruler);
            drawing.line(vec![(x, bottom), (x, bottom + 5.0)], 1.0, Ink::Frame);
            // A long label is moved left to stay in the picture.
            let end = right + RIGHT_EDGE - 4.0;
            let center = x.min(end - 0.5 * drawing.font.width(&label));
            drawing.text((center, bottom + GAP + TEXT_SIZE), Anchor::Middle, &label);
        }
        for (value, label) in y_ticks {
            let y = self.at_y(*value).floor() + 0.5;
            drawing.line(vec![(left, y), (right, y)], 1.0, Ink::Ruler);
            drawing.line(vec![(left - 5.0, y), (left, y)], 1.0, Ink::Frame);
            drawing.text((left - GAP, y + 0.36 * TEXT_SIZE), Anchor::End, label);
        }
        let (left, bottom) = (left.floor() + 0.5, bottom.floor() + 0.5);
        drawing.line(vec![(left, top), (left, bottom), (right, bottom)], 1.0, Ink::Frame);
    }

    /// The ticks of the x axis: as many round values as fit, or the names, shortened to fit.
    fn x_ticks(&self, font: &Font) -> Vec<(f64, String)> {
        let width = self.right - self.left;
        if !self.x.names.is_empty() {
            let room = width / self.x.names.len() as f32;
            let every = (NAME_ROOM / room).ceil().max(1.0) as usize;
            let fitted = |(value, name): (f64, String)| (value, font.fitted(&name, room * every as f32 - GAP));
            return self.x.ticks(0).into_iter().step_by(every).map(fitted).collect();
        }
        let fits = |ticks: &Vec<(f64, String)>| {
            let ends = |(value, label): &(f64, String)| (self.at_x(*value), 0.5 * font.width(label));
            let apart = |pair: &[(f64, String)]| {
                let ((first, before), (second, after)) = (ends(&pair[0]), ends(&pair[1]));
                second - after - first - before >= 1.5 * GAP
            };
            ticks.windows(2).all(apart)
        };
        let most = (width / 50.0) as usize;
        (2..=most).rev().map(|wanted| self.x.ticks(wanted)).find(fits).unwrap_or_else(|| self.x.ticks(1))
    }

    fn draw_series(&self, drawing: &mut Drawing, Series { points, joined, .. }: &Series, ink: Ink) {
        let runs = points.split(|point| !is_finite(point)).filter(|run| !run.is_empty());
        for run in runs {
            let run: Vec<Point> = run.iter().map(|point| (self.at_x(point.0), self.at_y(point.1))).collect();
            if *joined && run.len() > 1 {
                drawing.line(thinned(&run), LINE_WIDTH, ink);
            }
            if !joined || points.len() <= DOTTED_UP_TO || run.len() == 1 {
                for point in run {
                    drawing.dot(point, 5.0, Ink::Paper);
                    drawing.dot(point, 4.0, ink);
                }
            }
        }
    }
}

fn is_finite(point: &(f64, f64)) -> bool {
    point.0.is_finite() && point.1.is_finite()
}

/// A line that looks like a long one and has fewer points: the ends and extremes of each column of pixels.
fn thinned(points: &[Point]) -> Vec<Point> {
    if points.len() <= MOST_POINTS {
        return points.to_vec();
    }
    let columns = points.chunk_by(|one, next| one.0.floor() == next.0.floor());
    let ends = |column: &[Point]| {
        let by_height = |one: &&Point, other: &&Point| one.1.total_cmp(&other.1);
        let ends = [column.first(), column.iter().min_by(by_height), column.iter().max_by(by_height), column.last()];
        ends.into_iter().flatten().copied().collect::<Vec<Point>>()
    };
    columns.flat_map(ends).collect()
}
