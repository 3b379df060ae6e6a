//! Charts, and pictures that show many samples in a grid.

mod axis;
pub mod chart;
mod drawing;
mod font;
mod grid;

pub use grid::{Image, grid, write_grid};
