//! The way to another node: one stream for the pair, opened by the node with the lower id, carrying batches
//! for all shards in both directions.
//!
//! What is queued while the stream is down is dropped: everyone who needs an answer asks again, and old
//! news only delay fresh ones.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message as _;
use proto::NodeId;
use proto::rpc::internal::{self, IntroduceRequest, PeerBatch, peer_client::PeerClient};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use super::inbox::Inbox;
use crate::core::PeerMessage;

/// Messages that may wait for a link; beyond it they are dropped, as a network would.
const QUEUE_MAX: usize = 100_000;
/// And so many bytes, the last message aside: a few requests or answers as large as a client may send. Small
/// messages may take as much again.
const QUEUE_BYTES_MAX: usize = 64 << 20;
/// One frame holds about so many bytes.
const FRAME_BYTES: usize = 1 << 20;
/// A frame is never larger than this; see [`crate::storage::log::LogOptions::batch_bytes_max`].
pub const PEER_MESSAGE_BYTES_MAX: usize = 320 << 20;
/// Where the call that opens a stream says who calls. A message of the stream may be large, and is read whole
/// before it can be looked into, so a stranger is turned away before the first.
const HELLO: &str = "spandrel-hello-bin";
/// How long the other end may take to say who it is.
const GREETING_PATIENCE: Duration = Duration::from_secs(3);
/// Pause between two attempts to connect, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How a link has done so far, for `/metrics`.
#[derive(Debug, Default)]
pub struct LinkStats {
    /// Batches sent.
    pub batches: AtomicU64,
    /// Messages in them.
    pub messages: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
    /// Messages dropped because the queue was full or the link down.
    pub dropped: AtomicU64,
}

/// The queue to one other node.
#[derive(Debug, Default)]
pub struct Link {
    /// Encoded messages.
    queue: Inbox<Bytes>,
    /// Of all that waits to be put into the stream, also of what the pump has taken.
    queued_bytes: AtomicUsize,
    up: AtomicBool,
    /// Counts the streams, so that an old one does not report the end of a new one.
    generation: AtomicU64,
    /// Held while a batch that came is handed on, and while a stream begins: what an old stream still brings
    /// never follows what the new one brought.
    delivering: Mutex<()>,
    /// Statistics.
    pub stats: LinkStats,
}

