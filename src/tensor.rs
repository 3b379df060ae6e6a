//! Arrays in the host's memory, which are written to and read from devices.

use crate::error::{Error, Result};
use crate::shape::Shape;
use std::ops::Range;

/// The type of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// A real number: f32 on GPUs and on `cpu`, f64 on `cpu-f64`.
    Float,
    /// A real number stored in 16 bits, chosen by plans and never by graphs: f16 on GPUs, and values rounded to f16 on
    /// the CPU.
    Half,
    /// An index or a counter, u32.
    U32,
    /// A byte: a pixel of resident image data.
    U8,
}

/// The elements of a [`Tensor`], row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 64-bit floats, as the `cpu-f64` device computes.
    F64(Vec<f64>),
    /// Unsigned 32-bit integers.
    U32(Vec<u32>),
    /// Bytes.
    U8(Vec<u8>),
}

/// Evaluates an expression for the vector of [`Values`] of any type, or makes [`Values`] of the same type of it.
macro_rules! with_values {
    ($values:expr, Values($v:ident) => $result:expr) => {
        $crate::tensor::with_values!(@ $values, $v, F32 => $crate::tensor::Values::F32($result),
            F64 => $crate::tensor::Values::F64($result), U32 => $crate::tensor::Values::U32($result),
            U8 => $crate::tensor::Values::U8($result))
    };
    ($values:expr, $v:ident => $result:expr) => {
        $crate::tensor::with_values!(@ $values, $v, F32 => $result, F64 => $result, U32 => $result, U8 => $result)
    };
    (@ $values:expr, $v:ident, $($variant:ident => $result:expr),*) => {
        match $values { $($crate::tensor::Values::$variant($v) => $result,)* }
    };
}
pub(crate) use with_values;

/// A host array: a shape and its elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Shape,
    values: Values,
}

impl Values {
    /// The number of elements.
    pub fn len(&self) -> usize {
        with_values!(self, values => values.len())
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether no element is NaN or infinite.
    pub(crate) fn is_finite(&self) -> bool {
        match self {
            Values::F32(v) => v.iter().all(|value| value.is_finite()),
            Values::F64(v) => v.iter().all(|value| value.is_finite()),
            Values::U32(_) | Values::U8(_) => true,
        }
    }

    /// The elements as f64.
    pub fn to_f64(&self) -> Vec<f64> {
        match self {
            Values::F32(v) => v.iter().map(|x| *x as f64).collect(),
            Values::F64(v) => v.clone(),
            Values::U32(v) => v.iter().map(|x| *x as f64).collect(),
            Values::U8(v) => v.iter().map(|x| *x as f64).collect(),
        }
    }

    /// Copies a range of elements.
    pub(crate) fn slice(&self, range: Range<usize>) -> Values {
        match self {
            Values::F32(v) => Values::F32(v[range].to_vec()),
            Values::F64(v) => Values::F64(v[range].to_vec()),
            Values::U32(v) => Values::U32(v[range].to_vec()),
            Values::U8(v) => Values::U8(v[range].to_vec()),
        }
    }

    /// Chunks of this many elements; the last one may be shorter.
    pub(crate) fn chunks(&self, elements: usize) -> Vec<Values> {
        let starts = (0..self.len()).step_by(elements);
        starts.map(|start| self.slice(start..self.len().min(start + elements))).collect()
    }
}

impl Tensor {
    /// An array of the given shape. Fails if the number of elements differs from that of the shape.
    pub fn new(shape: impl Into<Shape>, values: Values) -> Result<Tensor> {
        let shape = shape.into();
        if shape.elements() != values.len() {
            return Err(Error::invalid(
                "tensor",
                format!("{} elements given for shape {shape}, which holds {}", values.len(), shape.elements()),
                "give as many elements as the shape holds",
            ));
        }
        Ok(Tensor { shape, values })
    }

    /// An array of f32.
    pub fn from_f32(shape: impl Into<Shape>, values: Vec<f32>) -> Result<Tensor> {
        Tensor::new(shape, Values::F32(values))
    }

    /// The shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The elements.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// The elements as f32, rounded or converted from other types.
    pub fn to_f32(&self) -> Vec<f32> {
        match &self.values {
            Values::F32(v) => v.clone(),
            others => others.to_f64().into_iter().map(|x| x as f32).collect(),
        }
    }

    /// The elements as f64.
    pub fn to_f64(&self) -> Vec<f64> {
        self.values.to_f64()
    }
}
