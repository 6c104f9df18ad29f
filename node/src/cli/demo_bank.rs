//! The transfers of `\bank`: a small load that shows what a dead node costs, and that no money is lost.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use client::{Bound, Client, ClientError, LockMode, RowKey, Scan};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::demo::{ACCOUNTS, TABLE};

/// Transfers at the same time.
const WORKERS: u32 = 8;
/// Between two transfers of a worker: there is to be CPU left for whoever looks on.
const PAUSE: Duration = Duration::from_millis(10);
/// The largest sum that is moved at once.
const AMOUNT_MAX: u64 = 10;
/// Over how long the rate is taken.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// The load. It ends when this is dropped.
pub(super) struct DemoBank {
    client: Client,
    workers: Mutex<JoinSet<()>>,
    stats: Arc<Stats>,
    total_at_start: i64,
    began: Instant,
}

#[derive(Default)]
struct Stats {
    transfers: AtomicU64,
    retries: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
    recent: Mutex<Recent>,
}

/// When the last transfers were.
#[derive(Default)]
struct Recent {
    /// Those of the window.
    at: std::collections::VecDeque<Instant>,
    last: Option<Instant>,
    longest_gap: Duration,
    last_error: Option<String>,
}

impl Recent {
    fn transferred(&mut self, now: Instant) {
        if let Some(last) = self.last {
            self.longest_gap = self.longest_gap.max(now.saturating_duration_since(last));
        }
        self.last = Some(now);
        self.at.push_back(now);
        self.forget(now);
    }

    fn forget(&mut self, now: Instant) {
        while self.at.front().is_some_and(|at| now.saturating_duration_since(*at) > RATE_WINDOW) {
            self.at.pop_front();
        }
    }
}

impl DemoBank {
    /// Starts the transfers.
    pub(super) async fn start(client: Client) -> Result<Self, ClientError> {
        let (total_at_start, _) = total(&client).await?;
        let stats = Arc::new(Stats::default());
        let mut workers = JoinSet::new();
        for worker in 0..WORKERS {
            workers.spawn(work(client.clone(), Arc::clone(&stats), worker));
        }
        let began = Instant::now();
        Ok(DemoBank { client, workers: Mutex::new(workers), stats, total_at_start, began })
    }

    /// What was started.
    pub(super) fn started(&self) -> String {
        format!("{WORKERS} clients transfer; the total is {}\n", self.total_at_start)
    }

    /// Ends the transfers.
    pub(super) fn stop(&self) {
        self.workers.lock().abort_all();
    }

    /// How it goes.
    pub(super) async fn status(&self) -> Result<String, String> {
        let (total, accounts) = total(&self.client).await.map_err(|error| error.to_string())?;
        let now = Instant::now();
        let (recent, gap, last_error) = {
            let mut recent = self.stats.recent.lock();
            recent.forget(now);
            // One that still lasts counts, too.
            let open = recent.last.map_or(Duration::ZERO, |last| now - last);
            (recent.at.len(), recent.longest_gap.max(open), recent.last_error.clone())
        };
        let window = RATE_WINDOW.min(now - self.began).max(Duration::from_millis(1));
        // Far below what a float represents.
        let rate = f64::from(u32::try_from(recent).unwrap_or(u32::MAX)) / window.as_secs_f64();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let verdict = if total == self.total_at_start {
            "as at the start".to_owned()
        } else {
            format!("but {} at the start: did you change balances meanwhile?", self.total_at_start)
        };
        let mut text = format!(
            "transfers: {} ({rate:.0}/s in the last {:.0} s), {} run again after an abort\n\
             longest time without one: {:.1} s\n\
             errors: {} refused, {} with unknown outcome\n\
             total of {accounts} accounts: {total}, {verdict}\n",
            count(&self.stats.transfers),
            window.as_secs_f64(),
            count(&self.stats.retries),
            gap.as_secs_f64(),
            count(&self.stats.refused),
            count(&self.stats.unknown),
        );
        if let Some(error) = last_error {
            text = format!("{text}last error: {error}\n");
        }
        Ok(text)
    }
}

/// The money of all accounts at one timestamp, and how many accounts there are.
async fn total(client: &Client) -> Result<(i64, usize), ClientError> {
    let columns = ["balance"];
    let scan = Scan { columns: &columns, ..Scan::default() };
    let rows = client.snapshot(Bound::Strong).scan(TABLE, scan).await?;
    let mut total = 0_i64;
    for row in &rows {
        total = total.wrapping_add(row.get(0)?);
    }
    Ok((total, rows.len()))
}

async fn work(client: Client, stats: Arc<Stats>, worker: u32) {
    let random = RandomState::new();
    let mut draws = 0_u64;
    let mut draw = |below: u64| {
        draws += 1;
        random.hash_one((worker, draws)) % below
    };
    let accounts = u64::try_from(ACCOUNTS).expect("a positive constant");
    loop {
        let from = draw(accounts);
        // Never the same one.
        let to = (from + 1 + draw(accounts - 1)) % accounts;
        let amount = 1 + draw(AMOUNT_MAX);
        let [from, to, amount] =
            [from + 1, to + 1, amount].map(|n| i64::try_from(n).expect("small numbers"));
        match transfer(&client, from, to, amount).await {
            Ok(attempts) => {
                stats.transfers.fetch_add(1, Ordering::Relaxed);
                stats.retries.fetch_add(u64::from(attempts) - 1, Ordering::Relaxed);
                stats.recent.lock().transferred(Instant::now());
            }
            Err(error) => {
                let counter = match &error {
                    ClientError::OutcomeUnknown { .. } => &stats.unknown,
                    _ => &stats.refused,
                };
                counter.fetch_add(1, Ordering::Relaxed);
                stats.recent.lock().last_error = Some(error.to_string());
                // What is refused may be refused again at once.
                sleep(PAUSE * 10).await;
            }
        }
        sleep(PAUSE).await;
    }
}

/// Moves money and tells how many attempts it took.
async fn transfer(client: &Client, from: i64, to: i64, amount: i64) -> Result<u32, ClientError> {
    let committed = client
        .run(|transaction| async move {
            let keys: Vec<RowKey> = vec![from.into(), to.into()];
            let rows = transaction.get_many(TABLE, keys, &["balance"], LockMode::ForUpdate).await?;
            let balances = rows.iter().filter(|row| row.exists()).map(|row| row.get::<i64>(0));
            let balances = balances.collect::<Result<Vec<_>, _>>()?;
            // Accounts that somebody deleted, or that have too little, are left alone.
            if let [source, target] = balances[..]
                && source >= amount
            {
                for (id, balance) in [(from, source - amount), (to, target + amount)] {
                    transaction.update(TABLE, &["id", "balance"], vec![id.into(), balance.into()]);
                }
            }
            Ok::<_, ClientError>(())
        })
        .await?;
    Ok(committed.attempts.max(1))
}
