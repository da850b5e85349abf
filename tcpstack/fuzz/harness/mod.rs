//! What the fuzzers run, and what `cargo test` replays.
//!
//! Random bytes alone never get past a handshake. So the fuzzer's bytes are read as choices: of a
//! scene, of frames whose addresses and checksums are right and whose numbers are near what the
//! stack expects, of time passing, of calls. After each step everything that must hold is looked at,
//! and at the end all is aborted and every pool must be full again.

pub mod input;
pub mod packet;
pub mod scene;
pub mod steps;
pub mod world;

use input::Input;
use scene::{SCENES, Scene};
use tcpstack::SynCookies;
use world::World;

/// Frames into a stack that is in the midst of something: the first byte chooses in what state of
/// TCP, the second the IP version and the peer's options.
pub fn frames(data: &[u8]) {
    let mut input = Input(data);
    let scene: Scene = SCENES[usize::from(input.byte()) % SCENES.len()];
    let options = input.byte();
    let mut world = scene.set(options & 8 != 0, options);
    for _ in 0..STEPS_MAX {
        let Some(step) = input.take() else { break };
        match step % 8 {
            0..=3 => steps::burst(&mut world, &mut input),
            4 | 5 => world.output(64),
            6 => steps::wait(&mut world, &mut input),
            _ => steps::call(&mut world, &mut input),
        }
        world.check();
    }
    world.end();
}

/// Everything that can happen to a whole stack, in any order, beginning with nothing.
pub fn operations(data: &[u8]) {
    let mut input = Input(data);
    let cookies = [SynCookies::WhenFull, SynCookies::Never, SynCookies::Always];
    let mut world = World::new(cookies[usize::from(input.byte()) % cookies.len()]);
    for _ in 0..STEPS_MAX {
        let Some(step) = input.take() else { break };
        match step % 16 {
            0..=5 => steps::burst(&mut world, &mut input),
            6..=7 => steps::output(&mut world, &mut input),
            8 => world.output(64),
            9..=10 => steps::wait(&mut world, &mut input),
            _ => steps::call(&mut world, &mut input),
        }
        world.check();
    }
    world.end();
}

/// Longer inputs are slow and find no more.
const STEPS_MAX: usize = 200;
