//! The commands of the golden scripts. `tN` is a transaction that began at N, so the lower is the older.
//!
//! ```text
//! tN: lock x exclusive, [a, f) shared    tN: bind        tN: shrink [a, f) shared to [a, c) | nothing
//! tN: restore <needs>                    tN: release     tN: holds <need>
//! tN: retry of tM                        tN: cancel      tN: held
//! tN: fail waiters
//! locks at most <n>     fail all     blocked by bound     bound writers <span>, ...
//! ```

use super::super::{Acquire, LockMode, LockNeed, LockTable, Waiter};
use super::id;
use crate::golden::Printed;
use proto::{Key, KeySpan, Priority, TxnId};
use std::collections::{BTreeMap, BTreeSet};

pub(super) struct Interpreter {
    table: LockTable,
    priorities: BTreeMap<TxnId, Priority>,
    requests: BTreeMap<Waiter, (TxnId, String)>,
    next: u64,
    /// Named as wounded and not yet released: until then the invariants need not hold.
    wounded: BTreeSet<TxnId>,
}

impl Interpreter {
    pub(super) fn new() -> Self {
        Interpreter {
            table: LockTable::new(1_000),
            priorities: BTreeMap::new(),
            requests: BTreeMap::new(),
            next: 1,
            wounded: BTreeSet::new(),
        }
    }

    pub(super) fn run(&mut self, line: &str) -> Printed {
        let mut printed = match line.split_once(": ") {
            Some((txn, command)) => self.transaction_command(parse_txn(txn)?, command)?,
            None => self.table_command(line)?,
        };
        for (waiter, txn) in self.table.take_granted() {
            let (asked_by, needs) = self.forget(waiter)?;
            assert_eq!(asked_by, txn, "{waiter} was granted to another transaction");
            printed.push(format!("{}: granted {needs}", name(txn)));
        }
        if self.wounded.is_empty() {
            self.table.check_invariants();
        }
        Ok(printed)
    }

    fn transaction_command(&mut self, txn: TxnId, command: &str) -> Printed {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        let priority = *self.priorities.entry(txn).or_insert(Priority::first(txn));
        let outcome = match verb {
            "lock" => self.lock(txn, priority, rest)?,
            "restore" => {
                self.table.restore(txn, priority, parse_needs(rest)?);
                return Ok(vec![]);
            }
            "bind" => {
                self.table.bind(txn);
                return Ok(vec![]);
            }
            "retry" => {
                let first = parse_txn(rest.strip_prefix("of ").ok_or("of whom?")?)?;
                self.priorities.insert(txn, Priority::first(first).retry());
                return Ok(vec![]);
            }
            "release" => return self.release(txn),
            "fail" if rest == "waiters" => {
                let failed = self.table.fail_waiters(txn);
                return failed.into_iter().map(|waiter| self.failed(waiter)).collect();
            }
            "cancel" => {
                let mine = |(_, (asked_by, _)): &(&Waiter, &(TxnId, String))| *asked_by == txn;
                let (waiter, _) = self.requests.iter().rfind(mine).ok_or("nothing waits")?;
                self.table.cancel(*waiter);
                format!("cancelled {}", self.forget(*waiter)?.1)
            }
            "shrink" => {
                let (from, to) = rest.split_once(" to ").ok_or("to what?")?;
                let from = parse_need(from)?;
                let to = match to {
                    "nothing" => KeySpan::new(from.span.start.clone(), from.span.start.clone()),
                    to => parse_span(to)?,
                };
                self.table.shrink(txn, &from, &to);
                self.held(txn)
            }
            "held" => self.held(txn),
            "holds" => {
                let need = parse_need(rest)?;
                let holds = self.table.holds(txn, &need.span, need.mode);
                format!("{} {rest}", if holds { "holds" } else { "lacks" })
            }
            _ => return Err("unknown command".to_owned()),
        };
        Ok(vec![format!("{}: {outcome}", name(txn))])
    }

