use super::harness::{Cluster, R1, R2, config, entry, id, voters};
use crate::shard::raft::{MembershipError, OpenError, RaftConfig, RaftGroup};
use crate::storage::record::{HardState, LogEntry, Membership};
use proto::{EntryId, LogIndex, ReplicaId, Term};

type Break<T> = fn(&mut T);

/// A stored state that is sound; tests break one part each.
struct Stored {
    config: RaftConfig,
    hard_state: HardState,
    membership: Membership,
    applied: LogIndex,
    truncated: EntryId,
    entries: Vec<LogEntry>,
}

impl Stored {
    fn sound() -> Stored {
        Stored {
            config: config(R1),
            hard_state: HardState { term: Term(3), vote: Some(R2), commit: LogIndex(6) },
            membership: voters([1, 2, 3]),
            applied: LogIndex(5),
            truncated: id(2, 4),
            entries: vec![entry(2, 5, "a"), entry(3, 6, "b"), entry(3, 7, "c")],
        }
    }

    fn open(self) -> Result<RaftGroup, OpenError> {
        RaftGroup::open(
            &self.config,
            1,
            self.hard_state,
            self.membership,
            self.applied,
            self.truncated,
            self.entries,
        )
    }

    fn error(self) -> OpenError {
        self.open().err().expect("it must not open")
    }
}

#[test]
fn open_sound_state_continues_where_it_was() {
    let mut group = Stored::sound().open().unwrap();
    assert_eq!(group.term(), Term(3));
    assert_eq!((group.first_index(), group.last()), (LogIndex(5), id(3, 7)));
    assert_eq!((group.applied_index(), group.commit_index()), (LogIndex(5), LogIndex(6)));
    assert_eq!(group.membership(), &voters([1, 2, 3]));
    let ready = group.take_ready().unwrap();
    assert_eq!(ready.committed, [entry(3, 6, "b")], "not what was applied, nor what may be lost");
    assert_eq!(ready.hard_state, None);
    assert!(ready.entries_to_append.is_empty());
}

#[test]
fn open_with_an_impossible_setting_names_it() {
    let breaks: [(Break<RaftConfig>, &str); 5] = [
        (|c| c.replica = ReplicaId(0), "replica ids"),
        (|c| c.heartbeat_ticks = 0, "heartbeat_ticks"),
        (|c| c.election_ticks = c.heartbeat_ticks, "election_ticks"),
        (|c| c.inflight_messages_max = 0, "inflight_messages_max"),
        (|c| c.uncommitted_bytes_max = 1, "uncommitted_bytes_max"),
    ];
    for (break_it, name) in breaks {
        let mut stored = Stored::sound();
        break_it(&mut stored.config);
        let error = stored.error();
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn open_with_a_gap_in_the_log_is_refused() {
    let mut stored = Stored::sound();
    stored.entries.remove(1);
    assert_eq!(stored.error(), OpenError::Gap { expected: LogIndex(6), found: LogIndex(7) });
    let mut stored = Stored::sound();
    stored.entries.remove(0);
    assert_eq!(stored.error(), OpenError::Gap { expected: LogIndex(5), found: LogIndex(6) });
}

#[test]
fn open_with_a_term_that_falls_is_refused() {
    let mut stored = Stored::sound();
    stored.entries[2].id.term = Term(2);
    let (found, previous) = (Term(2), Term(3));
    assert_eq!(stored.error(), OpenError::TermOrder { index: LogIndex(7), found, previous });
    let mut stored = Stored::sound();
    stored.truncated.term = Term(0);
    assert!(matches!(stored.error(), OpenError::TermOrder { index: LogIndex(4), .. }));
}

#[test]
fn open_with_committed_entries_missing_is_refused() {
    let mut stored = Stored::sound();
    stored.hard_state.commit = LogIndex(8);
    let error = stored.error();
    assert_eq!(error, OpenError::CommitBeyondLog { commit: LogIndex(8), last: LogIndex(7) });
    assert!(error.to_string().contains("entry 8"), "{error}");
}

#[test]
fn open_with_a_state_machine_outside_the_log_is_refused() {
    let mut stored = Stored::sound();
    stored.applied = LogIndex(8);
    assert_eq!(
        stored.error(),
        OpenError::AppliedBeyondLog { applied: LogIndex(8), last: LogIndex(7) }
    );
    let mut stored = Stored::sound();
    stored.applied = LogIndex(3);
    assert_eq!(
        stored.error(),
        OpenError::AppliedTruncated { applied: LogIndex(3), truncated: LogIndex(4) }
    );
}

#[test]
fn open_with_impossible_members_is_refused() {
    let breaks: [(Break<Membership>, MembershipError); 6] = [
        (|m| m.voters.push(ReplicaId(0)), MembershipError::ZeroReplica),
        (|m| m.voters.push(R2), MembershipError::Twice { replica: R2 }),
        (|m| m.learners.push(R2), MembershipError::Twice { replica: R2 }),
        (|m| m.learners = std::mem::take(&mut m.voters), MembershipError::NoVoters),
        (
            |m| m.learners_next.push(ReplicaId(9)),
            MembershipError::LearnerNextNotOutgoing { replica: ReplicaId(9) },
        ),
        (|m| m.auto_leave = true, MembershipError::NothingToLeave),
    ];
    for (break_it, expected) in breaks {
        let mut stored = Stored::sound();
        break_it(&mut stored.membership);
        assert_eq!(stored.error(), OpenError::Membership(expected));
    }
}

#[test]
fn open_with_joint_members_is_accepted() {
    let mut stored = Stored::sound();
    stored.membership = Membership {
        voters: [1, 4].map(ReplicaId).to_vec(),
        voters_outgoing: [1, 2, 3].map(ReplicaId).to_vec(),
        learners: vec![ReplicaId(5)],
        learners_next: vec![ReplicaId(2)],
        auto_leave: true,
    };
    let membership = stored.membership.clone();
    assert_eq!(stored.open().unwrap().membership(), &membership);
}

#[test]
fn open_with_a_lagging_commit_index_believes_the_state_machine() {
    let mut stored = Stored::sound();
    stored.hard_state.commit = LogIndex(2);
    assert_eq!(stored.open().unwrap().commit_index(), LogIndex(5));
}

#[test]
fn open_with_an_entry_of_a_later_term_moves_to_that_term_without_a_vote() {
    let mut stored = Stored::sound();
    stored.hard_state = HardState { term: Term(2), vote: Some(R2), commit: LogIndex(5) };
    let mut group = stored.open().unwrap();
    assert_eq!(group.term(), Term(3));
    let mut request = super::messages::request_vote(ReplicaId(3), R1, 3);
    (request.index, request.log_term) = (LogIndex(7), Term(3));
    group.step(request).unwrap();
    let ready = group.take_ready().unwrap();
    assert_eq!(ready.hard_state.unwrap().vote, Some(ReplicaId(3)));
}

#[test]
fn open_after_a_clean_stop_goes_on() {
    let mut cluster = Cluster::new(1, 3);
    cluster.elect(R1);
    for _ in 0..10 {
        cluster.propose(R1);
        cluster.settle();
    }
    for replica in cluster.ids() {
        cluster.checkpoint_and_truncate(replica);
        cluster.crash(replica, usize::MAX);
    }
    cluster.links.clear();
    cluster.converge();
    assert_eq!(cluster.committed.len(), 13, "two leaders' own entries and eleven proposals");
}
