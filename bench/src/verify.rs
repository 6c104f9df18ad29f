//! `spandrel verify FILE`: checks a recorded history.

use crate::checker::{Checked, Checker, Options};
use crate::history::{HistoryError, Reader};
use std::path::Path;

/// Why a file has no verdict. A violation is a verdict, not an error.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The file cannot be read, or is no history.
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// Checks the history at `path`, which may be larger than the memory that its text would take.
///
/// # Errors
/// The file cannot be read, or a line of it is no record.
pub fn verify_file(path: &Path) -> Result<Checked, VerifyError> {
    let reader = Reader::open(path)?;
    let mut checker = Checker::for_header(reader.header(), Options::default());
    for record in reader {
        checker.record(&record?);
    }
    Ok(checker.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::Anomaly;
    use std::io::Write;

    fn verify(lines: &[&str]) -> Result<Checked, VerifyError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
        verify_file(file.path())
    }

    const HEADER: &str =
        r#"{"spandrel_history":1,"workload":"bank","initial":[["a","100",10],["b","50",10]]}"#;
    const TRANSFER: &str = concat!(
        r#"{"k":"rw","p":1,"i":1,"e":9,"id":"x1","out":"ok","t":50,"#,
        r#""ops":[["r","a","100",10],["r","b","50",10],["w","a","90"],["w","b","60"]]}"#
    );
    const AUDIT: &str = concat!(
        r#"{"k":"strong","p":2,"i":10,"e":12,"t":60,"#,
        r#""ops":[["s","a",null,[["a","90",50],["b","60",50]]]]}"#
    );

    #[test]
    fn verify_good_history_is_strictly_serializable() {
        let checked = verify(&[HEADER, TRANSFER, AUDIT]).unwrap();
        assert_eq!(checked.verdict(), "strictly serializable");
        assert_eq!((checked.transactions, checked.operations), (2, 7));
    }

    #[test]
    fn verify_doctored_history_fails_and_names_the_transactions() {
        let doctored = AUDIT.replace(r#"["b","60",50]"#, r#"["b","50",10]"#);
        let checked = verify(&[HEADER, TRANSFER, &doctored]).unwrap();
        assert_eq!(checked.violations[0].anomaly, Anomaly::FracturedRead);
        assert_eq!(
            checked.violations[0].to_string(),
            concat!(
                "fractured read (G-single): a read of b returned \"50\" of 0.000000010, where ",
                "\"60\" of 0.000000050 was due\n  ",
                "reader: record 2, strong read, timestamp 0.000000060, process 2 from ",
                "0.000000010s to 0.000000012s\n  ",
                "wrote what was expected: record 1, read-write, committed, id x1, timestamp ",
                "0.000000050, process 1 from 0.000000001s to 0.000000009s"
            )
        );
    }

    /// The example of docs/formats.md.
    #[test]
    fn verify_documented_example_is_strictly_serializable() {
        let document = include_str!("../../docs/formats.md");
        let section = document.split("## History").nth(1).unwrap();
        let example = section.split("### Example").nth(1).unwrap().split("```").nth(1).unwrap();
        let checked = verify(&[example.trim()]).unwrap();
        assert_eq!(checked.verdict(), "strictly serializable");
        assert_eq!(checked.transactions, 4);
    }

    #[test]
    fn verify_file_that_does_not_parse_has_no_verdict() {
        let error = verify(&[HEADER, "{}"]).unwrap_err();
        assert!(error.to_string().starts_with("line 2 of the history: "), "{error}");
        let error = verify_file(Path::new("/nonexistent/history")).unwrap_err();
        assert!(error.to_string().starts_with("cannot open the history"), "{error}");
    }
}
