//! What the README repeats of the code it repeats exactly, and what it points to is there.

use std::fs;

use crate::tree::root;

#[test]
fn the_readme_holds_the_reference_of_all_profile_keys() {
    let text = fs::read_to_string(root().join("README.md")).expect("there is a README.md");
    assert!(
        text.contains(&hwconfig::markdown()),
        "put the output of `cargo run -p control -- check --reference` into README.md"
    );
}

/// What relative links in markdown point to.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| {
        let target = rest.split_once(')')?.0;
        (!target.starts_with('#') && !target.contains("://")).then_some(target)
    })
}

#[test]
fn links_into_the_tree_lead_somewhere() {
    let text = fs::read_to_string(root().join("README.md")).expect("there is a README.md");
    let missing: Vec<_> = targets(&text).filter(|target| !root().join(target).exists()).collect();
    assert!(missing.is_empty(), "README.md links to {missing:?}");
}

#[test]
fn only_links_into_the_tree_are_looked_up() {
    let links: Vec<_> = targets("[a](here/b.rs), [c](#there), [d](https://example.org)").collect();
    assert_eq!(links, ["here/b.rs"]);
}
