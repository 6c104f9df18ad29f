//! Between the crate's protobuf structs and our types. Payloads are `Bytes` on both sides and are
//! shared, not copied; nothing here encodes or decodes protobuf.

use super::message::{Message, MessageKind, SnapshotMeta};
use crate::storage::record::{EntryKind, HardState, LogEntry, Membership};
use ::raft::eraftpb::{self, EntryType, MessageType};
use proto::{EntryId, LogIndex, ReplicaId, Term};

pub(super) fn entry_to_raft(entry: LogEntry) -> eraftpb::Entry {
    eraftpb::Entry {
        entry_type: match entry.kind {
            EntryKind::Normal => EntryType::EntryNormal,
            EntryKind::Membership => EntryType::EntryConfChangeV2,
        },
        term: entry.id.term.0,
        index: entry.id.index.0,
        data: entry.data,
        ..eraftpb::Entry::default()
    }
}

pub(super) fn entry_from_raft(entry: eraftpb::Entry) -> LogEntry {
    LogEntry {
        id: id(entry.term, entry.index),
        kind: match entry.entry_type {
            EntryType::EntryNormal => EntryKind::Normal,
            EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => EntryKind::Membership,
        },
        data: entry.data,
    }
}

pub(super) fn hard_state_to_raft(state: HardState) -> eraftpb::HardState {
    eraftpb::HardState {
        term: state.term.0,
        vote: state.vote.map_or(::raft::INVALID_ID, |replica| replica.0),
        commit: state.commit.0,
        ..eraftpb::HardState::default()
    }
}

pub(super) fn hard_state_from_raft(state: &eraftpb::HardState) -> HardState {
    HardState { term: Term(state.term), vote: replica(state.vote), commit: LogIndex(state.commit) }
}

pub(super) fn membership_to_raft(membership: &Membership) -> eraftpb::ConfState {
    let numbers = |replicas: &[ReplicaId]| replicas.iter().map(|r| r.0).collect();
    eraftpb::ConfState {
        voters: numbers(&membership.voters),
        voters_outgoing: numbers(&membership.voters_outgoing),
        learners: numbers(&membership.learners),
        learners_next: numbers(&membership.learners_next),
        auto_leave: membership.auto_leave,
        ..eraftpb::ConfState::default()
    }
}

/// Sorted, because the crate keeps its members in hash sets.
pub(super) fn membership_from_raft(conf: &eraftpb::ConfState) -> Membership {
    let replicas = |numbers: &[u64]| {
        let mut replicas: Vec<ReplicaId> = numbers.iter().copied().map(ReplicaId).collect();
        replicas.sort_unstable();
        replicas
    };
    Membership {
        voters: replicas(&conf.voters),
        voters_outgoing: replicas(&conf.voters_outgoing),
        learners: replicas(&conf.learners),
        learners_next: replicas(&conf.learners_next),
        auto_leave: conf.auto_leave,
    }
}

pub(super) fn snapshot_to_raft(meta: &SnapshotMeta) -> eraftpb::Snapshot {
    let mut snapshot = eraftpb::Snapshot::default();
    snapshot.set_metadata(eraftpb::SnapshotMetadata {
        conf_state: Some(membership_to_raft(&meta.membership)).into(),
        index: meta.last.index.0,
        term: meta.last.term.0,
        ..eraftpb::SnapshotMetadata::default()
    });
    snapshot
}

/// `None` for the crate's "no snapshot".
pub(super) fn snapshot_from_raft(snapshot: &eraftpb::Snapshot) -> Option<SnapshotMeta> {
    let meta = snapshot.get_metadata();
    (meta.index != ::raft::INVALID_INDEX).then(|| SnapshotMeta {
        last: id(meta.term, meta.index),
        membership: membership_from_raft(meta.get_conf_state()),
    })
}

pub(super) fn message_to_raft(message: Message) -> eraftpb::Message {
    eraftpb::Message {
        msg_type: kind_to_raft(message.kind),
        to: message.to.0,
        from: message.from.0,
        term: message.term.0,
        log_term: message.log_term.0,
        index: message.index.0,
        entries: message.entries.into_iter().map(entry_to_raft).collect::<Vec<_>>().into(),
        commit: message.commit.0,
        commit_term: message.commit_term.0,
        snapshot: message.snapshot.as_ref().map(snapshot_to_raft).into(),
        reject: message.reject,
        reject_hint: message.reject_hint.0,
        context: message.context,
        ..eraftpb::Message::default()
    }
}

pub(super) fn message_from_raft(message: eraftpb::Message) -> Message {
    Message {
        kind: kind_from_raft(message.msg_type),
        from: ReplicaId(message.from),
        to: ReplicaId(message.to),
        term: Term(message.term),
        log_term: Term(message.log_term),
        index: LogIndex(message.index),
        entries: message.entries.into_iter().map(entry_from_raft).collect(),
        commit: LogIndex(message.commit),
        commit_term: Term(message.commit_term),
        snapshot: message.snapshot.as_ref().and_then(snapshot_from_raft),
        reject: message.reject,
        reject_hint: LogIndex(message.reject_hint),
        context: message.context,
    }
}

fn kind_to_raft(kind: MessageKind) -> MessageType {
    match kind {
        MessageKind::Append => MessageType::MsgAppend,
        MessageKind::AppendResponse => MessageType::MsgAppendResponse,
        MessageKind::RequestVote => MessageType::MsgRequestVote,
        MessageKind::RequestVoteResponse => MessageType::MsgRequestVoteResponse,
        MessageKind::RequestPreVote => MessageType::MsgRequestPreVote,
        MessageKind::RequestPreVoteResponse => MessageType::MsgRequestPreVoteResponse,
        MessageKind::Heartbeat => MessageType::MsgHeartbeat,
        MessageKind::HeartbeatResponse => MessageType::MsgHeartbeatResponse,
        MessageKind::Snapshot => MessageType::MsgSnapshot,
        MessageKind::TimeoutNow => MessageType::MsgTimeoutNow,
    }
}

fn kind_from_raft(kind: MessageType) -> MessageKind {
    match kind {
        MessageType::MsgAppend => MessageKind::Append,
        MessageType::MsgAppendResponse => MessageKind::AppendResponse,
        MessageType::MsgRequestVote => MessageKind::RequestVote,
        MessageType::MsgRequestVoteResponse => MessageKind::RequestVoteResponse,
        MessageType::MsgRequestPreVote => MessageKind::RequestPreVote,
        MessageType::MsgRequestPreVoteResponse => MessageKind::RequestPreVoteResponse,
        MessageType::MsgHeartbeat => MessageKind::Heartbeat,
        MessageType::MsgHeartbeatResponse => MessageKind::HeartbeatResponse,
        MessageType::MsgSnapshot => MessageKind::Snapshot,
        MessageType::MsgTimeoutNow => MessageKind::TimeoutNow,
        // The group never steps what would make raft send these: it proposes and transfers only
        // while it leads, and asks for no read index.
        MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgPropose
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum
        | MessageType::MsgTransferLeader
        | MessageType::MsgReadIndex
        | MessageType::MsgReadIndexResp => panic!("raft sent a message of local kind {kind:?}"),
    }
}

pub(super) fn replica(number: u64) -> Option<ReplicaId> {
    (number != ::raft::INVALID_ID).then_some(ReplicaId(number))
}

pub(super) fn id(term: u64, index: u64) -> EntryId {
    EntryId { term: Term(term), index: LogIndex(index) }
}
