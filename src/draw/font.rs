//! The font of charts as outlines: a subset of Inter, whose licence is `inter-LICENSE.txt`.

use crate::error::{Error, Result};
use ttf_parser::{Face, GlyphId, OutlineBuilder};
use zeno::{Command, Vector};

const FILE: &[u8] = include_bytes!("inter.otf");

/// A parsed font at one size.
pub(super) struct Font {
    face: Face<'static>,
    /// Pixels per unit of the font's design grid.
    scale: f32,
}

impl Font {
    /// The font at a size in pixels. Fails only where the built-in file is damaged.
    pub(super) fn new(size: f32) -> Result<Font> {
        let face = Face::parse(FILE, 0).map_err(|error| {
            Error::invalid("chart", format!("the built-in font cannot be read ({error})"), "build the program again")
        })?;
        let scale = size / f32::from(face.units_per_em());
        Ok(Font { face, scale })
    }

    /// The width of a line of text in pixels.
    pub(super) fn width(&self, text: &str) -> f32 {
        text.chars().map(|letter| self.advance(self.glyph(letter))).sum()
    }

    /// A text of at most `most` pixels: a longer text ends in an ellipsis.
    pub(super) fn fitted(&self, text: &str, most: f32) -> String {
        if self.width(text) <= most {
            return text.to_owned();
        }
        let mut shown = text.to_owned();
        while shown.pop().is_some() && self.width(&shown) + self.width("…") > most {}
        shown.push('…');
        shown
    }

    /// The outlines of a line of text whose baseline begins at a point.
    pub(super) fn outlines(&self, (mut left, baseline): (f32, f32), text: &str) -> Vec<Command> {
        let mut commands = Vec::new();
        for glyph in text.chars().map(|letter| self.glyph(letter)) {
            self.face.outline_glyph(glyph, &mut Outline { commands: &mut commands, left, baseline, scale: self.scale });
            left += self.advance(glyph);
        }
        commands
    }

    /// The glyph of a letter, or of a question mark where the font lacks the letter.
    fn glyph(&self, letter: char) -> GlyphId {
        self.face.glyph_index(letter).or_else(|| self.face.glyph_index('?')).unwrap_or_default()
    }

    fn advance(&self, glyph: GlyphId) -> f32 {
        self.scale * f32::from(self.face.glyph_hor_advance(glyph).unwrap_or_default())
    }
}

/// Collects a glyph's outline in the picture's coordinates, where y grows downwards.
struct Outline<'a> {
    commands: &'a mut Vec<Command>,
    left: f32,
    baseline: f32,
    scale: f32,
}

impl Outline<'_> {
    fn point(&self, x: f32, y: f32) -> Vector {
        Vector::new(self.left + self.scale * x, self.baseline - self.scale * y)
    }
}

impl OutlineBuilder for Outline<'_> {
    fn move_to(&mut self, x: f32, y: f32) {
        self.commands.push(Command::MoveTo(self.point(x, y)));
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.commands.push(Command::LineTo(self.point(x, y)));
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.commands.push(Command::QuadTo(self.point(x1, y1), self.point(x, y)));
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        self.commands.push(Command::CurveTo(self.point(x1, y1), self.point(x2, y2), self.point(x, y)));
    }

    fn close(&mut self) {
        self.commands.push(Command::Close);
    }
}
