//! Catalog leases and what they bound (section 7, T62).

use super::rig::{CATALOG, MILLISECOND, Rig, SECOND, attempt, key, write};
use super::*;
use crate::state::{Changes, StatePut};
use proto::LogIndex;

/// What a gateway is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Grant {
    expires: Timestamp,
    made: Timestamp,
    made_bound: Timestamp,
    found_bound: Timestamp,
}

impl Rig {
    fn ask_catalog_lease(&mut self) -> u64 {
        self.ask(Request::CatalogLease { key: key(CATALOG) })
    }

    fn granted(&self, caller: u64) -> Option<Grant> {
        match self.reply(caller)? {
            Reply::CatalogLease { expires, made, made_bound, found_bound } => Some(Grant {
                expires: *expires,
                made: *made,
                made_bound: *made_bound,
                found_bound: *found_bound,
            }),
            other => panic!("{other:?}"),
        }
    }

    fn commit_below(&mut self, name: &str, below: Timestamp, single_use: bool) -> u64 {
        let id = self.id();
        self.ask(Request::Commit {
            attempt: attempt(id, None),
            coordinator: key(name),
            writes: vec![write(name)],
            participants: Vec::new(),
            digest: 7,
            single_use,
            below: Some(below),
        })
    }
}

#[test]
fn catalog_lease_is_granted_only_below_a_bound_that_is_applied() {
    let mut rig = Rig::new();
    rig.run();
    let (first, second) = (rig.ask_catalog_lease(), rig.ask_catalog_lease());
    assert!(rig.granted(first).is_none(), "the bound comes first");
    let bounds = |rig: &Rig| {
        let is_bound = |e: &Entry| matches!(e.command, Command::CatalogBound { .. });
        rig.log.iter().filter(|(_, e)| is_bound(e)).count()
    };
    assert_eq!(bounds(&rig), 1, "one entry for all who wait");
    rig.run();
    let grant = rig.granted(first).expect("the bound is applied");
    assert_eq!(rig.granted(second), Some(grant));
    let bound = rig.state.header().catalog_bound;
    assert!(grant.expires <= bound && grant.found_bound == Timestamp::ZERO);
    assert_eq!((grant.made, grant.made_bound), (Timestamp::ZERO, Timestamp::ZERO));
    // Within the bound no entry is needed.
    let third = rig.ask_catalog_lease();
    assert_eq!(rig.granted(third).map(|grant| grant.found_bound), Some(bound));
    assert_eq!(bounds(&rig), 1);
}

#[test]
fn new_leader_knows_the_bound_and_waits_for_its_own_lease_to_grant() {
    let mut rig = Rig::new();
    let first = rig.ask_catalog_lease();
    rig.run();
    let grant = rig.granted(first).unwrap();
    let end = rig.lease_end();
    rig.elect();
    rig.run();
    let second = rig.ask_catalog_lease();
    rig.run();
    assert!(rig.granted(second).is_none(), "granting needs the shard's lease");
    rig.true_time = end.nanos() + 2 * MILLISECOND;
    rig.run();
    let second = rig.granted(second).expect("the lease is there");
    assert!(second.found_bound >= grant.expires, "who restarts learns what may still be out");
}

#[test]
fn catalog_lease_of_a_lapsed_epoch_is_not_granted() {
    let mut rig = Rig::new();
    rig.run();
    let waiting = rig.ask_catalog_lease();
    // The bound is applied long after the shard's lease has ended.
    rig.true_time += 10 * SECOND;
    rig.apply_one();
    assert!(matches!(rig.reply(waiting), Some(Reply::Refused(Refusal::NotLeader { .. }))));
}

#[test]
fn write_of_the_catalog_keeps_the_bound_as_it_stood() {
    let mut rig = Rig::new();
    let old = rig.ask_catalog_lease();
    rig.run();
    let old = rig.granted(old).unwrap();
    let id = rig.id();
    let commit = rig.commit(id, CATALOG, Vec::new());
    rig.run();
    rig.wait(2 * MILLISECOND + 2);
    let made = rig.committed(commit).unwrap();
    let header = rig.state.header().clone();
    assert_eq!(header.catalog_made, made);
    assert!(header.catalog_made_bound >= old.expires, "leases on the version before end below it");
    // Grants from here on name the new version, and moving the bound leaves the old one as it is.
    rig.wait(40 * SECOND);
    let new = rig.ask_catalog_lease();
    rig.run();
    rig.wait(5 * SECOND);
    rig.run();
    let new = rig.granted(new).unwrap();
    assert_eq!((new.made, new.made_bound), (made, header.catalog_made_bound));
    assert!(rig.state.header().catalog_bound > header.catalog_bound);
}

#[test]
fn snapshot_carries_bound_and_version() {
    let mut rig = Rig::new();
    rig.ask_catalog_lease();
    let id = rig.id();
    rig.commit(id, CATALOG, Vec::new());
    rig.run();
    let mut changes = Changes::default();
    let last = EntryId { term: Term(rig.term), index: LogIndex(rig.applied as u64) };
    let next = EntryId { index: last.index.next(), ..last };
    let command = Command::Threshold { threshold: Timestamp::from_nanos(1) };
    let epoch = rig.state.header().lease.map(|lease| lease.epoch);
    rig.state.apply(next, Some(&Entry { epoch, command, ..Entry::default() }), &mut changes);
    let (_, puts) = changes.finish(&rig.state);
    let pairs: Vec<(Vec<u8>, Vec<u8>)> = puts
        .into_iter()
        .filter_map(|put| match put {
            StatePut::Put(key, value) => Some((key, value)),
            StatePut::Delete(_) | StatePut::DeleteRange(..) => None,
        })
        .collect();
    let loaded = ShardState::load(KeySpan::all(), next, &pairs).unwrap();
    assert_eq!(loaded.header(), rig.state.header());
    assert!(loaded.header().catalog_made > Timestamp::ZERO);
}

#[test]
fn commit_at_or_above_the_end_of_the_catalog_lease_is_aborted() {
    let mut rig = Rig::new();
    let latest = rig.now().sure().unwrap().latest;
    // The step that chooses s takes at least latest + 1.
    let late = rig.commit_below("k", latest.next(), false);
    let aborted = |rig: &Rig, caller| {
        let aborted = Outcome::Aborted { reason: AbortReason::SchemaChanged };
        rig.reply(caller) == Some(&Reply::Outcome(aborted))
    };
    // No grant fences an earlier copy of it, so it is aborted by the log alone; and so is one that several
    // gateways may drive.
    assert!(rig.reply(late).is_none());
    rig.run();
    assert!(aborted(&rig, late));
    let entries = rig.log.len();
    let shared = rig.commit_below("k", latest.next(), true);
    assert!(rig.reply(shared).is_none());
    assert!(matches!(rig.log[entries].1.command, Command::Abort { .. }));
    rig.run();
    assert!(aborted(&rig, shared));
    let timely = rig.commit_below("k", latest.plus(Duration::from_secs(1)), false);
    rig.run();
    rig.wait(3 * MILLISECOND);
    assert!(rig.committed(timely).is_some());
}
