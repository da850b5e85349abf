//! Echo, discard, echo-once and chargen through whole shards, over clean and bad wires.

mod common;

use capsule::impairment::Impairment;
use capsule::twin::TwinConfig;
use common::{CHARGEN, DISCARD, ECHO, ECHO_ONCE, MS, SECOND, World, pattern};
use tcpstack::CloseReason;

const MIB: usize = 1 << 20;

fn bad_wire(seed: u64) -> TwinConfig {
    TwinConfig {
        seed,
        loss_ppm: 10_000,
        reorder_ppm: 20_000,
        duplicate_ppm: 5_000,
        ..TwinConfig::default()
    }
}

/// Sends a pattern through `echo` on one connection for each shard and compares what comes back.
#[track_caller]
fn echo_comes_back_whole(shards: u16, wire: TwinConfig, len: usize) {
    let seed = wire.seed;
    println!("seed {seed}, {shards} shard(s)");
    let mut world = World::new(shards, wire);
    let conns = world.connect_to_each_shard(ECHO);
    for (conn, seed) in conns.iter().zip(seed..) {
        world.peer.send(*conn, &pattern(seed, len));
    }
    for (conn, seed) in conns.iter().zip(seed..) {
        world.until(600 * SECOND, "the echo", |world| world.peer.conns[conn].received.len() >= len);
        assert!(world.peer.take(*conn) == pattern(seed, len), "the echo is not what was sent");
        world.peer.conn(*conn).close_after_sending = true;
    }
    for conn in conns {
        world.until(600 * SECOND, "closed", |world| world.peer.conns[&conn].closed.is_some());
        assert_eq!(world.peer.conns[&conn].closed, Some(CloseReason::Finished));
    }
}

#[test]
fn echo_returns_megabytes_on_a_clean_wire() {
    echo_comes_back_whole(1, TwinConfig::default(), 8 * MIB);
}

#[test]
fn echo_survives_loss_reordering_and_duplication() {
    for seed in 1..=3 {
        echo_comes_back_whole(1, bad_wire(seed), MIB);
    }
}

#[test]
fn frames_on_the_wrong_queue_reach_the_shard_that_owns_their_flow() {
    for shards in [2, 3] {
        // The peer sends on all queues in turn, so most frames arrive on a foreign one.
        echo_comes_back_whole(shards, TwinConfig::default(), MIB);
        echo_comes_back_whole(shards, bad_wire(77), MIB / 4);
    }
}

#[test]
fn echo_waits_for_a_peer_that_does_not_read() {
    let mut world = World::new(1, TwinConfig::default());
    let conn = world.connect(ECHO);
    world.peer.conn(conn).is_stuck = true;
    let len = 400_000;
    world.peer.send(conn, &pattern(5, len));
    world.pass(5 * SECOND);
    let unsent = world.peer.conns[&conn].to_send.len();
    assert!(unsent > 0, "both windows are closed before everything is sent");
    world.pass(5 * SECOND);
    // Window probes carry an octet each.
    let probed = unsent - world.peer.conns[&conn].to_send.len();
    assert!(probed < 100, "and stay so: {probed} octets went on");
    world.peer.conn(conn).is_stuck = false;
    world.peer.read(conn);
    world.until(60 * SECOND, "the echo", |world| world.peer.conns[&conn].received.len() >= len);
    assert!(world.peer.take(conn) == pattern(5, len));
}

#[test]
fn many_connections_echo_side_by_side() {
    let mut world = World::new(2, TwinConfig { slots: 2_048, ..TwinConfig::default() });
    let conns: Vec<_> = (0..500).map(|_| world.peer.connect(world.now_ns, ECHO)).collect();
    for (conn, seed) in conns.iter().zip(0..) {
        world.peer.send(*conn, &pattern(seed, 3_000));
    }
    world.until(60 * SECOND, "all echoes", |world| {
        conns.iter().all(|conn| world.peer.conns[conn].received.len() == 3_000)
    });
    for (conn, seed) in conns.iter().zip(0..) {
        assert!(world.peer.take(*conn) == pattern(seed, 3_000), "connection {conn}");
    }
}

