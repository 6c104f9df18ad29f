//! Reads a history from a file, record by record, and says which line is wrong and why.

use super::json::{self, HeaderLine, VersionLine};
use super::{FORMAT_VERSION, Header, Record};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// No line is longer than this: a scan of a million rows fits.
const LINE_BYTES_MAX: u64 = 1 << 30;

const BUFFER_BYTES: usize = 1 << 20;

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// It is no JSON, or not of the form that docs/formats.md describes.
    #[error("{0}")]
    Json(#[source] serde_json::Error),
    /// A field that this kind of record needs is not there.
    #[error("the field {0:?} is missing")]
    Missing(&'static str),
    /// A field that this kind of record, or its outcome, cannot have.
    #[error("the field {0:?} has no place in a record of this kind and outcome")]
    OutOfPlace(&'static str),
    /// The response comes before the invocation.
    #[error("it ends (\"e\") before it begins (\"i\")")]
    EndsBeforeItBegins,
    /// The file ends inside the line.
    #[error(
        "the recording stopped in the middle of this line; delete the line to check what precedes it"
    )]
    CutOff,
    /// The line is longer than any record can be.
    #[error("the line is longer than {LINE_BYTES_MAX} bytes")]
    TooLong,
}

/// Why a history cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file cannot be opened or created.
    #[error("cannot open the history {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A record could not be written. What was recorded so far is incomplete.
    #[error("cannot write the history: {source}; the recording is incomplete")]
    Write {
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The file could not be read on.
    #[error("cannot read the history at line {line}: {source}")]
    Read {
        /// The line, from 1.
        line: u64,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The first line is not the header of a history.
    #[error("line 1 is not the header of a history: {what}")]
    NotAHistory {
        /// What is wrong with it.
        what: Malformed,
    },
    /// The file has another format version.
    #[error(
        "the history has format version {found}, this program reads {FORMAT_VERSION}; check it with the program that recorded it"
    )]
    Version {
        /// The version it says it has.
        found: u32,
    },
    /// A line after the first is no record.
    #[error("line {line} of the history: {what}")]
    Line {
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        what: Malformed,
    },
}

/// A history being read. Iterating yields the records in the order of the file.
pub struct Reader<R> {
    source: R,
    header: Header,
    /// The line that `buffer` holds or held, from 1.
    line: u64,
    buffer: Vec<u8>,
}

impl Reader<BufReader<File>> {
    /// Opens the history at `path` and reads its header.
    ///
    /// # Errors
    /// The file cannot be read or does not begin as a history does.
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        let opened = File::open(path);
        let file =
            opened.map_err(|source| HistoryError::Open { path: path.to_path_buf(), source })?;
        Reader::new(BufReader::with_capacity(BUFFER_BYTES, file))
    }
}

impl<R: BufRead> Reader<R> {
    /// Reads the header from `source`.
    ///
    /// # Errors
    /// The source cannot be read or does not begin as a history does.
    pub fn new(source: R) -> Result<Self, HistoryError> {
        let header = Header::default();
        let mut reader = Reader { source, header, line: 0, buffer: Vec::new() };
        let no_header = |what| HistoryError::NotAHistory { what };
        if !reader.next_line()? {
            return Err(no_header(Malformed::CutOff));
        }
        let json_error = |error| no_header(reader.blame(Malformed::Json(error)));
        let version: VersionLine = serde_json::from_slice(&reader.buffer).map_err(json_error)?;
        if version.spandrel_history != FORMAT_VERSION {
            return Err(HistoryError::Version { found: version.spandrel_history });
        }
        let header: HeaderLine = serde_json::from_slice(&reader.buffer).map_err(json_error)?;
        reader.header = header.into();
        Ok(reader)
    }

    /// What holds for the whole recording.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The line of the record that was yielded last, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Fills the buffer with the next line and its end; false at the end of the file.
    fn next_line(&mut self) -> Result<bool, HistoryError> {
        self.buffer.clear();
        self.line += 1;
        let line = self.line;
        let read = (&mut self.source).take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut self.buffer);
        let length = read.map_err(|source| HistoryError::Read { line, source })?;
        if u64::try_from(length).is_ok_and(|length| length <= LINE_BYTES_MAX) {
            return Ok(length > 0);
        }
        Err(match line {
            1 => HistoryError::NotAHistory { what: Malformed::TooLong },
            _ => HistoryError::Line { line, what: Malformed::TooLong },
        })
    }

    /// A line without an end that does not parse was cut off, whatever the parser stumbled over.
    fn blame(&self, what: Malformed) -> Malformed {
        if self.buffer.ends_with(b"\n") { what } else { Malformed::CutOff }
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Record, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.next_line() {
            Ok(true) => Some(
                json::parse_record(&self.buffer)
                    .map_err(|what| HistoryError::Line { line: self.line, what: self.blame(what) }),
            ),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}
