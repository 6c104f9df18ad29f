//! Money is neither made nor lost: every snapshot of the bank adds up to the same.
//!
//! The checker of histories finds more; this one names the broken total at the very read that shows it.

use truetime::Timestamp;

use crate::sim::tables::Content;

/// Checks one read of all accounts. Before they were created there are none.
pub fn check(rows: &[(i64, Content)], accounts: i64, total: i64, at: Timestamp) {
    if rows.is_empty() {
        return;
    }
    let found = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    assert_eq!(found, accounts, "bank total: a read at {at} found {found} of {accounts} accounts");
    let sum: i64 = rows.iter().map(|(_, content)| content.amount).sum();
    assert_eq!(sum, total, "bank total: a read at {at} adds up to {sum} instead of {total}");
}
