//! One replica's Raft: the crate `raft` behind types of our own, so that it can be replaced.
//!
//! A *ready* is the work that Raft has for its host at one moment: what to write, what to send at
//! once, what to send once it is written, what to apply. The *window* is the retained log, kept in
//! memory; the host truncates it. A ready is *persisted* when it and all before it are durable.
//!
//! Example, a leader of three that gets one proposal:
//! ```text
//!   propose(x)          -> entry (term 2, index 5)
//!   take_ready()        -> number 7: append [5], send now [Append 5 to r2, Append 5 to r3]
//!   step(r2 acks 5)        r2's copy alone does not commit: ours is not durable yet
//!   persisted(7)           now it does
//!   take_ready()        -> number 8: commit 5 in the hard state, committed [5], send now [commit 5]
//!   applied(5)
//! ```
//! A follower's acknowledgement of the same entry is in `messages_after_sync` of its ready (T39).
//!
//! What the crate would do and this does not let it: panic on messages that make no sense (`step`
//! checks them), forward proposals (`propose` checks the role), draw randomness (`timeout`), send
//! heartbeats at its own ticks (`beat`), serve reads under its own lease (T6), campaign while its
//! log is not durable, send as the leader of a term that is not durable.
//! docs/adr/0002-raft-crate.md has the reasons.
//!
//! Not here: I/O, clock, threads; leases, read index, follower proposals; snapshot data, of which
//! only the name passes through; entries below the window, which followers get as a snapshot. Missing:
//! proposing a change of members. Committed changes are applied, and a joint configuration is left
//! by itself, but nothing begins one yet; that needs the learner catch-up of T54.

mod beat;
mod convert;
mod membership;
mod message;
mod open;
mod outcome;
mod ready;
mod status;
mod timeout;
mod window;

pub use beat::Heartbeat;
pub use membership::{MemberStep, MembershipChange, MembershipError};
pub use message::{Message, MessageError, MessageKind, NUMBER_MAX, SnapshotMeta};
pub use open::{OpenError, RaftConfig};
pub use outcome::{ProposeError, SnapshotOutcome, TransferError};
pub use ready::{Progress, Ready, Role, Standing};

use crate::storage::record::{EntryKind, HardState, LogEntry, Membership};
use ::raft::eraftpb;
use ::raft::{RawNode, SnapshotStatus};
use bytes::Bytes;
use proto::{EntryId, LogIndex, ReplicaId};
use ready::InFlight;
use std::collections::VecDeque;
use timeout::Timeouts;
use window::Window;

/// One replica of one shard's Raft group.
pub struct RaftGroup {
    node: RawNode<Window>,
    timeouts: Timeouts,
    /// As of the last ready.
    standing: Standing,
    /// As of the last ready; term and vote decide whether a leader's messages must wait.
    hard_state: HardState,
    /// Handed out, not persisted; oldest first.
    in_flight: VecDeque<InFlight>,
    /// The last number that is persisted.
    persisted: u64,
    /// Persisted but not told to the crate yet: see `persisted`.
    untold_snapshot: Option<LogIndex>,
    /// The last committed entry that was handed out.
    handed_out: LogIndex,
}

impl RaftGroup {
    /// Starts a replica, at its creation (members given, all else empty) or from what was durable.
    ///
    /// `seed` decides the election timeouts. `applied` is the state machine's index, `truncated` the
    /// last entry that the log no longer has, `entries` all that it has.
    ///
    /// # Errors
    /// [`OpenError`] when a setting is out of range or the stored parts contradict each other.
    pub fn open(
        config: &RaftConfig,
        seed: u64,
        hard_state: HardState,
        membership: Membership,
        applied: LogIndex,
        truncated: EntryId,
        entries: Vec<LogEntry>,
    ) -> Result<RaftGroup, OpenError> {
        let raft_config = open::raft_config(config, applied)?;
        let (window, hard_state) =
            open::open_window(hard_state, membership, applied, truncated, entries)?;
        let logger = ::slog::Logger::root(::slog::Discard, ::slog::o!());
        let node = RawNode::new(&raft_config, window, &logger)
            .map_err(|error| OpenError::Refused { reason: error.to_string() })?;
        let standing = Standing { role: Role::Follower, leader: None, term: hard_state.term };
        let at = (standing.term, standing.role);
        let mut group = RaftGroup {
            timeouts: Timeouts::new(seed, config.replica, config.election_ticks, at),
            node,
            standing,
            hard_state,
            in_flight: VecDeque::new(),
            persisted: 0,
            untold_snapshot: None,
            handed_out: applied,
        };
        group.set_timeout();
        Ok(group)
    }

