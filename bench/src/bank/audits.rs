//! Audits: read every account, and the sum must be what was loaded.

use super::accounts::Accounts;
use std::fmt;
use std::time::Duration;

/// How far back an audit in the past looks (W1).
const PAST: Duration = Duration::from_secs(5);

/// How stale an audit at followers may be.
const FOLLOWER: Duration = Duration::from_secs(1);

/// How many accounts a page of an audit has.
pub(super) const PAGE_ROWS: u32 = 500;

/// One way to read all accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audit {
    /// As of now.
    Strong,
    /// As of some time ago.
    Past {
        /// How long ago.
        staleness: Duration,
    },
    /// At followers, as of a moment ago.
    Follower {
        /// How long ago at most.
        staleness: Duration,
    },
    /// As of now, one page at a time, all at one timestamp (T17).
    Paged {
        /// How many accounts a page has.
        rows: u32,
    },
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Audit::Strong => "strong audit",
            Audit::Past { .. } => "audit in the past",
            Audit::Follower { .. } => "audit at followers",
            Audit::Paged { .. } => "audit in pages",
        })
    }
}

/// What an audit found wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditFailure {
    /// Accounts are missing, or there are more than were made.
    #[error("{audit}: {found} accounts, where {expected} were made")]
    Count {
        /// Which audit.
        audit: Audit,
        /// How many were made.
        expected: u32,
        /// How many it found.
        found: usize,
    },
    /// Money appeared or vanished.
    #[error("{audit}: the accounts hold {found} together, where {expected} was loaded")]
    Sum {
        /// Which audit.
        audit: Audit,
        /// What was loaded.
        expected: i64,
        /// What it found.
        found: i64,
    },
    /// The audit at the end was never answered, so nothing is known of what the run left behind.
    #[error("{audit} at the end: no answer in {tries} tries; a shard may not have come back")]
    NotMade {
        /// Which audit.
        audit: Audit,
        /// How often it was tried.
        tries: u32,
    },
    /// A transfer did not find an account that was made.
    #[error("a transfer found no account {account}, which was made")]
    Missing {
        /// Its number.
        account: u32,
    },
}

impl Audit {
    /// Judges the balances that the audit returned.
    ///
    /// # Errors
    /// The accounts or their sum are not what was loaded: an anomaly.
    pub fn judge(
        self,
        accounts: Accounts,
        balances: impl ExactSizeIterator<Item = i64>,
    ) -> Result<(), AuditFailure> {
        let (expected, found) = (accounts.count(), balances.len());
        if u32::try_from(found) != Ok(expected) {
            return Err(AuditFailure::Count { audit: self, expected, found });
        }
        let expected = accounts.total();
        let found = balances.fold(0, i64::saturating_add);
        if found == expected {
            Ok(())
        } else {
            Err(AuditFailure::Sum { audit: self, expected, found })
        }
    }
}

/// The audits of a run, each kind in turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Audits {
    done: u64,
}

impl Audits {
    /// The next audit, when the accounts were loaded `since_load` ago: nothing looks back further.
    pub fn draw(&mut self, since_load: Duration) -> Audit {
        let kind = self.done % 4;
        self.done += 1;
        match kind {
            0 => Audit::Strong,
            1 => Audit::Past { staleness: PAST.min(since_load) },
            2 => Audit::Follower { staleness: FOLLOWER.min(since_load) },
            _ => Audit::Paged { rows: PAGE_ROWS },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(accounts: u32, balances: &[i64]) -> Result<(), AuditFailure> {
        Audit::Strong.judge(Accounts::new(accounts), balances.iter().copied())
    }

    #[test]
    fn audit_of_the_loaded_sum_passes() {
        assert_eq!(judge(3, &[970, 1000, 1030]), Ok(()));
        assert_eq!(judge(2, &[-5, 2005]), Ok(()));
    }

    #[test]
    fn audit_of_another_sum_or_count_fails() {
        assert_eq!(
            judge(2, &[970, 1000]).unwrap_err().to_string(),
            "strong audit: the accounts hold 1970 together, where 2000 was loaded"
        );
        assert_eq!(
            judge(2, &[2000]).unwrap_err().to_string(),
            "strong audit: 1 accounts, where 2 were made"
        );
    }

    #[test]
    fn audits_take_turns_and_do_not_look_past_the_load() {
        let mut audits = Audits::default();
        let early = Duration::from_millis(300);
        let drawn: Vec<Audit> = (0..4).map(|_| audits.draw(early)).collect();
        let (past, follower) =
            (Audit::Past { staleness: early }, Audit::Follower { staleness: early });
        assert_eq!(drawn, [Audit::Strong, past, follower, Audit::Paged { rows: 500 }]);
        audits.draw(early);
        let late = audits.draw(Duration::from_secs(60));
        assert_eq!(late, Audit::Past { staleness: Duration::from_secs(5) });
    }
}
