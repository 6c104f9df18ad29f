//! What each kind of error means, and how it travels.

use super::v1::{Error, ErrorDetail, ErrorKind, Retry};
use prost::Message;
use tonic::{Code, Status};

/// The type URL of [`ErrorDetail`] inside `google.rpc.Status`.
const DETAIL_TYPE_URL: &str = "type.googleapis.com/spandrel.v1.ErrorDetail";

/// `google.rpc.Status`, which every language's gRPC library looks for in `grpc-status-details-bin`.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

impl ErrorKind {
    /// The gRPC code that an error of this kind has.
    #[must_use]
    pub fn code(self) -> Code {
        match self {
            ErrorKind::Unspecified | ErrorKind::OutcomeUnknown => Code::Unknown,
            ErrorKind::AbortedWounded
            | ErrorKind::AbortedLocksLost
            | ErrorKind::AbortedIdle
            | ErrorKind::AbortedTooOld
            | ErrorKind::AbortedLogged
            | ErrorKind::AbortedLeaseEnded
            | ErrorKind::AbortedSchemaChanged
            | ErrorKind::AbortedRolledBack
            | ErrorKind::AbortedGateway => Code::Aborted,
            ErrorKind::OutcomeNoLongerKnown
            | ErrorKind::RowNotFound
            | ErrorKind::TableNotFound
            | ErrorKind::ColumnNotFound => Code::NotFound,
            ErrorKind::TransactionNotHere | ErrorKind::NotNullViolated => Code::FailedPrecondition,
            ErrorKind::Unavailable
            | ErrorKind::NotLeader
            | ErrorKind::ClockUnsure
            | ErrorKind::NotInitialised
            | ErrorKind::Stopping => Code::Unavailable,
            ErrorKind::Overloaded => Code::ResourceExhausted,
            ErrorKind::DeadlineExceeded => Code::DeadlineExceeded,
            ErrorKind::Cancelled => Code::Cancelled,
            ErrorKind::BelowThreshold => Code::OutOfRange,
            ErrorKind::RowExists | ErrorKind::TableExists => Code::AlreadyExists,
            ErrorKind::ResumeTokenInvalid
            | ErrorKind::TypeMismatch
            | ErrorKind::InvalidRequest
            | ErrorKind::LimitExceeded
            | ErrorKind::IdRefused
            | ErrorKind::Sql => Code::InvalidArgument,
            ErrorKind::Unimplemented => Code::Unimplemented,
            ErrorKind::Internal => Code::Internal,
        }
    }

    /// What the receiver may do, unless the sender knows better: an unavailable shard, for example, is
    /// [`Retry::LookupOutcome`] to a commit that was sent on.
    #[must_use]
    pub fn usual_retry(self) -> Retry {
        match self {
            ErrorKind::Unspecified => Retry::Unspecified,
            ErrorKind::AbortedWounded
            | ErrorKind::AbortedLocksLost
            | ErrorKind::AbortedIdle
            | ErrorKind::AbortedTooOld
            | ErrorKind::AbortedLogged
            | ErrorKind::AbortedLeaseEnded
            | ErrorKind::AbortedSchemaChanged
            | ErrorKind::AbortedGateway => Retry::Transaction,
            ErrorKind::OutcomeUnknown | ErrorKind::TransactionNotHere | ErrorKind::Internal => {
                Retry::LookupOutcome
            }
            ErrorKind::Unavailable
            | ErrorKind::NotLeader
            | ErrorKind::ClockUnsure
            | ErrorKind::NotInitialised
            | ErrorKind::Stopping
            | ErrorKind::Overloaded
            | ErrorKind::DeadlineExceeded => Retry::Request,
            ErrorKind::AbortedRolledBack
            | ErrorKind::OutcomeNoLongerKnown
            | ErrorKind::Cancelled
            | ErrorKind::BelowThreshold
            | ErrorKind::ResumeTokenInvalid
            | ErrorKind::RowExists
            | ErrorKind::RowNotFound
            | ErrorKind::NotNullViolated
            | ErrorKind::TableExists
            | ErrorKind::TableNotFound
            | ErrorKind::ColumnNotFound
            | ErrorKind::TypeMismatch
            | ErrorKind::InvalidRequest
            | ErrorKind::LimitExceeded
            | ErrorKind::IdRefused
            | ErrorKind::Sql
            | ErrorKind::Unimplemented => Retry::Never,
        }
    }

