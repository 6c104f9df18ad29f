//! The built program as its users run it: whole processes that are killed, stopped, misconfigured and starved.
//!
//! One module for each kind of bad day, one test for each scenario. Tests wait for conditions, and the nodes
//! die with the test that started them. docs/testing.md has the list.
//!
//! Not here: lost messages, skewed clocks inside their claim, and anything that needs a schedule: the simulator
//! (`tests/src/sim`) has these, from a seed.

mod support;

mod bad_input;
mod catching_up;
mod clocks;
mod configuration;
mod crashes;
mod demo;
mod full_disk;
mod histories;
mod large_commits;
mod lost_directory;
mod lost_quorum;
mod python_client;
mod removal;
mod repeated_commits;
mod shell;
mod sql;
