//! The SQL shell: statements from a terminal, a file or the command line; results as tables, CSV or JSON.
//!
//! ```text
//! input --lines--> split --statements--> SqlSession --rows--> render --text--> output
//!                    +----commands (\d)--^
//! ```
//!
//! On a terminal it goes on after errors; a script stops at the first one. Each statement is a transaction of
//! its own unless BEGIN was said before. Standard output carries results alone. Ctrl-C cancels the statement that
//! runs and waits for its answer, so that nobody is left in doubt.
//!
//! Not here: completion, and variables.

mod command;
mod describe;
mod error;
mod input;
mod output;
mod render;
mod settings;
mod split;
mod statement;
mod value;

pub use output::ShellOutput;
pub use settings::Format;

use crate::client::Client;
use crate::error::ClientError;
use crate::sql::SqlSession;
use command::Command;
use input::{Event, Lines};
use proto::rpc::v1::SqlTransactionStatus;
use settings::{Expanded, Settings};
use split::{Inside, Piece, Splitter};
use statement::Ended;
use std::future::{Future, poll_fn};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::Poll;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Files that include each other end here.
const INCLUDE_DEPTH_MAX: u32 = 16;

/// What a shell is started with.
#[derive(Clone, Debug)]
pub struct ShellOptions {
    /// Shown in the prompt.
    pub user: String,
    /// Shown in the prompt.
    pub database: String,
    /// How results are written.
    pub format: Format,
    /// What it executes.
    pub input: ShellInput,
}

/// What a shell executes.
#[derive(Clone, Debug)]
pub enum ShellInput {
    /// These.
    Texts(Vec<String>),
    /// What is in a file.
    File(PathBuf),
    /// What comes from standard input: with prompts if that is a terminal.
    Stdin,
}

impl ShellInput {
    fn is_interactive(&self) -> bool {
        match self {
            ShellInput::Texts(_) | ShellInput::File(_) => false,
            ShellInput::Stdin => std::io::stdin().is_terminal(),
        }
    }
}

/// How a shell ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShellEnd {
    /// With everything executed.
    Good,
    /// A script's statement failed; what happened is on standard error.
    Failed,
}

/// Why a shell could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// Input that cannot be read.
    #[error("cannot read {name}: {reason}")]
    Input {
        /// Which.
        name: String,
        /// Why.
        reason: String,
    },
    /// Results that cannot be written.
    #[error("cannot write results: {0}")]
    Output(#[source] std::io::Error),
    /// The operating system.
    #[error("listening for Ctrl-C: {0}")]
    Signals(#[source] std::io::Error),
}

/// Commands of the program around the shell.
pub trait ShellCommands: Send {
    /// What they are, one line each.
    fn help(&self) -> &str;

    /// Executes one and tells what to show, or what was wrong; `None` when it is none of them.
    fn execute<'a>(&'a mut self, name: &'a str, argument: &'a str) -> ShellCommandRunning<'a>;
}

/// A command that is being executed.
pub type ShellCommandRunning<'a> =
    Pin<Box<dyn Future<Output = Option<Result<String, String>>> + Send + 'a>>;

/// Runs a shell until its input ends.
pub async fn run_shell(
    client: &Client,
    options: ShellOptions,
    output: ShellOutput,
    commands: Option<&mut dyn ShellCommands>,
) -> Result<ShellEnd, ShellError> {
    let is_interactive = options.input.is_interactive();
    let expanded = if is_interactive { Expanded::Auto } else { Expanded::Off };
    let mut shell = Shell {
        session: client.sql_session(),
        settings: Settings { format: options.format, expanded, ..Settings::default() },
        interrupts: signal(SignalKind::interrupt()).map_err(ShellError::Signals)?,
        output,
        commands,
        user: options.user,
        database: options.database,
        is_interactive,
        include_depth: 0,
    };
    let flow = match options.input {
        ShellInput::Texts(texts) => shell.texts(&texts).await?,
        ShellInput::File(path) => shell.file(&path).await?,
        ShellInput::Stdin => shell.stdin().await?,
    };
    if shell.session.status() != SqlTransactionStatus::Idle {
        shell
            .output
            .say("WARNING:  the input ended inside of a transaction, which is rolled back\n");
    }
    Ok(match flow {
        Flow::Go | Flow::Quit => ShellEnd::Good,
        Flow::Stop => ShellEnd::Failed,
    })
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Go,
    /// The user said so.
    Quit,
    /// Something failed.
    Stop,
}

