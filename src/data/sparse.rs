//! [`SparseRows`]: samples that are mostly zeros, of which only the nonzero numbers are stored.

use std::path::Path;
use std::sync::Arc;

use super::elements::checksum_of;
use super::npz::Npz;
use crate::error::{Error, Result};

/// Rows stored as their nonzero numbers, each with its column: a CSR matrix in SciPy's terms. In data for
/// recommending, a row is a user, a column an item, and a number how often the user took it.
#[derive(Clone, Debug, PartialEq)]
pub struct SparseRows {
    columns: usize,
    /// The start of each row in `indices` and `values`, and the end of the last row.
    starts: Vec<usize>,
    /// The columns of each row's numbers, in ascending order.
    indices: Vec<u32>,
    values: Vec<f32>,
    row_names: Option<Vec<String>>,
    column_names: Option<Arc<Vec<String>>>,
}

impl SparseRows {
    /// Builds rows of `columns` columns, each given as pairs of a column and its number, in any order. Numbers of a
    /// repeated column are summed, and zeros are dropped.
    ///
    /// Fails where there is no row or no column, where a column is not below `columns`, and where a number is not
    /// finite.
    pub fn new(columns: usize, rows: impl IntoIterator<Item = Vec<(u32, f32)>>) -> Result<SparseRows> {
        let refuse = |problem: String, help: &str| Err(Error::invalid("sparse rows", problem, help));
        if columns == 0 || u32::try_from(columns).is_err() {
            return refuse(format!("{columns} columns cannot be counted"), "give 1 to 4294967295");
        }
        let (mut starts, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
        for (number, mut row) in rows.into_iter().enumerate() {
            row.sort_unstable_by_key(|(column, _)| *column);
            let first = indices.len();
            for (column, value) in row {
                if column as usize >= columns {
                    let problem = format!("row {number} has column {column}, but there are {columns}");
                    return refuse(problem, "count columns from 0");
                }
                match values.last_mut() {
                    Some(last) if indices.len() > first && indices.last() == Some(&column) => *last += value,
                    _ if value == 0.0 => continue,
                    _ => {
                        indices.push(column);
                        values.push(value);
                    }
                }
                if !values.last().is_none_or(|value: &f32| value.is_finite()) {
                    let problem = format!("row {number}, column {column} is not finite");
                    return refuse(problem, "remove or replace such values before training");
                }
            }
            starts.push(indices.len());
        }
        if starts.len() == 1 {
            return refuse("there is no row".to_owned(), "give at least one");
        }
        Ok(SparseRows { columns, starts, indices, values, row_names: None, column_names: None })
    }

    /// Sets the names of rows and columns.
    pub(super) fn with_names(mut self, rows: Vec<String>, columns: Arc<Vec<String>>) -> SparseRows {
        (self.row_names, self.column_names) = (Some(rows), Some(columns));
        self
    }

    /// Reads a CSR matrix written by `scipy.sparse.save_npz`: the arrays `data`, `indices`, `indptr` and `shape`.
    pub(super) fn from_npz(path: &Path, npz: &Npz) -> Result<SparseRows> {
        let damaged = |problem: String| Error::file(path, problem, "save it by scipy.sparse.save_npz, as a CSR matrix");
        if let Some(format) = npz.names().find(|name| *name == "format") {
            let text = npz.read_bytes(format)?;
            if !text.ends_with(b"csr") && !text.ends_with(b"c\0\0\0s\0\0\0r\0\0\0") {
                return Err(damaged("holds a sparse matrix that is not in CSR format".to_owned()));
            }
        }
        let whole = |name: &str| -> Result<Vec<usize>> {
            let numbers = npz.read_exactly(name)?;
            let number = |number: &f64| (*number >= 0.0 && *number <= 2f64.powi(53)).then_some(*number as usize);
            let numbers: Option<Vec<usize>> = numbers.iter().map(number).collect();
            numbers.ok_or_else(|| damaged(format!("array {name:?} has a negative number")))
        };
        let [rows, columns] = whole("shape")?[..] else {
            return Err(damaged("holds a sparse array that is no matrix".to_owned()));
        };
        let (starts, indices) = (whole("indptr")?, whole("indices")?);
        let values = npz.read_exactly("data")?;
        let rising = starts.windows(2).all(|pair| pair[0] <= pair[1]);
        let ends = starts.first() == Some(&0) && starts.last() == Some(&indices.len());
        if Some(starts.len()) != rows.checked_add(1) || !rising || !ends || indices.len() != values.len() {
            let problem = "has arrays \"indptr\", \"indices\" and \"data\" that do not fit each other".to_owned();
            return Err(damaged(problem));
        }
        let row = |pair: &[usize]| {
            let range = pair[0]..pair[1];
            let column = |column: &usize| u32::try_from(*column).unwrap_or(u32::MAX);
            let columns = indices[range.clone()].iter().map(column);
            columns.zip(values[range].iter().map(|value| *value as f32)).collect()
        };
        SparseRows::new(columns, starts.windows(2).map(row)).map_err(Error::in_file(path))
    }

    /// A checksum (CRC-32C) of all rows, without names.
    pub(super) fn checksum(&self) -> u32 {
        let starts: Vec<u64> = self.starts.iter().map(|start| *start as u64).collect();
        let parts = [
            checksum_of(&starts, u64::to_le_bytes),
            checksum_of(&self.indices, u32::to_le_bytes),
            checksum_of(&self.values, f32::to_le_bytes),
        ];
        checksum_of(&parts, u32::to_le_bytes)
    }

    /// Number of rows, at least 1.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there is no row: never, by construction.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The columns of a row's numbers, in ascending order, and the numbers. Empty for an index out of range.
    pub fn row(&self, index: usize) -> (&[u32], &[f32]) {
        match self.starts.get(index..=index + 1) {
            Some(&[start, end]) => (&self.indices[start..end], &self.values[start..end]),
            _ => (&[], &[]),
        }
    }

    /// The nonzero numbers, row by row.
    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    /// The name of a row: its number, counted from 0, if rows have no names.
    pub fn row_name(&self, index: usize) -> String {
        name(self.row_names.as_ref(), index)
    }

    /// The name of a column: its number, counted from 0, if columns have no names.
    pub fn column_name(&self, index: usize) -> String {
        name(self.column_names.as_deref(), index)
    }

    /// The names of all columns, if they have names.
    pub fn column_names(&self) -> Option<&Arc<Vec<String>>> {
        self.column_names.as_ref()
    }

    /// The number of rows in which each column is not 0.
    pub fn column_counts(&self) -> Vec<u32> {
        let mut counts = vec![0; self.columns];
        self.indices.iter().for_each(|column| counts[*column as usize] += 1);
        counts
    }

    /// The rows at these indices, with their zeros, one after the other.
    pub fn dense(&self, rows: &[u32]) -> Vec<f32> {
        let mut dense = vec![0.0; rows.len() * self.columns];
        for (row, dense) in rows.iter().zip(dense.chunks_exact_mut(self.columns)) {
            let (columns, values) = self.row(*row as usize);
            columns.iter().zip(values).for_each(|(column, value)| dense[*column as usize] = *value);
        }
        dense
    }

    /// Selects the rows at these indices.
    pub(super) fn subset(&self, rows: &[u32]) -> SparseRows {
        let mut part = SparseRows {
            columns: self.columns,
            starts: vec![0],
            indices: Vec::new(),
            values: Vec::new(),
            row_names: self.row_names.as_ref().map(|_| Vec::new()),
            column_names: self.column_names.clone(),
        };
        for row in rows {
            let (columns, values) = self.row(*row as usize);
            part.indices.extend_from_slice(columns);
            part.values.extend_from_slice(values);
            part.starts.push(part.indices.len());
            if let Some(names) = &mut part.row_names {
                names.push(self.row_name(*row as usize));
            }
        }
        part
    }

    /// Keeps the first `count` rows, of which there must be as many or more.
    pub(super) fn truncate(&mut self, count: usize) {
        self.starts.truncate(count + 1);
        let end = self.starts.last().copied().unwrap_or(0);
        self.indices.truncate(end);
        self.values.truncate(end);
        if let Some(names) = &mut self.row_names {
            names.truncate(count);
        }
    }
}

fn name(names: Option<&Vec<String>>, index: usize) -> String {
    names.and_then(|names| names.get(index).cloned()).unwrap_or_else(|| index.to_string())
}
