//! What the README repeats of the code, it repeats exactly.

use std::fs;

use crate::tree::root;

/// Whether `text` holds the reference of the profile's keys, word for word.
fn holds_reference(text: &str, reference: &str) -> bool {
    text.contains(reference)
}

#[test]
fn the_readme_holds_the_reference_of_all_profile_keys() {
    let text = fs::read_to_string(root().join("README.md")).expect("there is a README.md");
    assert!(
        holds_reference(&text, &hwconfig::markdown()),
        "the profile reference is old: put the output of `trunkline check --reference` there"
    );
}

#[test]
fn links_to_files_of_this_tree_lead_somewhere() {
    let text = fs::read_to_string(root().join("README.md")).expect("there is a README.md");
    let missing: Vec<_> = targets(&text).filter(|target| !root().join(target).exists()).collect();
    assert!(missing.is_empty(), "README.md links to {missing:?}");
}

/// What relative links in markdown point to.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| {
        let target = rest.split_once(')')?.0;
        (!target.starts_with('#') && !target.contains("://")).then_some(target)
    })
}

#[test]
fn a_changed_reference_and_a_dead_link_are_seen() {
    assert!(!holds_reference("| `mtu` | bytes | 576 to 9000 |", &hwconfig::markdown()));
    let links: Vec<_> = targets("[a](here/b.rs), [c](#there), [d](https://example.org)").collect();
    assert_eq!(links, ["here/b.rs"]);
}
