//! Reads everything, in every way there is, all along.

use super::TABLE;
use super::error::BankError;
use super::load::{all_seen, scan, whole_table};
use super::recording::{Currency, Seen, What};
use super::shared::Shared;
use crate::bank::accounts::Accounts;
use crate::bank::audits::{Audit, AuditFailure, Audits};
use client::{Bound, Client, ClientError, Row};
use proto::NodeId;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use truetime::Timestamp;

/// An audit that fails, because a node just died, is tried so often.
const TRIES_MAX: u32 = 20;

/// The wait between two tries.
const PAUSE: Duration = Duration::from_millis(200);

/// Audits in the past stay so far behind the load, since clocks differ.
const LOAD_MARGIN: Duration = Duration::from_millis(100);

/// Whether an audit was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    Yes,
    No,
}

/// Audits one after the other.
pub(super) struct Auditor {
    /// Its pages have as many rows as [`Audit::Paged`] asks for.
    pub(super) pager: Client,
    pub(super) client: Client,
    pub(super) shared: Arc<Shared>,
    pub(super) process: u32,
    pub(super) accounts: Accounts,
    /// All nodes, for the audits at followers. Each follows on some shards.
    pub(super) nodes: Vec<NodeId>,
    /// When the accounts were read that the history begins with.
    pub(super) loaded: Instant,
    audits: Audits,
    turn: usize,
}

impl Auditor {
    pub(super) fn new(
        clients: (Client, Client),
        shared: Arc<Shared>,
        process: u32,
        accounts: Accounts,
        nodes: Vec<NodeId>,
        loaded: Instant,
    ) -> Self {
        let (client, pager) = clients;
        let (audits, turn) = (Audits::default(), 0);
        Auditor { pager, client, shared, process, accounts, nodes, loaded, audits, turn }
    }

    /// Audits at every interval until the run ends. Returns itself for the last audit.
    pub(super) async fn work(mut self, interval: Duration) -> Result<Self, BankError> {
        let mut next = Instant::now();
        while self.shared.sleep_until(next).await {
            next += interval;
            let audit = self.audits.draw(self.loaded.elapsed().saturating_sub(LOAD_MARGIN));
            self.try_audit(audit).await?;
            // One that took longer than the interval has none to catch up with.
            next = next.max(Instant::now());
        }
        Ok(self)
    }

    /// Audits once, as of now, after everything else is over. By now all nodes had time to come back: that there
    /// is no answer is a finding.
    pub(super) async fn last(&mut self) -> Result<(), BankError> {
        if self.try_audit(Audit::Strong).await? == Made::No {
            let failure = AuditFailure::NotMade { audit: Audit::Strong, tries: TRIES_MAX };
            self.shared.state().failed_audits.push(failure);
        }
        Ok(())
    }

    async fn try_audit(&mut self, audit: Audit) -> Result<Made, BankError> {
        for _ in 0..TRIES_MAX {
            let invoked = self.shared.now();
            match self.read(audit).await {
                Ok((at, rows)) => {
                    let rows = all_seen(&rows)?;
                    self.judge(audit, &rows);
                    let currency = match audit {
                        Audit::Strong | Audit::Paged { .. } => Currency::Strong,
                        Audit::Past { .. } | Audit::Follower { .. } => Currency::Stale,
                    };
                    let what = What::Audit { at, currency, rows };
                    self.shared.record(self.process, invoked, what);
                    return Ok(Made::Yes);
                }
                Err(error) => self.shared.failed(&error),
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(Made::No)
    }

    fn judge(&self, audit: Audit, rows: &[Seen]) {
        let judged = audit.judge(self.accounts, rows.iter().map(|row| row.balance));
        let mut state = self.shared.state();
        state.stats.audits += 1;
        if let Err(failure) = judged {
            state.failed_audits.push(failure);
        }
    }

    async fn read(&mut self, audit: Audit) -> Result<(Timestamp, Vec<Row>), ClientError> {
        let mut snapshot = match audit {
            Audit::Strong => self.client.snapshot(Bound::Strong),
            Audit::Past { staleness } => self.client.snapshot(Bound::ExactStaleness(staleness)),
            Audit::Follower { staleness } => {
                let snapshot = self.client.snapshot(Bound::MaxStaleness(staleness));
                self.turn += 1;
                match self.nodes.get(self.turn % self.nodes.len().max(1)) {
                    Some(node) => snapshot.at_node(*node),
                    None => snapshot,
                }
            }
            Audit::Paged { .. } => return self.read_pages().await,
        };
        let rows = scan(&mut snapshot).await?;
        Ok((known(snapshot.timestamp())?, rows))
    }

    async fn read_pages(&self) -> Result<(Timestamp, Vec<Row>), ClientError> {
        let mut rows = Vec::new();
        let mut pages = self.pager.snapshot(Bound::Strong).pages(TABLE, whole_table()).await?;
        while let Some(page) = pages.next_page().await? {
            rows.extend(page);
        }
        Ok((known(pages.timestamp())?, rows))
    }
}

fn known(timestamp: Option<Timestamp>) -> Result<Timestamp, ClientError> {
    timestamp.ok_or(ClientError::Protocol { reason: "a read answers no timestamp" })
}
