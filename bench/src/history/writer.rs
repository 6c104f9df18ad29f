//! Writes a history to a file, record by record.

use super::json::{self, HeaderLine};
use super::{Header, HistoryError, Lookup, Record, Transaction};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Holds back at most this much of what was recorded.
const BUFFER_BYTES: usize = 256 << 10;

/// A recording in progress. Records may come in any order; call [`Writer::finish`] at the end, since
/// dropping it loses an error of the last write.
pub struct Writer<W: Write> {
    sink: BufWriter<W>,
}

impl Writer<File> {
    /// Starts a recording in a new file at `path`; one that exists is overwritten.
    ///
    /// # Errors
    /// The file cannot be created or written.
    pub fn create(path: &Path, header: &Header) -> Result<Self, HistoryError> {
        let opened = File::create(path);
        let file =
            opened.map_err(|source| HistoryError::Open { path: path.to_path_buf(), source })?;
        Writer::new(file, header)
    }
}

impl<W: Write> Writer<W> {
    /// Starts a recording in `sink`.
    ///
    /// # Errors
    /// The sink cannot be written.
    pub fn new(sink: W, header: &Header) -> Result<Self, HistoryError> {
        let mut writer = Writer { sink: BufWriter::with_capacity(BUFFER_BYTES, sink) };
        let line = serde_json::to_writer(&mut writer.sink, &HeaderLine::from(header));
        writer.end_line(line)?;
        Ok(writer)
    }

    /// Adds a record.
    ///
    /// # Errors
    /// The sink cannot be written.
    pub fn record(&mut self, record: &Record) -> Result<(), HistoryError> {
        match record {
            Record::Transaction(transaction) => self.transaction(transaction),
            Record::Lookup(lookup) => self.lookup(lookup),
        }
    }

    /// Adds an attempt.
    ///
    /// # Errors
    /// The sink cannot be written.
    pub fn transaction(&mut self, transaction: &Transaction) -> Result<(), HistoryError> {
        let line = json::write_transaction(&mut self.sink, transaction);
        self.end_line(line)
    }

    /// Adds a lookup.
    ///
    /// # Errors
    /// The sink cannot be written.
    pub fn lookup(&mut self, lookup: &Lookup) -> Result<(), HistoryError> {
        let line = json::write_lookup(&mut self.sink, lookup);
        self.end_line(line)
    }

    /// Writes out what is held back and returns the sink.
    ///
    /// # Errors
    /// The sink cannot be written.
    pub fn finish(self) -> Result<W, HistoryError> {
        self.sink.into_inner().map_err(|error| HistoryError::Write { source: error.into_error() })
    }

    fn end_line(&mut self, line: Result<(), serde_json::Error>) -> Result<(), HistoryError> {
        line.map_err(std::io::Error::from)
            .and_then(|()| self.sink.write_all(b"\n"))
            .map_err(|source| HistoryError::Write { source })
    }
}
