//! The JSON form of a line (docs/formats.md, "History") and its translation to and from [`Record`].

use super::text;
use super::{
    Answer, FORMAT_VERSION, Header, HistoryTime, Kind, Lookup, Malformed, Op, Outcome, Record, Row,
    Transaction,
};
use proto::{Key, KeySpan, Value};
use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use truetime::Timestamp;

/// Only the version, whatever else the line holds.
#[derive(Deserialize)]
pub(super) struct VersionLine {
    pub(super) spandrel_history: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HeaderLine {
    spandrel_history: u32,
    workload: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epsilon_us: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    true_time_origin: Option<Timestamp>,
    #[serde(default)]
    initial: Vec<Row>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Tag {
    Rw,
    One,
    Strong,
    Stale,
    Lookup,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OutcomeTag {
    Ok,
    Abort,
    Unknown,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    k: Tag,
    p: u32,
    i: u64,
    e: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    out: Option<OutcomeTag>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    t: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    c: Option<u64>,
    #[serde(default, skip_serializing_if = "Ops::is_empty")]
    ops: Ops<'a>,
}

/// The steps: borrowed when written, owned when read.
enum Ops<'a> {
    Borrowed(&'a [Op]),
    Owned(Vec<Op>),
}

impl Ops<'_> {
    fn as_slice(&self) -> &[Op] {
        match self {
            Ops::Borrowed(ops) => ops,
            Ops::Owned(ops) => ops,
        }
    }

    fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    fn into_vec(self) -> Vec<Op> {
        match self {
            Ops::Borrowed(ops) => ops.to_vec(),
            Ops::Owned(ops) => ops,
        }
    }
}

impl Default for Ops<'_> {
    fn default() -> Self {
        Ops::Borrowed(&[])
    }
}

impl Serialize for Ops<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_slice().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Ops<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Ops::Owned)
    }
}

impl From<&Header> for HeaderLine {
    fn from(header: &Header) -> Self {
        HeaderLine {
            spandrel_history: FORMAT_VERSION,
            workload: header.workload.clone(),
            epsilon_us: header.epsilon_us,
            true_time_origin: header.true_time_origin,
            initial: header.initial.clone(),
        }
    }
}

impl From<HeaderLine> for Header {
    fn from(line: HeaderLine) -> Self {
        Header {
            workload: line.workload,
            epsilon_us: line.epsilon_us,
            true_time_origin: line.true_time_origin,
            initial: line.initial,
        }
    }
}

/// Writes `transaction` as one JSON object, without the line's end.
pub(super) fn write_transaction(
    sink: &mut impl std::io::Write,
    transaction: &Transaction,
) -> Result<(), serde_json::Error> {
    let (k, out, t, c) = match transaction.kind {
        Kind::ReadWrite { outcome, commit_sent } => {
            let (out, t) = outcome_fields(outcome);
            (Tag::Rw, Some(out), t, commit_sent.map(HistoryTime::nanos))
        }
        Kind::SingleUse { outcome } => {
            let (out, t) = outcome_fields(outcome);
            (Tag::One, Some(out), t, None)
        }
        Kind::Strong { at } => (Tag::Strong, None, Some(at), None),
        Kind::Stale { at } => (Tag::Stale, None, Some(at), None),
    };
    let line = Line {
        k,
        p: transaction.process,
        i: transaction.invoked.nanos(),
        e: transaction.responded.nanos(),
        id: transaction.id.clone(),
        out,
        t,
        c,
        ops: Ops::Borrowed(&transaction.ops),
    };
    serde_json::to_writer(sink, &line)
}

/// Writes `lookup` as one JSON object, without the line's end.
pub(super) fn write_lookup(
    sink: &mut impl std::io::Write,
    lookup: &Lookup,
) -> Result<(), serde_json::Error> {
    let (out, t) = match lookup.answer {
        Answer::Committed { at } => (OutcomeTag::Ok, Some(at)),
        Answer::Aborted => (OutcomeTag::Abort, None),
        Answer::NotKnown => (OutcomeTag::Unknown, None),
    };
    let line = Line {
        k: Tag::Lookup,
        p: lookup.process,
        i: lookup.invoked.nanos(),
        e: lookup.responded.nanos(),
        id: Some(lookup.id.clone()),
        out: Some(out),
        t,
        c: None,
        ops: Ops::default(),
    };
    serde_json::to_writer(sink, &line)
}

