//! The router of one core.

use proto::{NodeId, ShardId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use truetime::{Mono, Now};
use txn::message::{Refusal, Reply, Request, RequestId};
use txn::transaction::{CallError, Obstacle};

use super::map::ShardMap;
use crate::shard::descriptor::ShardDescriptor;

/// Names a call: who waits for it, and which of its calls it is. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId {
    /// Whoever waits, as the gateway numbers them.
    pub owner: u64,
    /// Which of its calls.
    pub part: u32,
}

/// Which replica a stale read would like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preference {
    /// The one on this node, if there is one.
    Local,
    /// The one on that node.
    Node(NodeId),
    /// Whichever.
    Any,
}

/// Who is to serve a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The shard's leader.
    Leader,
    /// Any replica, preferably this one.
    Replica(Preference),
}

/// What the core is to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send a request; to this node itself it is a matter of the core.
    Send {
        /// To whom.
        to: NodeId,
        /// Comes back with the answer.
        id: RequestId,
        /// The shard that is asked.
        shard: ShardId,
        /// What is asked.
        request: Arc<Request>,
    },
    /// A call is over.
    Complete {
        /// Which.
        call: CallId,
        /// How it went.
        result: Result<Reply, CallError>,
    },
    /// The shard map lacks a key, or is stale: have the gateway read it again and bring it back with
    /// [`Router::update_map`]. Repeated as long as a call waits for it.
    RefreshMap,
}

/// Limits and pauses.
#[derive(Clone, Copy, Debug)]
pub struct RouterSettings {
    /// Calls outstanding at the most.
    pub calls_max: usize,
    /// A call without an answer by then has failed.
    pub call_timeout: Duration,
    /// An attempt without an answer by then is followed by another.
    pub attempt_timeout: Duration,
    /// The pause after the first failed attempt; doubles from there.
    pub pause_min: Duration,
    /// The longest pause.
    pub pause_max: Duration,
    /// How long a node that could not be reached is asked last.
    pub avoid_unreachable: Duration,
    /// The pause between two requests to refresh the map.
    pub refresh_pause: Duration,
    /// How often a leader whose clock is unsure is asked again: it hands over if it can.
    pub clock_retries_max: u32,
    /// A shard that has no leader for so long will hardly have one in time for whoever waits: longer than an
    /// election takes, and shorter than clients wait.
    pub leaderless_max: Duration,
    /// How long a call to a shard that is known for that still looks for a leader.
    pub leaderless_look: Duration,
}

impl Default for RouterSettings {
    fn default() -> Self {
        RouterSettings {
            calls_max: 100_000,
            call_timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(2),
            pause_min: Duration::from_millis(5),
            pause_max: Duration::from_millis(200),
            avoid_unreachable: Duration::from_millis(500),
            refresh_pause: Duration::from_millis(300),
            clock_retries_max: 8,
            leaderless_max: Duration::from_secs(4),
            leaderless_look: Duration::from_secs(1),
        }
    }
}

/// How often the map is read for a key that it lacks: the first reading may have begun too early.
const UNKNOWN_KEY_REFRESHES_MAX: u32 = 2;
/// How many hints in a row are followed without a pause; two replicas may each take the other for the
/// leader.
const HINTS_AT_ONCE_MAX: u32 = 3;

#[derive(Debug)]
struct Call {
    request: Arc<Request>,
    route: Route,
    begun: Mono,
    deadline: Mono,
    state: State,
    /// When it is to be looked at again; its entry in `timers`.
    wake: Mono,
    /// Some attempt was sent, so the request may have taken effect.
    sent: bool,
    pauses: u32,
    hints_followed: u32,
    refreshes: u32,
    clock_retries: u32,
    obstacle: Obstacle,
    /// The replica tried last, to go on from.
    last_tried: Option<NodeId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// An attempt is out.
    Asked { sequence: u64, to: NodeId, shard: ShardId },
    /// The next attempt follows a pause.
    Pausing { then: Option<NodeId> },
    /// The map must be read first.
    AwaitingMap,
}

