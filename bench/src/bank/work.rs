//! What a client does next: seeded, and cross-shard by the shard map rather than by guess.

use super::accounts::Accounts;
use crate::rng::Rng;
use proto::ShardId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// No transfer moves more.
const AMOUNT_MAX: u64 = 10;

/// A read-only transaction reads that many accounts.
const READ_ACCOUNTS: u32 = 4;

/// Which shard each account is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    /// By account: the place of its shard in `members`.
    place_of: Vec<usize>,
    /// The shards, and the accounts of each, ascending.
    members: Vec<(ShardId, Vec<u32>)>,
}

impl Spread {
    /// Asks `shard_of`, that is the shard map, for every account.
    #[must_use]
    pub fn new(accounts: Accounts, mut shard_of: impl FnMut(u32) -> ShardId) -> Self {
        let shards: Vec<ShardId> = (0..accounts.count()).map(&mut shard_of).collect();
        let mut by_shard: BTreeMap<ShardId, Vec<u32>> = BTreeMap::new();
        for (account, shard) in (0..).zip(&shards) {
            by_shard.entry(*shard).or_default().push(account);
        }
        let members: Vec<(ShardId, Vec<u32>)> = by_shard.into_iter().collect();
        let place = |shard: &ShardId| {
            members
                .binary_search_by_key(shard, |(member, _)| *member)
                .expect("each account's shard was just listed")
        };
        Spread { place_of: shards.iter().map(place).collect(), members }
    }

    /// The shard of `account`.
    #[must_use]
    pub fn shard(&self, account: u32) -> ShardId {
        self.members[self.place(account)].0
    }

    /// The shards that hold accounts.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> {
        self.members.iter().map(|(shard, _)| *shard)
    }

    /// Whether two accounts are on different shards.
    #[must_use]
    pub fn is_cross_shard(&self, one: u32, two: u32) -> bool {
        self.place(one) != self.place(two)
    }

    fn place(&self, account: u32) -> usize {
        let index = usize::try_from(account).expect("an account number fits a usize");
        self.place_of[index]
    }

    fn accounts(&self) -> u32 {
        u32::try_from(self.place_of.len()).expect("accounts are numbered by u32")
    }

    /// An account other than `from` on its shard, unless it is alone there.
    fn neighbour(&self, from: u32, rng: &mut Rng) -> Option<u32> {
        let neighbours = &self.members[self.place(from)].1;
        let others = u64::try_from(neighbours.len() - 1).expect("a length fits 64 bits");
        let own = neighbours.binary_search(&from).expect("an account is a member of its shard");
        let chosen =
            usize::try_from((others > 0).then(|| rng.below(others))?).expect("below a length");
        Some(neighbours[if chosen < own { chosen } else { chosen + 1 }])
    }

    /// An account on another shard than `from`, unless there is only one; each is equally likely.
    fn stranger(&self, from: u32, rng: &mut Rng) -> Option<u32> {
        let own = &self.members[self.place(from)].1;
        let is_alone = own.len() == self.place_of.len();
        if is_alone {
            return None;
        }
        // Half of the draws or more succeed, but for a lopsided spread.
        loop {
            let to = rng.below(u64::from(self.accounts()));
            let to = u32::try_from(to).expect("below the number of accounts");
            if self.is_cross_shard(from, to) {
                return Some(to);
            }
        }
    }
}

/// Money from one account to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Who pays.
    pub from: u32,
    /// Who gets it; not `from`.
    pub to: u32,
    /// How much.
    pub amount: i64,
    /// Whether the two are on different shards.
    pub is_cross_shard: bool,
}

/// One piece of a client's work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// A read-write transaction.
    Transfer(Transfer),
    /// A strong read-only transaction of these accounts, ascending.
    Read(Vec<u32>),
}

/// The endless work of one client.
#[derive(Clone, Debug)]
pub struct Workload {
    spread: Arc<Spread>,
    rng: Rng,
    cross_shard: f64,
    read_only: f64,
}

impl Workload {
    /// The work of client `client`: `cross_shard` of the transfers are, and `read_only` of all work.
    #[must_use]
    pub fn new(
        spread: Arc<Spread>,
        seed: u64,
        client: u32,
        cross_shard: f64,
        read_only: f64,
    ) -> Self {
        assert!(spread.accounts() >= 2, "a transfer needs two accounts");
        let mut seeds = Rng::new(seed);
        let base = seeds.next();
        let rng = Rng::new(base ^ Rng::new(u64::from(client)).next());
        Workload { spread, rng, cross_shard, read_only }
    }

