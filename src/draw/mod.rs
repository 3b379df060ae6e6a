//! Pictures for people: charts, and grids of samples.

mod axis;
pub mod chart;
mod drawing;
mod font;
mod grid;

pub use grid::{Image, grid, write_grid};
