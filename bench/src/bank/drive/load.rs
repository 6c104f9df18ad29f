//! Makes the table and its accounts, and finds out where they are.

use super::error::BankError;
use super::recording::Seen;
use super::{COLUMNS, ROW, TABLE};
use crate::bank::accounts::{Accounts, INITIAL_BALANCE};
use crate::bank::options::BankOptions;
use crate::bank::work::Spread;
use client::{
    Bound, Client, ClientError, Column, ColumnType, ErrorKind, KeyRange, Mutations, Row, Scan,
    Snapshot, Table, TablePlacement,
};
use indicatif::{ProgressBar, ProgressStyle};
use proto::rpc::v1::SplitEvenly;
use proto::{ShardId, TableId};
use std::ops::Range;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// Rows of one commit while loading: an entry of some 10 KB.
const BATCH_ROWS: u32 = 500;

/// Commits in flight while loading. Each loader has its own part of the accounts, so they are on as many
/// shards as there are.
const LOADERS: u32 = 8;

/// How long the shard map may lag behind the new table.
const MAP_TIMEOUT: Duration = Duration::from_secs(10);

/// The table as it is made.
fn table() -> Table {
    let column = |name: &str| Column {
        name: name.to_owned(),
        r#type: ColumnType::Bigint.into(),
        not_null: true,
        ..Column::default()
    };
    Table {
        name: TABLE.to_owned(),
        id: 0,
        columns: COLUMNS.iter().map(|name| column(name)).collect(),
        primary_key: vec![COLUMNS[0].to_owned()],
    }
}

/// Makes the table anew, spread by range.
pub(super) async fn create(client: &Client, options: &BankOptions) -> Result<TableId, BankError> {
    match client.get_table(TABLE).await {
        Ok(found) => {
            let names = found.columns.iter().map(|column| column.name.as_str());
            if !names.eq(COLUMNS) {
                return Err(BankError::TableInTheWay { table: TABLE });
            }
            client
                .drop_table(TABLE)
                .await
                .map_err(BankError::doing("drop the table of an earlier run"))?;
        }
        Err(error) if is_missing(&error) => {}
        Err(error) => return Err(BankError::doing("ask for the bank's table")(error)),
    }
    let placement = TablePlacement::SplitEvenly(SplitEvenly {
        shards: options.shards,
        from: 0,
        to: i64::from(options.accounts),
    });
    let made = client
        .create_table_if_missing(table(), Some(placement))
        .await
        .map_err(BankError::doing("create the bank's table"))?;
    Ok(TableId(made.id))
}

fn is_missing(error: &ClientError) -> bool {
    error.refusal().is_some_and(|refusal| refusal.kind == ErrorKind::TableNotFound)
}

/// Asks the shard map where every account is.
pub(super) async fn spread(
    client: &Client,
    table: TableId,
    accounts: Accounts,
) -> Result<Spread, BankError> {
    let deadline = Instant::now() + MAP_TIMEOUT;
    loop {
        let map = client.shard_map().await.map_err(BankError::doing("read the shard map"))?;
        let mut missing = None;
        let spread = Spread::new(accounts, |account| {
            let place = map.locate(table, &i64::from(account).into());
            place.map_or_else(
                || {
                    missing.get_or_insert(account);
                    ShardId::SYSTEM
                },
                |place| place.shard,
            )
        });
        match missing {
            None => return Ok(spread),
            Some(account) if Instant::now() > deadline => {
                return Err(BankError::NoShard { account });
            }
            Some(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Gives every account its first balance.
pub(super) async fn fill(client: &Client, accounts: Accounts) -> Result<(), BankError> {
    let bar = ProgressBar::new(u64::from(accounts.count())).with_style(
        ProgressStyle::with_template("loading {bar:40} {pos}/{len} accounts, {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let mut loaders = JoinSet::new();
    for loader in 0..LOADERS {
        let (client, bar) = (client.clone(), bar.clone());
        let part = part(accounts.count(), loader);
        loaders.spawn(async move { fill_part(&client, part, &bar).await });
    }
    while let Some(ended) = loaders.join_next().await {
        ended?.map_err(BankError::doing("load the accounts"))?;
    }
    bar.finish_and_clear();
    Ok(())
}

/// The accounts of one loader.
fn part(accounts: u32, loader: u32) -> Range<u32> {
    let bound = |loader: u32| {
        let bound = u64::from(accounts) * u64::from(loader) / u64::from(LOADERS);
        u32::try_from(bound).expect("at most the number of accounts")
    };
    bound(loader)..bound(loader + 1)
}

async fn fill_part(
    client: &Client,
    part: Range<u32>,
    bar: &ProgressBar,
) -> Result<(), ClientError> {
    let mut from = part.start;
    while from < part.end {
        let to = from.saturating_add(BATCH_ROWS).min(part.end);
        let mut mutations = Mutations::new();
        for account in from..to {
            // Not an insert, which would have to look first.
            mutations.replace(TABLE, &ROW, vec![i64::from(account).into(), INITIAL_BALANCE.into()]);
        }
        client.apply(&mutations).await?;
        bar.inc(u64::from(to - from));
        from = to;
    }
    Ok(())
}

/// Reads every account as it is now, for the beginning of the history.
pub(super) async fn initial(client: &Client, accounts: Accounts) -> Result<Box<[Seen]>, BankError> {
    let mut snapshot = client.snapshot(Bound::Strong);
    let rows = scan(&mut snapshot).await.map_err(BankError::doing("read what was loaded"))?;
    let rows = all_seen(&rows)?;
    let (expected, found) = (accounts.count(), rows.len());
    if u32::try_from(found) == Ok(expected) {
        Ok(rows)
    } else {
        Err(BankError::NotLoaded { expected, found })
    }
}

/// Reads the whole table.
pub(super) async fn scan(snapshot: &mut Snapshot) -> Result<Vec<Row>, ClientError> {
    snapshot.scan(TABLE, whole_table()).await
}

/// All rows, with both columns.
pub(super) fn whole_table() -> Scan<'static> {
    Scan { range: KeyRange::all(), columns: &COLUMNS, limit: 0 }
}

/// The rows of a scan: the account and its balance.
pub(super) fn all_seen(rows: &[Row]) -> Result<Box<[Seen]>, BankError> {
    rows.iter().map(seen_row).collect()
}

fn seen_row(row: &Row) -> Result<Seen, BankError> {
    let odd = |reason: String| BankError::OddRow { reason };
    let column = |index| row.get::<i64>(index).map_err(|error| odd(error.to_string()));
    let (id, balance) = (column(0)?, column(1)?);
    let account = u32::try_from(id).map_err(|_| odd(format!("account {id}")))?;
    Ok(Seen { account, balance, version: row.version() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_the_loaders_are_all_accounts_once() {
        for accounts in [2, 7, 8, 100_000, u32::MAX] {
            let parts: Vec<Range<u32>> =
                (0..LOADERS).map(|loader| part(accounts, loader)).collect();
            assert_eq!((parts[0].start, parts[7].end), (0, accounts));
            assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start), "{parts:?}");
        }
    }

    #[test]
    fn row_that_is_no_account_is_refused() {
        let row = |id: i64| Row { commit_timestamp: 5, values: vec![id.into(), 7_i64.into()] };
        assert_eq!(all_seen(&[row(3)]).unwrap()[0].balance, 7);
        assert!(matches!(all_seen(&[row(-1)]), Err(BankError::OddRow { .. })));
        let short = Row { commit_timestamp: 5, values: vec![1_i64.into()] };
        assert!(matches!(all_seen(&[short]), Err(BankError::OddRow { .. })));
    }
}
