use super::harness::{R1, R2, R3, entry, fresh, id, voters};
use crate::shard::raft::{
    Message, MessageError, MessageKind, NUMBER_MAX, RaftGroup, Ready, SnapshotMeta,
};
use crate::storage::record::{EntryKind, LogEntry, Membership};
use bytes::Bytes;
use proptest::prelude::*;
use proto::{EntryId, LogIndex, ReplicaId, Term};

/// An empty append; other messages are made of it.
pub(super) fn append(from: ReplicaId, to: ReplicaId, term: u64) -> Message {
    Message {
        kind: MessageKind::Append,
        from,
        to,
        term: Term(term),
        log_term: Term(0),
        index: LogIndex(0),
        entries: Vec::new(),
        commit: LogIndex(0),
        commit_term: Term(0),
        snapshot: None,
        reject: false,
        reject_hint: LogIndex(0),
        context: Bytes::new(),
    }
}

pub(super) fn request_vote(from: ReplicaId, to: ReplicaId, term: u64) -> Message {
    Message { kind: MessageKind::RequestVote, ..append(from, to, term) }
}

pub(super) fn timeout_now(from: ReplicaId, to: ReplicaId, term: u64) -> Message {
    Message { kind: MessageKind::TimeoutNow, ..append(from, to, term) }
}

pub(super) fn snapshot(from: ReplicaId, to: ReplicaId, term: u64, last: EntryId) -> Message {
    let meta = SnapshotMeta { last, membership: voters([1, 2, 3]) };
    Message { kind: MessageKind::Snapshot, snapshot: Some(meta), ..append(from, to, term) }
}

/// R1 leads term 1 of three; its log is [1@1].
fn leader() -> RaftGroup {
    let mut group = fresh(R1, voters([1, 2, 3]));
    group.campaign();
    for kind in [MessageKind::RequestPreVoteResponse, MessageKind::RequestVoteResponse] {
        drain(&mut group);
        group.step(Message { kind, ..append(R2, R1, 1) }).unwrap();
    }
    drain(&mut group);
    assert!(group.is_leader());
    group
}

fn drain(group: &mut RaftGroup) -> Vec<Ready> {
    let mut readies = Vec::new();
    while let Some(ready) = group.take_ready() {
        group.persisted(ready.number);
        readies.push(ready);
    }
    readies
}

/// Checks that a follower drops the message, and that nothing at all came of it.
#[track_caller]
fn dropped(message: Message) -> MessageError {
    let mut group = fresh(R1, voters([1, 2, 3]));
    let error = group.step(message).expect_err("it must be dropped");
    assert_eq!(group.take_ready(), None, "{error}");
    assert_eq!(group.term(), Term(0), "{error}");
    error
}

#[test]
fn message_for_another_or_from_nobody_is_dropped() {
    let to = ReplicaId(9);
    assert_eq!(dropped(append(R2, to, 1)), MessageError::NotForUs { to, replica: R1 });
    for from in [ReplicaId(0), R1] {
        assert_eq!(dropped(append(from, R1, 1)), MessageError::ImpossibleSender { from });
    }
}

#[test]
fn answer_from_a_stranger_is_dropped_but_its_request_is_not() {
    let from = ReplicaId(9);
    let kind = MessageKind::RequestVoteResponse;
    let answer = Message { kind, ..append(from, R1, 1) };
    assert_eq!(dropped(answer), MessageError::UnknownSender { from, kind });
    // A leader may have applied the change that made it a member before this replica has.
    let mut group = fresh(R1, voters([1, 2, 3]));
    group.step(append(from, R1, 1)).unwrap();
    assert_eq!(group.leader(), Some(from));
}

#[test]
fn message_of_term_zero_is_dropped() {
    let kind = MessageKind::Append;
    assert_eq!(dropped(append(R2, R1, 0)), MessageError::ZeroTerm { kind });
}