fn outcome_fields(outcome: Outcome) -> (OutcomeTag, Option<Timestamp>) {
    match outcome {
        Outcome::Committed { at } => (OutcomeTag::Ok, Some(at)),
        Outcome::Aborted => (OutcomeTag::Abort, None),
        Outcome::Unknown => (OutcomeTag::Unknown, None),
    }
}

/// Reads one line after the first.
pub(super) fn parse_record(line: &[u8]) -> Result<Record, Malformed> {
    let line: Line<'_> = serde_json::from_slice(line).map_err(Malformed::Json)?;
    if line.e < line.i {
        return Err(Malformed::EndsBeforeItBegins);
    }
    let (invoked, responded) = (HistoryTime::from_nanos(line.i), HistoryTime::from_nanos(line.e));
    let kind = match line.k {
        Tag::Lookup => {
            let id = line.id.ok_or(Malformed::Missing("id"))?;
            refuse(!line.ops.is_empty(), "ops")?;
            refuse(line.c.is_some(), "c")?;
            let answer = match outcome(line.out, line.t)? {
                Outcome::Committed { at } => Answer::Committed { at },
                Outcome::Aborted => Answer::Aborted,
                Outcome::Unknown => Answer::NotKnown,
            };
            let process = line.p;
            return Ok(Record::Lookup(Lookup { process, invoked, responded, id, answer }));
        }
        Tag::Rw => Kind::ReadWrite {
            outcome: outcome(line.out, line.t)?,
            commit_sent: line.c.map(HistoryTime::from_nanos),
        },
        Tag::One => {
            refuse(line.c.is_some(), "c")?;
            Kind::SingleUse { outcome: outcome(line.out, line.t)? }
        }
        Tag::Strong | Tag::Stale => {
            refuse(line.out.is_some(), "out")?;
            refuse(line.c.is_some(), "c")?;
            let at = line.t.ok_or(Malformed::Missing("t"))?;
            if matches!(line.k, Tag::Strong) { Kind::Strong { at } } else { Kind::Stale { at } }
        }
    };
    let (process, id, ops) = (line.p, line.id, line.ops.into_vec());
    let transaction = Transaction { process, invoked, responded, id, kind, ops };
    check_shape(&transaction)?;
    Ok(Record::Transaction(transaction))
}

fn outcome(tag: Option<OutcomeTag>, at: Option<Timestamp>) -> Result<Outcome, Malformed> {
    match (tag.ok_or(Malformed::Missing("out"))?, at) {
        (OutcomeTag::Ok, Some(at)) => Ok(Outcome::Committed { at }),
        (OutcomeTag::Ok, None) => Err(Malformed::Missing("t")),
        (OutcomeTag::Abort, None) => Ok(Outcome::Aborted),
        (OutcomeTag::Unknown, None) => Ok(Outcome::Unknown),
        (OutcomeTag::Abort | OutcomeTag::Unknown, Some(_)) => Err(Malformed::OutOfPlace("t")),
    }
}

fn refuse(present: bool, field: &'static str) -> Result<(), Malformed> {
    if present { Err(Malformed::OutOfPlace(field)) } else { Ok(()) }
}

/// A sort of transaction has only the steps that the sort allows.
fn check_shape(transaction: &Transaction) -> Result<(), Malformed> {
    let allowed = |op: &Op| match (transaction.kind, op) {
        (Kind::ReadWrite { .. }, Op::Read { .. } | Op::Write { .. } | Op::Scan { .. })
        | (Kind::SingleUse { .. }, Op::Write { .. })
        | (Kind::Strong { .. } | Kind::Stale { .. }, Op::Read { .. } | Op::Scan { .. }) => true,
        (Kind::SingleUse { .. }, Op::Read { .. } | Op::Scan { .. })
        | (Kind::Strong { .. } | Kind::Stale { .. }, Op::Write { .. }) => false,
    };
    if transaction.ops.iter().all(allowed) { Ok(()) } else { Err(Malformed::OutOfPlace("ops")) }
}

