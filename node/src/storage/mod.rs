//! What keeps bytes: the log, the only home of what was acknowledged, and the version store.

pub mod disk;
pub mod log;
pub mod record;
pub mod version_store;
pub mod versions;
