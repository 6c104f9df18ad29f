//! Golden scripts: commands to a pure module, and the transitions that they must print.
//!
//! A script is a file in `testscripts/<module>/`, one behaviour each. It consists of blocks separated by
//! blank lines: comments (`#`) and commands, `---`, and what the commands print.
//!
//! ```text
//! # t2 is younger than t1, so it waits.
//! t1: lock x exclusive
//! t2: lock x exclusive
//! ---
//! t1: granted x exclusive
//! t2: queued x exclusive
//! ```
//!
//! With `UPDATE_GOLDEN=1` in the environment the expected output is rewritten instead of compared.
//! Not here: the commands' meaning. Each module brings an interpreter, made anew for each file.

use std::fmt::Write;
use std::fs;
use std::path::Path;

/// What a command printed, line by line; or why it is not a command.
pub(crate) type Printed = Result<Vec<String>, String>;

/// Runs every script of a module, each with an interpreter of its own.
///
/// # Panics
/// When a script does not print what it says, with the difference, or when there is no script.
pub(crate) fn check<I>(module: &str, new_interpreter: impl Fn() -> I)
where
    I: FnMut(&str) -> Printed,
{
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/testscripts").join(module);
    let entries = fs::read_dir(&folder).expect("the module has a folder of scripts");
    let mut paths: Vec<_> =
        entries.map(|entry| entry.expect("the folder can be listed").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no scripts in {}", folder.display());
    let update = std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1");
    let mut failures = String::new();
    for path in paths {
        let expected = fs::read_to_string(&path).expect("a script is a text file");
        let name = format!("{module}/{}", path.file_name().unwrap_or_default().display());
        match run(&expected, new_interpreter()) {
            Ok(actual) if actual == expected => {}
            Ok(actual) if update => fs::write(&path, actual).expect("a script can be rewritten"),
            Ok(actual) => {
                let _ = write!(failures, "{name}:\n{}", difference(&expected, &actual));
            }
            Err(error) => {
                let _ = writeln!(failures, "{name}:{error}");
            }
        }
    }
    assert!(failures.is_empty(), "golden scripts differ (UPDATE_GOLDEN=1 accepts):\n{failures}");
}

/// The script as it should read: its own comments and commands, with what they print now.
fn run(script: &str, mut interpreter: impl FnMut(&str) -> Printed) -> Result<String, String> {
    let mut blocks = Vec::new();
    for block in numbered_blocks(script) {
        let mut lines = Vec::new();
        let mut printed = Vec::new();
        let mut has_end = false;
        for (number, line) in block {
            if line == "---" {
                has_end = true;
                break;
            }
            lines.push(line.to_owned());
            if !line.starts_with('#') {
                printed
                    .extend(interpreter(line).map_err(|why| format!("{number}: {line}: {why}"))?);
            }
        }
        // A block of comments alone needs no output.
        if has_end || lines.iter().any(|line| !line.starts_with('#')) {
            lines.push("---".to_owned());
            lines.extend(printed);
        }
        blocks.push(lines.join("\n") + "\n");
    }
    Ok(blocks.join("\n"))
}

fn numbered_blocks(script: &str) -> Vec<Vec<(usize, &str)>> {
    let lines: Vec<(usize, &str)> = (1..).zip(script.lines().map(str::trim_end)).collect();
    lines
        .split(|(_, line)| line.is_empty())
        .filter(|block| !block.is_empty())
        .map(<[_]>::to_vec)
        .collect()
}

/// The lines that differ, with two of context on both sides.
fn difference(expected: &str, actual: &str) -> String {
    let expected: Vec<&str> = expected.lines().collect();
    let actual: Vec<&str> = actual.lines().collect();
    let same_start = expected.iter().zip(&actual).take_while(|(one, other)| one == other).count();
    let same_end = expected[same_start..]
        .iter()
        .rev()
        .zip(actual[same_start..].iter().rev())
        .take_while(|(one, other)| one == other)
        .count();
    let mut text = String::new();
    let mut show = |sign: char, lines: &[&str]| {
        for line in lines {
            let _ = writeln!(text, "  {sign} {line}");
        }
    };
    let expected_end = expected.len() - same_end;
    show(' ', &expected[same_start.saturating_sub(2)..same_start]);
    show('-', &expected[same_start..expected_end]);
    show('+', &actual[same_start..actual.len() - same_end]);
    show(' ', &expected[expected_end..expected.len().min(expected_end + 2)]);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upper(line: &str) -> Printed {
        match line {
            "silent" => Ok(Vec::new()),
            "bad" => Err("no such command".to_owned()),
            line => Ok(vec![line.to_uppercase()]),
        }
    }

    #[test]
    fn script_with_right_output_is_unchanged() {
        let script = "# why\n\na\nb\n---\nA\nB\n\n# more\nsilent\n---\n";
        assert_eq!(run(script, upper).as_deref(), Ok(script));
    }

    #[test]
    fn script_with_wrong_or_missing_output_is_corrected() {
        assert_eq!(run("a\n---\nB\n", upper).as_deref(), Ok("a\n---\nA\n"));
        assert_eq!(run("a\n\n\nb\n---\n", upper).as_deref(), Ok("a\n---\nA\n\nb\n---\nB\n"));
    }

    #[test]
    fn script_with_unknown_command_names_its_line() {
        let error = run("a\n---\nA\n\nbad\n---\n", upper);
        assert_eq!(error, Err("5: bad: no such command".to_owned()));
    }

    #[test]
    fn difference_shows_changed_lines_with_context() {
        let shown = difference("1\n2\n3\nold\n4\n5\n6\n", "1\n2\n3\nnew\nnewer\n4\n5\n6\n");
        assert_eq!(shown, "    2\n    3\n  - old\n  + new\n  + newer\n    4\n    5\n");
    }
}
