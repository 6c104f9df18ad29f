//! ARCHITECTURE.md names only what exists, and leaves no folder out.

use std::collections::BTreeSet;

use tests::repository::{files, names, quoted, root, words};

fn document() -> String {
    files().remove("ARCHITECTURE.md").expect("ARCHITECTURE.md is at the root")
}

/// Whether a quoted text is meant as a path from the root.
fn is_path(text: &str) -> bool {
    let plain = !text.contains([' ', '<', '*', '(', ':']);
    plain && (text.contains('/') || text.ends_with(".rs") || text.ends_with(".md"))
}

#[test]
fn paths_in_the_map_exist() {
    let document = document();
    let mut found = 0;
    for (path, _) in quoted(&document).filter(|(text, _)| is_path(text)) {
        assert!(root().join(path).exists(), "ARCHITECTURE.md names {path}, which does not exist");
        found += 1;
    }
    assert!(found > 20, "only {found} paths were recognised");
}

/// A function is written as `name` (`path`); both exist, and the one is in the other.
#[test]
fn functions_in_the_map_are_where_it_says() {
    let document = document();
    let files = files();
    let mut found = 0;
    for (name, after) in quoted(&document) {
        let Some(rest) = after.strip_prefix(" (`") else { continue };
        let Some((path, _)) = rest.split_once('`') else { continue };
        let text = files.get(path).unwrap_or_else(|| panic!("ARCHITECTURE.md names {path}"));
        let function = name.rsplit("::").next().unwrap_or(name);
        let defines = words(text).any(|(before, word, _)| {
            word == function
                && ["fn ", "struct ", "enum ", "trait ", "rpc "].iter().any(|k| before.ends_with(k))
        });
        assert!(defines, "{path} does not define {function}, which ARCHITECTURE.md says is there");
        found += 1;
    }
    assert!(found > 10, "only {found} functions were recognised");
}

#[test]
fn every_folder_of_sources_is_on_the_map() {
    let document = document();
    let named: BTreeSet<&str> =
        quoted(&document).map(|(path, _)| path.trim_end_matches('/')).collect();
    for path in files().keys() {
        let Some((package, inner)) = path.split_once("/src/") else { continue };
        let folder = match inner.split_once('/') {
            Some((folder, _)) if package == "node" => format!("node/src/{folder}"),
            None if package == "node" => continue,
            _ => package.to_owned(),
        };
        assert!(named.contains(folder.as_str()), "ARCHITECTURE.md does not mention {folder}");
    }
}

#[test]
fn words_of_the_map_are_those_of_the_glossary() {
    let document = document();
    for (wrong, right) in [("tablet", "shard"), ("primary", "leader"), ("frontend", "gateway")] {
        assert!(!names(&document, wrong), "ARCHITECTURE.md says {wrong} for {right}");
    }
}
