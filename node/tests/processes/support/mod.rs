//! Nodes as processes of the built program, and what the scenarios do with them.
//!
//! A [`Cluster`] is some [`Node`]s with data directories below one folder that goes with the test; a node is killed
//! when it is dropped. Waiting is [`until`]: it looks again and again whether a condition holds, and says what was
//! last seen when it never does.

mod cluster;
mod node;
mod table;

pub(crate) use cluster::{Cluster, client, client_of, metrics};
pub(crate) use node::{Ended, Node, free_address, spandrel, spandrel_fed};
pub(crate) use table::{COLUMNS, TABLE, create_table, put, read_all, read_one};

use std::fmt::Debug;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Nothing that is waited for takes nearly as long, unless it never happens.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Looks until `look` finds what it looks for. Its error is what it saw instead.
pub(crate) async fn until<T, E: Debug>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) if Instant::now() > deadline => {
                panic!("{what}: not within {PATIENCE:?}; last seen: {seen:#?}")
            }
            Err(_) => sleep(LOOK_INTERVAL).await,
        }
    }
}

/// Says past the test's own capture why a scenario cannot run here.
pub(crate) fn skipped(name: &str, reason: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{name}: skipped: {reason}");
}
