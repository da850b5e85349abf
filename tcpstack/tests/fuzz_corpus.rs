//! Replays the fuzzer's corpus: every input that once reached something new, or found a fault.

#[path = "../fuzz/frames.rs"]
mod frames;

#[test]
fn every_input_of_the_frame_corpus_runs_clean() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/frames");
    let mut replayed = 0;
    for entry in std::fs::read_dir(corpus).expect("the corpus is in the tree") {
        let path = entry.expect("a directory entry").path();
        println!("{}", path.display());
        frames::run(&std::fs::read(&path).expect("a readable input"));
        replayed += 1;
    }
    assert!(replayed > 0, "an empty corpus proves nothing");
}
