//! Conventions that nobody should have to point out in a review.
//!
//! Each test collects every place that breaks its rule and says what to do instead. Not here: what `cargo fmt`
//! and the lints in `Cargo.toml` see.

use std::collections::BTreeSet;

use tests::repository::{files, names, paths, quoted, root, words};

/// Past this nobody splits a file any more.
const LINES_MAX: usize = 800;

/// The traps of docs/traps.md are numbered from 1 to this; numbers are never reused.
const TRAP_LAST: u32 = 65;

/// The clauses of docs/transactions.md, section 9.
const CLAUSE_LAST: u32 = 26;

/// Every line of every file, with where it is.
fn lines(endings: &[&str]) -> Vec<(String, String)> {
    let files = files().into_iter();
    let files = files.filter(|(path, _)| endings.iter().any(|end| path.ends_with(end)));
    let at = |path: String, text: String| {
        let lines = text.split('\n').map(str::to_owned).collect::<Vec<_>>();
        lines.into_iter().enumerate().map(move |(n, line)| (format!("{path}:{}", n + 1), line))
    };
    files.flat_map(|(path, text)| at(path, text)).collect()
}

fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn files_are_short_enough_to_be_split_now() {
    let long = files().into_iter().filter(|(path, _)| path.ends_with(".rs"));
    let long = long.map(|(path, text)| (path, text.lines().count()));
    let long = long.filter(|(_, lines)| *lines > LINES_MAX);
    let found: Vec<_> = long.map(|(path, lines)| format!("{path} has {lines} lines")).collect();
    assert_none("split these files by what their parts do", &found);
}

#[test]
fn nothing_is_left_for_later_in_the_sources() {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];
    let macros = [concat!("unimplemen", "ted!"), concat!("to", "do!")];
    let mut found = Vec::new();
    for (at, line) in lines(&[".rs", ".proto", ".toml", ".py", ".ci/run"]) {
        let marks = marks.iter().filter(|mark| names(&line, mark));
        let macros = macros.iter().filter(|name| line.contains(**name));
        found.extend(marks.chain(macros).map(|mark| format!("{at}: {mark}")));
    }
    assert_none("do it, or say in the module header what is missing", &found);
}

#[test]
fn no_path_of_somebodys_machine() {
    let places = [
        concat!("/wo", "rk/"),
        concat!("/ho", "me/"),
        concat!("/Us", "ers/"),
        concat!("/ro", "ot/"),
    ];
    let all = lines(&[""]).into_iter();
    let found = all.filter(|(_, line)| places.iter().any(|place| line.contains(place)));
    let found: Vec<_> = found.map(|(at, line)| format!("{at}: {}", line.trim())).collect();
    assert_none("name files from the root of the repository", &found);
}

#[test]
fn lines_end_where_their_text_does() {
    let all = lines(&[".rs", ".proto", ".toml", ".md", ".py", ".ci/run"]).into_iter();
    let found = all.filter(|(_, line)| line.ends_with([' ', '\t', '\r']));
    let found: Vec<_> = found.map(|(at, _)| at).collect();
    assert_none("white space at the end of a line", &found);
    let open = files().into_iter().filter(|(_, text)| !text.is_empty() && !text.ends_with('\n'));
    let open: Vec<_> = open.map(|(path, _)| path).collect();
    assert_none("files without a newline at their end", &open);
}

#[test]
fn every_trap_has_its_entry() {
    let traps = &files()["docs/traps.md"];
    for number in 1..=TRAP_LAST {
        let entries = traps.matches(&format!("- **T{number}** ")).count();
        assert_eq!(entries, 1, "docs/traps.md has {entries} entries for T{number}");
    }
    for number in 1..=CLAUSE_LAST {
        assert!(traps.contains(&format!("\n| 9.{number} | ")), "docs/traps.md lacks 9.{number}");
    }
    let guards = traps.matches("\n  <br>Guard: ").count();
    assert_eq!(guards, TRAP_LAST as usize, "one line with guard and test below each trap");
}

#[test]
fn cited_traps_and_clauses_exist() {
    let mut found = Vec::new();
    for (at, line) in lines(&[".rs", ".proto", ".md", ".toml", ".py"]) {
        for (before, word, after) in words(&line) {
            let number = |text: &str| text.parse::<u32>().ok();
            let trap = word.strip_prefix('T').and_then(number);
            if trap.is_some_and(|trap| trap == 0 || trap > TRAP_LAST) {
                found.push(format!("{at}: {word}"));
            }
            let clause = after.strip_prefix('.').and_then(|rest| words(rest).next());
            let clause = clause.and_then(|(_, word, _)| number(word)).unwrap_or(1);
            let of_section = before.to_lowercase().ends_with("section ") && word == "9";
            if of_section && !(1..=CLAUSE_LAST).contains(&clause) {
                found.push(format!("{at}: section 9.{clause}"));
            }
        }
    }
    assert_none("no such trap in docs/traps.md, or clause in docs/transactions.md", &found);
}

#[test]
fn guards_and_tests_of_traps_exist() {
    let files = files();
    let sources = files.iter().filter(|(path, _)| path.ends_with(".rs"));
    let functions: BTreeSet<&str> = sources
        .flat_map(|(_, text)| words(text))
        .filter(|(before, _, _)| before.ends_with("fn "))
        .map(|(_, word, _)| word)
        .collect();
    let scripts: BTreeSet<&str> = files
        .keys()
        .filter(|path| path.contains("/testscripts/"))
        .filter_map(|p| p.rsplit('/').next())
        .collect();
    let mut found = Vec::new();
    for (name, _) in quoted(&files["docs/traps.md"]) {
        let is_test = name.contains('_')
            && !name.contains(['/', ' ', '(', '-', '.', ':'])
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            && name.matches('_').count() >= 2;
        let is_path = name.contains('/') && !name.contains(' ');
        let is_missing = (is_test && !functions.contains(name) && !scripts.contains(name))
            || (is_path && !root().join(name).exists());
        if is_missing && !FOREIGN.contains(&name) {
            found.push(name.to_owned());
        }
    }
    assert_none("docs/traps.md names what does not exist", &found);
}

/// Names of settings and lints that look like tests of ours.
const FOREIGN: [&str; 2] = ["max_apply_unpersisted_log_limit", "iter_over_hash_type"];

#[test]
fn cited_documents_exist() {
    let mut found = Vec::new();
    for (at, line) in lines(&[".rs", ".proto", ".toml", ".md", ".py", ".ci/run"]) {
        for path in paths(&line).filter(|path| path.starts_with("docs/")) {
            if !root().join(path).exists() {
                found.push(format!("{at}: {path}"));
            }
        }
    }
    assert_none("no such document", &found);
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut found = Vec::new();
    for (path, text) in files().into_iter().filter(|(path, _)| path.ends_with(".md")) {
        let folder = root().join(&path).parent().expect("a file is in a folder").to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !folder.join(target).exists() {
                found.push(format!("{path}: {link}"));
            }
        }
    }
    assert_none("broken links", &found);
}
