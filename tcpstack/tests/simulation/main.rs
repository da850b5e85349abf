//! Two stacks, a wire that misbehaves, and programs that check every octet.
//!
//! A run's story follows from its seed: what the wire does, what the applications do, how much
//! memory there is, whether a host disappears. One host is always ours; the other is ours as well,
//! or smoltcp's. The clock is virtual. `watch` judges every frame of ours, `host` looks at the
//! stack after every turn, and at the end all memory must be back in its pools.
//!
//! | variable | effect |
//! |---|---|
//! | `SIMULATION_SEED` | runs that seed only |
//! | `SIMULATION_SEEDS` | runs so many seeds in all instead of 1,000 |
//! | `SIMULATION_TRACE` | prints every frame, with the time in µs and what became of it |
//! | `GOODPUT_UPDATE` | writes the table of goodput anew, in `tests/golden` |

mod frame;
mod goodput;
mod host;
mod link;
mod peer;
mod program;
mod router;
mod scenario;
mod watch;
mod wire;
mod world;

use scenario::Scenario;
use world::World;

/// Tells how to see a failure again.
struct Replay {
    seed: u64,
    test: &'static str,
}

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { seed, test } = self;
            let command = "cargo test -p tcpstack --test simulation";
            eprintln!("replay with: SIMULATION_SEED={seed} {command} {test} -- --nocapture");
        }
    }
}

/// Runs every fourth seed from `first` on, or the one that was asked for.
fn run_seeds(test: &'static str, first: u64) {
    let number = |name| {
        let value = std::env::var(name).ok()?;
        Some(value.parse().unwrap_or_else(|_| panic!("{name} is a number, not {value}")))
    };
    let seeds: Vec<u64> = match number("SIMULATION_SEED") {
        Some(seed) => vec![seed],
        None => (first..number("SIMULATION_SEEDS").unwrap_or(1_000)).step_by(4).collect(),
    };
    for seed in seeds {
        let _replay = Replay { seed, test };
        let scenario = Scenario::of(seed, test == SMOLTCP);
        World::new(scenario).run();
    }
}

const SMOLTCP: &str = "smoltcp_and_we_understand_each_other";

#[test]
fn two_of_our_stacks_understand_each_other() {
    run_seeds("two_of_our_stacks_understand_each_other", 0);
    run_seeds("two_of_our_stacks_understand_each_other", 1);
}

#[test]
fn smoltcp_and_we_understand_each_other() {
    run_seeds(SMOLTCP, 2);
    run_seeds(SMOLTCP, 3);
}