/// Nobody who was asked led the shard, or knew who does.
#[derive(Clone, Copy, Debug)]
struct Leaderless {
    since: Mono,
    /// When that was last found.
    seen: Mono,
}

/// See the module.
#[derive(Debug)]
pub struct Router {
    node: NodeId,
    start: u32,
    core: u16,
    settings: RouterSettings,
    map: Arc<ShardMap>,
    leaders: BTreeMap<ShardId, NodeId>,
    leaderless: BTreeMap<ShardId, Leaderless>,
    unreachable_until: BTreeMap<NodeId, Mono>,
    calls: BTreeMap<CallId, Call>,
    attempts: BTreeMap<u64, CallId>,
    timers: BTreeSet<(Mono, CallId)>,
    awaiting_map: BTreeSet<CallId>,
    refresh_again: Mono,
    next_sequence: u64,
    next_any: usize,
}

impl Router {
    /// The router of one core. `map` has at least the system shard, from configuration.
    #[must_use]
    pub fn new(
        node: NodeId,
        start: u32,
        core: u16,
        settings: RouterSettings,
        map: Arc<ShardMap>,
    ) -> Self {
        Router {
            node,
            start,
            core,
            settings,
            map,
            leaders: BTreeMap::new(),
            leaderless: BTreeMap::new(),
            unreachable_until: BTreeMap::new(),
            calls: BTreeMap::new(),
            attempts: BTreeMap::new(),
            timers: BTreeSet::new(),
            awaiting_map: BTreeSet::new(),
            refresh_again: Mono::ZERO,
            next_sequence: 0,
            next_any: 0,
        }
    }

    /// The map in use.
    #[must_use]
    pub fn map(&self) -> &Arc<ShardMap> {
        &self.map
    }

    /// Who led a shard when last heard of.
    #[must_use]
    pub fn leader(&self, shard: ShardId) -> Option<NodeId> {
        self.leaders.get(&shard).copied()
    }

    /// Starts a call. Its id must be new.
    pub fn call(
        &mut self,
        now: Mono,
        id: CallId,
        request: Request,
        route: Route,
        effects: &mut Vec<Effect>,
    ) {
        if self.calls.len() >= self.settings.calls_max {
            let error = CallError::Overloaded { outstanding: self.calls.len() };
            effects.push(Effect::Complete { call: id, result: Err(error) });
            return;
        }
        let deadline = now.plus(self.settings.call_timeout);
        let call = Call {
            request: Arc::new(request),
            route,
            begun: now,
            deadline,
            state: State::Pausing { then: None },
            wake: deadline,
            sent: false,
            pauses: 0,
            hints_followed: 0,
            refreshes: 0,
            clock_retries: 0,
            obstacle: Obstacle::NoShard,
            last_tried: None,
        };
        let before = self.calls.insert(id, call);
        assert!(before.is_none(), "call ids are never reused");
        self.timers.insert((deadline, id));
        self.attempt(now, id, None, effects);
    }

    /// Nobody waits for the call any more. What was sent may still take effect.
    pub fn cancel(&mut self, id: CallId) {
        self.forget(id);
    }

