//! What the tests of the whole system stand on: simulated I/O, the simulated cluster, the invariants, and
//! the repository as text.

pub mod invariants;
pub mod repository;
pub mod sim;
pub mod sim_disk;