    /// So many ticks have passed, of which nothing comes before the next call of [`RaftGroup::tick`]: what was
    /// received meanwhile is to be stepped first, since it may be a sign of the leader.
    pub fn elapse(&mut self, ticks: usize) {
        let elapsed = &mut self.node.raft.election_elapsed;
        *elapsed = elapsed.saturating_add(ticks);
    }

    /// After so many more ticks, at least one, [`RaftGroup::tick`] has something to do.
    #[must_use]
    pub fn ticks_left(&self) -> usize {
        let raft = &self.node.raft;
        let timeout = if self.is_leader() {
            raft.election_timeout()
        } else {
            raft.randomized_election_timeout()
        };
        timeout.saturating_sub(raft.election_elapsed).max(1)
    }

    /// One tick has passed at a replica whose clock vouches for nothing, or for too little: it campaigns only
    /// once nobody has led for several election timeouts, since a leader needs a clock
    /// (TRANSACTIONS.md section 2).
    pub fn tick_unsure(&mut self) {
        if self.is_leader() || self.node.raft.election_elapsed >= self.timeouts.unsure() {
            return self.tick();
        }
        self.elapse(1);
        self.set_timeout();
    }

    /// One tick has passed. A leader makes no heartbeats of it: see [`RaftGroup::heartbeats`].
    pub fn tick(&mut self) {
        if self.is_leader() {
            self.tick_leader();
        } else if self.can_campaign() {
            self.node.tick();
        } else {
            // The crate must not campaign now, but still has to know for how long it has not heard
            // from a leader: that is when it votes for others.
            self.elapse(1);
        }
        self.set_timeout();
    }

    /// What the crate does at a leader's tick, but for the heartbeats: once in an election timeout it steps
    /// down if it has not heard of a quorum, and gives up a transfer.
    fn tick_leader(&mut self) {
        self.elapse(1);
        let raft = &mut self.node.raft;
        if raft.election_elapsed < raft.election_timeout() {
            return;
        }
        raft.election_elapsed = 0;
        let check = eraftpb::Message {
            msg_type: eraftpb::MessageType::MsgCheckQuorum,
            from: raft.id,
            ..eraftpb::Message::default()
        };
        let checked = raft.step(check);
        assert!(checked.is_ok(), "raft takes its own request to check the quorum: {checked:?}");
        if raft.state == ::raft::StateRole::Leader && raft.lead_transferee.is_some() {
            raft.abort_leader_transfer();
        }
    }

    /// Takes a message of another replica.
    ///
    /// A [`MessageKind::Snapshot`] is stepped when its data is complete. If the next ready has no
    /// `snapshot_to_install`, Raft had no use for it (it is outdated) and the data is to be dropped.
    ///
    /// # Errors
    /// [`MessageError`] when no correct replica sends this; it is dropped without effect.
    pub fn step(&mut self, message: Message) -> Result<(), MessageError> {
        message.check_shape()?;
        self.check_claims(&message)?;
        let stepped = self.node.step(convert::message_to_raft(message));
        self.set_timeout();
        stepped.map_err(|error| MessageError::Refused { reason: error.to_string() })
    }

