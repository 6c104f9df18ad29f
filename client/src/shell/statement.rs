//! One statement: sent, its answer written, cancelled by Ctrl-C.

use super::ShellError;
use super::error::describe;
use super::output::ShellOutput;
use super::render::Rendering;
use super::settings::{Format, Settings};
use crate::error::ClientError;
use crate::sql::SqlSession;
use proto::rpc::v1::SqlSummary;
use std::time::Duration;
use tokio::signal::unix::Signal;
use tokio::time::Instant;
use truetime::Timestamp;

/// How a statement ended.
#[derive(Debug)]
pub(super) enum Ended {
    Done,
    /// With the error as it is to be shown.
    Failed(String),
}

/// Executes a statement and writes its answer.
pub(super) async fn execute(
    session: &mut SqlSession,
    interrupts: &mut Signal,
    output: &mut ShellOutput,
    settings: &Settings,
    is_interactive: bool,
    sql: &str,
) -> Result<Ended, ShellError> {
    let width_max = output.terminal().width();
    let began = Instant::now();
    let failed = |error: &ClientError| Ok(Ended::Failed(describe(error, sql, width_max)));
    let mut wait = Waiting::new(session.canceller());
    let started = tokio::select! {
        started = session.start(sql, Vec::new()) => started,
        // There is no connection yet, so nothing was sent.
        _ = interrupts.recv() => return Ok(Ended::Failed("interrupted\n".to_owned())),
    };
    let mut running = match started {
        Ok(running) => running,
        Err(error) => return failed(&error),
    };
    let mut rendering: Option<Rendering<'_>> = None;
    loop {
        let rows = tokio::select! {
            rows = running.next_rows() => rows,
            _ = interrupts.recv() => match wait.interrupted(output) {
                Patience::Left => continue,
                Patience::Gone => return Ok(Ended::Failed(LEFT.to_owned())),
            },
        };
        let rows = match rows {
            Ok(Some(rows)) => rows,
            Ok(None) => break,
            Err(error) => {
                if settings.format != Format::Table && rendering.is_some() {
                    // What was written so far is left open, so that nobody takes it for the whole.
                    output.write("\n").map_err(ShellError::Output)?;
                }
                return failed(&error);
            }
        };
        if !running.columns().is_empty() {
            let mut text = String::new();
            let rendering = rendering.get_or_insert_with(|| {
                let mut rendering = Rendering::new(settings, width_max);
                text = rendering.begin(running.columns());
                rendering
            });
            text.push_str(&rendering.rows(rows));
            output.write(&text).map_err(ShellError::Output)?;
        }
    }
    let took = began.elapsed();
    let (_, summary) = running.finish();
    notify(&summary, output);
    match rendering {
        Some(rendering) => {
            let text = rendering.finish();
            let pages = is_interactive && settings.pager && settings.format == Format::Table;
            let written = if pages { output.page(text).await } else { output.write(&text) };
            written.map_err(ShellError::Output)?;
        }
        None if settings.format == Format::Table => output.say(&format!("{}\n", summary.tag)),
        None => {}
    }
    if settings.timing {
        output.say(&timing(took, &summary));
    }
    if wait.presses > 0 && !is_interactive {
        return Ok(Ended::Failed(
            "interrupted, too late for the last statement, which was executed\n".to_owned(),
        ));
    }
    Ok(Ended::Done)
}

/// Said when the user would not wait.
const LEFT: &str = "left without an answer: the statement may have been executed\n";

/// Counts how often the user asked to be let go.
#[derive(Debug)]
struct Waiting {
    canceller: crate::sql::SqlCanceller,
    presses: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    Left,
    Gone,
}

impl Waiting {
    fn new(canceller: crate::sql::SqlCanceller) -> Self {
        Waiting { canceller, presses: 0 }
    }

    /// The first time cancels and waits for the answer, since a commit may be under way; only the third one
    /// gives up on it.
    fn interrupted(&mut self, output: &mut ShellOutput) -> Patience {
        self.presses += 1;
        match self.presses {
            1 => {
                output.say("cancelling; waiting for the answer\n");
                self.canceller.cancel();
                Patience::Left
            }
            2 => {
                output
                    .say("still waiting; Ctrl-C once more leaves without knowing what happened\n");
                Patience::Left
            }
            _ => Patience::Gone,
        }
    }
}

fn notify(summary: &SqlSummary, output: &mut ShellOutput) {
    for notice in &summary.notices {
        output.say(&format!("NOTICE:  {notice}\n"));
    }
}

/// How long it took, and what it had to wait for.
fn timing(took: Duration, summary: &SqlSummary) -> String {
    let millis = |time: Duration| format!("{:.3} ms", time.as_secs_f64() * 1e3);
    let mut text = format!("Time: {}", millis(took));
    if summary.commit_timestamp != 0 {
        let wait = Duration::from_nanos(summary.commit_wait_nanos);
        let at = Timestamp::from_nanos(summary.commit_timestamp);
        text = format!("{text}, commit wait {}, committed at {at}", millis(wait));
    }
    if summary.read_timestamp != 0 {
        text = format!("{text}, read at {}", Timestamp::from_nanos(summary.read_timestamp));
    }
    match summary.retries {
        0 => {}
        1 => text.push_str(", run again once after an abort"),
        times => text = format!("{text}, run again {times} times after aborts"),
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::timing;
    use proto::rpc::v1::SqlSummary;
    use std::time::Duration;

    #[test]
    fn timing_tells_what_was_waited_for() {
        let took = Duration::from_micros(3_201);
        assert_eq!(timing(took, &SqlSummary::default()), "Time: 3.201 ms\n");
        let summary = SqlSummary {
            commit_timestamp: 1_500_000_000,
            commit_wait_nanos: 250_000,
            retries: 2,
            ..SqlSummary::default()
        };
        assert_eq!(
            timing(took, &summary),
            "Time: 3.201 ms, commit wait 0.250 ms, committed at 1.500000000, run again 2 times after aborts\n"
        );
    }
}
