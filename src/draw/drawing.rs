//! Drawings of lines, dots and text, as SVG and as pixels.

use super::font::Font;
use zeno::{Cap, Command, Join, Mask, PathBuilder, Stroke, Style, Vector};

/// The size of all text, in pixels.
pub(super) const TEXT_SIZE: f32 = 15.0;
/// The font families that a viewer of an SVG tries. Their letters have similar widths.
const FAMILIES: &str = "Inter, 'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif";

/// A point (x, y) in pixels from the top left corner.
pub(super) type Point = (f32, f32);

/// The purpose of a colour.
#[derive(Clone, Copy)]
pub(super) enum Ink {
    /// The background.
    Paper,
    /// Letters.
    Text,
    /// The axes.
    Frame,
    /// The lines of ticks across a plot.
    Ruler,
    /// The data of the series with this number. Colours repeat after the sixth.
    Series(usize),
}

type Color = [u8; 3];

/// The colours of each ink in light and in dark, in the order of [`Ink::index`]. Most colour-blind people can tell the
/// series apart.
const COLORS: [[Color; 2]; 10] = [
    [[255, 255, 255], [24, 26, 31]],
    [[64, 68, 76], [205, 209, 216]],
    [[150, 155, 163], [110, 115, 124]],
    [[231, 233, 237], [48, 52, 59]],
    [[32, 98, 178], [96, 165, 250]],
    [[222, 122, 24], [245, 158, 66]],
    [[28, 140, 104], [52, 190, 143]],
    [[190, 52, 74], [244, 114, 134]],
    [[126, 82, 168], [178, 142, 226]],
    [[104, 110, 118], [160, 166, 175]],
];

impl Ink {
    fn index(self) -> usize {
        match self {
            Ink::Paper => 0,
            Ink::Text => 1,
            Ink::Frame => 2,
            Ink::Ruler => 3,
            Ink::Series(number) => 4 + number % (COLORS.len() - 4),
        }
    }
}

/// The part of a line of text that is at the text's point.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// Points of a line that are drawn at a time: for a jagged line, the time grows with the square of their number.
const PIECE: usize = 32;

enum Mark {
    Line { points: Vec<Point>, width: f32, ink: Ink },
    Dot { center: Point, radius: f32, ink: Ink },
    Text { at: Point, anchor: Anchor, text: String },
}

/// Marks on paper. Later marks cover earlier ones.
pub(super) struct Drawing {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) font: Font,
    marks: Vec<Mark>,
}

impl Drawing {
    pub(super) fn new(width: usize, height: usize, font: Font) -> Drawing {
        Drawing { width, height, font, marks: Vec::new() }
    }

    /// Adds a line through points.
    pub(super) fn line(&mut self, points: Vec<Point>, width: f32, ink: Ink) {
        self.marks.push(Mark::Line { points, width, ink });
    }

    /// Adds a disc.
    pub(super) fn dot(&mut self, center: Point, radius: f32, ink: Ink) {
        self.marks.push(Mark::Dot { center, radius, ink });
    }

    /// Adds a line of text with its baseline at `at`. Control characters show as question marks.
    pub(super) fn text(&mut self, at: Point, anchor: Anchor, text: &str) {
        let text = text.replace(char::is_control, "?");
        self.marks.push(Mark::Text { at, anchor, text });
    }