struct Shell<'a> {
    session: SqlSession,
    settings: Settings,
    interrupts: Signal,
    output: ShellOutput,
    commands: Option<&'a mut dyn ShellCommands>,
    user: String,
    database: String,
    is_interactive: bool,
    include_depth: u32,
}

impl Shell<'_> {
    /// Texts of the command line.
    async fn texts(&mut self, texts: &[String]) -> Result<Flow, ShellError> {
        for text in texts {
            let mut splitter = Splitter::new();
            splitter.feed(text);
            let flow = match self.pieces(&mut splitter, None).await? {
                Flow::Go => self.last(&mut splitter, None).await?,
                flow @ (Flow::Quit | Flow::Stop) => flow,
            };
            if flow != Flow::Go {
                return Ok(flow);
            }
        }
        Ok(Flow::Go)
    }

    async fn file(&mut self, path: &Path) -> Result<Flow, ShellError> {
        let name = path.display().to_string();
        let text = std::fs::read(path).map_err(|error| error.to_string());
        let text = text
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned()));
        let text = text.map_err(|reason| ShellError::Input { name: name.clone(), reason })?;
        let mut splitter = Splitter::new();
        splitter.feed(&text);
        drop(text);
        match self.pieces(&mut splitter, Some(&name)).await? {
            Flow::Go => self.last(&mut splitter, Some(&name)).await,
            flow @ (Flow::Quit | Flow::Stop) => Ok(flow),
        }
    }

    async fn stdin(&mut self) -> Result<Flow, ShellError> {
        const NAME: &str = "standard input";
        let failed = |reason| ShellError::Input { name: NAME.to_owned(), reason };
        let lines = Lines::of_stdin().map_err(|error| failed(error.to_string()))?;
        let name = (!self.is_interactive).then_some("<stdin>");
        let mut splitter = Splitter::new();
        let mut entry = String::new();
        let flow = loop {
            let prompt = self.prompt(&splitter.inside());
            let event = tokio::select! {
                event = lines.next(&prompt) => event,
                // On a terminal that is the editor's: what comes here is left over from before.
                _ = self.interrupts.recv(), if !self.is_interactive => return Ok(Flow::Stop),
            };
            if self.is_interactive {
                self.forget_interrupts().await;
            }
            match event {
                Event::Line(line) => {
                    entry.push_str(&line);
                    splitter.feed(&line);
                    let flow = self.pieces(&mut splitter, name).await?;
                    if splitter.inside() == Inside::Nothing {
                        // All lines of a statement are one entry.
                        if !entry.trim().is_empty() {
                            lines.remember(entry.trim_end());
                        }
                        entry.clear();
                    }
                    match flow {
                        Flow::Go => {}
                        Flow::Stop if self.is_interactive => {}
                        Flow::Quit | Flow::Stop => break flow,
                    }
                }
                Event::Interrupted => {
                    splitter.clear();
                    entry.clear();
                }
                Event::End if self.is_interactive => {
                    self.output.say("\\q\n");
                    break Flow::Quit;
                }
                Event::End => break self.last(&mut splitter, name).await?,
                Event::Failed(reason) => return Err(failed(reason)),
            }
        };
        if self.is_interactive {
            lines.finish().await;
        }
        Ok(flow)
    }

    /// A Ctrl-C that was meant for the pager, or came too late, must not cancel what comes next.
    async fn forget_interrupts(&mut self) {
        poll_fn(|cx| {
            while self.interrupts.poll_recv(cx).is_ready() {}
            Poll::Ready(())
        })
        .await;
    }

    /// Executes what is complete.
    async fn pieces(
        &mut self,
        splitter: &mut Splitter,
        name: Option<&str>,
    ) -> Result<Flow, ShellError> {
        while let Some(piece) = splitter.next() {
            let flow = match piece {
                Piece::Statement { text, line } => self.statement(&text, name, line).await?,
                Piece::Command { text, .. } if text == "r" => {
                    splitter.clear();
                    Flow::Go
                }
                Piece::Command { text, line } => self.command(&text, name, line).await?,
            };
            // Who types sees the error; a file that is included stops as a script does.
            let goes_on = self.is_interactive && self.include_depth == 0;
            match flow {
                Flow::Go => {}
                Flow::Stop if goes_on => {}
                Flow::Stop | Flow::Quit => return Ok(flow),
            }
        }
        Ok(Flow::Go)
    }

    /// Executes a last statement without a semicolon.
    async fn last(
        &mut self,
        splitter: &mut Splitter,
        name: Option<&str>,
    ) -> Result<Flow, ShellError> {
        match splitter.finish() {
            Some(Piece::Statement { text, line }) => self.statement(&text, name, line).await,
            Some(Piece::Command { .. }) | None => Ok(Flow::Go),
        }
    }

    async fn statement(
        &mut self,
        sql: &str,
        name: Option<&str>,
        line: u32,
    ) -> Result<Flow, ShellError> {
        let ended = statement::execute(
            &mut self.session,
            &mut self.interrupts,
            &mut self.output,
            &self.settings,
            self.is_interactive,
            sql,
        )
        .await?;
        match ended {
            Ended::Done => Ok(Flow::Go),
            Ended::Failed(text) => {
                self.output.say(&format!("{}{text}", place(name, line)));
                Ok(Flow::Stop)
            }
        }
    }

    async fn command(
        &mut self,
        text: &str,
        name: Option<&str>,
        line: u32,
    ) -> Result<Flow, ShellError> {
        let done = match command::parse(text) {
            Ok(command) => self.execute_command(command).await?,
            Err(message) => Err(message),
        };
        match done {
            Ok(flow) => Ok(flow),
            Err(message) => {
                self.output.say(&format!("{}{message}\n", place(name, line)));
                Ok(Flow::Stop)
            }
        }
    }

    async fn execute_command(
        &mut self,
        command: Command,
    ) -> Result<Result<Flow, String>, ShellError> {
        let settings = &mut self.settings;
        let on_off = |on: bool| if on { "on" } else { "off" };
        match command {
            Command::Help => {
                self.output.say(command::HELP);
                if let Some(commands) = &self.commands {
                    self.output.say(&format!("\n{}", commands.help()));
                }
            }
            Command::Quit => return Ok(Ok(Flow::Quit)),
            Command::Reset => {}
            Command::Tables => return self.show_tables().await,
            Command::Describe(table) => return self.show_table(&table).await,
            Command::Expanded(expanded) => {
                settings.expanded = match (expanded, settings.expanded) {
                    (Some(expanded), _) => expanded,
                    (None, Expanded::On) => Expanded::Off,
                    (None, Expanded::Off | Expanded::Auto) => Expanded::On,
                };
                self.output.say(match settings.expanded {
                    Expanded::On => "A line for each value.\n",
                    Expanded::Off => "A line for each row.\n",
                    Expanded::Auto => "A line for each value when a table is too wide.\n",
                });
            }
            Command::Timing(timing) => {
                settings.timing = timing.unwrap_or(!settings.timing);
                self.output.say(&format!("Timing is {}.\n", on_off(settings.timing)));
            }
            Command::Pager(pager) => {
                settings.pager = pager.unwrap_or(!settings.pager);
                self.output.say(&format!("The pager is {}.\n", on_off(settings.pager)));
            }
            Command::Format(format) => settings.format = format,
            Command::Null(text) => settings.null = text,
            Command::Include(file) => {
                if self.include_depth >= INCLUDE_DEPTH_MAX {
                    return Ok(Err(format!(
                        "\\i {file}: files include each other more than {INCLUDE_DEPTH_MAX} deep"
                    )));
                }
                self.include_depth += 1;
                let flow = Box::pin(self.file(Path::new(&file))).await;
                self.include_depth -= 1;
                return match flow {
                    Ok(flow) => Ok(Ok(flow)),
                    Err(error @ ShellError::Input { .. }) => Ok(Err(format!("\\i: {error}"))),
                    Err(error) => Err(error),
                };
            }
            Command::Other { name, argument } => return self.execute_other(&name, &argument).await,
        }
        Ok(Ok(Flow::Go))
    }

    async fn execute_other(
        &mut self,
        name: &str,
        argument: &str,
    ) -> Result<Result<Flow, String>, ShellError> {
        let done = match &mut self.commands {
            Some(commands) => tokio::select! {
                done = commands.execute(name, argument) => done,
                _ = self.interrupts.recv() => Some(Err("interrupted".to_owned())),
            },
            None => None,
        };
        match done {
            Some(Ok(text)) => {
                self.output.write(&text).map_err(ShellError::Output)?;
                Ok(Ok(Flow::Go))
            }
            Some(Err(message)) => Ok(Err(format!("\\{name}: {message}"))),
            None => Ok(Err(command::hint(name))),
        }
    }

    async fn show_tables(&mut self) -> Result<Result<Flow, String>, ShellError> {
        let client = self.session.client().clone();
        let found = async { Ok((client.list_tables().await?, client.shard_map().await?)) };
        match self.unless_interrupted(found).await {
            Ok((tables, map)) => {
                let width_max = self.output.terminal().width();
                self.show(describe::tables(&tables, &map, &self.settings, width_max)).await
            }
            Err(message) => Ok(Err(format!("\\d: {message}"))),
        }
    }

    async fn show_table(&mut self, name: &str) -> Result<Result<Flow, String>, ShellError> {
        let client = self.session.client().clone();
        let found = async { Ok((client.get_table(name).await?, client.shard_map().await?)) };
        match self.unless_interrupted(found).await {
            Ok((table, map)) => {
                let width_max = self.output.terminal().width();
                self.show(describe::table(&table, &map, &self.settings, width_max)).await
            }
            Err(message) => Ok(Err(format!("\\d {name}: {message}"))),
        }
    }

    async fn show(&mut self, text: String) -> Result<Result<Flow, String>, ShellError> {
        let shown = if self.settings.pager && self.is_interactive {
            self.output.page(text).await
        } else {
            self.output.write(&text)
        };
        shown.map_err(ShellError::Output)?;
        Ok(Ok(Flow::Go))
    }

    async fn unless_interrupted<T>(
        &mut self,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, String> {
        tokio::select! {
            done = work => done.map_err(|error| error.to_string()),
            _ = self.interrupts.recv() => Err("interrupted".to_owned()),
        }
    }

    fn prompt(&self, inside: &Inside) -> String {
        if !self.is_interactive {
            return String::new();
        }
        prompt(&self.user, &self.database, inside, self.session.status())
    }
}

