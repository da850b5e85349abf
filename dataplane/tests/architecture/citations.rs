//! RFCs are cited in one searchable form, `RFC 9293 §3.10.7.4`: a number after one space, and a
//! section, when there is one, after a sign and not a word.

use crate::tree::{Source, sources};
use crate::{Finding, assert_clean};

fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, line) in source.text.lines().enumerate() {
        for (start, _) in line.match_indices("RFC") {
            if let Some(what) = fault(&line[start + 3..]) {
                findings.push(Finding::new(&source.path, at + 1, what));
            }
        }
    }
    findings
}

/// What is wrong with a citation, from what follows `RFC`.
fn fault(rest: &str) -> Option<&'static str> {
    if rest.starts_with(|next: char| next.is_ascii_digit() || next == '-') {
        return Some("write `RFC 9293`, with one space before the number");
    }
    let number = rest.strip_prefix(' ')?;
    let after = number.trim_start_matches(|next: char| next.is_ascii_digit());
    let is_number = after.len() < number.len();
    let after = after.trim_start_matches([',', ' ']).to_ascii_lowercase();
    let is_word = ["section", "sec.", "sect"].iter().any(|word| after.starts_with(word));
    (is_number && is_word).then_some("write the section as `RFC 9293 §3.4`")
}

#[test]
fn rfcs_are_cited_in_one_form() {
    let rust = sources().into_iter().filter(Source::is_rust);
    let findings: Vec<Finding> = rust
        .filter(|source| !source.path.ends_with("citations.rs"))
        .flat_map(|source| check(&source))
        .collect();
    assert_clean(&findings);
}

#[test]
fn other_forms_are_reported() {
    for (text, is_fault) in [
        ("// RFC 9293 §3.4: sequence numbers", false),
        ("// as in RFC 5681, and RFCs before it", false),
        ("// RFC9293 §3.4", true),
        ("// RFC-793", true),
        ("// RFC 9293 section 3.4", true),
        ("// RFC 9293, Section 3.4", true),
    ] {
        let source = Source { path: "some.rs".to_owned(), text: text.to_owned() };
        assert_eq!(!check(&source).is_empty(), is_fault, "{text}");
    }
}
