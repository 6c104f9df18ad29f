//! A database in memory, for tests: no shards, no locks, one version of each row.
//!
//! Pages are short, so that paging is tested wherever anything is read. Every scan is kept, to be asked about.

use proto::encoding::{ColumnId, Datum, Direction, KeyColumn, TableParts, TableSchema};
use proto::table::{KeyBound, KeyRange, KeySet, Mutation, NewTable, TableRef, WriteKind};
use proto::{Priority, TableId, TxnId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use truetime::Timestamp;

use crate::error::{SqlError, SqlState};
use crate::kv::{Begin, Commit, Kv, Page, Scan, Transaction};

const PAGE_ROWS: usize = 3;

type Key = Vec<Datum>;
type Buffered = BTreeMap<(TableId, Key), Option<Vec<Datum>>>;
type Rows = BTreeMap<Key, Vec<Datum>>;

#[derive(Default)]
struct State {
    tables: BTreeMap<String, Arc<TableSchema>>,
    splits: BTreeMap<String, Vec<Key>>,
    rows: BTreeMap<TableId, Rows>,
    /// Writes of transactions that have not committed; none for a deletion.
    buffered: BTreeMap<TxnId, Buffered>,
    scans: Vec<Scan>,
    begun: Vec<Begin>,
    /// What the next transactions fail to begin with.
    begin_refusals: VecDeque<SqlError>,
    /// What the next buffered writes fail with.
    write_refusals: VecDeque<SqlError>,
    rolled_back: Vec<TxnId>,
    /// What the next commits fail with, before they take effect.
    refusals: VecDeque<SqlError>,
    commits: usize,
    settings: Arc<BTreeMap<String, String>>,
    next: u64,
}

/// The database.
#[derive(Default)]
pub(crate) struct MemoryKv {
    state: Mutex<State>,
    breaths: AtomicUsize,
    writes: AtomicUsize,
}

impl MemoryKv {
    /// The scans since the last call; the first page of each.
    pub(crate) fn take_scans(&self) -> Vec<Scan> {
        let scans = std::mem::take(&mut self.state.lock().unwrap().scans);
        scans.into_iter().filter(|scan| scan.resume.is_none()).collect()
    }

    /// Has the next commits fail so, one after the other.
    pub(crate) fn refuse_commits(&self, errors: impl IntoIterator<Item = SqlError>) {
        self.state.lock().unwrap().refusals.extend(errors);
    }

    /// Has the next transactions fail to begin, one after the other.
    pub(crate) fn refuse_begins(&self, errors: impl IntoIterator<Item = SqlError>) {
        self.state.lock().unwrap().begin_refusals.extend(errors);
    }

    /// Has the next buffered writes fail so, one after the other.
    pub(crate) fn refuse_writes(&self, errors: impl IntoIterator<Item = SqlError>) {
        self.state.lock().unwrap().write_refusals.extend(errors);
    }

    /// What was rolled back so far.
    pub(crate) fn rolled_back(&self) -> Vec<TxnId> {
        self.state.lock().unwrap().rolled_back.clone()
    }

    /// What was begun so far.
    pub(crate) fn begun(&self) -> Vec<Begin> {
        self.state.lock().unwrap().begun.clone()
    }

    /// Commits that were tried so far.
    pub(crate) fn commits(&self) -> usize {
        self.state.lock().unwrap().commits
    }

    pub(crate) fn breaths(&self) -> usize {
        self.breaths.load(Ordering::Relaxed)
    }

    /// How often writes were buffered ahead of a commit.
    pub(crate) fn writes(&self) -> usize {
        self.writes.load(Ordering::Relaxed)
    }

    pub(crate) fn splits(&self, table: &str) -> Vec<Key> {
        self.state.lock().unwrap().splits[table].clone()
    }
}

impl State {
    /// The rows of a table as a transaction sees them.
    fn view(&self, table: TableId, transaction: Transaction) -> Rows {
        let mut rows = self.rows.get(&table).cloned().unwrap_or_default();
        if let Transaction::ReadWrite { id, .. } = transaction {
            for ((of, key), row) in self.buffered.get(&id).into_iter().flatten() {
                if *of != table {
                    continue;
                }
                match row {
                    Some(row) => rows.insert(key.clone(), row.clone()),
                    None => rows.remove(key),
                };
            }
        }
        rows
    }

    fn write(&mut self, id: TxnId, mutation: Mutation) -> Result<(), SqlError> {
        let transaction = read_write(id);
        match mutation {
            Mutation::Delete { table, keys } => {
                let schema = self.schema(&table);
                let view = self.view(schema.id(), transaction);
                let keys: Vec<Key> = view.into_keys().filter(|key| contains(&keys, key)).collect();
                for key in keys {
                    self.buffer(id, schema.id(), key, None);
                }
            }
            Mutation::Write { kind, table, columns, rows } => {
                let schema = self.schema(&table);
                for row in rows {
                    let mut whole = vec![Datum::Null; schema.columns().len()];
                    for (name, datum) in columns.iter().zip(row) {
                        let at = schema.position_of(name).unwrap();
                        let column = &schema.columns()[at];
                        assert!(datum.fits(column.column_type), "{datum:?} in {column:?}");
                        assert!(!(column.not_null && datum.is_null()), "NULL in {column:?}");
                        whole[at] = datum;
                    }
                    let key: Key =
                        schema.key_positions().iter().map(|at| whole[*at].clone()).collect();
                    let exists = self.view(schema.id(), transaction).contains_key(&key);
                    match kind {
                        WriteKind::Insert if exists => {
                            let message = format!(
                                "duplicate key value violates unique constraint \"{}_pkey\"",
                                schema.name()
                            );
                            return Err(SqlError::new(SqlState::UNIQUE_VIOLATION, message));
                        }
                        WriteKind::Insert | WriteKind::Replace => {}
                        WriteKind::Update | WriteKind::InsertOrUpdate => unreachable!("unused"),
                    }
                    self.buffer(id, schema.id(), key, Some(whole));
                }
            }
        }
        Ok(())
    }

    fn buffer(&mut self, id: TxnId, table: TableId, key: Key, row: Option<Vec<Datum>>) {
        self.buffered.entry(id).or_default().insert((table, key), row);
    }

    fn schema(&self, table: &TableRef) -> Arc<TableSchema> {
        let is = |schema: &&Arc<TableSchema>| match table {
            TableRef::Id(id) => schema.id() == *id,
            TableRef::Name(name) => schema.name() == name,
        };
        Arc::clone(self.tables.values().find(is).unwrap())
    }
}

fn read_write(id: TxnId) -> Transaction {
    let priority = Priority { begin: id.begin, first: id, attempt: 1 };
    Transaction::ReadWrite { id, priority }
}

fn contains(keys: &KeySet, key: &Key) -> bool {
    let starts_with = |prefix: &Key| key[..prefix.len()].cmp(prefix);
    let in_range = |range: &KeyRange| {
        let above = match &range.start {
            KeyBound::Unbounded => true,
            KeyBound::Included(prefix) => starts_with(prefix).is_ge(),
            KeyBound::Excluded(prefix) => starts_with(prefix).is_gt(),
        };
        let below = match &range.end {
            KeyBound::Unbounded => true,
            KeyBound::Included(prefix) => starts_with(prefix).is_le(),
            KeyBound::Excluded(prefix) => starts_with(prefix).is_lt(),
        };
        above && below
    };
    keys.points.contains(key) || keys.ranges.iter().any(in_range)
}

fn new_schema(id: TableId, table: &NewTable) -> TableSchema {
    let mut columns = table.columns.clone();
    for (column, number) in columns.iter_mut().zip(1..) {
        column.id = ColumnId(number);
    }
    let id_of = |name: &String| columns.iter().find(|column| column.name == *name).unwrap().id;
    let key = |name| KeyColumn { column: id_of(name), direction: Direction::Ascending };
    let primary_key = table.primary_key.iter().map(key).collect();
    let next_column = ColumnId(u32::try_from(columns.len()).unwrap() + 1);
    let name = table.name.clone();
    TableSchema::new(TableParts { id, name, columns, primary_key, next_column }).unwrap()
}

impl Kv for MemoryKv {
    fn table(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Option<Arc<TableSchema>>, SqlError>> + Send {
        let found = self.state.lock().unwrap().tables.get(name).cloned();
        async move { Ok(found) }
    }

    fn tables(&self) -> impl Future<Output = Result<Vec<Arc<TableSchema>>, SqlError>> + Send {
        let all = self.state.lock().unwrap().tables.values().cloned().collect();
        async move { Ok(all) }
    }

    fn begin(&self, begin: Begin) -> impl Future<Output = Result<Transaction, SqlError>> + Send {
        let mut state = self.state.lock().unwrap();
        let refusal = state.begin_refusals.pop_front();
        state.begun.push(begin);
        state.next += 1;
        let begin_ts = Timestamp::from_nanos(state.next);
        let id = TxnId { horizon: begin_ts, begin: begin_ts, origin: 1, sequence: state.next };
        let transaction = match begin {
            Begin::ReadWrite { .. } => read_write(id),
            Begin::ReadOnly | Begin::Ago(_) | Begin::MaxStaleness(_) => {
                Transaction::ReadOnly { at: begin_ts, strong: true }
            }
            Begin::AsOf(at) => Transaction::ReadOnly { at, strong: false },
        };
        async move { refusal.map_or(Ok(transaction), Err) }
    }

    fn scan(&self, scan: Scan) -> impl Future<Output = Result<Page, SqlError>> + Send {
        let mut state = self.state.lock().unwrap();
        let seen = match &scan.resume {
            Some(token) => usize::from_le_bytes(token[..8].try_into().unwrap()),
            None => 0,
        };
        // The key after which a page goes on is found again by its text.
        let after =
            scan.resume.as_ref().map(|token| String::from_utf8(token[8..].to_vec()).unwrap());
        let view = state.view(scan.schema.id(), scan.transaction);
        let rows = view.iter().filter(|(key, _)| contains(&scan.keys, key));
        let mut rows: Vec<(&Key, &Vec<Datum>)> = rows.collect();
        if let Some(after) = after {
            let last = rows.iter().position(|(key, _)| format!("{key:?}") == after);
            let last = last.expect("nobody deletes the row that a page ended with");
            rows.drain(..=last);
        }
        let limit = usize::try_from(scan.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX) - seen;
        rows.truncate(limit);
        let more = rows.len() > PAGE_ROWS;
        rows.truncate(PAGE_ROWS);
        let resume = rows.last().filter(|_| more).map(|(key, _)| {
            let mut token = (seen + rows.len()).to_le_bytes().to_vec();
            token.extend(format!("{key:?}").into_bytes());
            token
        });
        let row = |(_, row): &(&Key, &Vec<Datum>)| {
            scan.columns.iter().map(|at| row[*at].clone()).collect()
        };
        let page = Page { rows: rows.iter().map(row).collect(), resume };
        state.scans.push(scan);
        async move { Ok(page) }
    }

    fn split(
        &self,
        resume: Vec<u8>,
    ) -> impl Future<Output = Result<Vec<Vec<u8>>, SqlError>> + Send {
        async move { Ok(vec![resume]) }
    }

    fn write(
        &self,
        transaction: TxnId,
        mutations: Vec<Mutation>,
    ) -> impl Future<Output = Result<(), SqlError>> + Send {
        self.writes.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state.lock().unwrap();
        let refusal = state.write_refusals.pop_front().map_or(Ok(()), Err);
        let outcome = refusal.and_then(|()| {
            mutations.into_iter().try_for_each(|each| state.write(transaction, each))
        });
        async move { outcome }
    }

    fn commit(
        &self,
        transaction: TxnId,
        mutations: Vec<Mutation>,
    ) -> impl Future<Output = Result<Commit, SqlError>> + Send {
        let mut state = self.state.lock().unwrap();
        state.commits += 1;
        let refusal = state.refusals.pop_front().map_or(Ok(()), Err);
        let outcome = refusal.and_then(|()| {
            mutations.into_iter().try_for_each(|each| state.write(transaction, each))
        });
        let buffered = state.buffered.remove(&transaction).unwrap_or_default();
        let outcome = outcome.map(|()| {
            for ((table, key), row) in buffered {
                let rows = state.rows.entry(table).or_default();
                match row {
                    Some(row) => rows.insert(key, row),
                    None => rows.remove(&key),
                };
            }
            Commit::default()
        });
        async move { outcome }
    }

    fn rollback(&self, transaction: TxnId) -> impl Future<Output = ()> + Send {
        let mut state = self.state.lock().unwrap();
        state.buffered.remove(&transaction);
        state.rolled_back.push(transaction);
        async {}
    }

    fn create_table(
        &self,
        table: NewTable,
    ) -> impl Future<Output = Result<Arc<TableSchema>, SqlError>> + Send {
        let mut state = self.state.lock().unwrap();
        let exists = state.tables.contains_key(&table.name);
        let outcome = if exists {
            Err(SqlError::new(SqlState::DUPLICATE_TABLE, "there is such a table"))
        } else {
            state.next += 1;
            let schema = Arc::new(new_schema(TableId(u32::try_from(state.next).unwrap()), &table));
            state.splits.insert(table.name.clone(), table.splits);
            state.tables.insert(table.name, Arc::clone(&schema));
            Ok(schema)
        };
        async move { outcome }
    }

    fn drop_table(&self, table: TableRef) -> impl Future<Output = Result<(), SqlError>> + Send {
        let mut state = self.state.lock().unwrap();
        let schema = state.schema(&table);
        state.tables.remove(schema.name());
        state.rows.remove(&schema.id());
        async { Ok(()) }
    }

    fn cluster_settings(
        &self,
    ) -> impl Future<Output = Result<Arc<BTreeMap<String, String>>, SqlError>> + Send {
        let settings = Arc::clone(&self.state.lock().unwrap().settings);
        async { Ok(settings) }
    }

    fn set_cluster_setting(
        &self,
        name: &str,
        value: Option<String>,
    ) -> impl Future<Output = Result<(), SqlError>> + Send {
        let mut state = self.state.lock().unwrap();
        let settings = Arc::make_mut(&mut state.settings);
        match value {
            None => settings.remove(name),
            Some(value) => settings.insert(name.to_owned(), value),
        };
        async { Ok(()) }
    }

    fn pause(&self, _: Duration) -> impl Future<Output = Result<(), SqlError>> + Send {
        async { Ok(()) }
    }

    fn breathe(&self) -> impl Future<Output = Result<(), SqlError>> + Send {
        self.breaths.fetch_add(1, Ordering::Relaxed);
        async { Ok(()) }
    }

    fn now_micros(&self) -> i64 {
        0
    }

    fn random(&self) -> u64 {
        4
    }
}

/// The keys that a table was read at, as text: `[7] [8] (1.., ..)`.
pub(crate) fn keys_text(keys: &KeySet) -> String {
    let key = |key: &Key| {
        let values: Vec<String> = key.iter().map(|datum| format!("{datum:?}")).collect();
        values.join(",")
    };
    let bound = |bound: &KeyBound| match bound {
        KeyBound::Unbounded => String::new(),
        KeyBound::Included(prefix) => format!("={}", key(prefix)),
        KeyBound::Excluded(prefix) => format!("~{}", key(prefix)),
    };
    let points = keys.points.iter().map(|point| format!("[{}]", key(point)));
    let ranges =
        keys.ranges.iter().map(|range| format!("({}..{})", bound(&range.start), bound(&range.end)));
    let parts: BTreeSet<String> = points.chain(ranges).collect();
    parts.into_iter().collect::<Vec<_>>().join(" ")
}