/// As psql's: what is open, then the state of the transaction.
fn prompt(user: &str, database: &str, inside: &Inside, status: SqlTransactionStatus) -> String {
    let inside = match inside {
        Inside::Nothing => '=',
        Inside::Statement => '-',
        Inside::Text => '\'',
        Inside::Name => '"',
        Inside::Dollars => '$',
        Inside::Comment => '/',
    };
    let status = match status {
        SqlTransactionStatus::Idle => "",
        SqlTransactionStatus::ReadWrite => "*",
        SqlTransactionStatus::ReadOnly => "r",
        SqlTransactionStatus::Failed => "!",
    };
    format!("{user}@{database}{inside}{status}> ")
}

/// Before the error of a script.
fn place(name: Option<&str>, line: u32) -> String {
    name.map_or_else(String::new, |name| format!("{name}:{line}: "))
}

#[cfg(test)]
mod tests {
    use super::{Inside, SqlTransactionStatus, prompt};

    #[test]
    fn prompt_shows_what_is_open_and_the_transaction() {
        for (inside, status, expected) in [
            (Inside::Nothing, SqlTransactionStatus::Idle, "root@postgres=> "),
            (Inside::Nothing, SqlTransactionStatus::ReadWrite, "root@postgres=*> "),
            (Inside::Nothing, SqlTransactionStatus::ReadOnly, "root@postgres=r> "),
            (Inside::Nothing, SqlTransactionStatus::Failed, "root@postgres=!> "),
            (Inside::Statement, SqlTransactionStatus::Idle, "root@postgres-> "),
            (Inside::Text, SqlTransactionStatus::ReadWrite, "root@postgres'*> "),
            (Inside::Dollars, SqlTransactionStatus::Idle, "root@postgres$> "),
            (Inside::Comment, SqlTransactionStatus::Idle, "root@postgres/> "),
        ] {
            assert_eq!(prompt("root", "postgres", &inside, status), expected);
        }
    }
}
