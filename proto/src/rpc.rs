//! The gRPC stubs, and the few conversions that both ends of the wire need.
//!
//! [`v1`] is the public API, [`internal`] what nodes say to each other. Ids and timestamps have types of
//! their own in the core and plain messages on the wire; `From` and `TryFrom` between them are here, and so
//! is what each [`v1::ErrorKind`] means: its gRPC code, and what its receiver may do by itself.
//!
//! ```text
//! server: ErrorDetail --to_status--> tonic::Status (grpc-status-details-bin) --detail_of--> client
//!         ErrorDetail --to_error---> v1::Error, inline in a session's answer
//! ```
//!
//! Not here: any service, any encoding of keys and rows.

mod error;
mod value;

pub use error::{detail_of, to_error, to_status};
pub use value::{FromValue, WrongType};

use crate::{Priority, TxnId};
use truetime::Timestamp;

/// `spandrel.v1`: the public API.
#[expect(
    missing_docs,
    clippy::allow_attributes_without_reason,
    reason = "generated; the .proto files have the documentation"
)]
pub mod v1 {
    tonic::include_proto!("spandrel.v1");
}

/// `spandrel.internal.v1`: node to node.
#[expect(
    clippy::allow_attributes_without_reason,
    reason = "generated; the .proto files have the documentation"
)]
pub mod internal {
    tonic::include_proto!("spandrel.internal.v1");
}

/// The descriptors of `spandrel.v1`, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] =
    tonic::include_file_descriptor_set!("spandrel.v1.descriptors");

impl From<TxnId> for v1::TransactionId {
    fn from(id: TxnId) -> Self {
        v1::TransactionId {
            horizon: id.horizon.nanos(),
            begin: id.begin.nanos(),
            origin: id.origin,
            sequence: id.sequence,
        }
    }
}

impl From<v1::TransactionId> for TxnId {
    fn from(id: v1::TransactionId) -> Self {
        TxnId {
            horizon: Timestamp::from_nanos(id.horizon),
            begin: Timestamp::from_nanos(id.begin),
            origin: id.origin,
            sequence: id.sequence,
        }
    }
}

impl From<Priority> for v1::Priority {
    fn from(priority: Priority) -> Self {
        assert!(
            priority.begin == priority.first.begin,
            "a priority's begin {} is not that of its first attempt {}",
            priority.begin,
            priority.first.begin
        );
        v1::Priority { first: Some(priority.first.into()), attempt: priority.attempt }
    }
}

/// A priority on the wire that names no first attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriorityIncomplete;

impl std::fmt::Display for PriorityIncomplete {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "a priority needs `first`, the id of the first attempt, and an `attempt` from 1",
        )
    }
}

impl std::error::Error for PriorityIncomplete {}

impl TryFrom<v1::Priority> for Priority {
    type Error = PriorityIncomplete;

    fn try_from(priority: v1::Priority) -> Result<Self, PriorityIncomplete> {
        let first: TxnId = priority.first.ok_or(PriorityIncomplete)?.into();
        if priority.attempt == 0 {
            return Err(PriorityIncomplete);
        }
        Ok(Priority { begin: first.begin, first, attempt: priority.attempt })
    }
}

#[cfg(test)]
mod tests {
    use super::{FILE_DESCRIPTOR_SET, PriorityIncomplete, v1};
    use crate::{Priority, TxnId};
    use prost::Message;
    use truetime::Timestamp;

    fn id() -> TxnId {
        TxnId {
            horizon: Timestamp::from_nanos(700),
            begin: Timestamp::from_nanos(100),
            origin: 3 << 32 | 9,
            sequence: 4,
        }
    }

    #[test]
    fn transaction_id_there_and_back_is_unchanged() {
        let wire = v1::TransactionId::from(id());
        let bytes = wire.encode_to_vec();
        let back = v1::TransactionId::decode(bytes.as_slice()).unwrap();
        assert_eq!(TxnId::from(back), id());
    }

    #[test]
    fn priority_there_and_back_is_unchanged() {
        let priority = Priority::first(id()).retry().retry();
        assert_eq!(Priority::try_from(v1::Priority::from(priority)), Ok(priority));
    }

    #[test]
    fn priority_without_first_attempt_is_refused() {
        assert_eq!(Priority::try_from(v1::Priority::default()), Err(PriorityIncomplete));
        let no_attempt = v1::Priority { first: Some(id().into()), attempt: 0 };
        assert_eq!(Priority::try_from(no_attempt), Err(PriorityIncomplete));
    }

    #[test]
    fn descriptors_show_the_public_service_and_not_the_internal_one() {
        let set = prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
        let services: Vec<String> = set
            .file
            .iter()
            .flat_map(|file| {
                file.service.iter().map(|service| format!("{}.{}", file.package(), service.name()))
            })
            .collect();
        assert_eq!(services, ["spandrel.v1.Spandrel"]);
    }

    #[test]
    fn session_covers_every_unary_call() {
        let set = prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
        let messages = || set.file.iter().flat_map(|file| &file.message_type);
        let in_session = |message: &str| -> Vec<String> {
            let message = messages().find(|m| m.name() == message).unwrap();
            message.field.iter().map(|field| field.type_name().to_owned()).collect()
        };
        let calls = in_session("SessionCall");
        let answers = in_session("SessionAnswer");
        for method in set.file.iter().flat_map(|f| &f.service).flat_map(|s| &s.method) {
            if method.name() != "Session" {
                assert!(calls.contains(&method.input_type().to_owned()), "{}", method.name());
                assert!(answers.contains(&method.output_type().to_owned()), "{}", method.name());
            }
        }
    }

    #[test]
    fn transfer_request_stays_small() {
        let read = v1::ReadRequest {
            transaction: Some(v1::TransactionSelector {
                selector: Some(v1::transaction_selector::Selector::Begin(Default::default())),
            }),
            table: Some(v1::TableRef { name: String::new(), id: 100 }),
            columns: vec!["balance".to_owned()],
            keys: Some(v1::KeySet { points: vec![17.into(), 4711.into()], ranges: vec![] }),
            lock: v1::LockMode::ForUpdate.into(),
            ..Default::default()
        };
        let call = v1::SessionCall {
            correlation_id: 7,
            timeout_ms: 10_000,
            request: Some(v1::session_call::Request::Read(read)),
        };
        assert_eq!(call.encoded_len(), 41, "the hot path's request grew");
    }
}
