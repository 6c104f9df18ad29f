//! Drawing faults, and ending them.

use node::core::Input;
use std::time::Duration;
use truetime::ClockFault;
use txn::leader::DiskRoom;

use super::cluster::{Cluster, Event, Stop};
use super::machine::Power;
use super::plan::{Delay, Fault, MS, SECOND};

/// How a fault ends.
#[derive(Clone, Debug)]
pub(super) enum Ending {
    Unblock(Vec<(usize, usize)>),
    Network,
    Disk(usize),
    DiskRoom(usize),
    Start(usize),
    Resume(usize),
    Clock(usize),
    /// Hand-over: give up waiting and stop.
    Stop(usize),
}

impl Cluster<'_> {
    /// From now on faults are drawn.
    pub(super) fn begin_faults(&mut self) {
        self.faults_on = true;
        if let Some(interval) = self.plan.fault_interval {
            let delay = self.rng.between(0, 2 * interval);
            self.after(delay, Event::NextFault);
        }
    }

    pub(super) fn next_fault(&mut self) {
        let Some(interval) = self.plan.fault_interval else { return };
        if !self.faults_on {
            return;
        }
        let total: u64 = self.plan.faults.values().sum();
        let mut drawn = self.rng.below(total.max(1));
        let mut chosen = None;
        for (fault, weight) in &self.plan.faults {
            if drawn < *weight {
                chosen = Some(*fault);
                break;
            }
            drawn -= weight;
        }
        if let Some(fault) = chosen {
            self.note(|| format!("fault {}", fault.name()));
            *self.drawn.entry(fault).or_default() += 1;
            self.draw(fault);
        }
        let delay = self.rng.between(0, 2 * interval);
        self.after(delay, Event::NextFault);
    }

    fn draw(&mut self, fault: Fault) {
        let nodes = self.machines.len();
        let node = self.rng.index(nodes);
        let long = self.rng.log_between(MS, self.plan.fault_length_max);
        match fault {
            Fault::Reset => {
                let pairs = self.network.pairs();
                let (a, b) = pairs[self.rng.index(pairs.len())];
                self.break_pair(a, b);
            }
            Fault::Half | Fault::Ring | Fault::OneWay => {
                let blocked = self.partition(fault, node);
                for (from, to) in &blocked {
                    self.block(*from, *to);
                }
                self.after(long, Event::End(Ending::Unblock(blocked)));
            }
            Fault::SlowNetwork => {
                let min = self.rng.between(MS, 50 * MS);
                let max = min + self.rng.between(MS, 400 * MS);
                self.network_delay = Delay { min, max };
                self.after(long, Event::End(Ending::Network));
            }
            Fault::Kill | Fault::PowerLoss => {
                let power = if fault == Fault::Kill { Power::Kept } else { Power::Lost };
                self.crash(node, power);
                if self.rng.per_mille(150) {
                    let other = self.rng.index(nodes);
                    self.crash(other, power);
                    self.after(long / 2, Event::End(Ending::Start(other)));
                }
                self.after(long, Event::End(Ending::Start(node)));
            }
            Fault::Pause | Fault::PauseMidway => self.pause(node, long, fault),
            Fault::SlowDisk => {
                let min = self.rng.between(MS, 20 * MS);
                self.disks[node] = Delay { min, max: min + self.rng.between(MS, 500 * MS) };
                self.after(long, Event::End(Ending::Disk(node)));
            }
            Fault::ShortDisk => {
                self.input(node, Input::DiskRoom(DiskRoom::Short));
                self.after(long, Event::End(Ending::DiskRoom(node)));
            }
            Fault::HandOver => self.hand_over(node),
            Fault::ClockStep | Fault::ClockUnsure | Fault::ClockGrowth => {
                self.clock_fault(node, long, fault);
            }
        }
    }

    /// A shard leaves the log and then the version store of a node: it may die before the log has heard of it, or
    /// before the store has. Too short a time for other faults to meet it.
    pub(super) fn dies_letting_go(&mut self, node: usize, power: Power) -> bool {
        let dies = self.faults_on && self.plan.fault_interval.is_some() && self.rng.per_mille(150);
        if dies {
            self.crash(node, power);
            let delay = self.rng.between(10 * MS, SECOND);
            self.after(delay, Event::End(Ending::Start(node)));
        }
        dies
    }

    fn partition(&mut self, fault: Fault, node: usize) -> Vec<(usize, usize)> {
        let nodes = self.machines.len();
        let groups: Vec<bool> = (0..nodes).map(|_| self.rng.coin()).collect();
        let other = (node + 1 + self.rng.index(nodes - 1)) % nodes;
        let all = (0..nodes).flat_map(|a| (0..nodes).map(move |b| (a, b)));
        all.filter(|(a, b)| a != b)
            .filter(|(a, b)| match fault {
                Fault::Half => groups[*a] != groups[*b],
                // With three nodes a ring is everybody: one pair does without each other instead.
                Fault::Ring if nodes == 3 => (*a, *b) == (node, other) || (*b, *a) == (node, other),
                Fault::Ring => (a + 1) % nodes != *b && (b + 1) % nodes != *a,
                _ => (*a, *b) == (node, other),
            })
            .collect()
    }

    fn pause(&mut self, node: usize, long: u64, fault: Fault) {
        let Some(process) = &mut self.machines[node].process else { return };
        if process.paused {
            return;
        }
        if fault == Fault::PauseMidway {
            self.pass(node, Stop::BeforeEffects);
        }
        if let Some(process) = &mut self.machines[node].process {
            process.paused = true;
        }
        self.after(long, Event::End(Ending::Resume(node)));
    }

    fn resume(&mut self, node: usize) {
        let Some(process) = &mut self.machines[node].process else { return };
        if std::mem::replace(&mut process.paused, false) {
            self.note(|| format!("n{} goes on", node + 1));
            self.pass(node, Stop::No);
        }
    }

    /// The node is told to stop: it hands over, and stops when it leads nothing or after three seconds.
    fn hand_over(&mut self, node: usize) {
        if self.machines[node].process.is_none() || self.handing_over.contains_key(&node) {
            return;
        }
        if self.rng.per_mille(300) {
            // Its operator thinks better of it.
            return self.input(node, Input::HandOver);
        }
        self.handing_over.insert(node, self.now + 3 * SECOND);
        self.after(0, Event::End(Ending::Stop(node)));
    }

    fn stop_when_done(&mut self, node: usize) {
        let Some(until) = self.handing_over.get(&node).copied() else { return };
        let Some(process) = &mut self.machines[node].process else { return };
        if !process.paused && (process.core.leads_nothing() || self.now >= until) {
            self.crash(node, Power::Kept);
            let delay = self.rng.between(10 * MS, SECOND);
            return self.after(delay, Event::End(Ending::Start(node)));
        }
        process.inbox.push(Input::HandOver);
        if !process.paused {
            self.pass(node, Stop::No);
        }
        self.after(10 * MS, Event::End(Ending::Stop(node)));
    }

    fn clock_fault(&mut self, node: usize, long: u64, fault: Fault) {
        let true_time = self.true_time();
        let by = i64::try_from(self.rng.between(300 * MS, 20 * SECOND)).unwrap_or(0);
        let by = if self.rng.coin() { by } else { -by };
        let growth = u32::try_from(self.rng.log_between(1_000, 200_000)).unwrap_or(1_000);
        if self.clock_faults.contains_key(&node) {
            return;
        }
        let clock = &mut self.machines[node].clock;
        clock.advance_to(true_time);
        let mut back = 0;
        match fault {
            Fault::ClockStep => {
                clock.apply(ClockFault::Step(by));
                // Until a node notices, it would vouch for what is false: one that reads its clock never
                // does, and one that starts now has nothing to compare with.
                clock.apply(ClockFault::Unsynchronise);
                back = -by;
            }
            Fault::ClockUnsure => clock.apply(ClockFault::Unsynchronise),
            _ => clock.apply(ClockFault::Growth(growth)),
        }
        self.clock_faults.insert(node, back);
        self.after(long, Event::End(Ending::Clock(node)));
    }

    /// Somebody sets the clock right. Its daemon notices at its next round.
    fn mend_clock(&mut self, node: usize) {
        let Some(back) = self.clock_faults.remove(&node) else { return };
        let true_time = self.true_time();
        let machine = &mut self.machines[node];
        machine.clock.advance_to(true_time);
        if back != 0 {
            machine.clock.apply(ClockFault::Step(back));
        }
        machine.clock.apply(ClockFault::Growth(machine.clock_start.growth_ppm));
    }

    /// The daemon of a healthy clock states a bound that holds.
    pub(super) fn synchronise(&mut self, node: usize) {
        let delay = self.rng.between(SECOND / 2, 2 * SECOND);
        self.after(delay, Event::Synchronise { node });
        if self.clock_faults.contains_key(&node) {
            return;
        }
        let true_time = self.true_time();
        let machine = &mut self.machines[node];
        machine.clock.advance_to(true_time);
        let least = Duration::from_nanos(machine.clock.offset_nanos().unsigned_abs() + 2_000);
        let epsilon = machine.clock_start.epsilon.max(least);
        machine.clock.apply(ClockFault::Synchronise(epsilon));
    }

    pub(super) fn end_fault(&mut self, ending: Ending) {
        match ending {
            Ending::Unblock(links) => {
                for (from, to) in links {
                    self.unblock(from, to);
                }
            }
            Ending::Network => self.network_delay = self.plan.network,
            Ending::Disk(node) => self.disks[node] = self.plan.disk,
            Ending::DiskRoom(node) => self.input(node, Input::DiskRoom(DiskRoom::Enough)),
            Ending::Start(node) => self.start(node),
            Ending::Resume(node) => self.resume(node),
            Ending::Clock(node) => self.mend_clock(node),
            Ending::Stop(node) => self.stop_when_done(node),
        }
    }

    /// Everything is well from now on.
    pub(super) fn heal(&mut self) {
        self.note(|| "everything heals".to_owned());
        self.faults_on = false;
        self.network_delay = self.plan.network;
        self.disks = vec![self.plan.disk; self.machines.len()];
        for (a, b) in self.network.pairs() {
            self.unblock(a, b);
            self.unblock(b, a);
        }
        for node in 0..self.machines.len() {
            self.mend_clock(node);
            self.resume(node);
            self.start(node);
            self.input(node, Input::DiskRoom(DiskRoom::Enough));
        }
    }
}
