//! The leader's rules: each broken schedule of TRANSACTIONS.md section 9, and of docs/traps.md, that one
//! shard can show.

mod binding;
mod catalog;
mod commits;
mod crashes;
mod doubt;
mod full_disk;
mod lasting;
mod lease;
mod locks;
mod participants;
mod pieces;
mod promises;
mod reads;
mod removal;
mod rig;

use super::*;
use crate::lock_table::LockMode;
use crate::message::Decision;
