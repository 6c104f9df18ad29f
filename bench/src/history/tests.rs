use super::*;

fn key(text: &str) -> Key {
    Key::from(text.as_bytes())
}

fn value(text: &str) -> Option<Value> {
    Some(Value::from(text.as_bytes()))
}

fn at(nanos: u64) -> HistoryTime {
    HistoryTime::from_nanos(nanos)
}

fn ts(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn transaction(kind: Kind, ops: Vec<Op>) -> Record {
    let id = Some("x1.7.1".to_string());
    Record::Transaction(Transaction {
        process: 3,
        invoked: at(10),
        responded: at(20),
        id,
        kind,
        ops,
    })
}

/// Every kind of record and step, with binary keys and the largest timestamp.
fn sample() -> History {
    let committed = Outcome::Committed { at: ts(u64::MAX) };
    let row = Row { key: key("a"), value: Value::from(&b"\xff\x00"[..]), version: Some(ts(5)) };
    let own = Row { version: None, ..row.clone() };
    let read = Op::Read { key: key("\\x41"), value: value("1"), version: Some(ts(7)) };
    let absent = Op::Read { key: key(""), value: None, version: None };
    let write = Op::Write { key: Key::from(vec![0xc3]), value: value("\u{e9}\n\"") };
    let delete = Op::Write { key: key("b"), value: None };
    let span = KeySpan { start: key("a"), end: None };
    let scan = Op::Scan { span, rows: vec![own] };
    let bounded = Op::Scan { span: KeySpan::new(key("a"), key("b")), rows: vec![] };
    let lookup = |answer| {
        let (process, invoked, responded) = (1, at(30), at(30));
        Record::Lookup(Lookup { process, invoked, responded, id: "x".to_string(), answer })
    };
    let aborted = Kind::ReadWrite { outcome: Outcome::Aborted, commit_sent: None };
    let records = vec![
        transaction(
            Kind::ReadWrite { outcome: committed, commit_sent: Some(at(15)) },
            vec![read, absent, write.clone(), delete, scan],
        ),
        transaction(aborted, vec![]),
        transaction(Kind::SingleUse { outcome: Outcome::Unknown }, vec![write]),
        transaction(Kind::Strong { at: ts(9) }, vec![bounded.clone()]),
        transaction(Kind::Stale { at: ts(8) }, vec![bounded]),
        lookup(Answer::Committed { at: ts(4) }),
        lookup(Answer::Aborted),
        lookup(Answer::NotKnown),
    ];
    let header = Header {
        workload: "bank".to_string(),
        epsilon_us: Some(250),
        true_time_origin: Some(ts(1_000)),
        initial: vec![row],
    };
    History { header, records }
}

fn file_of(history: &History) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &history.header).unwrap();
    for record in &history.records {
        writer.record(record).unwrap();
    }
    writer.finish().unwrap()
}

fn read(file: &[u8]) -> Result<History, HistoryError> {
    let reader = Reader::new(file)?;
    let header = reader.header().clone();
    Ok(History { header, records: reader.collect::<Result<_, _>>()? })
}

#[test]
fn history_written_and_read_is_the_same() {
    let history = sample();
    assert_eq!(read(&file_of(&history)).unwrap(), history);
}

#[test]
fn history_last_line_without_its_end_is_read() {
    let mut file = file_of(&sample());
    assert_eq!(file.pop(), Some(b'\n'));
    assert_eq!(read(&file).unwrap(), sample());
}

/// The examples of docs/formats.md.
#[test]
fn format_of_a_transfer_is_as_documented() {
    let row = |name: &str, balance, version| Op::Read {
        key: key(name),
        value: value(balance),
        version: Some(ts(version)),
    };
    let write = |name: &str, balance| Op::Write { key: key(name), value: value(balance) };
    let kind = Kind::ReadWrite { outcome: Outcome::Committed { at: ts(5000) }, commit_sent: None };
    let ops = vec![row("a", "100", 4000), row("b", "50", 4100), write("a", "90"), write("b", "60")];
    let header = Header { workload: "bank".to_string(), ..Header::default() };
    let history = History { header, records: vec![transaction(kind, ops)] };
    assert_eq!(
        String::from_utf8(file_of(&history)).unwrap(),
        concat!(
            r#"{"spandrel_history":1,"workload":"bank","initial":[]}"#,
            "\n",
            r#"{"k":"rw","p":3,"i":10,"e":20,"id":"x1.7.1","out":"ok","t":5000,"#,
            r#""ops":[["r","a","100",4000],["r","b","50",4100],["w","a","90"],["w","b","60"]]}"#,
            "\n"
        )
    );
}

