//! SQL: parse, bind, plan, execute, over the trait [`kv::Kv`].

pub mod error;
pub mod kv;
pub mod parse;
pub mod scalar;
