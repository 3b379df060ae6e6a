//! Recurrences, whose derivatives are the linear recurrences both ways, and indices.

use super::{Builder, Derivatives, Table};
use pinhole::Result;
use pinhole::graph::{Direction, Value};

pub(super) fn recurrences(table: &mut Table) {
    // Sequences, steps, hidden units: of one, of fewer and of more than a workgroup; more sequences than the CPU takes together.
    for [n, t, h] in [[1, 1, 1], [1, 4, 2], [2, 5, 3], [3, 1, 4], [5, 3, 1], [2, 3, 70], [33, 3, 5]] {
        for direction in [Direction::Forward, Direction::Backward] {
            let how = if direction == Direction::Forward { "" } else { " backward" };
            let lstm = table.case(format!("lstm [{n}, {t}, {h}]{how}"), |b| lstm(b, [n, t, h], direction));
            if h > 4 {
                lstm.derivatives(Derivatives::Compared);
            }
            let gru = table.case(format!("gru [{n}, {t}, {h}]{how}"), |b| gru(b, [n, t, h], direction));
            if h > 4 {
                gru.derivatives(Derivatives::Compared);
            }
        }
    }
    table.case("an LSTM over inputs, then a GRU, whose last step counts", |b| {
        let (x, input) = (b.x([2, 4, 3])?, b.weight([20, 3])?);
        let x = b.reshape(x, [8, 3])?;
        let before = b.matmul(x, input, false, true)?;
        let before = b.reshape(before, [2, 4, 20])?;
        let weight = b.weight([20, 5])?;
        let y = b.lstm(before, weight, Direction::Forward)?;
        let y = b.slice(y, &[0, 0, 0], [2, 4, 5])?;
        let (input, weight, bias) = (b.weight([6, 5])?, b.weight([6, 2])?, b.weight([2])?);
        let y = b.reshape(y, [8, 5])?;
        let before = b.matmul(y, input, false, true)?;
        let before = b.reshape(before, [2, 4, 6])?;
        let y = b.gru(before, weight, bias, Direction::Forward)?;
        b.slice(y, &[0, 3, 0], [2, 1, 2])
    });
    table.case("rows of a table by numbers that are rounded", |b| {
        let (table, x) = (b.weight([5, 3])?, b.input([4, 2], super::Fill::Between(-1.4, 6.4))?);
        let x = b.detach(x);
        let indices = b.indices(x, 5)?;
        let indices = b.reshape(indices, [8])?;
        b.gather(table, indices)
    });
}

fn lstm(b: &mut Builder, [n, t, h]: [usize; 3], direction: Direction) -> Result<Value> {
    let (before, weight) = (b.x([n, t, 4 * h])?, b.weight([4 * h, h])?);
    b.lstm(before, weight, direction)
}

fn gru(b: &mut Builder, [n, t, h]: [usize; 3], direction: Direction) -> Result<Value> {
    let (before, weight, bias) = (b.x([n, t, 3 * h])?, b.weight([3 * h, h])?, b.weight([h])?);
    b.gru(before, weight, bias, direction)
}
