//! The program: its commands, arguments and messages.

pub mod bad_input;
pub mod bench;
pub mod condition_arguments;
pub mod convert;
pub mod inspect;
pub mod program;
