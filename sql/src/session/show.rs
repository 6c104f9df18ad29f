//! What SHOW answers of variables and of the cluster's settings.

use super::{Output, Session, State, Summary};
use crate::error::SqlError;
use crate::kv::{Begin, Kv};
use crate::plan::OutputColumn;
use crate::scalar::types::Type;
use crate::scalar::value::Value;
use crate::settings::{self, CLUSTER_SETTINGS};

/// Answers rows of text.
async fn answer<O: Output>(
    out: &mut O,
    columns: &[&str],
    rows: Vec<Vec<String>>,
) -> Result<Summary, SqlError> {
    let columns: Vec<OutputColumn> = columns
        .iter()
        .map(|name| OutputColumn { name: (*name).to_owned(), ty: Type::Text })
        .collect();
    out.columns(&columns).await?;
    let mut summary = Summary::of("SHOW");
    summary.rows = rows.len() as u64;
    let rows = rows.into_iter().map(|row| row.into_iter().map(Value::Text).collect());
    out.rows(rows.collect()).await?;
    Ok(summary)
}

impl Session {
    /// `SHOW name`.
    pub(super) async fn show<O: Output>(
        &self,
        name: &str,
        out: &mut O,
    ) -> Result<Summary, SqlError> {
        let (name, value) = match name.eq_ignore_ascii_case("transaction_read_only") {
            true => {
                let read_only = match self.state {
                    State::Idle => self.variables.is_read_only(),
                    State::Open { begin, .. } | State::Failed { begin } => {
                        !matches!(begin, Begin::ReadWrite { .. })
                    }
                };
                ("transaction_read_only", if read_only { "on" } else { "off" }.to_owned())
            }
            false => self.variables.show(name)?,
        };
        answer(out, &[name], vec![vec![value]]).await
    }

    /// `SHOW ALL`.
    pub(super) async fn show_all<O: Output>(&self, out: &mut O) -> Result<Summary, SqlError> {
        let rows = self
            .variables
            .all()
            .map(|(name, value, description)| vec![name.to_owned(), value, description.to_owned()]);
        answer(out, &["name", "setting", "description"], rows.collect()).await
    }

    /// `SHOW CLUSTER SETTING name`, or all of them.
    pub(super) async fn show_cluster<K: Kv, O: Output>(
        &self,
        kv: &K,
        name: Option<&str>,
        out: &mut O,
    ) -> Result<Summary, SqlError> {
        let stored = kv.cluster_settings().await?;
        let value = |setting: &settings::ClusterSetting| {
            stored.get(setting.name).map_or(setting.default, String::as_str).to_owned()
        };
        if let Some(name) = name {
            let setting = settings::find(name)?;
            return answer(out, &[setting.name], vec![vec![value(setting)]]).await;
        }
        let rows = CLUSTER_SETTINGS.iter().map(|setting| {
            let (name, description) = (setting.name.to_owned(), setting.description.to_owned());
            vec![name, value(setting), setting.default.to_owned(), description]
        });
        answer(out, &["name", "setting", "default", "description"], rows.collect()).await
    }
}
