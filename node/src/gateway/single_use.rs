//! Single-use commits: mutations under an id that the client holds, so that it can send them again,
//! through any gateway, without their being applied twice (section 4).
//!
//! Another gateway may have committed the id. So a gateway that finds itself unable to go on (a row that exists,
//! a lost lock) has the coordinator log an abort first and answers from the record; see
//! [`txn::transaction::Driver::OneOfSeveral`].

use proto::{Key, Priority, TxnId};
use truetime::Now;
use txn::leader::contradiction;
use txn::message::Asker;
use txn::transaction::digest::{Digest, PLAIN_KEY};
use txn::transaction::{Driver, End};

use super::api::{ClientId, Ticket};
use super::error::Error;
use super::lease::no_lease;
use super::machine::{Effect, Gateway, interval};
use super::mutation::{Forming, coordinator_of, resolve};
use super::session::{Then, answer_of};
use proto::table::Mutation;

impl Gateway {
    pub(super) fn single_use(
        &mut self,
        now: &Now,
        client: ClientId,
        ticket: Ticket,
        (id, coordinator, priority): (TxnId, Key, Priority),
        mutations: Vec<Mutation>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        let digest = digest_of(&mutations)?;
        if let Some(session) = self.by_id.get(&id).and_then(|o| self.sessions.get_mut(o)) {
            // The same words as of a coordinator: whoever is asked, an id stands for one set of writes.
            if session.single_use != Some(digest) {
                return Err(contradiction().into());
            }
            // An objection or abort of the past was confirmed by the record; so is a commit.
            match session.transaction.end() {
                Some(end @ End::Committed { .. }) => {
                    let answer = answer_of(id, end);
                    effects.push(Effect::Answer { ticket, answer });
                }
                Some(End::NotCommitted { .. } | End::OutcomeUnknown { .. }) => {
                    self.look_up(ticket, (id, coordinator, Asker::Gateway), effects);
                }
                None => session.waiting.push(ticket),
            }
            return Ok(());
        }
        let (_, latest) = interval(now)?;
        let limit = id.begin.plus(self.settings.max_age_limit);
        if id.begin > latest || id.horizon > limit || id.horizon < id.begin {
            return Err(Error::BeginOutOfBounds { begin: id.begin });
        }
        // Its table is gone, and its record with it.
        if self.map.is_removed(&coordinator) {
            self.look_up(ticket, (id, coordinator, Asker::Gateway), effects);
            return Ok(());
        }
        let steps = resolve(mutations, &self.catalog, &self.settings.encoding)?;
        let shard = match self.map.find(&coordinator) {
            Some(shard) => shard.id,
            None => return Err(self.shard_missing(now, effects)),
        };
        // Frozen with its first send, the coordinator is what the client resolved. Where this gateway
        // finds another, or the time is over, it only asks.
        if coordinator_of(&steps)? != coordinator || id.horizon <= latest {
            self.look_up(ticket, (id, coordinator, Asker::Gateway), effects);
            return Ok(());
        }
        self.lease.held().ok_or_else(no_lease)?;
        let driver = Driver::OneOfSeveral { digest, coordinator, shard };
        let owner = self.new_session(now, client, (id, priority), driver)?;
        self.use_tables(owner)?;
        if let Some(session) = self.sessions.get_mut(&owner) {
            session.waiting.push(ticket);
        }
        self.form(now, owner, Forming::new(steps), Then::Commit, effects);
        Ok(())
    }
}

/// Distinguishes what the client asked for. Not the rows formed from it: another gateway may have formed
/// them from other versions, and still it is the same commit.
fn digest_of(mutations: &[Mutation]) -> Result<u64, Error> {
    let bytes = postcard::to_allocvec(mutations)
        .map_err(|error| Error::Damaged { what: error.to_string() })?;
    let mut digest = Digest::new(PLAIN_KEY);
    digest.bytes(&bytes);
    Ok(digest.finish())
}
