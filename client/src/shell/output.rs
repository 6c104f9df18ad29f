//! Where the output goes: results to standard output, everything else to standard error.

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
    pub(super) fn now() -> Self {
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

/// A text on standard error. One that is closed is no reason to fail.
pub(super) fn say(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// A result, or a part of one.
pub(super) fn write(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// A whole result: through the pager when it is longer than the screen.
pub(super) async fn page(text: String, terminal: Terminal) -> std::io::Result<()> {
    if !terminal.is_exceeded_by(&text) {
        return write(&text);
    }
    let paged = tokio::task::spawn_blocking(move || {
        if through_pager(&text).is_err() { write(&text) } else { Ok(()) }
    });
    paged.await.map_err(std::io::Error::other)?
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
