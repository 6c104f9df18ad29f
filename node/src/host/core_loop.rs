//! The loop of one core: drain the inbox, read the clock once, step, flush, carry out the effects.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proto::{Key, KeySpan, NodeId, ShardId};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use truetime::{Clock, Mono, Now, Timestamp};

use super::answers::{Answers, OnAnswer};
use super::inbox::Inbox;
use super::link::Links;
use super::log_thread::{Job, LogHandle};
use super::store::SharedStore;
use super::store_work::{self, Read};
use crate::core::status::{CoreStatus, Places};
use crate::core::{Core, Effect, Input, Note, PeerMessage};
use crate::gateway;
use crate::gateway::api::{ClientId, Request};
use crate::shard::replica::ReplicaError;
use crate::storage::record::LogRecord;
use crate::storage::version_store::{ApplyBatch, SnapshotPiece, VersionStore, VersionStoreError};

/// What reaches a core's loop.
#[derive(Debug)]
pub enum Event {
    /// For the pure core.
    Input(Box<Input>),
    /// Somebody wants to look.
    Status(oneshot::Sender<CoreStatus>),
    /// Somebody wants to know where keys are.
    Places(oneshot::Sender<Places>),
    /// Says whether nothing is led here any more.
    LeadsNothing(oneshot::Sender<bool>),
    /// Work beside the core failed.
    Failed(VersionStoreError),
    /// The loop ends.
    Stop,
}

/// The way to a core.
#[derive(Clone)]
pub struct CoreHandle {
    /// Its number.
    pub core: u16,
    inbox: Arc<Inbox<Event>>,
    answers: Arc<Answers>,
    stats: Arc<CoreStats>,
}

/// What a core has done, for `/metrics`.
#[derive(Debug, Default)]
pub struct CoreStats {
    /// Passes.
    pub passes: AtomicU64,
    /// Events in them.
    pub events: AtomicU64,
    /// Requests of clients.
    pub requests: AtomicU64,
}

impl CoreHandle {
    /// A core's handle, before the core runs.
    #[must_use]
    pub fn new(core: u16) -> Self {
        CoreHandle { core, inbox: Arc::default(), answers: Arc::default(), stats: Arc::default() }
    }

    /// Something happened.
    pub fn send(&self, input: Input) {
        self.inbox.push(Event::Input(Box::new(input)));
    }

    /// Work that was done for the core failed: its loop ends with that error.
    pub(super) fn fail(&self, error: VersionStoreError) {
        self.inbox.push(Event::Failed(error));
    }

    /// The oldest event that waits.
    #[cfg(test)]
    pub(super) fn next_event(&self) -> Option<Event> {
        let mut events = Vec::new();
        self.inbox.take(&mut events);
        let mut events = events.into_iter();
        let first = events.next();
        self.inbox.extend(events);
        first
    }

    /// A client asks; `then` is called with the answer, on the core's thread.
    pub fn ask(&self, client: ClientId, request: Request, then: OnAnswer) {
        self.stats.requests.fetch_add(1, Ordering::Relaxed);
        let ticket = self.answers.wait(then);
        self.send(Input::Gateway(gateway::Input::Request { client, ticket, request }));
    }

    /// A client's connection ended.
    pub fn client_gone(&self, client: ClientId) {
        self.send(Input::Gateway(gateway::Input::ClientGone(client)));
    }

    /// A look at the core; `None` when it has ended.
    pub async fn status(&self) -> Option<CoreStatus> {
        let (sender, receiver) = oneshot::channel();
        self.inbox.push(Event::Status(sender));
        receiver.await.ok()
    }

    /// Where keys are, as the core knows it; `None` when it has ended.
    pub async fn places(&self) -> Option<Places> {
        let (sender, receiver) = oneshot::channel();
        self.inbox.push(Event::Places(sender));
        receiver.await.ok()
    }

    /// Whether nothing is led here any more.
    pub async fn leads_nothing(&self) -> bool {
        let (sender, receiver) = oneshot::channel();
        self.inbox.push(Event::LeadsNothing(sender));
        receiver.await.unwrap_or(true)
    }

    /// Ends the loop.
    pub fn stop(&self) {
        self.inbox.push(Event::Stop);
    }

    /// What the core has done.
    #[must_use]
    pub fn stats(&self) -> &CoreStats {
        &self.stats
    }
}