impl Link {
    /// Queues a message, if the link is up.
    pub fn send(&self, message: PeerMessage) {
        let queued = self.queued_bytes.load(Ordering::Relaxed);
        let full = self.queue.len() >= QUEUE_MAX || queued >= 2 * QUEUE_BYTES_MAX;
        if full || !self.up.load(Ordering::Acquire) {
            self.stats.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let frame = postcard::to_stdvec(&message)
            .expect("a vector grows and every message can be serialised");
        // What is small goes on behind what is large: heartbeats, and entries that extend leases.
        if queued >= QUEUE_BYTES_MAX && frame.len() >= FRAME_BYTES {
            self.stats.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.queued_bytes.fetch_add(frame.len(), Ordering::Relaxed);
        self.queue.push(Bytes::from(frame));
    }

    /// Drops all that waits.
    fn drop_queued(&self) {
        let mut stale = Vec::new();
        self.queue.take(&mut stale);
        self.dequeued(stale.iter().map(Bytes::len).sum());
    }

    fn dequeued(&self, bytes: usize) {
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether there is a stream.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// How many messages wait.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Begins a stream: what was queued for an earlier one is gone.
    fn begin(&self) -> u64 {
        let _between_batches = self.delivering.lock();
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        self.drop_queued();
        self.up.store(true, Ordering::Release);
        generation
    }

    fn is_current(&self, generation: u64) -> bool {
        self.generation.load(Ordering::Acquire) == generation
    }

    /// Ends the stream, unless a newer one has replaced it. Says whether it was the current one.
    fn end(&self, generation: u64) -> bool {
        let current = self.is_current(generation);
        if current {
            self.up.store(false, Ordering::Release);
            self.drop_queued();
        }
        current
    }

    /// Moves queued messages into the stream, all that wait as one batch, until the receiver goes away.
    async fn pump(self: Arc<Self>, generation: u64, batches: mpsc::Sender<PeerBatch>) {
        let mut queued = Vec::new();
        loop {
            tokio::select! {
                () = self.queue.filled() => {}
                () = batches.closed() => return,
            }
            if !self.is_current(generation) {
                // The wake-up was for the stream that replaced this one.
                self.queue.wake_again();
                return;
            }
            self.queue.take(&mut queued);
            let mut pending = Pending { link: &self, frames: queued.drain(..) };
            while pending.frames.len() > 0 {
                let batch = self.batch(&mut pending.frames);
                if batches.send(batch).await.is_err() {
                    return;
                }
            }
        }
    }

    fn batch(&self, queued: &mut impl Iterator<Item = Bytes>) -> PeerBatch {
        let mut frames = Vec::new();
        let mut bytes = 0;
        for frame in queued.by_ref() {
            bytes += frame.len();
            frames.push(frame);
            if bytes >= FRAME_BYTES {
                break;
            }
        }
        self.stats.batches.fetch_add(1, Ordering::Relaxed);
        self.stats.messages.fetch_add(frames.len() as u64, Ordering::Relaxed);
        self.stats.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.dequeued(bytes);
        PeerBatch { hello: None, frames }
    }
}

/// What the pump has taken and not yet sent. Dropped with it, at the end of the stream.
struct Pending<'a> {
    link: &'a Link,
    frames: std::vec::Drain<'a, Bytes>,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.link.dequeued(self.frames.by_ref().map(|frame| frame.len()).sum());
    }
}

/// What the links tell the node.
pub trait LinkEvents: Send + Sync + 'static {
    /// A message of another node.
    fn message(&self, from: NodeId, message: PeerMessage);
    /// The stream to a node is there, or gone.
    fn reachable(&self, node: NodeId, up: bool);
    /// Who this node is.
    fn hello(&self) -> internal::Identity;
    /// Whether the other end may speak; says which node it is.
    fn admit(&self, hello: &internal::Identity) -> Result<NodeId, String>;
}

/// All links of a node.
pub struct Links {
    links: BTreeMap<NodeId, Arc<Link>>,
    events: Arc<dyn LinkEvents>,
}

impl Links {
    /// Links to these nodes, none connected yet.
    pub fn new(nodes: impl IntoIterator<Item = NodeId>, events: Arc<dyn LinkEvents>) -> Self {
        let links = nodes.into_iter().map(|node| (node, Arc::new(Link::default()))).collect();
        Links { links, events }
    }

    /// The link to a node.
    #[must_use]
    pub fn get(&self, node: NodeId) -> Option<&Arc<Link>> {
        self.links.get(&node)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Arc<Link>)> {
        self.links.iter().map(|(node, link)| (*node, link))
    }

