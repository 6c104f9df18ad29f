//! Changes of the catalog that wait until all gateways use a version (TRANSACTIONS.md section 7).
//!
//! A change may be made when the version before it is in use everywhere, so that at most two adjacent ones
//! are in use at a time, and it is answered when its own is, so that whoever starts afterwards sees it. A
//! version is in use everywhere when every core of every registered node has acknowledged it, or when the
//! leases on all older ones have surely ended.
//!
//! Example: DROP TABLE commits at `s`. All nodes are told, read the catalog, and write a row each; these rows are
//! read here until none is missing. If a node is down, the answer waits for the end of the lease that it may
//! hold.

use proto::encoding::table_span;
use proto::{NodeId, Priority};
use std::collections::BTreeMap;
use std::time::Duration;
use truetime::{Mono, Now, Timestamp};
use txn::message::Row;

use super::api::{ClientId, Response};
use super::ddl::DdlJob;
use super::error::Error;
use super::lease::no_lease;
use super::machine::{Effect, Gateway, answer};
use crate::system::{Acknowledgement, NodeRecord, acknowledging, decode, tables};
use txn::message::AbortReason;

/// The pause between the first two looks at the acknowledgements; doubles from there.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// A change that waits for `version` to be in use everywhere.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) version: Timestamp,
    pub(super) client: ClientId,
    pub(super) next: Next,
}

/// What it does then.
#[derive(Debug)]
pub(super) enum Next {
    /// It is made, again from its start, with the age it has.
    Make(DdlJob, Priority),
    /// It is answered.
    Answer(super::api::Ticket, Response),
    /// The shards of dropped tables are removed.
    Remove,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Changes {
    waiting: Vec<Change>,
    /// The newest version that is known to be in use everywhere.
    everywhere: Timestamp,
    reading: bool,
    look_at: Mono,
    pause: Duration,
}

impl Changes {
    pub(super) fn new() -> Self {
        Changes {
            waiting: Vec::new(),
            everywhere: Timestamp::ZERO,
            reading: false,
            look_at: Mono::MAX,
            pause: PAUSE_MIN,
        }
    }

    pub(super) fn next_deadline(&self) -> Mono {
        self.look_at
    }
}

impl Gateway {
    /// Whether every gateway uses `version` or a newer one.
    pub(super) fn is_everywhere(&self, now: &Now, version: Timestamp) -> bool {
        // Nobody uses what is older than the first version.
        version == Timestamp::ZERO
            || version <= self.changes.everywhere
            // A newer one was made only once this one was everywhere.
            || version < self.lease.newest()
            || self.lease.bound_before(version).is_some_and(|bound| now.after(bound))
    }

    /// Waits for a version to be in use everywhere.
    pub(super) fn await_version(&mut self, now: &Now, change: Change, effects: &mut Vec<Effect>) {
        if self.changes.waiting.len() >= self.settings.ddl_waits_max {
            let error = Error::Overloaded { what: "waiting changes of the catalog".to_owned() };
            let ticket = match change.next {
                Next::Make(DdlJob { ticket, .. }, _) | Next::Answer(ticket, _) => ticket,
                Next::Remove => return self.drop_is_everywhere(now, false, effects),
            };
            return effects.push(Effect::Answer { ticket, answer: Err(error) });
        }
        self.changes.waiting.push(change);
        self.changes.pause = PAUSE_MIN;
        self.read_acknowledgements(now, effects);
    }

    fn read_acknowledgements(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        if self.changes.reading {
            return;
        }
        self.changes.look_at = Mono::MAX;
        self.changes.reading = true;
        if let Err(error) = self.acknowledgements_snapshot(now, effects) {
            self.acknowledgements_read(now, Err(error), effects);
        }
    }

    /// The registered nodes, and what their cores acknowledge, were read, or could not be.
    pub(super) fn acknowledgements_read(
        &mut self,
        now: &Now,
        result: Result<Vec<Row>, Error>,
        effects: &mut Vec<Effect>,
    ) {
        self.changes.reading = false;
        let rows = result.unwrap_or_default();
        let known = Known::of(&rows);
        for change in &self.changes.waiting {
            if known.acknowledged_by_all(change.version) {
                self.changes.everywhere = self.changes.everywhere.max(change.version);
            }
        }
        self.settle_changes(now, effects);
        let newest = self.changes.waiting.iter().map(|change| change.version).max();
        let Some(version) = newest else { return };
        effects.push(Effect::CatalogChanged { version, nodes: known.nodes });
        if !self.changes.reading {
            self.changes.look_at = now.mono.plus(self.changes.pause);
            self.changes.pause = (self.changes.pause * 2).min(PAUSE_MAX);
        }
    }