/// Why a core's loop ended without being told to. The process must end: what it promised may not hold.
#[derive(Debug, thiserror::Error)]
pub enum CoreFailure {
    /// The version store.
    #[error(transparent)]
    Store(#[from] VersionStoreError),
    /// A replica.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
}

/// What a core's loop works with.
pub(super) struct CoreLoop {
    /// The pure core.
    pub(super) core: Core,
    /// Its handle.
    pub(super) handle: CoreHandle,
    /// The handles of all cores of the node.
    pub(super) siblings: Vec<CoreHandle>,
    /// The clock.
    pub(super) clock: Box<dyn Clock>,
    /// The node.
    pub(super) node: NodeId,
    /// To the log's thread.
    pub(super) log: LogHandle,
    /// The version store.
    pub(super) store: SharedStore,
    /// To the other nodes.
    pub(super) links: Arc<Links>,
    /// Collections of old versions under way.
    pub(super) collector: Collector,
    /// Snapshots being sent.
    pub(super) sending: Sending,
}

/// Snapshots being sent: the latest transfer of each shard to each node, with the task that streams it.
pub(super) type Sending = BTreeMap<(ShardId, NodeId), (u64, AbortHandle)>;

/// Old versions are dropped in steps of so many keys, one step a pass.
const COLLECT_STEP: usize = 256;

/// What is still to be collected.
#[derive(Debug, Default)]
pub(super) struct Collector {
    todo: Vec<(KeySpan, Timestamp, Key)>,
}

impl CoreLoop {
    /// Runs until told to stop.
    pub(super) async fn run(mut self) -> Result<(), CoreFailure> {
        let mut events = Vec::new();
        let mut inputs = Vec::new();
        loop {
            self.handle.inbox.take(&mut events);
            if events.is_empty() && !self.wait().await {
                self.handle.inbox.take(&mut events);
            }
            let now = self.clock.now();
            self.handle.stats.passes.fetch_add(1, Ordering::Relaxed);
            self.handle.stats.events.fetch_add(events.len() as u64, Ordering::Relaxed);
            for event in events.drain(..) {
                match event {
                    Event::Input(input) => inputs.push(*input),
                    Event::Status(asker) => {
                        let _ = asker.send(self.core.status(&now));
                    }
                    Event::Places(asker) => {
                        let _ = asker.send(self.core.places());
                    }
                    Event::LeadsNothing(asker) => {
                        let _ = asker.send(self.core.leads_nothing());
                    }
                    Event::Failed(error) => return Err(error.into()),
                    Event::Stop => return Ok(()),
                }
            }
            self.pass(&now, &mut inputs)?;
            self.collect()?;
            // Connections of this core share its thread.
            tokio::task::yield_now().await;
        }
    }

    /// Waits for the next event or deadline; says whether it was the deadline.
    async fn wait(&mut self) -> bool {
        let deadline = self.core.next_deadline();
        let now = self.clock.now();
        if deadline <= now.mono || !self.collector.todo.is_empty() {
            return true;
        }
        if deadline == Mono::MAX {
            self.handle.inbox.filled().await;
            return false;
        }
        let pause = deadline.since(now.mono);
        tokio::select! {
            biased;
            () = self.handle.inbox.filled() => false,
            () = tokio::time::sleep(pause) => true,
        }
    }

    /// Steps the inputs, then flushes until carrying out effects brings no more inputs.
    fn pass(&mut self, now: &Now, inputs: &mut Vec<Input>) -> Result<(), CoreFailure> {
        loop {
            for input in inputs.drain(..) {
                self.core.step(now, input)?;
            }
            let effects = self.core.flush(now)?;
            self.carry_out(effects, inputs)?;
            if inputs.is_empty() {
                return Ok(());
            }
        }
    }

    fn carry_out(
        &mut self,
        effects: Vec<Effect>,
        inputs: &mut Vec<Input>,
    ) -> Result<(), CoreFailure> {
        let mut applies = Vec::new();
        for effect in effects {
            match effect {
                Effect::Apply(batch) => {
                    applies.push(batch);
                    continue;
                }
                // These look at the versions, so what was applied before must be there.
                Effect::Read { .. }
                | Effect::SendSnapshot { .. }
                | Effect::Install { .. }
                | Effect::Remove { .. } => {
                    self.apply(&mut applies)?;
                }
                _ => {}
            }
            self.carry_out_one(effect, inputs)?;
        }
        self.apply(&mut applies)
    }

    fn apply(&self, batches: &mut Vec<ApplyBatch>) -> Result<(), CoreFailure> {
        if batches.is_empty() {
            return Ok(());
        }
        let batches = std::mem::take(batches);
        Ok(self.store.with(|store| store.apply(batches))?)
    }

