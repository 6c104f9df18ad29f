use super::*;
use proto::Key;
use truetime::Timestamp;
use txn::transaction::{BufferFull, CallError, Obstacle};

fn id() -> TxnId {
    TxnId { begin: Timestamp::from_nanos(9), ..TxnId::default() }
}

/// One error of each kind that a gateway has, and what its client is told.
fn errors() -> Vec<(Error, ErrorKind)> {
    let aborted = |reason| Error::Aborted { reason };
    let unknown =
        |for_good| Error::OutcomeUnknown { id: id(), coordinator: Key::from(vec![1]), for_good };
    let row = || Subject::Row {
        table: "t".to_owned(),
        key: Key::from(vec![1]),
        columns: vec!["id".to_owned()],
    };
    let table = || Subject::Table("t".to_owned());
    let column = || Subject::Column { table: "t".to_owned(), column: "c".to_owned() };
    let invalid = |reason| Error::Invalid { reason };
    let null = EncodeError::Null { column: "c".to_owned() };
    let long = EncodeError::LongKey { table: "t".to_owned(), bytes_max: 1 };
    let many = DdlError::Invalid { name: "t".to_owned(), reason: InvalidTable::TooManyShards };
    let no_shard = CallError::Unavailable { what: Obstacle::NoShard, maybe_executed: false };
    vec![
        (aborted(AbortReason::Wounded { by: id() }), ErrorKind::AbortedWounded),
        (aborted(AbortReason::LocksLost), ErrorKind::AbortedLocksLost),
        (aborted(AbortReason::Idle), ErrorKind::AbortedIdle),
        (aborted(AbortReason::LeaseBound), ErrorKind::AbortedLeaseEnded),
        (aborted(AbortReason::TooOld), ErrorKind::AbortedTooOld),
        (aborted(AbortReason::GivenUp), ErrorKind::AbortedGateway),
        (aborted(AbortReason::InDoubt), ErrorKind::AbortedLogged),
        (aborted(AbortReason::SchemaChanged), ErrorKind::AbortedSchemaChanged),
        (aborted(AbortReason::Refused), ErrorKind::IdRefused),
        (unknown(false), ErrorKind::OutcomeUnknown),
        (unknown(true), ErrorKind::OutcomeNoLongerKnown),
        (Error::AlreadyExists { what: row() }, ErrorKind::RowExists),
        (Error::AlreadyExists { what: table() }, ErrorKind::TableExists),
        (Error::NotFound { what: row() }, ErrorKind::RowNotFound),
        (Error::NotFound { what: table() }, ErrorKind::TableNotFound),
        (Error::NotFound { what: column() }, ErrorKind::ColumnNotFound),
        (Error::NotFound { what: Subject::Transaction(id()) }, ErrorKind::TransactionNotHere),
        (invalid(InvalidRequest::Busy), ErrorKind::InvalidRequest),
        (invalid(InvalidRequest::ResumeToken), ErrorKind::ResumeTokenInvalid),
        (invalid(InvalidRequest::Value(null)), ErrorKind::NotNullViolated),
        (invalid(InvalidRequest::Value(long)), ErrorKind::LimitExceeded),
        (invalid(InvalidRequest::Table(many)), ErrorKind::LimitExceeded),
        (invalid(InvalidRequest::Table(DdlError::NoNodes)), ErrorKind::NotInitialised),
        (Error::Unavailable { error: no_shard }, ErrorKind::Unavailable),
        (Error::BeginOutOfBounds { begin: Timestamp::ZERO }, ErrorKind::IdRefused),
        (Error::BelowThreshold { threshold: Timestamp::ZERO }, ErrorKind::BelowThreshold),
        (Error::ClockUnsure { reason: String::new() }, ErrorKind::ClockUnsure),
        (Error::Overloaded { what: String::new() }, ErrorKind::Overloaded),
        (Error::TooLarge(BufferFull { bytes_max: 1 }), ErrorKind::LimitExceeded),
        (Error::Damaged { what: String::new() }, ErrorKind::Internal),
    ]
}

#[test]
fn gateway_error_has_its_kind_code_words_and_hint() {
    for (error, kind) in errors() {
        let failure = Failure::from(error.clone());
        assert_eq!(failure.detail.kind(), kind, "{error:?}");
        assert_eq!(failure.message, error.to_string());
        assert_eq!(failure.detail.hint, error.hint());
        let status = failure.clone().into_status();
        assert_eq!(status.code(), kind.code(), "{error:?}");
        assert_eq!(proto::rpc::detail_of(&status), Some(*failure.detail.clone()));
        assert_eq!(failure.into_error().code, i32::from(kind.code()));
    }
}

#[test]
fn no_error_that_may_have_committed_says_run_it_again() {
    for (error, _) in errors() {
        let detail = Failure::from(error.clone()).detail;
        let certain = matches!(error, Error::Aborted { .. });
        assert!(certain || detail.retry() != Retry::Transaction, "{error:?} (T42)");
        if matches!(error, Error::OutcomeUnknown { for_good: false, .. }) {
            assert_eq!(detail.retry(), Retry::LookupOutcome);
            let key = coordinator_key::open(&id(), &detail.coordinator_key);
            assert_eq!(key, Some(Key::from(vec![1])));
            assert_eq!(detail.transaction, Some(id().into()));
        }
    }
}

#[test]
fn failed_read_that_began_names_the_transaction_to_begin_again_with() {
    let older = TxnId { sequence: 3, ..id() };
    let wounded = Error::Aborted { reason: AbortReason::Wounded { by: older } };
    let failure = Failure::from(Error::Over { id: id(), error: Box::new(wounded) });
    assert_eq!(failure.detail.transaction, Some(id().into()));
    assert_eq!(failure.detail.wounded_by, Some(older.into()));
    assert_eq!(failure.detail.retry(), Retry::Transaction);
    let unsure = Error::ClockUnsure { reason: String::new() };
    let failure = Failure::from(Error::Over { id: id(), error: Box::new(unsure) });
    assert_eq!(failure.detail.kind(), ErrorKind::ClockUnsure);
    assert_eq!(failure.detail.retry(), Retry::Transaction, "that transaction is rolled back");
}

#[test]
fn commit_whose_transaction_is_over_is_run_again_and_not_repeated() {
    for (error, kind) in errors() {
        let before = Failure::from(error);
        let after = before.clone().of_commit(id());
        assert_eq!(after.detail.kind(), kind);
        assert!(after.detail.transaction.is_some());
        let expected = match before.detail.retry() {
            Retry::Request => Retry::Transaction,
            other => other,
        };
        assert_eq!(after.detail.retry(), expected);
    }
}

#[test]
fn commit_without_time_is_unknown_and_anything_else_timed_out() {
    let key = bytes::Bytes::from_static(b"k");
    let commit = TimeoutSubject::Commit { id: Some(id().into()), coordinator_key: key.clone() };
    let detail = timed_out(&commit).detail.unwrap();
    assert_eq!(detail.kind(), ErrorKind::OutcomeUnknown);
    assert_eq!((detail.transaction, detail.coordinator_key), (Some(id().into()), key));
    let detail = timed_out(&TimeoutSubject::Request).detail.unwrap();
    assert_eq!(detail.kind(), ErrorKind::DeadlineExceeded);
}