#[test]
fn message_with_a_number_that_could_overflow_is_dropped() {
    let number = NUMBER_MAX + 1;
    let breaks: [fn(&mut Message, u64); 6] = [
        |m, n| m.term = Term(n),
        |m, n| m.log_term = Term(n),
        |m, n| m.index = LogIndex(n),
        |m, n| m.commit = LogIndex(n),
        |m, n| m.commit_term = Term(n),
        |m, n| m.reject_hint = LogIndex(n),
    ];
    for break_it in breaks {
        let mut message = append(R2, R1, 1);
        break_it(&mut message, number);
        assert_eq!(dropped(message), MessageError::NumberTooLarge { number });
    }
    let far = snapshot(R2, R1, 1, id(1, number));
    assert_eq!(dropped(far), MessageError::NumberTooLarge { number });
}

#[test]
fn message_with_parts_of_another_kind_is_dropped() {
    let meta = SnapshotMeta { last: id(1, 1), membership: voters([1, 2, 3]) };
    let heartbeat = Message { kind: MessageKind::Heartbeat, ..append(R2, R1, 1) };
    let wrong = [
        Message { entries: vec![entry(1, 1, "a")], ..heartbeat.clone() },
        Message { snapshot: Some(meta), ..heartbeat.clone() },
        Message { snapshot: None, ..snapshot(R2, R1, 1, id(1, 1)) },
        Message { reject: true, ..heartbeat.clone() },
        Message { context: Bytes::from_static(b"CampaignTransfer"), ..heartbeat },
        Message { context: Bytes::from_static(b"Campaign"), ..request_vote(R2, R1, 1) },
    ];
    for message in wrong {
        assert!(matches!(dropped(message), MessageError::WrongParts { .. }));
    }
}

#[test]
fn append_behind_an_entry_without_term_is_dropped() {
    // The crate takes "index 7, term 0" for a match with any log that ends below 7.
    for (index, log_term) in [(7, 0), (0, 1), (7, 2)] {
        let (index, entry_term, term) = (LogIndex(index), Term(log_term), Term(1));
        let message = Message { index, log_term: entry_term, ..append(R2, R1, 1) };
        assert_eq!(dropped(message), MessageError::ImpossibleTerm { index, entry_term, term });
    }
}

#[test]
fn append_with_impossible_entries_is_dropped() {
    let with = |entries| Message { entries, ..append(R2, R1, 2) };
    assert_eq!(
        dropped(with(vec![entry(1, 2, "a")])),
        MessageError::EntriesNotContiguous { expected: LogIndex(1), found: LogIndex(2) }
    );
    assert_eq!(
        dropped(with(vec![entry(1, 1, "a"), entry(1, 1, "a")])),
        MessageError::EntriesNotContiguous { expected: LogIndex(2), found: LogIndex(1) }
    );
    for second in [0, 1, 3] {
        let (index, entry_term) = (LogIndex(2), Term(second));
        assert_eq!(
            dropped(with(vec![entry(2, 1, "a"), entry(second, 2, "b")])),
            MessageError::ImpossibleTerm { index, entry_term, term: Term(2) }
        );
    }
}

#[test]
fn snapshot_of_nothing_or_of_impossible_members_is_dropped() {
    for last in [id(0, 1), id(1, 0), id(2, 1)] {
        let error = dropped(snapshot(R2, R1, 1, last));
        assert!(matches!(error, MessageError::ImpossibleTerm { .. }), "{error}");
    }
    let breaks: [fn(&mut Membership); 3] =
        [|m| m.voters.clear(), |m| m.voters.push(R1), |m| m.auto_leave = true];
    for break_it in breaks {
        let mut message = snapshot(R2, R1, 1, id(1, 1));
        break_it(&mut message.snapshot.as_mut().unwrap().membership);
        assert!(matches!(dropped(message), MessageError::Membership(_)));
    }
}

#[test]
fn heartbeat_that_commits_what_this_log_lacks_is_dropped() {
    let commit = LogIndex(1);
    let kind = MessageKind::Heartbeat;
    assert_eq!(
        dropped(Message { kind, commit, ..append(R2, R1, 1) }),
        MessageError::CommitBeyondLog { commit, last: LogIndex(0) }
    );
}

