//! When to hurt which node.

use super::cluster::Leaders;
use crate::rng::Rng;
use proto::NodeId;
use std::time::Duration;

/// What is done to a node that leads shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL, then a restart.
    Kill,
    /// SIGTERM, then a restart.
    Stop,
}

/// The faults of a run: kills and stops, each at its own interval.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    kill: Option<Schedule>,
    stop: Option<Schedule>,
}

#[derive(Clone, Copy, Debug)]
struct Schedule {
    next: Duration,
    interval: Duration,
}

impl Faults {
    /// Kills and stops at these intervals. Stops begin half an interval late, so that equal intervals
    /// alternate.
    #[must_use]
    pub fn new(kill: Option<Duration>, stop: Option<Duration>) -> Self {
        let kill = kill.map(|interval| Schedule { next: interval, interval });
        let stop = stop.map(|interval| Schedule { next: interval + interval / 2, interval });
        Faults { kill, stop }
    }

    /// The next fault, and when it is due, from the beginning of the run.
    pub fn draw(&mut self) -> Option<(Duration, Fault)> {
        let due = |schedule: &Option<Schedule>| schedule.map(|schedule| schedule.next);
        let is_kill = match (due(&self.kill), due(&self.stop)) {
            (None, None) => return None,
            (Some(kill), Some(stop)) => kill <= stop,
            (kill, None) => kill.is_some(),
            (None, Some(_)) => false,
        };
        let (schedule, fault) = if is_kill {
            (self.kill.as_mut()?, Fault::Kill)
        } else {
            (self.stop.as_mut()?, Fault::Stop)
        };
        let at = schedule.next;
        schedule.next += schedule.interval;
        Some((at, fault))
    }
}

/// A node that leads shards: fault number `round` of the run that `seed` gives.
#[must_use]
pub fn pick_victim(leaders: &Leaders, seed: u64, round: u64) -> Option<NodeId> {
    let leading: Vec<NodeId> =
        leaders.iter().filter(|(_, shards)| !shards.is_empty()).map(|(node, _)| *node).collect();
    let count = u64::try_from(leading.len()).ok().filter(|count| *count > 0)?;
    let mut rng = Rng::new(seed ^ Rng::new(round).next());
    let chosen = usize::try_from(rng.below(count)).ok()?;
    leading.get(chosen).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::ShardId;
    use std::collections::BTreeSet;

    fn drawn(kill: Option<u64>, stop: Option<u64>) -> Vec<(u64, Fault)> {
        let mut faults = Faults::new(kill.map(Duration::from_secs), stop.map(Duration::from_secs));
        (0..4).map_while(|_| faults.draw()).map(|(at, fault)| (at.as_secs(), fault)).collect()
    }

    #[test]
    fn faults_come_at_their_intervals_and_alternate() {
        use Fault::{Kill, Stop};
        assert_eq!(drawn(None, None), []);
        assert_eq!(drawn(Some(6), None), [(6, Kill), (12, Kill), (18, Kill), (24, Kill)]);
        assert_eq!(drawn(Some(6), Some(6)), [(6, Kill), (9, Stop), (12, Kill), (15, Stop)]);
        assert_eq!(drawn(None, Some(2)), [(3, Stop), (5, Stop), (7, Stop), (9, Stop)]);
    }

    #[test]
    fn victim_leads_something_and_changes() {
        let shards = |count| (0..count).map(ShardId).collect::<BTreeSet<_>>();
        let leaders =
            Leaders::from([(NodeId(1), shards(2)), (NodeId(2), shards(0)), (NodeId(3), shards(1))]);
        let victims: BTreeSet<_> = (0..20).map(|round| pick_victim(&leaders, 1, round)).collect();
        assert_eq!(victims, BTreeSet::from([Some(NodeId(1)), Some(NodeId(3))]));
        assert_eq!(pick_victim(&Leaders::new(), 1, 1), None);
    }
}