    /// Whether it says that the transaction is aborted for certain.
    #[must_use]
    pub fn is_aborted(self) -> bool {
        self.code() == Code::Aborted
    }
}

impl ErrorDetail {
    /// A detail of `kind` with its usual retry.
    #[must_use]
    pub fn of(kind: ErrorKind) -> Self {
        ErrorDetail {
            kind: kind.into(),
            retry: kind.usual_retry().into(),
            ..ErrorDetail::default()
        }
    }
}

/// The error as an answer on a session.
#[must_use]
pub fn to_error(detail: ErrorDetail, message: String) -> Error {
    Error { code: i32::from(detail.kind().code()), message, detail: Some(detail) }
}

/// The error as the end of a call of its own.
#[must_use]
pub fn to_status(detail: &ErrorDetail, message: String) -> Status {
    let code = detail.kind().code();
    let details = RpcStatus {
        code: code.into(),
        message: message.clone(),
        details: vec![prost_types::Any {
            type_url: DETAIL_TYPE_URL.to_owned(),
            value: detail.encode_to_vec(),
        }],
    };
    Status::with_details(code, message, details.encode_to_vec().into())
}

/// The detail of a call's end, when it has one.
#[must_use]
pub fn detail_of(status: &Status) -> Option<ErrorDetail> {
    let status = RpcStatus::decode(status.details()).ok()?;
    let detail = status.details.iter().find(|any| any.type_url == DETAIL_TYPE_URL)?;
    ErrorDetail::decode(detail.value.as_slice()).ok()
}

#[cfg(test)]
mod tests {
    use super::{detail_of, to_error, to_status};
    use crate::rpc::v1::{ErrorDetail, ErrorKind, Retry, TransactionId};
    use tonic::{Code, Status};

    fn kinds() -> impl Iterator<Item = ErrorKind> {
        (0..=i32::from(u8::MAX)).filter_map(|number| ErrorKind::try_from(number).ok())
    }

    #[test]
    fn detail_in_status_there_and_back_is_unchanged() {
        let detail = ErrorDetail {
            wounded_by: Some(TransactionId { begin: 5, ..Default::default() }),
            coordinator_key: vec![1, 0, 255].into(),
            hint: "do this".to_owned(),
            ..ErrorDetail::of(ErrorKind::AbortedWounded)
        };
        let status = to_status(&detail, "wounded".to_owned());
        assert_eq!(status.code(), Code::Aborted);
        assert_eq!(status.message(), "wounded");
        assert_eq!(detail_of(&status), Some(detail));
    }

    #[test]
    fn status_without_our_detail_has_none() {
        assert_eq!(detail_of(&Status::internal("a proxy's words")), None);
        let garbage = Status::with_details(Code::Aborted, "", vec![255, 255].into());
        assert_eq!(detail_of(&garbage), None);
    }

    #[test]
    fn session_error_has_the_code_of_the_call() {
        for kind in kinds() {
            let inline = to_error(ErrorDetail::of(kind), String::new());
            let status = to_status(&ErrorDetail::of(kind), String::new());
            assert_eq!(inline.code, i32::from(status.code()), "{kind:?}");
        }
    }

    #[test]
    fn no_kind_that_may_have_committed_says_run_it_again() {
        for kind in kinds() {
            let runs_again = kind.usual_retry() == Retry::Transaction;
            assert!(!runs_again || kind.is_aborted(), "{kind:?} is no certain abort (T42)");
        }
    }

    #[test]
    fn code_in_the_documentation_is_the_code_sent() {
        let source = include_str!("../../proto/spandrel/v1/error.proto");
        let mut documented = "";
        for line in source.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("// [") {
                documented = rest.split(']').next().unwrap();
            }
            let Some(name) = line.strip_prefix("ERROR_KIND_").and_then(|l| l.split(' ').next())
            else {
                continue;
            };
            let kind = ErrorKind::from_str_name(&format!("ERROR_KIND_{name}")).unwrap();
            if kind != ErrorKind::Unspecified {
                let code = format!("{:?}", kind.code()).to_uppercase();
                assert_eq!(code, documented.replace('_', ""), "{name}");
            }
        }
    }
}