    /// What to do next.
    pub fn draw(&mut self) -> Work {
        if self.rng.chance(self.read_only) {
            let count = READ_ACCOUNTS.min(self.spread.accounts());
            let mut accounts: Vec<u32> = (0..count).map(|_| self.account()).collect();
            accounts.sort_unstable();
            accounts.dedup();
            return Work::Read(accounts);
        }
        Work::Transfer(self.transfer())
    }

    fn account(&mut self) -> u32 {
        u32::try_from(self.rng.below(u64::from(self.spread.accounts())))
            .expect("below the number of accounts")
    }

    fn transfer(&mut self) -> Transfer {
        let from = self.account();
        let wants_cross_shard = self.rng.chance(self.cross_shard);
        let (spread, rng) = (&self.spread, &mut self.rng);
        // Where the wish cannot be met, because a shard has one account or there is one shard, the
        // other kind is better than none.
        let to = if wants_cross_shard {
            spread.stranger(from, rng).or_else(|| spread.neighbour(from, rng))
        } else {
            spread.neighbour(from, rng).or_else(|| spread.stranger(from, rng))
        }
        .expect("there are two accounts, so one is a neighbour or a stranger");
        let amount = i64::try_from(1 + rng.below(AMOUNT_MAX)).expect("a small amount");
        Transfer { from, to, amount, is_cross_shard: spread.is_cross_shard(from, to) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(accounts: u32, shards: u32) -> Arc<Spread> {
        let per_shard = accounts.div_ceil(shards);
        let shard_of = |account| ShardId(u64::from(account / per_shard) + 2);
        Arc::new(Spread::new(Accounts::new(accounts), shard_of))
    }

    fn transfers(spread: &Arc<Spread>, seed: u64, cross_shard: f64) -> Vec<Transfer> {
        let mut workload = Workload::new(Arc::clone(spread), seed, 0, cross_shard, 0.0);
        (0..4000)
            .map(|_| match workload.draw() {
                Work::Transfer(transfer) => transfer,
                Work::Read(_) => panic!("no reads were asked for"),
            })
            .collect()
    }

    #[test]
    fn transfer_is_between_two_accounts_and_says_where_they_are() {
        let spread = spread(100, 8);
        for transfer in transfers(&spread, 1, 0.5) {
            assert_ne!(transfer.from, transfer.to);
            assert!((1..=10).contains(&transfer.amount));
            let is_cross_shard = spread.shard(transfer.from) != spread.shard(transfer.to);
            assert_eq!(transfer.is_cross_shard, is_cross_shard);
        }
    }

    #[test]
    fn cross_shard_share_is_met() {
        let spread = spread(100, 8);
        let share = |wanted| {
            transfers(&spread, 1, wanted).iter().filter(|transfer| transfer.is_cross_shard).count()
        };
        assert_eq!(share(0.0), 0);
        assert_eq!(share(1.0), 4000);
        assert!((1800..2200).contains(&share(0.5)), "{}", share(0.5));
    }

    #[test]
    fn cross_shard_that_cannot_be_gives_way() {
        let one_shard = transfers(&spread(10, 1), 1, 1.0);
        assert!(one_shard.iter().all(|transfer| !transfer.is_cross_shard));
        let lonely = transfers(&spread(2, 2), 1, 0.0);
        assert!(lonely.iter().all(|transfer| transfer.is_cross_shard));
    }

    #[test]
    fn every_account_pays_and_gets() {
        let drawn = transfers(&spread(20, 4), 1, 0.5);
        for account in 0..20 {
            assert!(drawn.iter().any(|transfer| transfer.from == account), "{account} pays");
            assert!(drawn.iter().any(|transfer| transfer.to == account), "{account} gets");
        }
    }

    #[test]
    fn work_follows_from_seed_and_client() {
        let spread = spread(100, 8);
        let draws = |seed, client| {
            let mut workload = Workload::new(Arc::clone(&spread), seed, client, 0.5, 0.5);
            (0..50).map(|_| workload.draw()).collect::<Vec<_>>()
        };
        assert_eq!(draws(1, 1), draws(1, 1));
        assert_ne!(draws(1, 1), draws(2, 1));
        assert_ne!(draws(1, 1), draws(1, 2));
        let reads = draws(1, 1).iter().filter(|work| matches!(work, Work::Read(_))).count();
        assert!((10..40).contains(&reads), "{reads} of 50 are reads");
    }

    #[test]
    fn spread_lists_the_shards_that_hold_accounts() {
        let spread = spread(10, 4);
        let shards: Vec<ShardId> = spread.shards().collect();
        assert_eq!(shards, [ShardId(2), ShardId(3), ShardId(4), ShardId(5)]);
        assert_eq!(spread.shard(9), ShardId(5));
    }
}
