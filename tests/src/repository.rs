//! The repository as text: its files, and what of a source file is code.
//!
//! Tests of conventions stand on this. It reads lines and words, not syntax trees: what it knows of Rust is
//! where comments, strings and `#[cfg(test)]` begin. Example: in `let tokio = 1; // tokio::spawn` there is
//! no path that begins with `tokio`.
//!
//! Not here: any convention.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The root of the workspace.
#[must_use]
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("this package is a folder of the workspace").to_owned()
}

/// All text files of the repository by path from the root, with `/` between names.
///
/// Left out: what builds produce, what is hidden (but for `.ci`), and what is not UTF-8.
#[must_use]
pub fn files() -> BTreeMap<String, String> {
    let root = root();
    let mut found = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).expect("a folder of the repository can be listed");
        for entry in entries {
            let path = entry.expect("a folder of the repository can be listed").path();
            let name = path.strip_prefix(&root).expect("it was found below the root");
            let name = name.to_str().expect("names in the repository are UTF-8").to_owned();
            if is_left_out(&name) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.insert(name, text);
            }
        }
    }
    found
}

fn is_left_out(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    let hidden = last.starts_with('.') && name != ".ci" && name != ".gitignore";
    hidden
        || last == "__pycache__"
        || last == "Cargo.lock"
        || name.split('/').any(|n| n == "target")
}

/// Whether a file holds only tests: beside the code (`foo/tests.rs`, `foo/tests/`), in a package's
/// `tests` folder, or the package of tests itself.
#[must_use]
pub fn is_test_file(path: &str) -> bool {
    path.starts_with("tests/") || path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// The code of a source file without comments, the contents of strings, and what is only compiled for
/// tests. Lines keep their numbers.
#[must_use]
pub fn code_of(source: &str) -> String {
    without_tests(&without_comments_and_strings(source))
}

/// Blanks comments, the contents of strings, and character literals.
fn without_comments_and_strings(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let (len, keep) = match first {
            '/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), false),
            '/' if rest.starts_with("/*") => {
                (rest.find("*/").map_or(rest.len(), |at| at + 2), false)
            }
            'r' if starts_raw_string(rest) && !ends_in_word(&code) => (raw_string_len(rest), false),
            '"' => (string_len(rest, '"'), false),
            '\'' if rest[1..].starts_with('\\') || rest[1..].chars().nth(1) == Some('\'') => {
                (string_len(rest, '\''), false)
            }
            _ => (first.len_utf8(), true),
        };
        let (taken, left) = rest.split_at(len);
        if keep {
            code.push_str(taken);
        } else {
            code.push(' ');
            code.extend(taken.chars().filter(|c| *c == '\n'));
        }
        rest = left;
    }
    code
}

fn ends_in_word(code: &str) -> bool {
    code.chars().next_back().is_some_and(is_word)
}

fn starts_raw_string(text: &str) -> bool {
    text[1..].trim_start_matches('#').starts_with('"')
        && (text.starts_with("r\"") || text.starts_with("r#"))
}

fn raw_string_len(text: &str) -> usize {
    let hashes = text[1..].chars().take_while(|c| *c == '#').count();
    let end = format!("\"{}", "#".repeat(hashes));
    let start = 1 + hashes + 1;
    text[start..].find(&end).map_or(text.len(), |at| start + at + end.len())
}

fn string_len(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// Blanks the item behind each `#[cfg(test)]`: up to its `;`, or over its braces.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        kept.push_str(&rest[..at]);
        let (_, item) = rest.split_at(at);
        let len = item_len(item);
        kept.extend(item[..len].chars().filter(|c| *c == '\n'));
        rest = &item[len..];
    }
    kept.push_str(rest);
    kept
}

fn item_len(item: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in item.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    item.len()
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The words of a text, with the text before and behind each.
pub fn words(text: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + text[from..].find(is_word)?;
        let len = text[start..].find(|c| !is_word(c)).unwrap_or(text.len() - start);
        from = start + len;
        Some((&text[..start], &text[start..from], &text[from..]))
    })
}

/// Whether the code has a path that begins with this crate: `tokio::spawn`, `use tokio as t`, `::tokio::main`;
/// but not `crate::tokio::x`.
#[must_use]
pub fn names_crate(code: &str, name: &str) -> bool {
    words(code).any(|(before, word, after)| {
        let before = before.trim_end();
        let is_root = match before.strip_suffix("::") {
            None => true,
            Some(path) => !path.ends_with(|c| is_word(c) || c == '>'),
        };
        let is_imported = before.ends_with("use") && after.trim_start().starts_with(['a', ';']);
        word == name && is_root && (after.starts_with("::") || is_imported)
    })
}

/// Whether the code has this word.
#[must_use]
pub fn names(code: &str, name: &str) -> bool {
    words(code).any(|(_, word, _)| word == name)
}

/// The longest runs of characters that can stand in a path, with those that end a sentence taken off.
pub fn paths(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(is_word(c) || matches!(c, '/' | '.' | '-')))
        .map(|word| word.trim_end_matches(['.', '/', '-']))
}

/// What stands between backquotes, with the text behind each.
pub fn quoted(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().flat_map(|line| {
        let mut rest = line;
        std::iter::from_fn(move || {
            let (_, from) = rest.split_once('`')?;
            let (inside, after) = from.split_once('`')?;
            rest = after;
            Some((inside, after))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_has_no_comments_strings_or_tests() {
        let source = "use a::b; // tokio::x\nlet c = '\"'; let s = \"tokio::y\";\n\
                      let r = r#\"tokio::\"z\"#;\n#[cfg(test)]\nmod tests { fn f() { tokio::w(); } }\nfn g<'a>() {}\n";
        let code = code_of(source);
        assert!(!names(&code, "tokio"), "{code}");
        assert!(names_crate(&code, "a") && names(&code, "g"), "{code}");
        assert_eq!(code.lines().count(), source.lines().count());
    }

    #[test]
    fn crate_is_named_at_the_root_of_a_path_only() {
        for code in ["use tokio::x;", "let _ = ::tokio::x();", "use tokio as t;", "use tokio;"] {
            assert!(names_crate(code, "tokio"), "{code}");
        }
        for code in ["use super::tokio::x;", "let tokio = 1;", "use tokio_stream::x;", "a.tokio()"]
        {
            assert!(!names_crate(code, "tokio"), "{code}");
        }
    }

    #[test]
    fn paths_end_before_the_end_of_a_sentence() {
        assert!(paths("see a/b-c.md. Or (d/e.md)").any(|path| path == "a/b-c.md"));
        assert_eq!(quoted("a `b` c `d/e`").map(|(q, _)| q).collect::<Vec<_>>(), ["b", "d/e"]);
    }
}
