//! Model files, latents, weights, and models in use.

pub mod conditions;
pub mod extensions;
pub mod inference;
pub mod latent;
pub mod latent_codes;
pub mod lengths;
pub mod model_files;
pub mod pairs;
pub mod penalties;
pub mod schema;
pub mod suggestions;
pub mod weightless;
pub mod weights;
