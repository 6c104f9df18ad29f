//! Tests of whole statements.

mod argument;
mod chains;
pub(crate) mod engine;
mod keys;
mod limits;
pub(crate) mod memory_kv;
mod plans;
mod scripts;
mod soup;