    fn table_command(&mut self, command: &str) -> Printed {
        if let Some(spans) = command.strip_prefix("bound writers ") {
            let spans = items(spans).map(parse_span).collect::<Result<Vec<_>, _>>()?;
            return Ok(vec![format!("writers: {}", names(&self.table.bound_writers_over(&spans)))]);
        }
        if let Some(limit) = command.strip_prefix("locks at most ") {
            self.table = LockTable::new(limit.parse().map_err(|_| "not a number")?);
            return Ok(vec![]);
        }
        match command {
            "blocked by bound" => {
                let blocked = self.table.blocked_by_bound();
                let line =
                    |(bound, waiting)| format!("{} waits for {}", name(waiting), name(bound));
                Ok(blocked.into_iter().map(line).collect())
            }
            "fail all" => {
                let failed = self.table.fail_all();
                failed.into_iter().map(|waiter| self.failed(waiter)).collect()
            }
            _ => Err("unknown command".to_owned()),
        }
    }

    fn lock(&mut self, txn: TxnId, priority: Priority, needs: &str) -> Result<String, String> {
        let waiter = Waiter(self.next);
        self.next += 1;
        Ok(match self.table.acquire(txn, priority, waiter, parse_needs(needs)?) {
            Acquire::Granted => format!("granted {needs}"),
            Acquire::Overloaded => format!("overloaded {needs}"),
            Acquire::Queued { wounded, behind_bound } => {
                self.requests.insert(waiter, (txn, needs.to_owned()));
                let mut line = String::new();
                if !wounded.is_empty() {
                    line += &format!("wounds {}, ", names(&wounded));
                }
                line += &format!("queued {needs}");
                if !behind_bound.is_empty() {
                    line += &format!(" behind bound {}", names(&behind_bound));
                }
                self.wounded.extend(wounded);
                line
            }
        })
    }

    fn release(&mut self, txn: TxnId) -> Printed {
        self.wounded.remove(&txn);
        let failed = self.table.release(txn);
        failed.into_iter().map(|waiter| self.failed(waiter)).collect()
    }

    fn held(&self, txn: TxnId) -> String {
        let held: Vec<_> =
            self.table.held_spans(txn).iter().map(|need| format!("{need}")).collect();
        if held.is_empty() {
            "held nothing".to_owned()
        } else {
            format!("held {}", held.join(", "))
        }
    }

    fn failed(&mut self, waiter: Waiter) -> Result<String, String> {
        let (txn, needs) = self.forget(waiter)?;
        Ok(format!("{}: failed {needs}", name(txn)))
    }

    fn forget(&mut self, waiter: Waiter) -> Result<(TxnId, String), String> {
        self.requests.remove(&waiter).ok_or(format!("{waiter} is not waiting"))
    }
}

fn name(txn: TxnId) -> String {
    format!("t{}", txn.begin.nanos())
}

fn names(txns: &[TxnId]) -> String {
    if txns.is_empty() {
        return "nobody".to_owned();
    }
    txns.iter().map(|txn| name(*txn)).collect::<Vec<_>>().join(" ")
}

fn parse_txn(text: &str) -> Result<TxnId, String> {
    let number = text.strip_prefix('t').and_then(|digits| digits.parse().ok());
    number.map(id).ok_or(format!("{text} is not a transaction"))
}

/// Splits at commas that are not within `[start, end)`.
fn items(text: &str) -> impl Iterator<Item = &str> {
    let mut is_inside = false;
    text.split(move |c: char| {
        is_inside = c == '[' || (is_inside && c != ')');
        c == ',' && !is_inside
    })
    .map(str::trim)
}

fn parse_needs(text: &str) -> Result<Vec<LockNeed>, String> {
    items(text).map(parse_need).collect()
}

fn parse_need(text: &str) -> Result<LockNeed, String> {
    let (span, mode) = text.rsplit_once(' ').ok_or("a span and a mode are needed")?;
    let mode = match mode {
        "shared" => LockMode::Shared,
        "exclusive" => LockMode::Exclusive,
        _ => return Err(format!("{mode} is not a mode")),
    };
    Ok(LockNeed { span: parse_span(span)?, mode })
}

fn parse_span(text: &str) -> Result<KeySpan, String> {
    let key = |text: &str| Key::from(text.as_bytes());
    let Some(inside) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(')')) else {
        return Ok(KeySpan::point(key(text)));
    };
    match inside.split_once(", ") {
        Some((start, "end")) => Ok(KeySpan { start: key(start), end: None }),
        Some((start, end)) => Ok(KeySpan::new(key(start), key(end))),
        None => Err(format!("{text} is not a span")),
    }
}