    /// An answer arrived. One to an abandoned attempt, or a second one, is dropped.
    pub fn replied(&mut self, now: Mono, id: RequestId, reply: Reply, effects: &mut Vec<Effect>) {
        if (id.node, id.start, id.core) != (self.node, self.start, self.core) {
            return;
        }
        let Some(call_id) = self.attempts.remove(&id.sequence) else { return };
        let Some(call) = self.calls.get_mut(&call_id) else { return };
        let State::Asked { sequence, to, shard } = call.state else { return };
        assert_eq!(sequence, id.sequence, "a call has one attempt, which is the one filed");
        match reply {
            Reply::Refused(Refusal::NotLeader { hint }) => {
                call.obstacle = Obstacle::NoLeader { shard };
                self.not_leader(now, call_id, (shard, to), hint, effects);
            }
            Reply::Refused(Refusal::WrongShard) => self.await_map(now, call_id, effects),
            Reply::Refused(Refusal::ClockUnsure { reason }) => {
                if call.clock_retries >= self.settings.clock_retries_max {
                    let refusal = Refusal::ClockUnsure { reason };
                    self.complete(call_id, Ok(Reply::Refused(refusal)), effects);
                } else {
                    call.clock_retries += 1;
                    self.pause(now, call_id, None);
                }
            }
            reply => {
                if call.route == Route::Leader {
                    self.leaders.insert(shard, to);
                    self.leaderless.remove(&shard);
                }
                self.complete(call_id, Ok(reply), effects);
            }
        }
    }

    /// There is no connection to a node: what was asked there is asked elsewhere at once.
    pub fn node_unreachable(&mut self, now: Mono, node: NodeId, effects: &mut Vec<Effect>) {
        self.unreachable_until.insert(node, now.plus(self.settings.avoid_unreachable));
        self.leaders.retain(|_, leader| *leader != node);
        let lost: Vec<(CallId, u64, ShardId)> = self
            .attempts
            .iter()
            .filter_map(|(sequence, id)| match self.calls.get(id)?.state {
                State::Asked { to, shard, .. } if to == node => Some((*id, *sequence, shard)),
                State::Asked { .. } | State::Pausing { .. } | State::AwaitingMap => None,
            })
            .collect();
        for (id, sequence, shard) in lost {
            self.attempts.remove(&sequence);
            if let Some(call) = self.calls.get_mut(&id) {
                call.obstacle = Obstacle::Unreachable { shard, node };
            }
            // With every replica unreachable there is nobody to turn to at once.
            let elsewhere = self.calls.get(&id).and_then(|call| self.choose(now, call));
            match elsewhere.filter(|(_, to)| !self.is_avoided(now, *to)) {
                Some((_, to)) => self.attempt(now, id, Some(to), effects),
                None => {
                    self.nobody_leads(now, id, shard);
                    self.pause(now, id, None);
                }
            }
        }
    }

    /// The node can be reached again.
    pub fn node_reachable(&mut self, node: NodeId) {
        self.unreachable_until.remove(&node);
    }

    /// The map was read again: calls that wait for it go on.
    pub fn update_map(&mut self, now: Mono, map: Arc<ShardMap>, effects: &mut Vec<Effect>) {
        self.map = map;
        let waiting = std::mem::take(&mut self.awaiting_map);
        for id in waiting {
            if let Some(call) = self.calls.get_mut(&id) {
                call.refreshes += 1;
                self.attempt(now, id, None, effects);
            }
        }
    }

    /// Time passed.
    pub fn tick(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        let now = now.mono;
        while let Some((wake, id)) = self.timers.first().copied()
            && wake <= now
        {
            let Some(call) = self.calls.get(&id) else {
                self.timers.remove(&(wake, id));
                continue;
            };
            if call.deadline <= now {
                let (what, maybe_executed) = (call.obstacle, call.sent);
                let error = CallError::Unavailable { what, maybe_executed };
                self.complete(id, Err(error), effects);
                continue;
            }
            match call.state {
                State::Asked { sequence, to, shard } => {
                    self.attempts.remove(&sequence);
                    if self.leaders.get(&shard) == Some(&to) {
                        self.leaders.remove(&shard);
                    }
                    if let Some(call) = self.calls.get_mut(&id) {
                        call.obstacle = Obstacle::NoReply { shard, node: to };
                    }
                    self.attempt(now, id, None, effects);
                }
                State::Pausing { then } => self.attempt(now, id, then, effects),
                State::AwaitingMap => self.wake_at(id, Mono::MAX),
            }
        }
        if !self.awaiting_map.is_empty() && self.refresh_again <= now {
            self.refresh_again = now.plus(self.settings.refresh_pause);
            effects.push(Effect::RefreshMap);
        }
    }

