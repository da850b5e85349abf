//! `unsafe` stands in four crates only, and each use carries the proof that it is sound.
//!
//! The check reads tokens, not syntax trees: what a `macro_rules!` body expands to is unsafe all
//! the same. Comments are no tokens, so the proof is looked up in the lines above.

use std::fs;

use cargo_metadata::TargetKind;
use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::tree::{Source, sources};
use crate::{Finding, assert_clean, workspace};

/// The crates that touch what Rust cannot check: DPDK, mapped memory, shared memory.
const MAY_BE_UNSAFE: &[&str] = &["capsule", "corelink", "dpdk-sys", "superpage"];

/// One use of the keyword.
#[derive(Debug, PartialEq, Eq)]
struct Use {
    line: usize,
    kind: Kind,
}

/// What the keyword stands before, and so where its proof is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A block, an implementation, foreign items, an attribute: we claim, so `// SAFETY:` above.
    Claim,
    /// A function or trait: the caller must claim, so a section `# Safety` in its documentation.
    Demand,
}

/// All uses in `tokens`, outermost first.
fn uses(tokens: TokenStream) -> Vec<Use> {
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    let mut found = Vec::new();
    for (at, tree) in trees.iter().enumerate() {
        match tree {
            TokenTree::Ident(word) if *word == "unsafe" => {
                let line = word.span().start().line;
                found.extend(kind(&trees[at + 1..]).map(|kind| Use { line, kind }));
            }
            TokenTree::Group(group) => found.extend(uses(group.stream())),
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
    found
}

/// What follows the keyword. `None` is the type of a function pointer, which claims nothing.
fn kind(rest: &[TokenTree]) -> Option<Kind> {
    let word = |at: usize| match rest.get(at) {
        Some(TokenTree::Ident(word)) => word.to_string(),
        _ => String::new(),
    };
    let is_brace = |at: usize| match rest.get(at) {
        Some(TokenTree::Group(group)) => group.delimiter() == Delimiter::Brace,
        _ => false,
    };
    match word(0).as_str() {
        "trait" => Some(Kind::Demand),
        "fn" => (!word(1).is_empty()).then_some(Kind::Demand),
        // `unsafe extern "C" { ... }`, or a function with that ABI, or the type of one.
        "extern" if is_brace(2) => Some(Kind::Claim),
        "extern" => (!word(3).is_empty()).then_some(Kind::Demand),
        _ => Some(Kind::Claim),
    }
}

fn check(source: &Source, may_be_unsafe: bool) -> Vec<Finding> {
    let tokens: TokenStream =
        source.text.parse().unwrap_or_else(|error| panic!("{}: {error}", source.path));
    let lines: Vec<&str> = source.text.lines().collect();
    let mut findings = Vec::new();
    for Use { line, kind } in uses(tokens) {
        let what = match kind {
            _ if !may_be_unsafe => "`unsafe` outside of the crates that may use it",
            Kind::Claim if !comment_above(&lines, line).contains("SAFETY:") => {
                "no `// SAFETY:` comment above it"
            }
            Kind::Demand if !comment_above(&lines, line).contains("# Safety") => {
                "no `# Safety` section in its documentation"
            }
            Kind::Claim | Kind::Demand => continue,
        };
        findings.push(Finding::new(&source.path, line, what));
    }
    findings
}

/// The comment that belongs to the statement around line `number`: directly above it, past
/// attributes and past earlier lines of the same statement.
fn comment_above(lines: &[&str], number: usize) -> String {
    let mut comment = String::new();
    for line in lines[..number - 1].iter().rev().map(|line| line.trim()) {
        let is_comment = line.starts_with("//");
        let ends_statement = line.is_empty() || line.ends_with([';', '{', '}']);
        if is_comment {
            comment.insert_str(0, line);
        } else if !comment.is_empty() || ends_statement {
            break;
        }
    }
    comment
}

/// The crate that a file belongs to, by the longest folder above it.
fn owner<'a>(folders: &'a [(String, String)], path: &str) -> Option<&'a str> {
    folders
        .iter()
        .filter(|(folder, _)| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')))
        .max_by_key(|(folder, _)| folder.len())
        .map(|(_, name)| name.as_str())
}

#[test]
fn unsafe_stands_only_where_it_may_and_with_its_proof() {
    let metadata = workspace();
    let folders: Vec<(String, String)> = metadata
        .workspace_packages()
        .iter()
        .map(|package| {
            let folder = package.manifest_path.parent().expect("a manifest lies in a folder");
            let folder = folder.strip_prefix(&metadata.workspace_root).expect("inside");
            (folder.to_string(), package.name.to_string())
        })
        .collect();
    let findings: Vec<_> = sources()
        .iter()
        .filter(|source| source.is_rust())
        .flat_map(|source| {
            let name = owner(&folders, &source.path);
            check(source, name.is_some_and(|name| MAY_BE_UNSAFE.contains(&name)))
        })
        .collect();
    assert_clean(&findings);
}

#[test]
fn every_other_crate_forbids_unsafe_at_its_root() {
    let mut findings = Vec::new();
    for package in workspace().workspace_packages() {
        if MAY_BE_UNSAFE.contains(&package.name.as_str()) {
            continue;
        }
        for target in package.targets.iter().filter(|target| !target.is_kind(TargetKind::Test)) {
            let text = fs::read_to_string(&target.src_path).expect("cargo knows the file");
            if !forbids_unsafe(&text) {
                let place = target.src_path.as_str();
                findings.push(Finding::new(place, 0, "lacks #![forbid(unsafe_code)]"));
            }
        }
    }
    assert_clean(&findings);
}

fn forbids_unsafe(text: &str) -> bool {
    let file = syn::parse_file(text).expect("a crate's root parses");
    file.attrs.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) => {
            list.path.is_ident("forbid") && list.tokens.to_string().contains("unsafe_code")
        }
        syn::Meta::Path(_) | syn::Meta::NameValue(_) => false,
    })
}