    /// The drawing as SVG, in light or dark colours as its viewer prefers.
    pub(super) fn svg(&self, title: &str) -> String {
        let Drawing { width, height, .. } = self;
        let rules = |theme: usize| -> String {
            let rule = |(ink, colors): (usize, &[Color; 2])| {
                let [red, green, blue] = colors[theme];
                let color = format!("#{red:02x}{green:02x}{blue:02x}");
                format!(".f{ink}{{fill:{color}}}.s{ink}{{stroke:{color}}}")
            };
            COLORS.iter().enumerate().map(rule).collect()
        };
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\" font-family=\"{FAMILIES}\" font-size=\"{TEXT_SIZE}\">\n\
             <title>{}</title>\n<style>{}@media (prefers-color-scheme:dark){{{}}}</style>\n\
             <rect class=\"f0\" width=\"{width}\" height=\"{height}\"/>\n",
            escaped(title),
            rules(0),
            rules(1)
        );
        for mark in &self.marks {
            svg.push_str(&match mark {
                Mark::Line { points, width, ink } => {
                    let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
                    let (points, ink) = (points.join(" "), ink.index());
                    format!(
                        "<polyline class=\"s{ink}\" points=\"{points}\" fill=\"none\" stroke-width=\"{width}\" \
                         stroke-linejoin=\"round\"/>\n"
                    )
                }
                Mark::Dot { center: (x, y), radius, ink } => {
                    format!("<circle class=\"f{}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"/>\n", ink.index())
                }
                Mark::Text { at: (x, y), anchor, text } => {
                    let (ink, text) = (Ink::Text.index(), escaped(text));
                    let anchor = ["start", "middle", "end"][*anchor as usize];
                    format!("<text class=\"f{ink}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>\n")
                }
            });
        }
        svg + "</svg>\n"
    }

    /// The drawing's pixels in light colours: the planes of red, green and blue in turn, row-major.
    pub(super) fn planes(&self) -> Vec<u8> {
        let mut pixels = vec![COLORS[Ink::Paper.index()][0]; self.width * self.height];
        for mark in &self.marks {
            match mark {
                Mark::Line { points, width, ink } => {
                    let mut stroke = Stroke::new(*width);
                    stroke.join(Join::Round).cap(if points.len() > PIECE { Cap::Round } else { Cap::Butt });
                    let command = |(index, (x, y)): (usize, &Point)| match index {
                        0 => Command::MoveTo(Vector::new(*x, *y)),
                        _ => Command::LineTo(Vector::new(*x, *y)),
                    };
                    for start in (0..points.len().saturating_sub(1)).step_by(PIECE) {
                        let piece = &points[start..points.len().min(start + PIECE + 1)];
                        let path: Vec<Command> = piece.iter().enumerate().map(command).collect();
                        self.blend(&mut pixels, &path, stroke.into(), *ink);
                    }
                }
                Mark::Dot { center, radius, ink } => {
                    let mut path = Vec::new();
                    path.add_circle(*center, *radius);
                    self.blend(&mut pixels, &path, Style::default(), *ink);
                }
                Mark::Text { at: (x, y), anchor, text } => {
                    let before = [0.0, 0.5, 1.0][*anchor as usize];
                    let path = self.font.outlines((x - before * self.font.width(text), *y), text);
                    self.blend(&mut pixels, &path, Style::default(), Ink::Text);
                }
            }
        }
        (0..3).flat_map(|channel| pixels.iter().map(move |pixel| pixel[channel])).collect()
    }

    /// Blends an ink into pixels, in proportion to the part of each pixel that a path covers.
    fn blend(&self, pixels: &mut [Color], path: &[Command], style: Style, ink: Ink) {
        let (coverage, placement) = Mask::new(path).style(style).render();
        let color = COLORS[ink.index()][0];
        for (row, line) in coverage.chunks(placement.width.max(1) as usize).enumerate() {
            for (column, share) in line.iter().enumerate().filter(|(_, share)| **share > 0) {
                let x = usize::try_from(placement.left + column as i32).unwrap_or(usize::MAX);
                let y = usize::try_from(placement.top + row as i32).unwrap_or(usize::MAX);
                if x < self.width && y < self.height {
                    for (old, new) in pixels[y * self.width + x].iter_mut().zip(color) {
                        let mixed = u32::from(*old) * (255 - u32::from(*share)) + u32::from(new) * u32::from(*share);
                        *old = ((mixed + 127) / 255) as u8;
                    }
                }
            }
        }
    }
}

/// A text with the special characters of XML escaped.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
