//! Settles attempts of unknown outcome by the versions that reads returned.
//!
//! A *sighting* is a version, with its value, that a read returned and no known commit wrote. An attempt
//! of unknown outcome that writes that value to that key may have made it, if nothing speaks against it:
//! it was invoked after another commit below the version was already acknowledged, what it read was
//! overwritten by then, a key that it writes has another version there, or a later read of such a key
//! returned an older one. If one attempt alone is left for a sighting, it committed at that version, and
//! from here on the replay treats it like any commit: all or nothing. If several are left, only what was
//! seen is taken for true, as the writes of a nameless transaction. So a correct history is never
//! blamed, and repeated values cost only strictness.
//!
//! Not here: reads without versions. [`super::replay`] does what can be done about them.

use super::TrueTime;
use super::log::{KeyId, Log, NEVER, Role, Txn, TxnRef, ValueId};
use super::real_time::Acknowledged;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use truetime::Timestamp;

/// What was seen at one version: key, value, and the earliest answer that showed it.
type Sightings = BTreeMap<(KeyId, ValueId), u64>;

/// Gives every attempt of unknown outcome that was surely seen its commit timestamp.
pub(super) fn resolve(log: &mut Log, true_time: TrueTime) {
    let unknown: Vec<TxnRef> =
        log.refs().filter(|txn| log.txn(*txn).role == Role::Unknown).collect();
    if unknown.is_empty() {
        return;
    }
    let evidence = Evidence::gather(log, &unknown, true_time);
    let mut open = BTreeMap::new();
    for txn in log.refs().filter(|txn| read_point(log.txn(*txn)).is_some()) {
        evidence.add_sightings(log, txn, &mut open);
    }
    let mut placed = BTreeMap::new();
    // Each placement can leave another sighting with one attempt only, and what the placed one had
    // read was itself seen.
    loop {
        let before = placed.len();
        for (version, sightings) in &mut open {
            while let Some(txn) = evidence.forced(log, *version, sightings, &placed) {
                placed.insert(txn, *version);
                let effects = log.effects(txn);
                sightings.retain(|(key, value), _| effects.get(key) != Some(value));
            }
        }
        if placed.len() == before {
            break;
        }
        for txn in placed.keys() {
            evidence.add_sightings(log, *txn, &mut open);
        }
        for (txn, version) in &placed {
            if let Some(sightings) = open.get_mut(version) {
                let effects = log.effects(*txn);
                sightings.retain(|(key, value), _| effects.get(key) != Some(value));
            }
        }
    }
    let nameless = evidence.nameless(log, &open, &placed);
    for (txn, version) in placed {
        let entry = &mut log.txns[txn.index()];
        (entry.role, entry.ts) = (Role::Resolved, version);
    }
    for Nameless { version, pattern, writes } in nameless {
        log.add_nameless(pattern, version, &writes);
    }
}

/// What was seen at one version, where several attempts may have written it.
struct Nameless {
    version: Timestamp,
    /// The earliest of those attempts.
    pattern: Txn,
    writes: Vec<(KeyId, ValueId)>,
}

/// What the history says about the keys that attempts of unknown outcome touch.
struct Evidence {
    /// Attempts by what they would have written.
    by_effect: HashMap<(KeyId, ValueId), Vec<TxnRef>>,
    /// The known commits of those keys.
    versions: BTreeSet<(KeyId, Timestamp)>,
    /// Initial rows of unknown version: any version may be theirs.
    initial: BTreeMap<KeyId, ValueId>,
    /// Per key the reads that returned a version: read point and the oldest version returned there or
    /// above, ascending.
    oldest_from: BTreeMap<KeyId, Vec<(Timestamp, Timestamp)>>,
    acknowledged: Acknowledged,
    true_time: TrueTime,
}

impl Evidence {
    fn gather(log: &Log, unknown: &[TxnRef], true_time: TrueTime) -> Self {
        let mut by_effect: HashMap<_, Vec<TxnRef>> = HashMap::new();
        let mut touched = BTreeSet::new();
        for &txn in unknown {
            for effect in log.effects(txn) {
                touched.insert(effect.0);
                by_effect.entry(effect).or_default().push(txn);
            }
            touched.extend(log.reads(txn).map(|(key, _, _)| key));
        }
        let mut is_touched = vec![false; super::interner::index(log.keys.len())];
        touched.iter().for_each(|key| is_touched[key.index()] = true);
        let mut evidence = Evidence {
            by_effect,
            versions: BTreeSet::new(),
            initial: BTreeMap::new(),
            oldest_from: BTreeMap::new(),
            acknowledged: Acknowledged::commits(log),
            true_time,
        };
        for row in log.initial.iter().filter(|row| is_touched[row.key.index()]) {
            match row.version {
                Some(version) => evidence.versions.insert((row.key, version)),
                None => evidence.initial.insert(row.key, row.value).is_none(),
            };
        }
        for txn in log.refs() {
            let entry = log.txn(txn);
            if entry.role.is_commit() {
                let keys = log.writes(txn).map(|(key, _)| key).filter(|k| is_touched[k.index()]);
                evidence.versions.extend(keys.map(|key| (key, entry.ts)));
            }
            let Some(point) = read_point(entry) else { continue };
            for (key, _, version) in log.reads(txn).filter(|read| is_touched[read.0.index()]) {
                if let Some(version) = version {
                    evidence.oldest_from.entry(key).or_default().push((point, version));
                }
            }
        }
        for reads in evidence.oldest_from.values_mut() {
            reads.sort_unstable();
            let mut oldest = Timestamp::MAX;
            for (_, version) in reads.iter_mut().rev() {
                oldest = oldest.min(*version);
                *version = oldest;
            }
        }
        evidence
    }

