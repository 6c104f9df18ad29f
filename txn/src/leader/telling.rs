//! Telling participants an outcome until each has said that it applied it (T35), and forgetting that.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::{Key, TxnId};

use super::{CallReason, Cx, FLUSH_INTERVAL, Leader, Unanswered};
use crate::command::Command;
use crate::message::{Decision, Participant, Refusal, Reply, Request};
use crate::state::OutcomeRecord;
use truetime::{Mono, Timestamp};

/// After this long without an answer a participant is told again.
const RETELL_INTERVAL: Duration = Duration::from_secs(1);
/// A participant that was not reached asks by itself when it is prepared: it is told of an abort this often,
/// so that a shard without a quorum does not fill its coordinators (T38).
const ABORT_TELLS_MAX: u32 = 10;
/// Acknowledgements that are logged at once, without waiting for more.
const DONE_MAX: usize = 256;

/// An outcome that participants are being told.
#[derive(Debug)]
pub(super) struct Telling {
    /// `None` for an abort.
    commit_ts: Option<Timestamp>,
    /// Who has not answered; `true` while a call is under way.
    remaining: BTreeMap<Key, (Participant, bool)>,
    retry_at: Mono,
    /// How often it was told.
    times: u32,
}

impl Leader {
    /// Starts telling the participants of a recorded outcome. A commit must be past on this clock.
    pub(super) fn tell_recorded(&mut self, cx: &mut Cx<'_>, id: TxnId) {
        let (commit_ts, participants) = match cx.state.outcome(&id) {
            Some(OutcomeRecord::Committed { commit_ts, participants, .. }) => {
                assert!(cx.now.after(*commit_ts), "{id} is told before {commit_ts} has passed");
                let left = cx.state.awaiting().get(&id);
                let told =
                    |p: &&Participant| !p.writes || left.is_some_and(|left| left.contains(&p.key));
                (Some(*commit_ts), participants.iter().filter(told).cloned().collect::<Vec<_>>())
            }
            Some(OutcomeRecord::Aborted { participants, .. }) => {
                return self.tell_aborted(cx, id, participants.clone());
            }
            None => return,
        };
        if participants.is_empty() || self.telling.contains_key(&id) {
            return;
        }
        let remaining: BTreeMap<_, _> =
            participants.into_iter().map(|p| (p.key.clone(), (p, false))).collect();
        let retry_at = cx.now.mono.plus(RETELL_INTERVAL);
        self.telling.insert(id, Telling { commit_ts, remaining, retry_at, times: 0 });
        self.tell(cx, id);
    }

    /// Tells these participants of a recorded abort, those who are being told already aside. Does nothing
    /// when the record is a commit.
    pub(super) fn tell_aborted(&mut self, cx: &mut Cx<'_>, id: TxnId, participants: Vec<Key>) {
        if participants.is_empty()
            || !matches!(cx.state.outcome(&id), Some(OutcomeRecord::Aborted { .. }))
        {
            return;
        }
        let retry_at = cx.now.mono.plus(RETELL_INTERVAL);
        let remaining = BTreeMap::new();
        let telling = Telling { commit_ts: None, remaining, retry_at, times: 0 };
        let telling = self.telling.entry(id).or_insert(telling);
        for key in participants {
            let participant = Participant {
                key: key.clone(),
                prepare_ts: Timestamp::ZERO,
                expires: None,
                writes: true,
            };
            telling.remaining.entry(key).or_insert((participant, false));
        }
        self.tell(cx, id);
    }

    fn tell(&mut self, cx: &mut Cx<'_>, id: TxnId) {
        let Some(telling) = self.telling.get_mut(&id) else { return };
        telling.retry_at = cx.now.mono.plus(RETELL_INTERVAL);
        telling.times += 1;
        let commit_ts = telling.commit_ts;
        let mut to_tell = Vec::new();
        for (key, (participant, under_way)) in &mut telling.remaining {
            if !std::mem::replace(under_way, true) {
                let decision = match commit_ts {
                    Some(commit_ts) => {
                        Decision::Commit { commit_ts, prepare_ts: participant.prepare_ts }
                    }
                    None => Decision::Abort,
                };
                to_tell.push((key.clone(), decision));
            }
        }
        for (key, decision) in to_tell {
            let reason = CallReason::Tell { id, key: key.clone() };
            self.call(cx, reason, Request::Resolve { id, key, decision });
        }
    }

    /// A participant answered, or could not be reached.
    pub(super) fn told(
        &mut self,
        cx: &mut Cx<'_>,
        id: TxnId,
        key: &Key,
        answer: &Result<Reply, Unanswered>,
    ) {
        let Some(telling) = self.telling.get_mut(&id) else { return };
        let finished = matches!(answer, Ok(Reply::Resolved | Reply::Refused(Refusal::Removed)));
        if !finished {
            if let Some((_, under_way)) = telling.remaining.get_mut(key) {
                *under_way = false;
            }
            return;
        }
        let removed = telling.remaining.remove(key);
        if telling.commit_ts.is_some() && removed.is_some_and(|(participant, _)| participant.writes)
        {
            self.done.push((id, key.clone()));
            self.next_flush = self.next_flush.min(cx.now.mono.plus(FLUSH_INTERVAL));
        }
        if telling.remaining.is_empty() {
            self.telling.remove(&id);
        }
    }

    /// Tells again whoever did not answer.
    pub(super) fn retell(&mut self, cx: &mut Cx<'_>) {
        let due: Vec<TxnId> = self
            .telling
            .iter()
            .filter(|(_, telling)| telling.retry_at <= cx.now.mono)
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let enough = |t: &Telling| t.commit_ts.is_none() && t.times >= ABORT_TELLS_MAX;
            if self.telling.get(&id).is_some_and(enough) {
                self.telling.remove(&id);
                continue;
            }
            self.tell(cx, id);
        }
    }

    /// A new leader goes on telling what its predecessors left, each after its own commit wait (T13).
    pub(super) fn resume_telling(&mut self, cx: &mut Cx<'_>) {
        for id in cx.state.awaiting().keys() {
            if let Some(OutcomeRecord::Committed { commit_ts, .. }) = cx.state.outcome(id) {
                self.commit_waits.insert((*commit_ts, *id));
            }
        }
    }

    /// Logs which participants need no longer be remembered, many at a time.
    pub(super) fn flush_done(&mut self, cx: &mut Cx<'_>) {
        if self.done.is_empty() || (self.done.len() < DONE_MAX && cx.now.mono < self.next_flush) {
            return;
        }
        if !self.leads() {
            return;
        }
        self.next_flush = Mono::MAX;
        let done = std::mem::take(&mut self.done);
        self.propose(cx, Command::Forget { done });
    }
}
