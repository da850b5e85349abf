//! Nothing unfinished and no test switched off. The words are put together here from two halves,
//! so that this file does not find itself.

use crate::tree::{Source, sources};
use crate::{Finding, assert_clean};

/// Word → what to do instead.
const BANNED: &[(&str, &str)] = &[
    (concat!("TO", "DO"), "finish it, or leave it out"),
    (concat!("FIX", "ME"), "finish it, or leave it out"),
    (concat!("XX", "X"), "finish it, or leave it out"),
    (concat!("todo", "!("), "finish it, or leave it out"),
    (concat!("unimplemented", "!("), "finish it, or leave it out"),
    (concat!("dbg", "!("), "remove it"),
    (concat!("#[", "ignore"), "mend the test, or remove it"),
    (concat!("unittest.", "expectedFailure"), "mend the test, or remove it"),
];

fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        for (word, instead) in BANNED {
            if holds_word(line, word) {
                let what = format!("`{word}`: {instead}");
                findings.push(Finding::new(&source.path, number + 1, what));
            }
        }
    }
    findings
}

/// Whether `word` stands in `line` and is not the tail of a longer one, as in `mktemp -t XXXX`.
fn holds_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let joins = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        let open_ended = word.ends_with(|c: char| c.is_ascii_alphanumeric());
        !(joins(before) || open_ended && joins(after))
    })
}

#[test]
fn nothing_is_left_unfinished() {
    let findings: Vec<_> = sources().iter().flat_map(check).collect();
    assert_clean(&findings);
}

#[test]
fn every_banned_word_is_reported() {
    for (word, _) in BANNED {
        let text = format!("fn f() {{\n    {word} \n}}\n");
        let findings = check(&Source { path: "unfinished.rs".into(), text });
        assert_eq!(findings.len(), 1, "{word}");
        assert_eq!(findings[0].line, 2);
    }
}

#[test]
fn a_longer_word_is_another_word() {
    let text = format!("mktemp -d /tmp/run.{}", "X".repeat(6));
    assert_eq!(check(&Source { path: "scripts/run".into(), text }), []);
}
