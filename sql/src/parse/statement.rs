//! What a statement is.

use super::ast::{self, AsOf, CreateTable, Delete, DropTable, Insert, Query, Update};

/// What a setting is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetValue {
    /// DEFAULT.
    Default,
    /// One value or several, as text.
    Values(Vec<String>),
}

/// What was asked for in words; every level is served as serializable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// SERIALIZABLE.
    Serializable,
    /// REPEATABLE READ.
    RepeatableRead,
    /// READ COMMITTED.
    ReadCommitted,
    /// READ UNCOMMITTED.
    ReadUncommitted,
}

/// What BEGIN and SET TRANSACTION may say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransactionModes {
    /// ISOLATION LEVEL.
    pub isolation: Option<Isolation>,
    /// READ ONLY or READ WRITE.
    pub read_only: Option<bool>,
    /// DEFERRABLE or NOT DEFERRABLE, which change nothing.
    pub deferrable: Option<bool>,
}

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// SELECT, VALUES or TABLE.
    Query(Box<Query>),
    /// INSERT.
    Insert(Box<Insert>),
    /// UPDATE.
    Update(Box<Update>),
    /// DELETE.
    Delete(Box<Delete>),
    /// CREATE TABLE.
    CreateTable(Box<CreateTable>),
    /// DROP TABLE.
    DropTable(DropTable),
    /// EXPLAIN.
    Explain(Box<Statement>),
    /// SHOW TABLES.
    ShowTables,
    /// SHOW COLUMNS FROM.
    ShowColumns {
        /// Which table's.
        table: ast::Name,
    },
    /// SHOW CREATE TABLE.
    ShowCreateTable {
        /// Which table's.
        table: ast::Name,
    },
    /// BEGIN.
    Begin {
        /// What kind.
        modes: TransactionModes,
        /// AS OF SYSTEM TIME.
        as_of: Option<AsOf>,
    },
    /// COMMIT or END.
    Commit {
        /// AND CHAIN.
        chain: bool,
    },
    /// ROLLBACK or ABORT.
    Rollback {
        /// AND CHAIN.
        chain: bool,
    },
    /// SET TRANSACTION, or with `session` SET SESSION CHARACTERISTICS AS TRANSACTION.
    SetTransaction {
        /// What kind.
        modes: TransactionModes,
        /// Whether it is for the transactions to come.
        session: bool,
    },
    /// SAVEPOINT.
    Savepoint {
        /// Its name.
        name: String,
    },
    /// RELEASE SAVEPOINT.
    ReleaseSavepoint {
        /// Its name.
        name: String,
    },
    /// ROLLBACK TO SAVEPOINT.
    RollbackToSavepoint {
        /// Its name.
        name: String,
    },
    /// SET.
    Set {
        /// The setting, in lower case.
        name: String,
        /// To what.
        value: SetValue,
        /// Whether only for this transaction.
        local: bool,
    },
    /// RESET.
    Reset {
        /// The setting; none for ALL.
        name: Option<String>,
    },
    /// SHOW.
    Show {
        /// The setting.
        name: String,
    },
    /// SHOW ALL.
    ShowAll,
    /// SET CLUSTER SETTING or RESET CLUSTER SETTING.
    SetClusterSetting {
        /// The setting.
        name: String,
        /// To what; none for its default.
        value: Option<String>,
    },
    /// SHOW CLUSTER SETTING(S).
    ShowClusterSetting {
        /// The setting; none for all.
        name: Option<String>,
    },
    /// PREPARE. Like EXECUTE and DEALLOCATE it is refused by the sessions of this release; the scripts that hold
    /// parameters against PostgreSQL run it.
    Prepare {
        /// Its name.
        name: String,
        /// The types of its first parameters.
        parameters: Vec<crate::scalar::types::Type>,
        /// What.
        statement: Box<Statement>,
    },
    /// EXECUTE.
    Execute {
        /// Which.
        name: String,
        /// With what: expressions without columns.
        arguments: Vec<ast::Expr>,
    },
    /// DEALLOCATE.
    Deallocate {
        /// ALL; else one, whose name nobody asks for yet.
        all: bool,
    },
    /// DISCARD ALL.
    DiscardAll,
}

impl Statement {
    /// The tables to look up before it is planned.
    #[must_use]
    pub fn tables(&self) -> Vec<String> {
        let of_query = |query: &Query| match &query.body {
            ast::Body::Select(select) => {
                select.from.iter().map(|from| from.table.value.clone()).collect()
            }
            ast::Body::Values(_) => Vec::new(),
        };
        match self {
            Statement::Query(query) => of_query(query),
            Statement::Insert(insert) => {
                let mut tables = vec![insert.table.value.clone()];
                tables.extend(insert.source.as_ref().map(of_query).unwrap_or_default());
                tables
            }
            Statement::Update(update) => vec![update.table.table.value.clone()],
            Statement::Delete(delete) => vec![delete.table.table.value.clone()],
            Statement::ShowColumns { table } | Statement::ShowCreateTable { table } => {
                vec![table.value.clone()]
            }
            Statement::Explain(statement) => statement.tables(),
            // Those of the session name none. Whoever is forgotten here finds no table the first time it is run.
            _ => Vec::new(),
        }
    }

    /// The words of its command tag, before any count.
    #[must_use]
    pub fn tag(&self) -> &'static str {
        match self {
            Statement::Query(_) => "SELECT",
            Statement::Insert(_) => "INSERT",
            Statement::Update(_) => "UPDATE",
            Statement::Delete(_) => "DELETE",
            Statement::CreateTable(_) => "CREATE TABLE",
            Statement::DropTable(_) => "DROP TABLE",
            Statement::Explain(_) => "EXPLAIN",
            Statement::Begin { .. } => "BEGIN",
            Statement::Commit { .. } => "COMMIT",
            Statement::Rollback { .. } | Statement::RollbackToSavepoint { .. } => "ROLLBACK",
            Statement::Savepoint { .. } => "SAVEPOINT",
            Statement::ReleaseSavepoint { .. } => "RELEASE",
            Statement::SetTransaction { .. } | Statement::Set { .. } => "SET",
            Statement::SetClusterSetting { value: Some(_), .. } => "SET CLUSTER SETTING",
            Statement::SetClusterSetting { value: None, .. } => "RESET CLUSTER SETTING",
            Statement::Reset { .. } => "RESET",
            Statement::ShowTables
            | Statement::ShowColumns { .. }
            | Statement::ShowCreateTable { .. }
            | Statement::Show { .. }
            | Statement::ShowAll
            | Statement::ShowClusterSetting { .. } => "SHOW",
            Statement::Prepare { .. } => "PREPARE",
            Statement::Execute { .. } => "EXECUTE",
            Statement::Deallocate { all: false } => "DEALLOCATE",
            Statement::Deallocate { all: true } => "DEALLOCATE ALL",
            Statement::DiscardAll => "DISCARD ALL",
        }
    }
}
