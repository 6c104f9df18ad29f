//! Where a client's requests go: one core of a node that runs.

use std::sync::Arc;

use proto::TxnId;

use super::errors::Failure;
use crate::gateway::api::{Answer, ClientId, Request};
use crate::host::{CoreHandle, Running};

/// A client and the core that its transactions begin at.
#[derive(Clone)]
pub(super) struct Seat {
    pub(super) running: Arc<Running>,
    client: ClientId,
    core: usize,
}

impl Seat {
    /// A client's seat; clients are dealt out over the cores.
    pub(super) fn new(running: Arc<Running>, client: u64) -> Self {
        let cores = running.cores.len() as u64;
        let core = usize::try_from(client % cores.max(1)).expect("cores are counted in a u16");
        Seat { running, client: ClientId(client), core }
    }

    /// The same client at the first core.
    pub(super) fn first(&self) -> Self {
        Seat { core: 0, ..self.clone() }
    }

    /// Its core.
    pub(super) fn core(&self) -> &CoreHandle {
        &self.running.cores[self.core]
    }

    /// Asks the client's own core.
    pub(super) fn ask(&self, request: Request, then: impl FnOnce(Answer) + Send + 'static) {
        self.core().ask(self.client, request, Box::new(then));
    }

    /// Asks the core where a transaction lives, which says so in its id: another session or call may have
    /// begun it.
    pub(super) fn ask_of(
        &self,
        id: TxnId,
        request: Request,
        then: impl FnOnce(Answer) + Send + 'static,
    ) -> Result<(), Failure> {
        let core = self.home_of(id).ok_or_else(|| Failure::not_here(id))?;
        core.ask(self.client, request, Box::new(then));
        Ok(())
    }

    /// Gives a transaction up that nobody will hear of.
    pub(super) fn roll_back(&self, id: TxnId) {
        if let Some(core) = self.home_of(id) {
            core.ask(self.client, Request::Rollback(id), Box::new(|_| {}));
        }
    }

    /// The client's session ended.
    pub(super) fn leave(&self) {
        self.core().client_gone(self.client);
    }

    fn home_of(&self, id: TxnId) -> Option<&CoreHandle> {
        let origin = (self.running.member.node.0 << 32) | u64::from(self.running.starts);
        let core = usize::try_from(id.sequence >> 48).ok()?;
        if id.origin == origin { self.running.cores.get(core) } else { None }
    }
}