/// A byte string in its text form.
struct Text<'a>(&'a [u8]);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&text::encode(self.0))
    }
}

/// A byte string read from its text form.
struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl Visitor<'_> for TextVisitor {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a byte string: text, or \\x and pairs of hexadecimal digits")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Bytes, E> {
                text::decode(text)
                    .map(|bytes| Bytes(bytes.into_owned()))
                    .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_seq(None)?;
        fields.serialize_element(&Text(self.key.as_bytes()))?;
        fields.serialize_element(&Text(self.value.as_bytes()))?;
        if let Some(version) = self.version {
            fields.serialize_element(&version)?;
        }
        fields.end()
    }
}

impl Serialize for Op {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_seq(None)?;
        match self {
            Op::Read { key, value, version } => {
                fields.serialize_element("r")?;
                fields.serialize_element(&Text(key.as_bytes()))?;
                fields.serialize_element(&value.as_ref().map(|value| Text(value.as_bytes())))?;
                if let Some(version) = version {
                    fields.serialize_element(version)?;
                }
            }
            Op::Write { key, value } => {
                fields.serialize_element("w")?;
                fields.serialize_element(&Text(key.as_bytes()))?;
                fields.serialize_element(&value.as_ref().map(|value| Text(value.as_bytes())))?;
            }
            Op::Scan { span, rows } => {
                fields.serialize_element("s")?;
                fields.serialize_element(&Text(span.start.as_bytes()))?;
                fields.serialize_element(&span.end.as_ref().map(|end| Text(end.as_bytes())))?;
                fields.serialize_element(rows)?;
            }
        }
        fields.end()
    }
}

/// The next field, which must be there.
fn field<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(
    fields: &mut A,
    what: &'static str,
) -> Result<T, A::Error> {
    fields.next_element()?.ok_or_else(|| A::Error::custom(format_args!("no {what}")))
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RowVisitor;
        impl<'de> Visitor<'de> for RowVisitor {
            type Value = Row;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a row: [key, value] or [key, value, version]")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut fields: A) -> Result<Row, A::Error> {
                let key: Bytes = field(&mut fields, "key")?;
                let value: Bytes = field(&mut fields, "value")?;
                let version = fields.next_element()?;
                Ok(Row { key: Key::from(key.0), value: Value::from(value.0), version })
            }
        }
        deserializer.deserialize_seq(RowVisitor)
    }
}

#[derive(Deserialize)]
enum OpTag {
    #[serde(rename = "r")]
    Read,
    #[serde(rename = "w")]
    Write,
    #[serde(rename = "s")]
    Scan,
}

impl<'de> Deserialize<'de> for Op {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OpVisitor;
        impl<'de> Visitor<'de> for OpVisitor {
            type Value = Op;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a step: [\"r\", ..], [\"w\", ..] or [\"s\", ..]")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut fields: A) -> Result<Op, A::Error> {
                let tag: OpTag = field(&mut fields, "kind of step")?;
                let key: Bytes = field(&mut fields, "key")?;
                let key = Key::from(key.0);
                let second: Option<Bytes> = field(&mut fields, "second field")?;
                let value = |second: Option<Bytes>| second.map(|value| Value::from(value.0));
                Ok(match tag {
                    OpTag::Read => {
                        let version = fields.next_element()?;
                        Op::Read { key, value: value(second), version }
                    }
                    OpTag::Write => Op::Write { key, value: value(second) },
                    OpTag::Scan => {
                        let end = second.map(|end| Key::from(end.0));
                        let span = KeySpan { start: key, end };
                        Op::Scan { span, rows: field(&mut fields, "rows")? }
                    }
                })
            }
        }
        deserializer.deserialize_seq(OpVisitor)
    }
}