#[test]
fn heartbeat_of_a_past_term_is_answered_whatever_it_commits() {
    let mut group = fresh(R1, voters([1, 2, 3]));
    group.step(append(R2, R1, 5)).unwrap();
    drain(&mut group);
    let stale = Message { kind: MessageKind::Heartbeat, commit: LogIndex(9), ..append(R3, R1, 4) };
    group.step(stale).unwrap();
    let ready = group.take_ready().unwrap();
    assert_eq!(ready.messages_after_sync[0].term, Term(5), "so that the old leader steps down");
}

#[test]
fn answer_for_an_entry_that_the_leader_lacks_is_dropped() {
    let mut group = leader();
    for reject in [false, true] {
        let (kind, index) = (MessageKind::AppendResponse, LogIndex(2));
        let answer = Message { kind, index, reject, ..append(R2, R1, 1) };
        assert_eq!(
            group.step(answer),
            Err(MessageError::AnswerBeyondLog { from: R2, index, last: LogIndex(1) })
        );
    }
    assert_eq!(group.progress()[0].matched, LogIndex(0));
}

#[test]
fn message_survives_the_wire() {
    let mut message = snapshot(R2, R1, 3, id(2, 7));
    message.commit = LogIndex(6);
    message.entries = vec![entry(1, 1, "a")];
    message.context = Bytes::from_static(b"CampaignTransfer");
    let bytes = postcard::to_stdvec(&message).unwrap();
    assert_eq!(postcard::from_bytes::<Message>(&bytes).unwrap(), message);
}

fn small() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0_u64..6, 1 => 0_u64..40, 1 => Just(NUMBER_MAX), 1 => any::<u64>()]
}

fn any_kind() -> impl Strategy<Value = MessageKind> {
    prop_oneof![
        4 => Just(MessageKind::Append),
        2 => Just(MessageKind::AppendResponse),
        1 => Just(MessageKind::RequestVote),
        2 => Just(MessageKind::RequestVoteResponse),
        1 => Just(MessageKind::RequestPreVote),
        2 => Just(MessageKind::RequestPreVoteResponse),
        1 => Just(MessageKind::Heartbeat),
        1 => Just(MessageKind::HeartbeatResponse),
        2 => Just(MessageKind::Snapshot),
        1 => Just(MessageKind::TimeoutNow),
    ]
}

fn any_members() -> impl Strategy<Value = Vec<ReplicaId>> {
    proptest::collection::vec((0_u64..6).prop_map(ReplicaId), 0..4)
}

fn any_membership() -> impl Strategy<Value = Membership> {
    let joint = (any_members(), any_members(), any_members(), any_members(), any::<bool>());
    prop_oneof![
        Just(voters([1, 2, 3])),
        Just(voters([1])),
        Just(Membership { learners: vec![R1], ..voters([2]) }),
        joint.prop_map(|(voters, voters_outgoing, learners, learners_next, auto_leave)| {
            Membership { voters, voters_outgoing, learners, learners_next, auto_leave }
        }),
    ]
}

/// Entries that mostly follow each other, since others are dropped at once.
fn any_entries(index: u64, term: u64) -> impl Strategy<Value = Vec<LogEntry>> {
    let kinds = prop_oneof![4 => Just(EntryKind::Normal), 1 => Just(EntryKind::Membership)];
    let one = (kinds, 0_u64..2, 0_u64..30, proptest::collection::vec(any::<u8>(), 0..4));
    proptest::collection::vec(one, 0..4).prop_map(move |parts| {
        let mut term = term.max(1);
        let with_index = parts.into_iter().zip(1..);
        with_index
            .map(|((kind, later, skip, data), nth)| {
                term = term.saturating_add(later);
                let index = index.saturating_add(nth + u64::from(skip == 29));
                LogEntry { id: id(term, index), kind, data: data.into() }
            })
            .collect()
    })
}