    /// Proposes an entry. It is committed when it comes back in [`Ready::committed`] under the
    /// returned id; it is lost when another entry comes back at that index.
    ///
    /// # Errors
    /// [`ProposeError`]; nothing was appended then, here or anywhere.
    ///
    /// # Panics
    /// On an empty payload: that is the mark of a new leader's own entry.
    pub fn propose(&mut self, data: Bytes) -> Result<EntryId, ProposeError> {
        assert!(!data.is_empty(), "a proposal has a payload");
        // The crate forwards a follower's proposal without a word, and its outcome would be unknown.
        if !self.is_leader() {
            return Err(ProposeError::NotLeader { leader: self.leader() });
        }
        if let Some(to) = self.node.raft.lead_transferee {
            return Err(ProposeError::HandingOver { to: ReplicaId(to) });
        }
        let entry = eraftpb::Entry { data, ..eraftpb::Entry::default() };
        let proposal = eraftpb::Message {
            msg_type: eraftpb::MessageType::MsgPropose,
            from: self.node.raft.id,
            entries: vec![entry].into(),
            ..eraftpb::Message::default()
        };
        match self.node.step(proposal) {
            Ok(()) => Ok(self.last()),
            // All other reasons to drop one were excluded above: a leader is a member.
            Err(_) => Err(ProposeError::Overloaded),
        }
    }

    /// Campaigns now rather than after the timeout, if this replica could lead; does nothing else.
    pub fn campaign(&mut self) {
        if self.can_campaign() {
            let campaigned = self.node.campaign();
            assert!(campaigned.is_ok(), "raft takes its own request to campaign: {campaigned:?}");
            self.set_timeout();
        }
    }

    /// Hands leadership to another voter, once that has the whole log. No proposal is taken until
    /// it does, or one election timeout is over.
    ///
    /// The other's campaign overrules every vote lease (T6): stop assigning timestamps, and log
    /// the release of the lease, before this.
    ///
    /// # Errors
    /// [`TransferError`].
    pub fn transfer_leadership(&mut self, to: ReplicaId) -> Result<(), TransferError> {
        if !self.is_leader() {
            return Err(TransferError::NotLeader { leader: self.leader() });
        }
        if to == self.replica() || !self.membership().voters.contains(&to) {
            return Err(TransferError::NotAnotherVoter { to });
        }
        self.node.transfer_leader(to.0);
        Ok(())
    }

