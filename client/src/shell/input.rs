//! Where the input comes from: a terminal with an editor, or a stream of lines.
//!
//! Both block, so each has a thread of its own, which is asked for one line at a time: the terminal belongs to
//! the editor only while it is asked, so that Ctrl-C is a signal while a statement runs.

use rustyline::config::{Behavior, Builder};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use std::io::{BufRead, IsTerminal, Read};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use tokio::sync::oneshot;

/// Entries of the history that are kept.
const HISTORY_ENTRIES_MAX: usize = 2_000;

/// A line longer than this is refused: the largest statement that a node takes.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// What came.
#[derive(Debug)]
pub(super) enum Event {
    /// A line, its newline included unless it was the last one's.
    Line(String),
    /// Ctrl-C at the prompt.
    Interrupted,
    /// Nothing comes any more.
    End,
    /// It cannot be read.
    Failed(String),
}

enum Ask {
    Line { prompt: String, answer: oneshot::Sender<Event> },
    Remember(String),
    Finish { done: oneshot::Sender<()> },
}

/// A reader on a thread of its own.
#[derive(Debug)]
pub(super) struct Lines {
    asks: SyncSender<Ask>,
}

impl Lines {
    /// Standard input, edited if it is a terminal.
    pub(super) fn of_stdin() -> std::io::Result<Self> {
        if std::io::stdin().is_terminal() {
            Lines::start(|asks| edit(&asks))
        } else {
            Lines::start(|asks| read(&asks, std::io::stdin().lock()))
        }
    }

    fn start(body: impl FnOnce(Receiver<Ask>) + Send + 'static) -> std::io::Result<Self> {
        let (asks, receiver) = sync_channel(1);
        std::thread::Builder::new().name("input".to_owned()).spawn(move || body(receiver))?;
        Ok(Lines { asks })
    }

    /// The next line.
    pub(super) async fn next(&self, prompt: &str) -> Event {
        let (answer, answered) = oneshot::channel();
        // A thread that is gone drops the sender, which is the end.
        let _ = self.asks.send(Ask::Line { prompt: prompt.to_owned(), answer });
        answered.await.unwrap_or(Event::End)
    }

    /// Puts an entry into the history.
    pub(super) fn remember(&self, entry: &str) {
        let _ = self.asks.send(Ask::Remember(entry.to_owned()));
    }

    /// Keeps the history. For after the last line.
    pub(super) async fn finish(self) {
        let (done, finished) = oneshot::channel();
        if self.asks.send(Ask::Finish { done }).is_ok() {
            let _ = finished.await;
        }
    }
}

/// Lines of a stream, as they come.
fn read(asks: &Receiver<Ask>, mut stream: impl BufRead) {
    while let Ok(ask) = asks.recv() {
        match ask {
            Ask::Line { answer, .. } => {
                // Whoever asked may have left.
                let _ = answer.send(line_of(&mut stream));
            }
            Ask::Remember(_) => {}
            Ask::Finish { done } => {
                let _ = done.send(());
                return;
            }
        }
    }
}

fn line_of(stream: &mut impl BufRead) -> Event {
    let mut line = Vec::new();
    match stream.take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
        Ok(0) => Event::End,
        Ok(_) => match String::from_utf8(line) {
            Ok(line) => Event::Line(line),
            Err(_) => Event::Failed("it is not UTF-8".to_owned()),
        },
        Err(error) => Event::Failed(error.to_string()),
    }
}

/// Lines of a terminal, with editing and a history.
fn edit(asks: &Receiver<Ask>) {
    // Prompts are no results: they go to the terminal itself when standard output goes elsewhere.
    let behavior =
        if std::io::stdout().is_terminal() { Behavior::Stdio } else { Behavior::PreferTerm };
    let config = Builder::new().behavior(behavior).history_ignore_space(true);
    let config = config.max_history_size(HISTORY_ENTRIES_MAX).map(Builder::build);
    let editor = config.and_then(rustyline::Editor::<(), FileHistory>::with_config);
    let mut editor = match editor {
        Ok(editor) => editor,
        Err(error) => return fail(asks, &error),
    };
    let file = history_file();
    if let Some(file) = &file {
        // There is none before the first use.
        let _ = editor.load_history(file);
    }
    while let Ok(ask) = asks.recv() {
        match ask {
            Ask::Line { prompt, answer } => {
                let event = match editor.readline(prompt.as_str()) {
                    Ok(line) => Event::Line(line + "\n"),
                    Err(ReadlineError::Interrupted) => Event::Interrupted,
                    Err(ReadlineError::Eof) => Event::End,
                    Err(error) => Event::Failed(error.to_string()),
                };
                let _ = answer.send(event);
            }
            Ask::Remember(entry) => {
                // A history that is full or the same entry again is no reason to complain.
                let _ = editor.add_history_entry(entry);
            }
            Ask::Finish { done } => {
                if let Some(file) = &file {
                    // A home that cannot be written to is no reason to fail.
                    let _ = editor.save_history(file);
                }
                let _ = done.send(());
                return;
            }
        }
    }
}

fn fail(asks: &Receiver<Ask>, error: &ReadlineError) {
    while let Ok(ask) = asks.recv() {
        match ask {
            Ask::Line { answer, .. } => {
                let _ = answer.send(Event::Failed(error.to_string()));
            }
            Ask::Remember(_) => {}
            Ask::Finish { done } => {
                let _ = done.send(());
            }
        }
    }
}

/// In the user's home, if there is one.
fn history_file() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty())?;
    Some(PathBuf::from(home).join(".spandrel_history"))
}

#[cfg(test)]
mod tests {
    use super::{Event, line_of};
    use std::io::Cursor;

    #[test]
    fn stream_is_read_line_by_line_to_its_end() {
        let mut stream = Cursor::new(b"a\r\n\nb".to_vec());
        for expected in ["a\r\n", "\n", "b"] {
            let Event::Line(line) = line_of(&mut stream) else { panic!("{expected:?} is a line") };
            assert_eq!(line, expected);
        }
        assert!(matches!(line_of(&mut stream), Event::End));
        assert!(matches!(line_of(&mut Cursor::new([255, b'\n'])), Event::Failed(_)));
    }
}