fn any_message() -> impl Strategy<Value = Message> {
    let numbers = (small(), small(), small(), small(), small(), small());
    let rest = (any_kind(), 0_u64..5, any_membership(), any::<bool>(), any::<bool>());
    (numbers, rest)
        .prop_flat_map(|(numbers, rest)| {
            let (_, log_term, index, ..) = numbers;
            (Just(numbers), Just(rest), any_entries(index, log_term))
        })
        .prop_map(|(numbers, rest, entries)| {
            let (term, log_term, index, commit, commit_term, reject_hint) = numbers;
            let (kind, from, membership, reject, transfer) = rest;
            let is_snapshot = kind == MessageKind::Snapshot;
            let is_vote = kind == MessageKind::RequestVote;
            let context: &'static [u8] =
                if is_vote && transfer { ::raft::CAMPAIGN_TRANSFER } else { b"" };
            Message {
                kind,
                from: ReplicaId(from),
                to: R1,
                term: Term(term),
                log_term: Term(log_term),
                index: LogIndex(index),
                entries: if kind == MessageKind::Append { entries } else { Vec::new() },
                commit: LogIndex(commit),
                commit_term: Term(commit_term),
                snapshot: is_snapshot
                    .then(|| SnapshotMeta { last: id(log_term, index), membership }),
                reject: reject && kind.is_response(),
                reject_hint: LogIndex(reject_hint),
                context: Bytes::from_static(context),
            }
        })
}

#[derive(Clone, Debug)]
enum Move {
    Message(Box<Message>),
    Tick(u8),
    Campaign,
    Propose,
    Transfer,
    Take,
    Persist,
    Apply,
    Truncate,
    Unreachable,
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        12 => any_message().prop_map(|message| Move::Message(Box::new(message))),
        2 => (1_u8..30).prop_map(Move::Tick),
        1 => Just(Move::Campaign),
        2 => Just(Move::Propose),
        1 => Just(Move::Transfer),
        6 => Just(Move::Take),
        6 => Just(Move::Persist),
        3 => Just(Move::Apply),
        1 => Just(Move::Truncate),
        1 => Just(Move::Unreachable),
    ]
}

/// A host that does what `Ready` asks for, in its own time.
struct Host {
    group: RaftGroup,
    numbers: Vec<u64>,
    committed: Vec<LogEntry>,
}

impl Host {
    fn make(&mut self, step: Move) {
        let group = &mut self.group;
        match step {
            Move::Message(message) => drop(group.step(*message)),
            Move::Tick(count) => (0..count).for_each(|_| group.tick()),
            Move::Campaign => group.campaign(),
            Move::Propose => drop(group.propose(Bytes::from_static(b"x"))),
            Move::Transfer => drop(group.transfer_leadership(R2)),
            Move::Take => self.take(),
            Move::Persist => {
                if !self.numbers.is_empty() {
                    group.persisted(self.numbers.remove(0));
                }
            }
            Move::Apply => self.apply(),
            Move::Truncate => {
                let applied = group.applied_index();
                let term = group.term_of(applied).filter(|term| *term > Term(0));
                if let Some(term) = term {
                    group.truncate_through(EntryId { term, index: applied });
                }
            }
            Move::Unreachable => group.report_unreachable(R3),
        }
        let _ = self.group.progress();
    }

    fn take(&mut self) {
        if let Some(ready) = self.group.take_ready() {
            if ready.snapshot_to_install.is_some() {
                self.committed.clear();
            }
            self.numbers.push(ready.number);
            self.committed.extend(ready.committed);
        }
    }

    fn apply(&mut self) {
        for entry in self.committed.drain(..) {
            match entry.kind {
                EntryKind::Normal => self.group.applied(entry.id.index),
                EntryKind::Membership => drop(self.group.apply_membership(&entry)),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]
    #[test]
    fn no_sequence_of_messages_makes_it_panic(
        lead in any::<bool>(),
        moves in proptest::collection::vec(any_move(), 1..60),
    ) {
        let group = if lead { leader() } else { fresh(R1, voters([1, 2, 3])) };
        let mut host = Host { group, numbers: Vec::new(), committed: Vec::new() };
        for step in moves {
            host.make(step);
        }
    }
}
