//! Account numbers, keys and balances.

use proto::{Key, Value};

/// What every account holds after loading.
pub const INITIAL_BALANCE: i64 = 1_000;

/// The accounts of one bank: numbers from 0, in the order of their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accounts {
    count: u32,
}

impl Accounts {
    /// That many accounts.
    #[must_use]
    pub fn new(count: u32) -> Self {
        Accounts { count }
    }

    /// How many there are.
    #[must_use]
    pub fn count(self) -> u32 {
        self.count
    }

    /// What all of them hold together, always.
    #[must_use]
    pub fn total(self) -> i64 {
        i64::from(self.count) * INITIAL_BALANCE
    }

    /// The key of account `number` in the history. Its order is that of the numbers.
    #[must_use]
    pub fn key(number: u32) -> Key {
        Key::from(format!("account/{number:010}").into_bytes())
    }

    /// The history's form of `balance`.
    #[must_use]
    pub fn value(balance: i64) -> Value {
        Value::from(balance.to_string().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_keys_sort_like_their_numbers() {
        let numbers = [0, 9, 10, 99, 1_000_000, u32::MAX];
        assert!(numbers.map(Accounts::key).is_sorted());
    }

    #[test]
    fn value_of_a_balance_is_its_number() {
        assert_eq!(Accounts::value(-7), Value::from(&b"-7"[..]));
    }
}