fn error_of(lines: &[&str]) -> String {
    let file = lines.join("\n") + "\n";
    read(file.as_bytes()).expect_err("malformed").to_string()
}

const HEADER: &str = r#"{"spandrel_history":1,"workload":"w"}"#;
const GOOD: &str = r#"{"k":"strong","p":1,"i":1,"e":2,"t":3,"ops":[]}"#;

#[test]
fn malformed_line_is_named_by_its_number() {
    let cases = [
        (r#"{"k":"strong","p":1,"i":5,"e":2,"t":3}"#, "it ends (\"e\") before it begins (\"i\")"),
        (r#"{"k":"strong","p":1,"i":1,"e":2}"#, "the field \"t\" is missing"),
        (r#"{"k":"rw","p":1,"i":1,"e":2}"#, "the field \"out\" is missing"),
        (r#"{"k":"rw","p":1,"i":1,"e":2,"out":"ok"}"#, "the field \"t\" is missing"),
        (r#"{"k":"rw","p":1,"i":1,"e":2,"out":"abort","t":1}"#, "the field \"t\" has no place"),
        (r#"{"k":"stale","p":1,"i":1,"e":2,"t":1,"out":"ok"}"#, "the field \"out\" has no place"),
        (r#"{"k":"stale","p":1,"i":1,"e":2,"t":1,"c":1}"#, "the field \"c\" has no place"),
        (r#"{"k":"lookup","p":1,"i":1,"e":2,"out":"abort"}"#, "the field \"id\" is missing"),
        (
            r#"{"k":"strong","p":1,"i":1,"e":2,"t":1,"ops":[["w","a","b"]]}"#,
            "the field \"ops\" has no place",
        ),
        (
            r#"{"k":"one","p":1,"i":1,"e":2,"out":"abort","ops":[["r","a",null]]}"#,
            "the field \"ops\" has no place",
        ),
        (r#"{"k":"rw","p":1,"i":1,"e":2,"out":"ok","t":1,"more":1}"#, "unknown field `more`"),
        (r#"{"k":"rw","p":1,"i":1,"e":2,"out":"ok","t":1,"ops":[["r","a"]]}"#, "no second field"),
        (r#"{"k":"rw","p":1,"i":1,"e":2,"out":"ok","t":1,"ops":[["r","\\x4",null]]}"#, "\\\\x4"),
        (r#"{"k":"rw","p":1,"i":1,"e":2,"out":"ok","t":1,"ops":[["r","a",null,1,2]]}"#, "trailing"),
        ("", "EOF"),
        ("hello", "expected value"),
    ];
    for (line, what) in cases {
        let error = error_of(&[HEADER, GOOD, line, GOOD]);
        assert!(error.starts_with("line 3 of the history"), "{line}: {error}");
        assert!(error.contains(what), "{line}: {error}");
    }
}

#[test]
fn file_that_is_no_history_is_refused() {
    assert!(error_of(&[""]).starts_with("line 1 is not the header of a history"));
    assert!(error_of(&[GOOD]).contains("spandrel_history"));
    assert!(error_of(&[r#"{"spandrel_history":1}"#]).contains("workload"));
    assert!(matches!(read(b""), Err(HistoryError::NotAHistory { what: Malformed::CutOff })));
}

#[test]
fn other_format_version_is_refused_before_its_fields() {
    let file = b"{\"spandrel_history\":2,\"unheard\":true}\n";
    assert!(matches!(read(file), Err(HistoryError::Version { found: 2 })));
}

#[test]
fn recording_cut_off_is_told_from_a_wrong_line() {
    let file = format!("{HEADER}\n{GOOD}\n{}", &GOOD[..20]);
    let error = read(file.as_bytes()).unwrap_err();
    assert!(matches!(error, HistoryError::Line { line: 3, what: Malformed::CutOff }), "{error}");
}
