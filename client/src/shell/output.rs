//! Where the output goes: results to standard output, everything else to standard error; in tests elsewhere.

use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};

/// What is known about the terminal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terminal {
    /// Of standard output, when that is a terminal.
    size: Option<Size>,
}

#[derive(Clone, Copy, Debug)]
struct Size {
    columns: usize,
    rows: usize,
}

impl Terminal {
    /// As it is now: it may be resized at any time.
    fn of_stdout() -> Self {
        let stdout = std::io::stdout();
        if !stdout.is_terminal() {
            return Terminal { size: None };
        }
        let size = rustix::termios::tcgetwinsize(&stdout).ok();
        let size = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
        Terminal {
            size: size.map(|size| Size { columns: size.ws_col.into(), rows: size.ws_row.into() }),
        }
    }

    pub(super) fn width(self) -> Option<usize> {
        self.size.map(|size| size.columns)
    }

    /// Whether a text scrolls out of sight.
    fn is_exceeded_by(self, text: &str) -> bool {
        self.size.is_some_and(|size| text.lines().count() + 1 > size.rows)
    }
}

/// Where results go, and where everything else does.
pub struct ShellOutput {
    results: Box<dyn Write + Send>,
    rest: Box<dyn Write + Send>,
    /// Whether results may go to a terminal.
    is_standard: bool,
}

impl ShellOutput {
    /// Standard output and standard error.
    #[must_use]
    pub fn standard() -> Self {
        ShellOutput {
            results: Box::new(std::io::stdout()),
            rest: Box::new(std::io::stderr()),
            is_standard: true,
        }
    }

    /// Other places, which are no terminals.
    #[must_use]
    pub fn to(results: Box<dyn Write + Send>, rest: Box<dyn Write + Send>) -> Self {
        ShellOutput { results, rest, is_standard: false }
    }

    /// The terminal that results go to, as it is now.
    pub(super) fn terminal(&self) -> Terminal {
        if self.is_standard { Terminal::of_stdout() } else { Terminal { size: None } }
    }

    /// A text that is no result. If it cannot be written, that is no reason to fail.
    pub(super) fn say(&mut self, text: &str) {
        let _ = self.rest.write_all(text.as_bytes()).and_then(|()| self.rest.flush());
    }

    /// A result, or a part of one.
    pub(super) fn write(&mut self, text: &str) -> std::io::Result<()> {
        self.results.write_all(text.as_bytes())?;
        self.results.flush()
    }

    /// A whole result: through the pager when it is longer than the screen.
    pub(super) async fn page(&mut self, text: String) -> std::io::Result<()> {
        if !self.terminal().is_exceeded_by(&text) {
            return self.write(&text);
        }
        let paged = tokio::task::spawn_blocking(move || through_pager(&text).map_err(|_| text));
        match paged.await.map_err(std::io::Error::other)? {
            Ok(()) => Ok(()),
            Err(text) => self.write(&text),
        }
    }
}

impl std::fmt::Debug for ShellOutput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ShellOutput")
    }
}

/// By the shell, since `$PAGER` may have arguments.
fn through_pager(text: &str) -> std::io::Result<()> {
    let pager = std::env::var("PAGER").ok().filter(|pager| !pager.trim().is_empty());
    let pager = pager.unwrap_or_else(|| "less".to_owned());
    let mut child = Command::new("sh").arg("-c").arg(&pager).stdin(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A pager that was left before the end is not interested in the rest.
        let _ = stdin.write_all(text.as_bytes());
    }
    /// What the shell says when there is no such command.
    const NOT_FOUND: i32 = 127;
    match child.wait()?.code() {
        Some(NOT_FOUND) => Err(std::io::Error::other("there is no pager")),
        Some(_) | None => Ok(()),
    }
}
