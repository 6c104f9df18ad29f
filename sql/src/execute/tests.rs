//! Tests of whole statements.

mod chains;
mod engine;
mod keys;
mod limits;
mod memory_kv;
mod plans;
mod scripts;
mod soup;
