//! Errors as PostgreSQL describes them, with what the caller of a statement may do.

use proto::{Key, TxnId};
use std::fmt;

/// A five-character code of PostgreSQL's appendix A.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SqlState(pub &'static str);

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

macro_rules! states {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        impl SqlState {
            $($(#[$doc])* pub const $name: SqlState = SqlState($code);)*
        }
    };
}

states! {
    /// A parameter, or its number, does not fit the statement.
    PROTOCOL_VIOLATION = "08P01";
    /// It is no feature of this release.
    FEATURE_NOT_SUPPORTED = "0A000";
    /// A row would be there twice.
    UNIQUE_VIOLATION = "23505";
    /// NULL where it is refused.
    NOT_NULL_VIOLATION = "23502";
    /// A subquery or expression answers more than it may.
    CARDINALITY_VIOLATION = "21000";
    /// A text is too long.
    STRING_DATA_RIGHT_TRUNCATION = "22001";
    /// A number is out of its type's range.
    NUMERIC_VALUE_OUT_OF_RANGE = "22003";
    /// An instant is out of range, or a field of it is.
    DATETIME_FIELD_OVERFLOW = "22008";
    /// A text is no instant.
    INVALID_DATETIME_FORMAT = "22007";
    /// Division by zero.
    DIVISION_BY_ZERO = "22012";
    /// An argument of a function is out of its range.
    INVALID_PARAMETER_VALUE = "22023";
    /// A LIKE pattern ends in its escape character.
    INVALID_ESCAPE_SEQUENCE = "22025";
    /// An escape of more than one character.
    INVALID_ESCAPE_CHARACTER = "22019";
    /// A text that is no value of the type.
    INVALID_TEXT_REPRESENTATION = "22P02";
    /// Bytes that are no value.
    INVALID_BINARY_REPRESENTATION = "22P03";
    /// Text that is not UTF-8 or has a zero in it.
    CHARACTER_NOT_IN_REPERTOIRE = "22021";
    /// A negative LIMIT.
    INVALID_ROW_COUNT_IN_LIMIT_CLAUSE = "2201W";
    /// A negative OFFSET.
    INVALID_ROW_COUNT_IN_OFFSET_CLAUSE = "2201X";
    /// A logarithm of nothing.
    INVALID_ARGUMENT_FOR_LOGARITHM = "2201E";
    /// A root of a negative number.
    INVALID_ARGUMENT_FOR_POWER_FUNCTION = "2201F";
    /// A substring of negative length.
    SUBSTRING_ERROR = "22011";
    /// BEGIN inside a transaction, or what cannot run there.
    ACTIVE_SQL_TRANSACTION = "25001";
    /// A write in a read-only transaction.
    READ_ONLY_SQL_TRANSACTION = "25006";
    /// What needs a transaction block outside of one.
    NO_ACTIVE_SQL_TRANSACTION = "25P01";
    /// A statement before failed.
    IN_FAILED_SQL_TRANSACTION = "25P02";
    /// A prepared statement that does not exist.
    INVALID_SQL_STATEMENT_NAME = "26000";
    /// A savepoint that does not exist.
    INVALID_SAVEPOINT_SPECIFICATION = "3B001";
    /// Run the transaction again.
    SERIALIZATION_FAILURE = "40001";
    /// Whether it is committed is not known.
    STATEMENT_COMPLETION_UNKNOWN = "40003";
    /// The text does not parse.
    SYNTAX_ERROR = "42601";
    /// The statement is too large, or nested too deep.
    STATEMENT_TOO_COMPLEX = "54001";
    /// A limit other than that.
    PROGRAM_LIMIT_EXCEEDED = "54000";
    /// Too many columns.
    TOO_MANY_COLUMNS = "54011";
    /// Too many arguments.
    TOO_MANY_ARGUMENTS = "54023";
    /// No such table.
    UNDEFINED_TABLE = "42P01";
    /// No such column.
    UNDEFINED_COLUMN = "42703";
    /// No such function or operator.
    UNDEFINED_FUNCTION = "42883";
    /// No such parameter, or its type cannot be told.
    UNDEFINED_PARAMETER = "42P02";
    /// No such setting.
    UNDEFINED_OBJECT = "42704";
    /// The table exists.
    DUPLICATE_TABLE = "42P07";
    /// The column exists.
    DUPLICATE_COLUMN = "42701";
    /// A name for two things.
    AMBIGUOUS_COLUMN = "42702";
    /// Two functions or operators fit as well.
    AMBIGUOUS_FUNCTION = "42725";
    /// A parameter's type cannot be told.
    INDETERMINATE_DATATYPE = "42P18";
    /// A parameter is used as two types.
    AMBIGUOUS_PARAMETER = "42P08";
    /// A value of another type than its place.
    DATATYPE_MISMATCH = "42804";
    /// No such cast.
    CANNOT_COERCE = "42846";
    /// An aggregate, or a column beside one, where it cannot be.
    GROUPING_ERROR = "42803";
    /// A column where none can be.
    INVALID_COLUMN_REFERENCE = "42P10";
    /// A table's definition contradicts itself.
    INVALID_TABLE_DEFINITION = "42P16";
    /// No such schema.
    INVALID_SCHEMA_NAME = "3F000";
    /// No such database.
    INVALID_CATALOG_NAME = "3D000";
    /// A reserved name.
    RESERVED_NAME = "42939";
    /// A name that is too long or empty.
    INVALID_NAME = "42602";
    /// The user may not.
    INSUFFICIENT_PRIVILEGE = "42501";
    /// Values and columns differ in number; also what can be parsed and makes no sense.
    SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION = "42000";
    /// Out of memory for this statement.
    OUT_OF_MEMORY = "53200";
    /// Too many of something at this node.
    INSUFFICIENT_RESOURCES = "53000";
    /// A configured limit.
    CONFIGURATION_LIMIT_EXCEEDED = "53400";
    /// The setting cannot be changed now.
    CANT_CHANGE_RUNTIME_PARAM = "55P02";
    /// The state of things does not allow it.
    OBJECT_NOT_IN_PREREQUISITE_STATE = "55000";
    /// The user cancelled, or a timeout did.
    QUERY_CANCELED = "57014";
    /// The node stops.
    ADMIN_SHUTDOWN = "57P01";
    /// A shard or the cluster cannot be reached.
    CANNOT_CONNECT_NOW = "57P03";
    /// A file or device failed, or data is damaged.
    DATA_CORRUPTED = "XX001";
    /// The versions of that time are gone.
    SNAPSHOT_TOO_OLD = "72000";
    /// A bug.
    INTERNAL_ERROR = "XX000";
}

/// Why a transaction was aborted, as the gRPC API tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abort {
    /// An older transaction took its locks.
    Wounded {
        /// That one.
        by: TxnId,
    },
    /// A shard lost its locks.
    LocksLost,
    /// Nothing was heard of it for too long.
    Idle,
    /// It was older than it may get. Another run would take as long.
    TooOld,
    /// An abort is logged for it.
    Logged,
    /// Its commit timestamp would have passed a lease.
    LeaseEnded,
    /// A table changed under it.
    SchemaChanged,
    /// Its gateway gave it up.
    Gateway,
}