#[test]
fn echo_once_returns_the_first_chunk_and_closes_first() {
    for shards in [1, 2] {
        let mut world = World::new(shards, TwinConfig::default());
        let conn = world.connect(ECHO_ONCE);
        world.peer.conn(conn).answers_fin = false;
        world.peer.send(conn, b"hello");
        world.until(SECOND, "FIN", |world| world.peer.conn(conn).got_fin);
        assert_eq!(world.peer.take(conn), b"hello");
        world.peer.conn(conn).close_after_sending = true;
        world.until(10 * SECOND, "closed", |world| world.peer.conn(conn).closed.is_some());
        world.pass(10 * MS);
        let time_wait: u64 = world.shards.iter().map(|s| s.stack().gauges().time_wait).sum();
        assert_eq!(time_wait, 1, "the side that closed first waits");
    }
}

#[test]
fn discard_takes_everything_and_says_nothing() {
    let mut world = World::new(1, TwinConfig::default());
    let conn = world.connect(DISCARD);
    world.peer.send(conn, &pattern(1, 4 * MIB));
    world.peer.conn(conn).close_after_sending = true;
    world.until(60 * SECOND, "closed", |world| world.peer.conns[&conn].closed.is_some());
    assert_eq!(world.peer.conns[&conn].closed, Some(CloseReason::Finished));
    assert_eq!(world.shards[0].stack().counters().tcp_received_stream, 4 * MIB as u64);
    assert_eq!(world.peer.take(conn), []);
}

#[test]
fn chargen_sends_its_pattern_until_the_peer_closes() {
    let mut world = World::new(1, TwinConfig::default());
    let conn = world.connect(CHARGEN);
    world.peer.send(conn, b"nobody reads this");
    world.until(60 * SECOND, "the pattern", |world| world.peer.conns[&conn].received.len() > MIB);
    // What is under way meets a peer that has closed, which answers it with a reset.
    world.peer.conn(conn).close_after_sending = true;
    world.until(60 * SECOND, "closed", |world| {
        world.peer.conns[&conn].closed.is_some() && world.shards[0].stack().open_connections() == 0
    });
    let received = world.peer.take(conn);
    for (number, line) in received.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let expected: Vec<u8> = (0..72).map(|at| b' ' + ((number + at) % 95) as u8).collect();
        let end = line.len().min(72);
        assert!(line[..end] == expected[..end], "line {number}");
    }
}

#[test]
fn echo_through_an_impaired_link_comes_back_whole_after_its_delay() {
    for shards in [1, 2] {
        let impairment = Impairment {
            seed: 5,
            loss_ppm: 10_000,
            duplicate_ppm: 5_000,
            reorder_ppm: 20_000,
            reorder_ns: 2 * MS,
            delay_ns: 10 * MS,
            frames_max: 1_024,
            ..Impairment::default()
        };
        let mut world = World::with(shards, TwinConfig::default(), |config| {
            config.impairment = Some(impairment);
        });
        let conns = world.connect_to_each_shard(ECHO);
        for (conn, seed) in conns.iter().zip(1..) {
            let begun_ns = world.now_ns;
            world.peer.send(*conn, &pattern(seed, MIB / 4));
            let whole = MIB / 4;
            world.until(600 * SECOND, "the echo", |world| {
                world.peer.conns[conn].received.len() >= whole
            });
            assert!(world.now_ns - begun_ns > 20 * MS, "nothing is faster than the delay");
            assert!(
                world.peer.take(*conn) == pattern(seed, whole),
                "the echo is not what was sent"
            );
        }
    }
}

#[test]
fn connection_to_a_port_nobody_listens_on_is_refused() {
    let mut world = World::new(2, TwinConfig::default());
    let conn = world.peer.connect(world.now_ns, 4_711);
    world.until(SECOND, "refused", |world| world.peer.conns[&conn].closed.is_some());
    assert!(!world.peer.conns[&conn].is_connected);
}