    /// Adds what `txn` saw and is no known commit's, by version.
    fn add_sightings(&self, log: &Log, txn: TxnRef, open: &mut BTreeMap<Timestamp, Sightings>) {
        for (key, value, version) in log.reads(txn) {
            let Some(version) = version else { continue };
            if self.by_effect.contains_key(&(key, value))
                && !self.versions.contains(&(key, version))
            {
                let at_version = open.entry(version).or_default();
                let earliest = at_version.entry((key, value)).or_insert(NEVER);
                *earliest = log.txn(txn).responded.min(*earliest);
            }
        }
    }

    /// An attempt that alone explains one of the sightings at `version`.
    fn forced(
        &self,
        log: &Log,
        version: Timestamp,
        sightings: &Sightings,
        placed: &BTreeMap<TxnRef, Timestamp>,
    ) -> Option<TxnRef> {
        let mut hard = sightings.iter().filter(|(effect, _)| !self.is_initial(**effect, version));
        hard.find_map(|(effect, &seen)| {
            let open: Vec<TxnRef> = self.by_effect[effect]
                .iter()
                .copied()
                .filter(|txn| !placed.contains_key(txn))
                .collect();
            let possible: Vec<TxnRef> = open
                .iter()
                .copied()
                .filter(|txn| self.is_possible(log, *txn, version, sightings, seen))
                .collect();
            match (possible.as_slice(), open.as_slice()) {
                // When everything speaks against the only attempt that writes this value, placing it
                // lets the replay show what is wrong with it.
                ([only], _) | ([], [only]) => Some(*only),
                _ => None,
            }
        })
    }

    /// Whether the version may be that of an initial row that was recorded without one.
    fn is_initial(&self, (key, value): (KeyId, ValueId), version: Timestamp) -> bool {
        let first = self.versions.range((key, Timestamp::ZERO)..).next();
        self.initial.get(&key) == Some(&value)
            && first.is_none_or(|(other, first)| *other != key || version < *first)
    }

    /// Whether nothing speaks against `txn` having committed at `version`.
    fn is_possible(
        &self,
        log: &Log,
        txn: TxnRef,
        version: Timestamp,
        sightings: &Sightings,
        seen: u64,
    ) -> bool {
        let entry = log.txn(txn);
        let is_late_enough = match self.true_time {
            TrueTime::Unknown => true,
            TrueTime::Known { origin } => {
                origin.nanos().saturating_add(entry.commit_sent) <= version.nanos()
            }
        };
        let floor = self.acknowledged.newest_before(entry.invoked);
        entry.invoked <= seen
            && is_late_enough
            && floor.is_none_or(|mark| mark.ts < version)
            && self.reads_hold(log, txn, version)
            && log.effects(txn).iter().all(|(key, value)| {
                !self.versions.contains(&(*key, version))
                    && sightings
                        .range((*key, ValueId::FIRST)..=(*key, ValueId::ABSENT))
                        .all(|((_, seen_value), _)| seen_value == value)
                    && !self.was_missed(*key, version)
            })
    }

    /// Whether what `txn` read was still the newest just below `version`.
    fn reads_hold(&self, log: &Log, txn: TxnRef, version: Timestamp) -> bool {
        log.reads(txn).all(|(key, _, read)| {
            read.is_none_or(|read| {
                read < version
                    && self.versions.range((key, read.next())..(key, version)).next().is_none()
            })
        })
    }

    /// Whether a read above `version` returned an older version of `key`.
    fn was_missed(&self, key: KeyId, version: Timestamp) -> bool {
        let Some(reads) = self.oldest_from.get(&key) else { return false };
        let above = reads.partition_point(|(point, _)| *point < version);
        reads.get(above).is_some_and(|(_, oldest)| *oldest < version)
    }

    /// For the sightings that several attempts explain: when, as what, and what was seen.
    fn nameless(
        &self,
        log: &Log,
        open: &BTreeMap<Timestamp, Sightings>,
        placed: &BTreeMap<TxnRef, Timestamp>,
    ) -> Vec<Nameless> {
        let explained = |version: Timestamp, sightings: &Sightings| {
            let mut pattern: Option<Txn> = None;
            let mut writes = Vec::new();
            for (effect, seen) in sightings {
                let possible = self.by_effect[effect].iter().copied().filter(|txn| {
                    !placed.contains_key(txn)
                        && self.is_possible(log, *txn, version, sightings, *seen)
                });
                // Edges are drawn from the earliest of them, or from none: that can only be too lenient.
                let earliest = possible.map(|txn| *log.txn(txn)).min_by_key(|txn| txn.invoked);
                let earliest = if self.is_initial(*effect, version) {
                    let mut any = *log.txn(self.by_effect[effect][0]);
                    any.invoked = 0;
                    Some(any)
                } else {
                    earliest
                };
                let Some(earliest) = earliest else { continue };
                writes.push(*effect);
                if pattern.is_none_or(|pattern| earliest.invoked < pattern.invoked) {
                    pattern = Some(earliest);
                }
            }
            Some(Nameless { version, pattern: pattern?, writes })
        };
        open.iter().filter_map(|(version, sightings)| explained(*version, sightings)).collect()
    }
}

/// The highest timestamp that a transaction's reads cover; none when they are not judged.
fn read_point(entry: &Txn) -> Option<Timestamp> {
    match entry.role {
        Role::Committed | Role::Resolved => Some(entry.ts.prev()),
        Role::Strong | Role::Stale => Some(entry.ts),
        Role::Unknown | Role::Aborted => None,
    }
}
