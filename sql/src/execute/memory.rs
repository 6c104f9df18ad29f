//! Counts the memory that an execution keeps rows in.

use crate::error::{SqlError, SqlState};
use crate::scalar::value::Value;

/// What is used, and what may be.
#[derive(Debug)]
pub(super) struct Memory {
    used: usize,
    max: usize,
}

impl Memory {
    pub(super) fn new(max: usize) -> Self {
        Memory { used: 0, max }
    }

    /// Takes some bytes for `what`, as in "sorting".
    pub(super) fn take(&mut self, bytes: usize, what: &str) -> Result<(), SqlError> {
        self.used = self.used.saturating_add(bytes);
        if self.used <= self.max {
            return Ok(());
        }
        let message =
            format!("{what} needs more than the {} bytes that a statement may keep", self.max);
        let error = SqlError::new(SqlState::OUT_OF_MEMORY, message);
        Err(error.with_hint(
            "Read fewer rows at once with WHERE or LIMIT, leave out columns that are not needed, \
             or raise the cluster setting sql.memory_max.",
        ))
    }

    pub(super) fn give_back(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
    }
}

/// Bytes of a row that is kept.
pub(super) fn size_of_row(row: &[Value]) -> usize {
    size_of::<Vec<Value>>() + row.iter().map(Value::size).sum::<usize>()
}