/// What could not be had in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// A shard.
    Shard,
    /// A clock that vouches for its bound.
    Clock,
    /// Room: a limit is reached.
    Room,
    /// This node, which stops.
    Node,
}

/// What a failed statement says of its transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The statement is at fault; run again it would fail again.
    Statement,
    /// The transaction surely is not committed, for no fault of the statement: run it again.
    Aborted(Abort),
    /// Something could not be had in time; nothing was done.
    Unavailable(Lack),
    /// This node does not drive the transaction that was named: it has ended or is ending, or never was here. Whether
    /// it is committed only its client may know, which knows whether it has sent a commit.
    NotHere {
        /// The transaction.
        id: TxnId,
    },
    /// Whether the transaction is committed is not known here.
    OutcomeUnknown {
        /// The transaction.
        id: TxnId,
        /// Whose shard knows; empty when not even that is known.
        coordinator: Key,
        /// Whether nothing more will ever be known.
        for_good: bool,
    },
}

/// Why a statement failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlError {
    /// PostgreSQL's code.
    pub state: SqlState,
    /// What happened, in PostgreSQL's words where it has any.
    pub message: String,
    /// More on it.
    pub detail: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Where in the statement's text: characters, from 1.
    pub position: Option<u32>,
    /// What it says of the transaction.
    pub origin: Origin,
    /// The read-write transaction that is over with it, when it was begun for the request: its retry passes its
    /// priority on.
    pub over: Option<Box<TxnId>>,
}

impl SqlError {
    /// An error that the statement is at fault for.
    pub fn new(state: SqlState, message: impl Into<String>) -> Self {
        SqlError {
            state,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            origin: Origin::Statement,
            over: None,
        }
    }

    /// What is not in this release. `what` as in "joins".
    pub fn unsupported(what: impl fmt::Display) -> Self {
        let message = format!("{what} are not supported in this release");
        SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message)
    }

    /// With more on it.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// With what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With the place, unless one is known.
    #[must_use]
    pub fn at(mut self, position: u32) -> Self {
        self.position.get_or_insert(position);
        self
    }

    /// With what it says of the transaction.
    #[must_use]
    pub fn of(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self
    }

    /// With the transaction that was begun for the request and is over.
    #[must_use]
    pub fn over(mut self, id: TxnId) -> Self {
        self.over = Some(Box::new(id));
        self
    }

    /// Of a transaction that nobody but this session names: if it is not here, it was given up, as the session
    /// has sent no commit for it before.
    #[must_use]
    pub fn of_private(mut self) -> Self {
        if let Origin::NotHere { .. } = self.origin {
            let message = "the transaction was given up: its node restarted, or heard nothing of it for too long";
            self = SqlError::new(SqlState::SERIALIZATION_FAILURE, message)
                .with_hint("Run the transaction again from its start.")
                .of(Origin::Aborted(Abort::Gateway));
        }
        self
    }

    /// Whether the whole transaction may be run again from its start: it surely is not committed, and another
    /// run may fare better.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self.origin {
            Origin::Aborted(Abort::TooOld) | Origin::Unavailable(Lack::Node) => false,
            Origin::Aborted(_) | Origin::Unavailable(_) => true,
            Origin::Statement | Origin::NotHere { .. } | Origin::OutcomeUnknown { .. } => false,
        }
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SqlError {}
