//! The walk over the work tree, and what may stand at its top level.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Finding, assert_clean, workspace};

/// The whole top level. Tool settings live in dot files, everything else inside a folder.
const TOP_LEVEL: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "control",
    "dataplane",
    "hwconfig",
    "scripts",
    "tcpstack",
];

/// What cargo and Python write beside the sources.
const GENERATED: &[&str] = &["target", "__pycache__"];

/// A source file: its path from the root, with `/`, and its text.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    workspace().workspace_root.into_std_path_buf()
}

/// All source files: Rust, C, Python, and every script, whatever its name.
pub(crate) fn sources() -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    collect(&root, &root, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    for path in entries(folder) {
        let name = file_name(&path);
        if path.is_dir() {
            if name != ".git" && !GENERATED.contains(&name) {
                collect(root, &path, found);
            }
            continue;
        }
        let relative = path.strip_prefix(root).expect("the walk stays below the root");
        let relative = relative.to_str().expect("our file names are UTF-8").to_owned();
        let is_script = relative.starts_with("scripts/") || relative.starts_with(".ci/");
        let is_source = [".rs", ".c", ".h", ".py", ".sh"].iter().any(|end| name.ends_with(end));
        if is_source || is_script {
            let text = fs::read_to_string(&path).expect("sources are readable UTF-8");
            found.push(Source { path: relative, text });
        }
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let list = fs::read_dir(folder).expect("the work tree is readable");
    list.map(|entry| entry.expect("the work tree is readable").path()).collect()
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).expect("our file names are UTF-8")
}

fn check(names: &[&str]) -> Vec<Finding> {
    names
        .iter()
        .filter(|name| !name.starts_with('.'))
        .filter(|name| !TOP_LEVEL.contains(name) && !GENERATED.contains(name))
        .map(|name| Finding::new(name, 0, "does not belong at the top level"))
        .collect()
}

#[test]
fn the_top_level_holds_what_it_should_and_nothing_else() {
    let paths = entries(&root());
    let names: Vec<_> = paths.iter().map(|path| file_name(path)).collect();
    assert_clean(&check(&names));
    for expected in TOP_LEVEL {
        assert!(names.contains(expected), "{expected} is missing");
    }
}

#[test]
fn a_stray_folder_at_the_top_level_is_reported() {
    assert_eq!(check(&["target", ".cargo", "tcpstack"]), []);
    assert_eq!(check(&["doc"]).len(), 1);
}

#[test]
fn the_walk_finds_sources_of_every_kind() {
    let sources = sources();
    let holds = |path: &str| sources.iter().any(|source| source.path == path);
    assert!(holds("dataplane/tests/architecture/tree.rs"));
    assert!(holds("scripts/test"));
    assert!(sources.iter().all(|source| !source.path.contains("target/")));
}
