//! Replays the fuzzers' corpora: every input that once reached something new, or found a fault.

#[path = "../fuzz/harness/mod.rs"]
pub mod harness;

use std::path::Path;

use harness::scene::SCENES;

fn replay(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut replayed = 0;
    for entry in std::fs::read_dir(corpus).expect("the corpus is in the tree") {
        let path = entry.expect("a directory entry").path();
        println!("{}", path.display());
        run(&std::fs::read(&path).expect("a readable input"));
        replayed += 1;
    }
    assert!(replayed > 0, "an empty corpus proves nothing");
}

#[test]
fn every_input_of_the_frame_corpus_runs_clean() {
    replay("frames", harness::frames);
}

#[test]
fn every_input_of_the_operations_corpus_runs_clean() {
    replay("operations", harness::operations);
}

#[test]
fn every_scene_puts_the_stack_where_its_name_says() {
    for scene in SCENES {
        for options in 0..16 {
            let is_ipv6 = options & 8 != 0;
            let world = scene.set(is_ipv6, options);
            let states: Vec<_> =
                world.conns.keys().filter_map(|&conn| world.stack.state(conn)).collect();
            let expected: Vec<_> = scene.state().into_iter().collect();
            assert_eq!(states, expected, "{scene:?}, options {options:04b}");
            world.end();
        }
    }
}