    /// When [`Router::tick`] has something to do; [`Mono::MAX`] if never.
    #[must_use]
    pub fn next_deadline(&self) -> Mono {
        let timer = self.timers.first().map_or(Mono::MAX, |(wake, _)| *wake);
        if self.awaiting_map.is_empty() { timer } else { timer.min(self.refresh_again) }
    }

    /// Calls that have not ended.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.calls.len()
    }

    fn not_leader(
        &mut self,
        now: Mono,
        id: CallId,
        (shard, asked): (ShardId, NodeId),
        hint: Option<NodeId>,
        effects: &mut Vec<Effect>,
    ) {
        if self.leaders.get(&shard) == Some(&asked) {
            self.leaders.remove(&shard);
        }
        let hint = hint.filter(|hint| *hint != asked && self.has_replica(id, *hint));
        let Some(leader) = hint else {
            self.nobody_leads(now, id, shard);
            return self.pause(now, id, None);
        };
        self.leaders.insert(shard, leader);
        self.somebody_leads(id, shard);
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.hints_followed += 1;
        if call.hints_followed <= HINTS_AT_ONCE_MAX {
            self.attempt(now, id, Some(leader), effects);
        } else {
            self.pause(now, id, Some(leader));
        }
    }

    /// Shortens a call to a shard that has had no leader for a while: its majority may be gone, and whoever waits
    /// is to hear of it in time.
    fn nobody_leads(&mut self, now: Mono, id: CallId, shard: ShardId) {
        let RouterSettings { leaderless_max, leaderless_look, .. } = self.settings;
        let Some(call) = self.calls.get_mut(&id) else { return };
        let fresh = Leaderless { since: now, seen: now };
        let leaderless = self.leaderless.entry(shard).or_insert(fresh);
        if now.since(leaderless.seen) > leaderless_max * 2 {
            // Nobody has looked for long: it may have had a leader meanwhile.
            *leaderless = fresh;
        }
        leaderless.seen = now;
        let known = leaderless.since.plus(leaderless_max);
        call.deadline = call.deadline.min(known.max(call.begun.plus(leaderless_look)));
    }

    /// A leader is known: the call has all of its time again.
    fn somebody_leads(&mut self, id: CallId, shard: ShardId) {
        self.leaderless.remove(&shard);
        if let Some(call) = self.calls.get_mut(&id) {
            call.deadline = call.begun.plus(self.settings.call_timeout);
        }
    }

    fn has_replica(&self, id: CallId, node: NodeId) -> bool {
        self.calls
            .get(&id)
            .and_then(|call| self.map.find(call.request.routing_key()?))
            .is_some_and(|shard| shard.replicas.iter().any(|(_, on)| *on == node))
    }

    /// Sends the next attempt, to `to` if given.
    fn attempt(&mut self, now: Mono, id: CallId, to: Option<NodeId>, effects: &mut Vec<Effect>) {
        let Some(call) = self.calls.get(&id) else { return };
        if call.request.routing_key().is_some_and(|key| self.map.is_removed(key)) {
            return self.complete(id, Ok(Reply::Refused(Refusal::Removed)), effects);
        }
        let Some((shard, chosen)) = self.choose(now, call) else {
            let (refreshes, what) = (call.refreshes, Obstacle::NoShard);
            if refreshes < UNKNOWN_KEY_REFRESHES_MAX {
                return self.await_map(now, id, effects);
            }
            let error = CallError::Unavailable { what, maybe_executed: call.sent };
            return self.complete(id, Err(error), effects);
        };
        let to = to.unwrap_or(chosen);
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.next_any = self.next_any.wrapping_add(1);
        let (node, start, core) = (self.node, self.start, self.core);
        let request_id = RequestId { node, start, core, sequence };
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.state = State::Asked { sequence, to, shard };
        call.obstacle = Obstacle::NoReply { shard, node: to };
        call.sent = true;
        call.last_tried = Some(to);
        let request = Arc::clone(&call.request);
        effects.push(Effect::Send { to, id: request_id, shard, request });
        self.attempts.insert(sequence, id);
        self.wake_at(id, now.plus(self.settings.attempt_timeout));
    }

    /// The shard of a call and whom to ask next. `None` when the map lacks its key.
    fn choose(&self, now: Mono, call: &Call) -> Option<(ShardId, NodeId)> {
        let shard = self.map.find(call.request.routing_key()?)?;
        let holds = |node: NodeId| shard.replicas.iter().any(|(_, on)| *on == node);
        let wanted = match (call.route, call.last_tried) {
            (Route::Leader, None) => self.leaders.get(&shard.id).copied().or(Some(self.node)),
            (Route::Leader, Some(_)) => self.leaders.get(&shard.id).copied(),
            (Route::Replica(Preference::Local), None) => Some(self.node),
            (Route::Replica(Preference::Node(node)), None) => Some(node),
            (Route::Replica(_), _) => None,
        };
        if let Some(node) = wanted.filter(|node| holds(*node) && !self.is_avoided(now, *node)) {
            return Some((shard.id, node));
        }
        self.next_replica(now, shard, call).map(|node| (shard.id, node))
    }

    /// The replica after the one tried last, around the circle; nodes that cannot be reached come last.
    fn next_replica(&self, now: Mono, shard: &ShardDescriptor, call: &Call) -> Option<NodeId> {
        let count = shard.replicas.len();
        let after_last = call
            .last_tried
            .and_then(|last| shard.replicas.iter().position(|(_, on)| *on == last))
            .map(|position| position + 1);
        let first = match call.route {
            Route::Leader => after_last.unwrap_or(0),
            Route::Replica(_) => after_last.unwrap_or(self.next_any),
        };
        let circle = || (0..count).map(|i| shard.replicas[first.wrapping_add(i) % count].1);
        circle().find(|node| !self.is_avoided(now, *node)).or_else(|| circle().next())
    }

    fn is_avoided(&self, now: Mono, node: NodeId) -> bool {
        self.unreachable_until.get(&node).is_some_and(|until| now < *until)
    }

    fn pause(&mut self, now: Mono, id: CallId, then: Option<NodeId>) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let factor = 1_u32.checked_shl(call.pauses.min(16)).unwrap_or(u32::MAX);
        let pause = (self.settings.pause_min * factor).min(self.settings.pause_max);
        call.pauses += 1;
        call.state = State::Pausing { then };
        self.wake_at(id, now.plus(pause));
    }

    fn await_map(&mut self, now: Mono, id: CallId, effects: &mut Vec<Effect>) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.state = State::AwaitingMap;
        call.obstacle = Obstacle::NoShard;
        self.awaiting_map.insert(id);
        self.wake_at(id, Mono::MAX);
        if self.refresh_again <= now {
            self.refresh_again = now.plus(self.settings.refresh_pause);
            effects.push(Effect::RefreshMap);
        }
    }

    /// Sets a call's timer; never past its deadline.
    fn wake_at(&mut self, id: CallId, at: Mono) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        self.timers.remove(&(call.wake, id));
        call.wake = at.min(call.deadline);
        self.timers.insert((call.wake, id));
    }

    fn complete(
        &mut self,
        id: CallId,
        result: Result<Reply, CallError>,
        effects: &mut Vec<Effect>,
    ) {
        if self.forget(id) {
            effects.push(Effect::Complete { call: id, result });
        }
    }

    fn forget(&mut self, id: CallId) -> bool {
        let Some(call) = self.calls.remove(&id) else { return false };
        self.timers.remove(&(call.wake, id));
        match call.state {
            State::Asked { sequence, .. } => {
                self.attempts.remove(&sequence);
            }
            State::AwaitingMap => {
                self.awaiting_map.remove(&id);
            }
            State::Pausing { .. } => {}
        }
        true
    }
}
