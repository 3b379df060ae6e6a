//! Charts for people.

pub mod chart;
mod font;
