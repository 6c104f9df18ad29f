//! Commits as large as one message takes: they travel in pieces, and small ones go on between these.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use client::{Bound, Client, ClientError, Mutations, Scan};

use crate::support::{Cluster, TABLE, client, create_table, put, until};

const COLUMNS: [&str; 3] = ["id", "value", "filler"];
/// Together 15 MiB; a message takes 16.
const ROWS: i64 = 60;
const ROW_BYTES: usize = 256 << 10;
/// The rows of small commits, each on another shard; none is in a large commit.
const SMALL: [i64; 4] = [201, 401, 601, 801];

/// Writes large rows in one transaction: `ROWS` ids, `step` apart.
async fn put_large(client: &Client, step: i64, value: i64) -> Result<(), ClientError> {
    let filler = char::from(b'a' + u8::try_from(value).expect("few values"));
    let filler = String::from(filler).repeat(ROW_BYTES);
    let mut mutations = Mutations::new();
    for row in 0..ROWS {
        let values = vec![(row * step).into(), value.into(), filler.as_str().into()];
        mutations.insert_or_update(TABLE, &COLUMNS, values);
    }
    client.apply(&mutations).await.map(drop)
}

/// The value of each row that has a filler, which must be whole and of that value.
async fn read_large(client: &Client) -> Result<BTreeMap<i64, i64>, ClientError> {
    let scan = Scan { columns: &COLUMNS, ..Scan::default() };
    let rows = client.snapshot(Bound::Strong).scan(TABLE, scan).await?;
    let mut found = BTreeMap::new();
    for row in &rows {
        let (id, value, filler): (i64, i64, Option<String>) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        let Some(filler) = filler else { continue };
        let expected = b'a' + u8::try_from(value).expect("few values");
        assert_eq!(filler.len(), ROW_BYTES, "row {id}");
        assert!(filler.bytes().all(|byte| byte == expected), "row {id}");
        found.insert(id, value);
    }
    Ok(found)
}

/// Small commits, one behind the other on each of the shards, until they are stopped.
struct SmallCommits {
    count: Arc<AtomicI64>,
    stop: Arc<AtomicBool>,
    writers: tokio::task::JoinSet<()>,
}

impl SmallCommits {
    fn start(client: &Client) -> Self {
        let (count, stop) = (Arc::<AtomicI64>::default(), Arc::<AtomicBool>::default());
        let mut writers = tokio::task::JoinSet::new();
        for id in SMALL {
            let (client, count, stop) = (client.clone(), count.clone(), stop.clone());
            writers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let value = count.fetch_add(1, Ordering::Relaxed);
                    put(&client, id, value).await.expect("a large commit stops no small one");
                }
            });
        }
        SmallCommits { count, stop, writers }
    }

    fn count(&self) -> i64 {
        self.count.load(Ordering::Relaxed)
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.writers.join_all().await;
    }
}

#[tokio::test]
async fn commits_of_fifteen_mebibytes_work_while_small_ones_go_on() {
    let mut cluster = Cluster::start(3).await;
    let large = client(&cluster.addresses()).await;
    create_table(&large, 4).await;
    for id in SMALL {
        until("a commit", async || put(&large, id, 0).await).await;
    }
    // A client of its own: one stream carries its messages one behind the other.
    let small = SmallCommits::start(&client(&cluster.addresses()).await);

    // On one shard, and twice, so that the second finds the rows of the first.
    for value in 1..=2 {
        let before = small.count();
        put_large(&large, 1, value).await.expect("a commit on one shard");
        assert!(small.count() >= before + 4, "some ended meanwhile: {before}, {}", small.count());
    }
    // Across all shards.
    for value in 3..=4 {
        let before = small.count();
        put_large(&large, 16, value).await.expect("a commit across shards");
        assert!(small.count() >= before + 4, "some ended meanwhile: {before}, {}", small.count());
    }
    small.stop().await;

    let mut expected: BTreeMap<i64, i64> = (0..ROWS).map(|row| (row, 2)).collect();
    expected.extend((0..ROWS).map(|row| (row * 16, 4)));
    let found = until("a strong read", async || read_large(&large).await).await;
    assert_eq!(found, expected);

    // What the logs have is as good as what was applied.
    for node in &mut cluster.nodes {
        node.kill().await;
    }
    cluster.start_all().await;
    let large = client(&cluster.addresses()).await;
    let found = until("a strong read", async || read_large(&large).await).await;
    assert_eq!(found, expected);
    until("a commit", async || put_large(&large, 16, 5).await).await;
}
