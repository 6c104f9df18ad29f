//! Leases on a catalog version, granted to gateways by the leader of the system shard (TRANSACTIONS.md
//! section 7).
//!
//! Who holds one is not kept anywhere. What is kept, in the log, is a bound above the end of every lease
//! granted; an entry moves it before a lease is granted past it. A grant names the newest version applied
//! here, so once a change of the catalog is applied no lease on the version before it is granted, and those
//! that were end below the bound as it stood then.
//!
//! Example: a lease of 60 s with the bound at 40 s from now: an entry moves the bound to 75 s, and once it is
//! applied the answer is a lease of 60 s; the next 15 s of grants need no entry.

use truetime::Timestamp;

use super::{Cx, Leader, Right};
use crate::command::Command;
use crate::message::{Refusal, Reply, RequestId};
use crate::state::Applied;

/// Gateways that may wait for a catalog lease.
const CATALOG_WAITS_MAX: usize = 10_000;
/// How far the bound is moved ahead of what is needed: this part of a lease.
const BOUND_AHEAD: u32 = 4;

impl Leader {
    /// A gateway asks for a lease on the newest version.
    pub(super) fn catalog_lease(&mut self, cx: &mut Cx<'_>, caller: RequestId) {
        if !cx.state.has_catalog() {
            let reason = "the shard does not keep the catalog".to_owned();
            return cx.refuse(caller, Refusal::Invalid { reason });
        }
        if self.catalog_waits.len() >= CATALOG_WAITS_MAX {
            let what = "gateways that wait for a catalog lease".to_owned();
            return cx.refuse(caller, Refusal::Overloaded { what });
        }
        self.catalog_waits.push((caller, cx.state.header().catalog_bound));
        self.grant_catalog_leases(cx);
    }

    /// Grants what lies within the bound, or moves the bound first.
    pub(super) fn grant_catalog_leases(&mut self, cx: &mut Cx<'_>) {
        if self.catalog_waits.is_empty() || self.catalog_bound_in_flight {
            return;
        }
        let Some(right) = self.right(cx) else { return };
        let expires = right.interval.latest.plus(self.config.catalog_lease);
        if expires <= cx.state.header().catalog_bound {
            return self.answer_catalog_waits(cx, expires);
        }
        let bound = expires.plus(self.config.catalog_lease / BOUND_AHEAD);
        self.catalog_bound_in_flight = true;
        self.propose(cx, Command::CatalogBound { bound });
    }

    /// The bound was moved, unless the epoch was over. However long that took: what lies below it may be
    /// granted now, so that a slow log shortens leases and does not prevent them.
    pub(super) fn catalog_bound_applied(&mut self, cx: &mut Cx<'_>, applied: &Applied) {
        self.catalog_bound_in_flight = false;
        let right: Option<Right> = self.right(cx);
        let (Some(right), Applied::CatalogBoundMoved) = (right, applied) else { return };
        let expires = right.interval.latest.plus(self.config.catalog_lease);
        let expires = expires.min(cx.state.header().catalog_bound);
        if expires > right.interval.latest {
            self.answer_catalog_waits(cx, expires);
        }
    }

    fn answer_catalog_waits(&mut self, cx: &mut Cx<'_>, expires: Timestamp) {
        let header = cx.state.header().clone();
        assert!(
            expires <= header.catalog_bound,
            "catalog lease end {expires} above the bound {}",
            header.catalog_bound
        );
        for (caller, found_bound) in std::mem::take(&mut self.catalog_waits) {
            let (made, made_bound) = (header.catalog_made, header.catalog_made_bound);
            cx.reply(caller, Reply::CatalogLease { expires, made, made_bound, found_bound });
        }
    }
}
