//! Tests of whole statements.

mod engine;
mod memory_kv;
mod scripts;
