//! Accuracy of the reconstructed columns of a table.

use crate::Autoencoder;
use crate::autoencoder::AT_ONCE;
use crate::data::Dataset;
use crate::error::Result;

impl Autoencoder {
    /// For each categorical column of a model of tables, the name and the fraction of rows whose category is
    /// reconstructed. Empty for other models. Fails if the data cannot be read or does not fit the model.
    pub fn column_accuracy(&self, data: &Dataset) -> Result<Vec<(String, f64)>> {
        self.network().accepts(data.sample_shape(), data.name())?;
        let columns = &self.network().spec().data.columns;
        let mut right = vec![0usize; columns.len()];
        for range in data.ranges(AT_ONCE).take_while(|_| !columns.is_empty()) {
            let lines = data.read_f32(range.clone())?;
            let copies = self.reconstruct_given(&lines, &self.network().given(data, range)?)?.to_f32();
            for (line, copy) in lines.chunks(columns.len()).zip(copies.chunks(columns.len())) {
                right.iter_mut().zip(line.iter().zip(copy)).for_each(|(right, (a, b))| *right += usize::from(a == b));
            }
        }
        let categorical = columns.iter().zip(right).filter(|(column, _)| column.is_categorical());
        Ok(categorical.map(|(column, right)| (column.name.clone(), right as f64 / data.len() as f64)).collect())
    }
}