#[test]
fn a_root_without_the_attribute_is_seen() {
    assert!(forbids_unsafe("//! Docs.\n#![forbid(unsafe_code)]\nfn f() {}"));
    assert!(!forbids_unsafe("//! #![forbid(unsafe_code)]\n#![deny(unsafe_code)]\nfn f() {}"));
}

/// Lines on which `text` breaks a rule, in a crate that may use `unsafe`.
fn unproven(text: &str) -> Vec<usize> {
    let source = Source { path: "proofs.rs".into(), text: text.into() };
    check(&source, true).iter().map(|finding| finding.line).collect()
}

#[test]
fn an_unsafe_use_without_a_proof_is_reported() {
    assert_eq!(unproven("fn f() {\n    unsafe { g() };\n}"), [2]);
    assert_eq!(unproven("/// Docs.\nunsafe impl Send for A {}"), [2]);
    assert_eq!(unproven("/// Docs.\npub unsafe fn f() {}"), [2]);
    assert_eq!(unproven("/// Docs.\npub unsafe extern \"C\" fn f() {}"), [2]);
    assert_eq!(unproven("unsafe trait A {}"), [1]);
    assert_eq!(unproven("unsafe extern \"C\" { fn f(); }"), [1]);
    assert_eq!(unproven("#[unsafe(no_mangle)]\nfn f() {}"), [1]);
    assert_eq!(unproven("macro_rules! m {\n  () => {\n    unsafe { g() }\n  };\n}"), [3]);
}

#[test]
fn one_proof_does_not_serve_two_statements() {
    let text = "fn f() {\n// SAFETY: g is sound.\nunsafe { g() };\nunsafe { g() };\n}";
    assert_eq!(unproven(text), [4]);
}

fn assert_proven(text: &str) {
    assert!(unproven(text).is_empty(), "{text}");
}

#[test]
fn a_proof_is_found_where_it_is_written() {
    assert_proven("// SAFETY: long,\n// over two lines.\nunsafe impl Send for A {}");
    assert_proven("fn f() {\n// SAFETY: sound.\nlet a =\n    unsafe { g() };\n}");
    assert_proven("/// # Safety\n///\n/// Docs.\n#[inline]\nunsafe fn f() {}");
    assert_proven("struct A { f: unsafe extern \"C\" fn(u8), g: unsafe fn() }");
}

#[test]
fn unsafe_in_any_other_crate_is_reported() {
    let text = "fn f() {\n// SAFETY: sound.\nunsafe { g() };\n}".to_owned();
    let findings = check(&Source { path: "broker/src/lib.rs".into(), text }, false);
    assert_eq!(findings.len(), 1);
}

#[test]
fn a_file_belongs_to_the_innermost_crate() {
    let folders = [("tcpstack", "tcpstack"), ("tcpstack/superpage", "superpage")]
        .map(|(folder, name)| (folder.to_owned(), name.to_owned()));
    assert_eq!(owner(&folders, "tcpstack/superpage/src/slab.rs"), Some("superpage"));
    assert_eq!(owner(&folders, "tcpstack/fuzz/fuzz_targets/frame.rs"), Some("tcpstack"));
    assert_eq!(owner(&folders, "tcpstackish/src/lib.rs"), None);
}
