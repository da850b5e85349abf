//! The tidy test: what a reviewer would otherwise have to look for in every change.
//!
//! | module | what it holds the tree to |
//! |---|---|
//! | `edges` | which crate may depend on which, and which crate owns an outside dependency |
//! | `sizes` | files of at most 600 lines, functions of at most 70 |
//! | `unsafety` | `unsafe` in four crates only, each use with its proof |
//! | `words` | nothing left unfinished, no test switched off |
//! | `citations` | RFCs are cited in one searchable form |
//! | `readme` | the README repeats the code exactly, and its links lead somewhere |
//! | `tree` | the walk over the sources, and what may stand at the top level |
//!
//! Every check is a function from text to findings, so each module also feeds its check a source
//! that breaks the rule and sees it reported.
#![forbid(unsafe_code)]

mod citations;
mod edges;
mod readme;
mod sizes;
mod tree;
mod unsafety;
mod words;

use std::fmt::{self, Write};

use cargo_metadata::{Metadata, MetadataCommand};

/// One breach of a rule: where it is and what is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// File, or the name of a crate.
    pub(crate) place: String,
    /// Line in that file, from 1; 0 when the whole file or crate is meant.
    pub(crate) line: usize,
    /// What is wrong and what to do instead.
    pub(crate) what: String,
}

impl Finding {
    pub(crate) fn new(place: &str, line: usize, what: impl Into<String>) -> Self {
        Self { place: place.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.place, self.what),
            line => write!(f, "{}:{line}: {}", self.place, self.what),
        }
    }
}

/// Fails the test with all findings at once, so that one run shows everything there is to mend.
pub(crate) fn assert_clean(findings: &[Finding]) {
    let mut list = String::new();
    for finding in findings {
        writeln!(list, "  {finding}").expect("a String takes any text");
    }
    assert!(findings.is_empty(), "{} findings:\n{list}", findings.len());
}

/// The workspace as cargo sees it, without outside packages.
pub(crate) fn workspace() -> Metadata {
    MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata reads this workspace")
}