    fn carry_out_one(
        &mut self,
        effect: Effect,
        inputs: &mut Vec<Input>,
    ) -> Result<(), CoreFailure> {
        match effect {
            Effect::Apply(_) => {}
            Effect::Write { records, token } => self.write(records, token),
            Effect::Send { to, message } => self.send(to, message),
            Effect::Read { to, grant, at, spans, limit } => {
                let read = Read { to, grant, at, spans, limit };
                inputs.extend(store_work::read(&self.store, &self.handle, read)?);
            }
            Effect::SendSnapshot { to, shard, span, transfer } => {
                let reader = self.store.with(|store| store.snapshot(shard, &span))?;
                self.stream_snapshot(to, shard, transfer, reader);
            }
            Effect::ReceiveBegin { shard } => {
                self.store.with(|store| store.receive_begin(shard))?;
            }
            Effect::StopSnapshot { to, shard, transfer } => {
                if let Entry::Occupied(sending) = self.sending.entry((shard, to))
                    && sending.get().0 == transfer
                {
                    sending.remove().1.abort();
                }
            }
            Effect::ReceivePiece { shard, span, receipt, piece } => {
                self.receive(shard, &span, receipt, piece, inputs)?;
            }
            Effect::Install { shard, span, last } => {
                self.collector.todo.retain(|(other, _, _)| !span.overlaps(other));
                store_work::install(&self.store, &self.handle, shard, span, last);
            }
            Effect::Remove { shard, span } => {
                self.collector.todo.retain(|(other, _, _)| !span.overlaps(other));
                store_work::remove(&self.store, &self.handle, shard, span);
            }
            Effect::Collect { shard: _, span, threshold } => {
                let from = span.start.clone();
                self.collector.todo.push((span, threshold, from));
            }
            Effect::Answer { ticket, answer } => self.handle.answers.answer(ticket, answer),
            Effect::Note(note) => note_down(&note),
        }
        Ok(())
    }

    fn write(&self, records: Vec<LogRecord>, token: Option<u64>) {
        let done = token.map(|token| (self.handle.core, token));
        self.log.submit(Job { records, done });
    }

    fn send(&self, to: NodeId, message: PeerMessage) {
        if to != self.node {
            if let Some(link) = self.links.get(to) {
                link.send(message);
            }
            return;
        }
        let from = self.node;
        let cores = u16::try_from(self.siblings.len()).expect("cores are counted in a u16");
        if let Some(core) = message.core(cores)
            && let Some(sibling) = self.siblings.get(usize::from(core))
        {
            sibling.send(Input::Peer { from, message });
        }
    }

    fn receive(
        &self,
        shard: ShardId,
        span: &KeySpan,
        receipt: u64,
        piece: SnapshotPiece,
        inputs: &mut Vec<Input>,
    ) -> Result<(), CoreFailure> {
        let received = self.store.with(|store| {
            let complete = store.receive_piece(shard, piece)?;
            if complete {
                store.check_received(shard, span)?;
            }
            Ok(complete)
        });
        match received {
            Ok(true) => inputs.push(Input::SnapshotComplete { shard, receipt }),
            Ok(false) => {}
            Err(VersionStoreError::Failed { reason }) => {
                return Err(VersionStoreError::Failed { reason }.into());
            }
            Err(error) => {
                tracing::warn!(%shard, %error, "a snapshot was not sound; dropped");
                inputs.push(Input::SnapshotBroken { shard, receipt });
            }
        }
        Ok(())
    }

    /// Sends the pieces as fast as the link takes them, beside everything else.
    fn stream_snapshot(
        &mut self,
        to: NodeId,
        shard: ShardId,
        transfer: u64,
        reader: impl Iterator<Item = Result<SnapshotPiece, VersionStoreError>> + Send + 'static,
    ) {
        let Some(link) = self.links.get(to).cloned() else { return };
        let streaming = tokio::spawn(async move {
            for piece in reader {
                let piece = match piece {
                    Ok(piece) => piece,
                    Err(error) => {
                        tracing::warn!(%shard, %to, %error, "a snapshot could not be read");
                        return;
                    }
                };
                while link.is_up() && link.queued() > SNAPSHOT_QUEUE_MAX {
                    tokio::time::sleep(SNAPSHOT_PAUSE).await;
                }
                if !link.is_up() {
                    return;
                }
                link.send(PeerMessage::SnapshotPiece { shard, transfer, piece });
                tokio::task::yield_now().await;
            }
        });
        self.sending.retain(|_, (_, task)| !task.is_finished());
        let replaced = self.sending.insert((shard, to), (transfer, streaming.abort_handle()));
        if let Some((_, task)) = replaced {
            task.abort();
        }
    }

    /// One step of collecting old versions.
    fn collect(&mut self) -> Result<(), CoreFailure> {
        let Some((span, threshold, from)) = self.collector.todo.pop() else { return Ok(()) };
        let next = self.store.with(|store| store.collect(&span, threshold, from, COLLECT_STEP))?;
        if let Some(from) = next {
            self.collector.todo.push((span, threshold, from));
        }
        Ok(())
    }
}

/// With more than this in the queue a snapshot waits for the link.
const SNAPSHOT_QUEUE_MAX: usize = 64;
const SNAPSHOT_PAUSE: Duration = Duration::from_millis(5);

fn note_down(note: &Note) {
    match note {
        Note::Standing { shard, standing } => {
            tracing::info!(%shard, ?standing, "standing changed");
        }
        Note::BadMessage { from, shard, reason } => {
            tracing::warn!(%from, %shard, %reason, "a message made no sense; dropped");
        }
        Note::ClockOutsideClaim { disagrees_with } => {
            tracing::error!(
                ?disagrees_with,
                "this node's clock is outside its claimed bound: it takes no leases until it agrees \
                 with a majority again; check its time source"
            );
        }
        Note::ClockInsideClaim => {
            tracing::info!("this node's clock agrees with a majority again");
        }
    }
}