    /// Whether [`RaftGroup::take_ready`] has something.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        self.node.has_ready() && !self.must_wait_to_lead()
    }

    /// What there is to do, or nothing. Call it until it returns `None` after every other call that
    /// changes something.
    pub fn take_ready(&mut self) -> Option<Ready> {
        if !self.has_ready() {
            return None;
        }
        let mut ready = self.node.ready();
        let number = ready.number();
        let snapshot_to_install = convert::snapshot_from_raft(ready.snapshot());
        let hard_state = ready.hs().map(convert::hard_state_from_raft);
        let entries = ready.take_entries();
        let entries_to_append: Vec<_> =
            entries.iter().cloned().map(convert::entry_from_raft).collect();
        let committed: Vec<_> =
            ready.take_committed_entries().into_iter().map(convert::entry_from_raft).collect();
        if let Some(last) = committed.last() {
            self.handed_out = last.id.index;
        }

        // One replica alone elects itself before its vote is durable. Were it to send as the leader
        // of that term, and crash, it could lead the same term again with other entries.
        let new_vote = hard_state.is_some_and(|new| {
            (new.term, new.vote) != (self.hard_state.term, self.hard_state.vote)
        });
        let mut messages_now = outward(ready.take_messages());
        let mut messages_after_sync = outward(ready.take_persisted_messages());
        if new_vote {
            messages_after_sync.append(&mut messages_now);
        }

        let replaces =
            entries.first().is_some_and(|first| first.index <= self.last_stored().index.0);
        self.in_flight.push_back(InFlight {
            number,
            writes_log: !entries.is_empty(),
            replaces: replaces || snapshot_to_install.is_some(),
            snapshot: snapshot_to_install.as_ref().map(|meta| meta.last.index),
            holds_messages: new_vote || !messages_after_sync.is_empty(),
        });
        let window = self.node.mut_store();
        if let Some(meta) = &snapshot_to_install {
            window.reset(meta);
        }
        window.append(entries);
        let must_sync = ready.must_sync();
        self.node.advance_append_async(ready);

        self.hard_state = hard_state.unwrap_or(self.hard_state);
        Some(Ready {
            number,
            standing: self.changed_standing(),
            snapshot_to_install,
            entries_to_append,
            hard_state,
            must_sync,
            messages_now,
            messages_after_sync,
            committed,
        })
    }

    /// The ready of this number, and all before it, are durable and their snapshots installed.
    ///
    /// # Panics
    /// When the number was not handed out, or is persisted already (T55).
    pub fn persisted(&mut self, number: u64) {
        let newest = self.in_flight.back().map_or(self.persisted, |ready| ready.number);
        assert!(number > self.persisted, "ready {number} is persisted after {}", self.persisted);
        assert!(number <= newest, "ready {number} is persisted but the newest is {newest}");
        self.persisted = number;
        while self.in_flight.front().is_some_and(|ready| ready.number <= number) {
            let ready = self.in_flight.pop_front().expect("just looked at");
            self.untold_snapshot = ready.snapshot.or(self.untold_snapshot);
        }
        // The crate looks whether the entry that became durable is the one in the log now. That
        // can be so although it was replaced in between, by a ready still on its way to the disk,
        // and came back behind that: then it is not durable for good (T55). So what is followed by
        // a replacement is told together with it.
        if self.in_flight.iter().any(|ready| ready.replaces) {
            return;
        }
        self.node.on_persist_ready(number);
        if let Some(index) = self.untold_snapshot.take() {
            self.node.advance_apply_to(index.0);
            self.node.mut_store().set_applied(index);
            self.handed_out = self.handed_out.max(index);
        }
    }

    /// The state machine has applied all handed-out entries up to this one. What a snapshot has
    /// overtaken is ignored.
    ///
    /// # Panics
    /// When the entry was not handed out.
    pub fn applied(&mut self, index: LogIndex) {
        assert!(
            index <= self.handed_out,
            "applied {index} but only {} was handed out",
            self.handed_out
        );
        if index > self.applied_index() {
            self.node.mut_store().set_applied(index);
            self.node.advance_apply_to(index.0);
        }
    }

    /// Applies a committed entry of kind `Membership`, in place of `applied` for it, and returns the
    /// members from there on, to be made durable with the state machine.
    ///
    /// # Errors
    /// [`MembershipError`] when the entry makes no sense. It counts as applied all the same, without
    /// effect, on every replica alike.
    ///
    /// # Panics
    /// When it is not the entry behind the last one applied (T54: the members change at the same
    /// index everywhere).
    pub fn apply_membership(&mut self, entry: &LogEntry) -> Result<Membership, MembershipError> {
        assert_eq!(
            entry.kind,
            EntryKind::Membership,
            "entry {} changes no members",
            entry.id.index
        );
        assert_eq!(
            entry.id.index,
            self.applied_index().next(),
            "members change right behind the entry applied before"
        );
        let changed = membership::decode_change(&entry.data).and_then(|change| {
            self.node
                .apply_conf_change(&change)
                .map_err(|error| MembershipError::DoesNotFit { reason: error.to_string() })
        });
        if let Ok(conf) = &changed {
            let membership = convert::membership_from_raft(conf);
            self.node.mut_store().set_membership(membership);
        }
        // The crate lets a leader that was removed go on, and then looks for its progress in vain.
        if !self.node.raft.promotable() && self.role() != Role::Follower {
            self.node.raft.become_follower(self.term().0, ::raft::INVALID_ID);
        }
        self.applied(entry.id.index);
        self.set_timeout();
        changed.map(|_| self.membership().clone())
    }

    /// The last entry of the log that is not among the newest of at most `bytes_max` bytes together.
    #[must_use]
    pub fn last_beyond(&self, bytes_max: u64) -> LogIndex {
        self.node.store().last_beyond(bytes_max)
    }

    /// Drops the log up to and including this entry. Nothing at or below it may be needed for
    /// recovery any more (T44). Does nothing when it is gone already.
    ///
    /// # Panics
    /// When the entry is not applied, or the log has another at its index.
    pub fn truncate_through(&mut self, through: EntryId) {
        let applied = self.applied_index();
        assert!(
            through.index <= applied,
            "truncation through {} above applied {applied}",
            through.index
        );
        if through.index <= self.node.store().truncated().index {
            return;
        }
        assert_eq!(
            self.term_of(through.index),
            Some(through.term),
            "the log has another entry at {}",
            through.index
        );
        self.node.mut_store().truncate_through(through);
    }

    /// A message to that replica was lost for sure.
    pub fn report_unreachable(&mut self, replica: ReplicaId) {
        self.node.report_unreachable(replica.0);
    }

    /// The data of a snapshot has arrived at that replica and was stepped there, or has not.
    pub fn report_snapshot(&mut self, replica: ReplicaId, outcome: SnapshotOutcome) {
        let status = match outcome {
            SnapshotOutcome::Delivered => SnapshotStatus::Finish,
            SnapshotOutcome::Failed => SnapshotStatus::Failure,
        };
        self.node.report_snapshot(replica.0, status);
    }
}