    /// Goes on with the changes whose version is in use everywhere.
    pub(super) fn settle_changes(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        for change in std::mem::take(&mut self.changes.waiting) {
            if !self.is_everywhere(now, change.version) {
                let late = match &change.next {
                    Next::Make(job, _) => job.is_late(now),
                    // It is made: all that is left is to wait.
                    Next::Answer(..) | Next::Remove => false,
                };
                if !late {
                    self.changes.waiting.push(change);
                    continue;
                }
            }
            match change.next {
                Next::Make(job, _) if job.is_late(now) => {
                    let ticket = job.ticket;
                    effects.push(Effect::Answer { ticket, answer: Err(no_lease()) });
                }
                Next::Make(job, priority) => {
                    let ticket = job.ticket;
                    let (client, retry_of) = (change.client, Some(priority));
                    if let Err(error) = self.start_ddl(now, client, retry_of, job, effects) {
                        effects.push(Effect::Answer { ticket, answer: Err(error) });
                    }
                }
                Next::Answer(ticket, response) => answer(effects, ticket, response),
                Next::Remove => self.drop_is_everywhere(now, true, effects),
            }
        }
    }

    /// Time passed.
    pub(super) fn look_at_changes(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        if now.mono < self.changes.look_at {
            return;
        }
        self.changes.look_at = Mono::MAX;
        self.settle_changes(now, effects);
        if !self.changes.waiting.is_empty() {
            self.read_acknowledgements(now, effects);
        }
    }

    /// Nobody wants the changes of a client any more that is gone; those that are made stay made.
    pub(super) fn drop_changes_of(&mut self, client: ClientId, effects: &mut Vec<Effect>) {
        let gone =
            |change: &mut Change| change.client == client && matches!(change.next, Next::Make(..));
        for change in self.changes.waiting.extract_if(.., gone) {
            if let Next::Make(DdlJob { ticket, .. }, _) = change.next {
                let error = Error::Aborted { reason: AbortReason::GivenUp };
                effects.push(Effect::Answer { ticket, answer: Err(error) });
            }
        }
    }
}

/// Registered nodes and acknowledgements, as read at one timestamp.
struct Known {
    nodes: Vec<NodeId>,
    by_core: BTreeMap<(NodeId, u16), Acknowledgement>,
}

impl Known {
    fn of(rows: &[Row]) -> Self {
        let nodes = table_span(tables::NODES);
        let mut known = Known { nodes: Vec::new(), by_core: BTreeMap::new() };
        for row in rows {
            if nodes.contains(&row.key) {
                match decode::<NodeRecord>(&row.value) {
                    Ok(node) => known.nodes.push(node.id),
                    // Whoever is not known cannot be counted: nothing is concluded.
                    Err(_) => return Known { nodes: Vec::new(), by_core: BTreeMap::new() },
                }
            } else if let (Some(whose), Ok(record)) = (acknowledging(&row.key), decode(&row.value))
            {
                known.by_core.insert(whose, record);
            }
        }
        known
    }

    /// Whether every core of every node acknowledges `version` or a newer one. How many a node has, its
    /// acknowledgements say: those of an earlier process with another number count if they are new enough.
    fn acknowledged_by_all(&self, version: Timestamp) -> bool {
        let by_node = |node: NodeId| {
            let of_node = self.by_core.range((node, 0)..=(node, u16::MAX));
            let mut there = of_node.filter(|(_, record)| record.version >= version);
            let cores = there.clone().map(|(_, record)| record.cores).max();
            cores.is_some_and(|cores| (0..cores).all(|core| there.any(|((_, of), _)| *of == core)))
        };
        !self.nodes.is_empty() && self.nodes.iter().all(|node| by_node(*node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(nodes: u64, acknowledged: &[(u64, u16, u64, u16)]) -> Known {
        let entry = |&(node, core, version, cores): &(u64, u16, u64, u16)| {
            let version = Timestamp::from_nanos(version);
            ((NodeId(node), core), Acknowledgement { version, cores })
        };
        Known {
            nodes: (1..=nodes).map(NodeId).collect(),
            by_core: acknowledged.iter().map(entry).collect(),
        }
    }

    #[test]
    fn version_is_everywhere_only_when_each_core_of_each_node_acknowledged_it() {
        let at = |version| Timestamp::from_nanos(version);
        let one_missing = known(2, &[(1, 0, 5, 2), (1, 1, 4, 2), (2, 0, 5, 1)]);
        assert!(!one_missing.acknowledged_by_all(at(5)));
        assert!(one_missing.acknowledged_by_all(at(4)));
        assert!(!known(2, &[(1, 0, 5, 1)]).acknowledged_by_all(at(5)), "node 2 said nothing");
        assert!(!known(0, &[]).acknowledged_by_all(at(5)), "nothing could be read");
    }

    #[test]
    fn number_of_cores_is_that_of_the_process_that_acknowledges() {
        let at = |version| Timestamp::from_nanos(version);
        // Four cores before the restart, two since; and the other way round.
        let fewer = known(1, &[(1, 0, 6, 2), (1, 1, 6, 2), (1, 2, 5, 4), (1, 3, 5, 4)]);
        assert!(fewer.acknowledged_by_all(at(6)));
        let more = known(1, &[(1, 0, 6, 4), (1, 1, 6, 4)]);
        assert!(!more.acknowledged_by_all(at(6)));
    }
}
