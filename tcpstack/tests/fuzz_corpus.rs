//! Replays the fuzzers' corpora: every input that once reached something new, or found a fault.

#[path = "../fuzz/harness/mod.rs"]
pub mod harness;

use std::path::Path;

use harness::packet::{Segment, flag, fragments};
use harness::scene::{PEER_PORT, SCENES};
use harness::world::{LISTENERS, World};
use tcpstack::SynCookies;

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

/// Otherwise no fuzzer ever sees what becomes of a datagram that was whole again.
#[test]
fn halves_of_a_segment_become_whole_and_open_a_connection() {
    for (is_ipv6, is_reversed) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut world = World::new(SynCookies::Never);
        let syn = Segment {
            is_ipv6,
            source: PEER_PORT,
            destination: LISTENERS[0],
            flags: flag::SYN,
            options: &[2, 4, 5, 180],
            octets: &[1; 16],
            ..Segment::default()
        };
        // RFC 7112 §5: the first one has all headers.
        let mut halves = fragments(&syn.frame(), 24, 7);
        if is_reversed {
            halves.reverse();
        }
        world.input(&halves);
        world.check();
        let counters = world.stack.counters();
        assert_eq!((counters.fragment_reassembled, counters.tcp_received), (1, 1), "{syn:?}");
        assert_eq!(world.stack.gauges().syn_received, 1, "{syn:?}");
        world.end();
    }
}