impl RaftGroup {
    /// Checks what a message claims about this replica.
    fn check_claims(&self, message: &Message) -> Result<(), MessageError> {
        let Message { kind, from, to, term, .. } = *message;
        if to != self.replica() {
            return Err(MessageError::NotForUs { to, replica: self.replica() });
        }
        if from == self.replica() {
            return Err(MessageError::ImpossibleSender { from });
        }
        // Requests count also from a replica that is no member as far as this one knows: members
        // change when the entry is applied, and a leader may be ahead in that (thesis 4.1).
        if kind.is_response() && self.node.raft.prs().get(from.0).is_none() {
            return Err(MessageError::UnknownSender { from, kind });
        }
        if term < self.term() {
            return Ok(()); // Raft looks at nothing but the term.
        }
        if kind == MessageKind::TimeoutNow && !self.can_campaign() {
            return Err(MessageError::CannotLeadYet { from });
        }
        let last = self.last().index;
        if kind == MessageKind::Heartbeat && message.commit > last {
            return Err(MessageError::CommitBeyondLog { commit: message.commit, last });
        }
        let is_answer_to_us =
            kind == MessageKind::AppendResponse && self.is_leader() && term == self.term();
        if is_answer_to_us && message.index > last {
            return Err(MessageError::AnswerBeyondLog { from, index: message.index, last });
        }
        Ok(())
    }

    /// Whether an election may begin here: this replica has a vote, and its whole log is durable.
    ///
    /// The crate takes the latter for granted when a candidate wins, since the request for votes
    /// left after the log was synced; but a group of one wins at once. And while a snapshot is being
    /// installed it panics: it looks for unapplied changes of members in a log that is gone.
    fn can_campaign(&self) -> bool {
        let log = &self.node.raft.raft_log;
        self.node.raft.promotable()
            && log.unstable_snapshot().is_none()
            && log.unstable_entries().is_empty()
            && !self.in_flight.iter().any(|ready| ready.writes_log || ready.snapshot.is_some())
    }

    /// Whether a new leader still has to wait for what it wrote or promised before it led: its term
    /// and vote, and answers that its own messages must not overtake.
    fn must_wait_to_lead(&self) -> bool {
        self.is_leader() && self.in_flight.iter().any(|ready| ready.holds_messages)
    }

    fn set_timeout(&mut self) {
        let timeout = self.timeouts.at((self.term(), self.role()));
        self.node.raft.set_randomized_election_timeout(timeout);
    }

    fn last_stored(&self) -> EntryId {
        self.node.store().last()
    }

    fn changed_standing(&mut self) -> Option<Standing> {
        let standing = Standing { role: self.role(), leader: self.leader(), term: self.term() };
        let changed = standing != self.standing;
        self.standing = standing;
        changed.then_some(standing)
    }
}

/// Our form of the crate's messages, lowest receiver first: the crate goes through a hash map.
fn outward(messages: Vec<eraftpb::Message>) -> Vec<Message> {
    let mut messages: Vec<_> = messages.into_iter().map(convert::message_from_raft).collect();
    messages.sort_by_key(|message| message.to);
    messages
}

#[cfg(test)]
mod tests;
