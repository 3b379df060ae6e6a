//! Comparison of two models, ignoring how they are trained.

use super::columns::last_features;
use super::spec::ModelSpec;

impl ModelSpec {
    /// Copies the values that [`fit_to`](ModelSpec::fit_to) set from data in `fitted`, where this model leaves them to
    /// the data: the input's features, a table's columns, and the size of the decoder's last linear layer.
    pub fn fit_as(&mut self, fitted: &ModelSpec) {
        if !std::mem::replace(&mut self.data.sets_input, false) {
            return;
        }
        self.input.clone_from(&fitted.input);
        self.data.columns.clone_from(&fitted.data.columns);
        let mut decoder = fitted.decoder.clone();
        if let (Some(out), Some(fitted)) = (last_features(&mut self.decoder), last_features(&mut decoder)) {
            *out = *fitted;
        }
    }

    /// The first top-level key in which two models differ, except `train`.
    pub fn difference(&self, other: &ModelSpec) -> Option<&'static str> {
        let ModelSpec {
            input,
            loss,
            corruption,
            condition,
            encoder,
            latent,
            decoder,
            penalties,
            data,
            blocks,
            train: _,
        } = self;
        let same = [
            ("input", *input == other.input),
            ("loss", *loss == other.loss),
            ("corruption", *corruption == other.corruption),
            ("condition", *condition == other.condition),
            ("encoder", *encoder == other.encoder),
            ("latent", *latent == other.latent),
            ("decoder", *decoder == other.decoder),
            ("penalties", *penalties == other.penalties),
            ("data", *data == other.data),
            ("blocks", *blocks == other.blocks),
        ];
        same.into_iter().find_map(|(key, same)| (!same).then_some(key))
    }
}
