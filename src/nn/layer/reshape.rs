//! Layers that change the shape of a sample and keep its elements.

use super::kind::*;

/// A sample's elements in another shape, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Reshape {
    /// Any shape to `[features]`.
    Flatten,
    /// Any shape to this shape, which must have as many elements.
    Unflatten(Shape),
}

impl Kind for Reshape {
    name!(Reshape::Flatten => "flatten", Reshape::Unflatten(_) => "unflatten");

    fn keys(&mut self) -> Vec<Key<'_>> {
        match self {
            Reshape::Flatten => Vec::new(),
            Reshape::Unflatten(shape) => vec![Key::needed("shape", Setting::Sizes(shape))],
        }
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, Misfit> {
        match self {
            Reshape::Flatten => Ok([elements(input).ok_or_else(|| too_large(input))?].into()),
            Reshape::Unflatten(shape) => {
                positive("each size", shape)?;
                if elements(shape) != elements(input) {
                    let help = elements(input).map(|count| format!("choose sizes whose product is {count}"));
                    let help = help.unwrap_or_else(|| "choose other sizes".to_owned());
                    return Err(misfit!("cannot make {shape} of {input}: the number of elements differs"; "{help}"));
                }
                Ok(shape.clone())
            }
        }
    }

    fn apply(&self, placed: &Placed, context: &mut Context, x: Value) -> Result<Value> {
        placed.reshaped(context, x)
    }
}