    /// Keeps the link to a node connected, for ever. For the node with the lower id. The node is looked for
    /// at each of the addresses; the one that worked last comes first.
    pub async fn keep_connected(self: Arc<Self>, node: NodeId, mut addresses: Vec<String>) {
        let mut pause = PAUSES.0;
        loop {
            for at in 0..addresses.len() {
                match self.connect_once(node, &addresses[at]).await {
                    Ok(()) => {
                        pause = PAUSES.0;
                        addresses.swap(0, at);
                        break;
                    }
                    Err(reason) => {
                        tracing::debug!(%node, address = %addresses[at], %reason, "no link");
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn connect_once(&self, node: NodeId, address: &str) -> Result<(), String> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| error.to_string())?
            .connect_timeout(Duration::from_secs(1))
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(2))
            .keep_alive_timeout(Duration::from_secs(2))
            .keep_alive_while_idle(true);
        let channel = endpoint.connect().await.map_err(|error| error.to_string())?;
        let mut client = PeerClient::new(channel)
            .max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(PEER_MESSAGE_BYTES_MAX);
        let greeting = tokio::time::timeout(GREETING_PATIENCE, self.open(node, &mut client));
        let (sender, incoming) = greeting
            .await
            .map_err(|_| format!("{address} does not answer"))?
            .map_err(|status| status.message().to_owned())?;
        self.carry(node, sender, incoming).await;
        Ok(())
    }

    /// Opens the stream, but only to the right node: a stream replaces the one before it.
    async fn open(
        &self,
        node: NodeId,
        client: &mut PeerClient<Channel>,
    ) -> Result<(mpsc::Sender<PeerBatch>, Streaming<PeerBatch>), Status> {
        let caller = Some(self.events.hello());
        let known = client.introduce(IntroduceRequest { caller }).await?.into_inner();
        let callee = known.callee.map_or(NodeId(0), |callee| NodeId(callee.node));
        if callee != node {
            return Err(Status::not_found(format!("it is node {callee}, not {node}")));
        }
        let (sender, receiver) = mpsc::channel(16);
        let hello = PeerBatch { hello: Some(self.events.hello()), frames: Vec::new() };
        sender.send(hello).await.map_err(|_| Status::cancelled("the stream is gone"))?;
        let mut request = Request::new(ReceiverStream::new(receiver));
        let hello = MetadataValue::from_bytes(&self.events.hello().encode_to_vec());
        request.metadata_mut().insert_bin(HELLO, hello);
        let mut incoming = client.exchange(request).await?.into_inner();
        let other = self.greet(&mut incoming).await?;
        if other == node {
            Ok((sender, incoming))
        } else {
            Err(Status::not_found(format!("it is node {other}, not {node}")))
        }
    }

    /// Serves a stream that another node opened.
    pub async fn accept(
        self: Arc<Self>,
        request: Request<Streaming<PeerBatch>>,
    ) -> Result<impl Stream<Item = Result<PeerBatch, Status>> + Send + 'static, Status> {
        let hello = request.metadata().get_bin(HELLO).and_then(|hello| hello.to_bytes().ok());
        let hello = hello.and_then(|hello| internal::Identity::decode(hello).ok());
        let hello =
            hello.ok_or_else(|| Status::invalid_argument("a stream begins with a hello"))?;
        self.admit(&hello)?;
        let mut incoming = request.into_inner();
        let greeting = tokio::time::timeout(GREETING_PATIENCE, self.greet(&mut incoming)).await;
        let node = greeting.map_err(|_| Status::deadline_exceeded("no hello came"))??;
        let (sender, receiver) = mpsc::channel(16);
        let hello = PeerBatch { hello: Some(self.events.hello()), frames: Vec::new() };
        sender.send(hello).await.map_err(|_| Status::cancelled("the stream is gone"))?;
        tokio::spawn(async move { self.carry(node, sender, incoming).await });
        Ok(tokio_stream::StreamExt::map(ReceiverStream::new(receiver), Ok))
    }

    async fn greet(&self, incoming: &mut Streaming<PeerBatch>) -> Result<NodeId, Status> {
        let first = incoming.message().await?;
        let hello = first.and_then(|batch| batch.hello);
        let hello =
            hello.ok_or_else(|| Status::invalid_argument("a stream begins with a hello"))?;
        self.admit(&hello)
    }

    fn admit(&self, hello: &internal::Identity) -> Result<NodeId, Status> {
        let node = self.events.admit(hello).map_err(Status::permission_denied)?;
        if self.links.contains_key(&node) {
            Ok(node)
        } else {
            Err(Status::permission_denied(format!("node {node} is not known here")))
        }
    }

    /// Carries messages both ways until the stream ends.
    async fn carry(
        &self,
        node: NodeId,
        sender: mpsc::Sender<PeerBatch>,
        mut incoming: Streaming<PeerBatch>,
    ) {
        let Some(link) = self.links.get(&node).cloned() else { return };
        let generation = link.begin();
        self.events.reachable(node, true);
        let pump = tokio::spawn(link.clone().pump(generation, sender));
        loop {
            match incoming.message().await {
                Ok(Some(batch)) => {
                    if !self.deliver(node, &link, generation, batch) {
                        tracing::debug!(%node, "a newer stream has replaced this one");
                        break;
                    }
                }
                Ok(None) => break,
                Err(status) => {
                    tracing::debug!(%node, %status, "the link broke");
                    break;
                }
            }
        }
        pump.abort();
        if link.end(generation) {
            self.events.reachable(node, false);
        }
    }

    /// Hands a batch on, unless a newer stream has begun: Raft takes messages of one replica in the order in
    /// which they left, or not at all. Says whether the stream is still the current one.
    fn deliver(&self, node: NodeId, link: &Link, generation: u64, batch: PeerBatch) -> bool {
        let _no_other_begins = link.delivering.lock();
        if !link.is_current(generation) {
            return false;
        }
        for frame in batch.frames {
            match postcard::from_bytes::<PeerMessage>(&frame) {
                Ok(message) => self.events.message(node, message),
                Err(error) => tracing::warn!(%node, %error, "a message cannot be read; dropped"),
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts what is handed on.
    #[derive(Default)]
    struct Counting(AtomicU64);

    impl LinkEvents for Counting {
        fn message(&self, _: NodeId, _: PeerMessage) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn reachable(&self, _: NodeId, _: bool) {}

        fn hello(&self) -> internal::Identity {
            internal::Identity::default()
        }

        fn admit(&self, _: &internal::Identity) -> Result<NodeId, String> {
            Ok(NodeId(2))
        }
    }

    #[test]
    fn batch_of_a_stream_that_was_replaced_is_not_handed_on() {
        let events = Arc::<Counting>::default();
        let links = Links::new([NodeId(2)], events.clone());
        let link = links.get(NodeId(2)).unwrap();
        let old = link.begin();
        let batch = || {
            link.send(PeerMessage::Promises(Vec::new()));
            let mut queued = Vec::new();
            link.queue.take(&mut queued);
            link.batch(&mut queued.into_iter())
        };
        assert!(links.deliver(NodeId(2), link, old, batch()));
        let new = link.begin();
        assert!(!links.deliver(NodeId(2), link, old, batch()));
        assert!(links.deliver(NodeId(2), link, new, batch()));
        assert_eq!(events.0.load(Ordering::Relaxed), 2);
        assert!(!link.end(old) && link.is_up());
    }

    fn large() -> PeerMessage {
        let row = txn::message::Row {
            key: proto::Key::from(&b"k"[..]),
            timestamp: truetime::Timestamp::ZERO,
            value: proto::Value::from(vec![0; 16 << 20]),
        };
        let reply = txn::message::Reply::Rows { grant: None, rows: vec![row], rest: Vec::new() };
        PeerMessage::Reply { id: txn::message::RequestId::default(), reply }
    }

    fn dropped(link: &Link) -> u64 {
        link.stats.dropped.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn link_drops_what_does_not_fit_in_bytes_and_takes_more_once_that_is_sent() {
        let link = Arc::<Link>::default();
        let generation = link.begin();
        (0..5).for_each(|_| link.send(large()));
        assert_eq!((link.queued(), dropped(&link)), (4, 1));
        // The stream takes one batch and then no more: what the pump has taken out of the queue still counts.
        let (sender, mut batches) = mpsc::channel(1);
        let pump = tokio::spawn(link.clone().pump(generation, sender));
        while link.queued() > 0 {
            tokio::task::yield_now().await;
        }
        (0..4).for_each(|_| link.send(large()));
        assert!(dropped(&link) >= 3, "{}", dropped(&link));
        let left = link.queued();
        for _ in 0..4 + left {
            batches.recv().await.unwrap();
        }
        assert_eq!(link.queued_bytes.load(Ordering::Relaxed), 0);
        // Nothing is kept for a stream that has ended, nor of what its pump had taken.
        (0..4).for_each(|_| link.send(large()));
        while link.queued() > 0 {
            tokio::task::yield_now().await;
        }
        link.send(large());
        pump.abort();
        assert!(pump.await.is_err());
        link.end(generation);
        assert_eq!(link.queued_bytes.load(Ordering::Relaxed), 0);
    }
}
