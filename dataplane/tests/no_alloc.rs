//! The proof that a shard allocates nothing once it runs.

mod common;

use std::alloc::System;

use capsule::impairment::Impairment;
use capsule::twin::TwinConfig;
use common::mqtt::{connect_v4, publish_v4, subscribe_v4};
use common::{ECHO, MQTT, MS, World, pattern};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Turns the shards and the peer for a while and counts what the shards allocate.
fn allocations_of_shards(world: &mut World, rounds: usize) -> usize {
    let mut allocations = 0;
    for _ in 0..rounds {
        for shard in &mut world.shards {
            let region = Region::new(ALLOCATOR);
            shard.turn(world.now_ns);
            let stats = region.change();
            allocations += stats.allocations + stats.reallocations;
        }
        world.step();
    }
    allocations
}

/// One test, since the allocator counts for the whole process.
#[test]
fn shards_allocate_nothing_per_packet() {
    assert_no_allocations(World::new(2, TwinConfig::default()));
    let impairment = Impairment {
        loss_ppm: 1_000,
        duplicate_ppm: 1_000,
        delay_ns: MS,
        frames_max: 512,
        ..Impairment::default()
    };
    assert_no_allocations(World::with(2, TwinConfig::default(), |config| {
        config.impairment = Some(impairment);
    }));
}

#[track_caller]
fn assert_no_allocations(mut world: World) {
    let echo = world.connect_to_each_shard(ECHO);
    let mqtt = world.connect_to_each_shard(MQTT);
    for (conn, number) in mqtt.iter().zip(0..) {
        world.peer.send(*conn, &connect_v4(&format!("client{number}"), 60));
        world.peer.send(*conn, &subscribe_v4(1, "t/+", 1));
    }
    world.pass(20 * MS);
    let traffic = |world: &mut World| {
        for conn in &echo {
            world.peer.send(*conn, &pattern(1, 20_000));
        }
        for conn in &mqtt {
            for id in 1..20 {
                world.peer.send(*conn, &publish_v4("t/1", Some(id), b"payload"));
                world.peer.send(*conn, &publish_v4("t/2", None, b"payload"));
            }
        }
    };
    // Buffers of the in-memory wire grow to their size here.
    for _ in 0..40 {
        traffic(&mut world);
        world.pass(50 * MS);
    }
    let frames_before: u64 = world.shards.iter().map(|s| s.stack().counters().received).sum();
    let mut allocations = 0;
    for _ in 0..20 {
        traffic(&mut world);
        allocations += allocations_of_shards(&mut world, 300);
    }
    let frames: u64 = world.shards.iter().map(|s| s.stack().counters().received).sum();
    assert!(frames - frames_before > 500, "there was traffic: {}", frames - frames_before);
    assert_eq!(allocations, 0, "in {} frames", frames - frames_before);
}
