//! Hardware profiles: TOML in, a validated plan of ports, cores and memory out.
//!
//! A profile is one TOML file that says everything about one machine (or one instance on it):
//! which port faces the users, which cores poll it, how large every table is, which listeners
//! exist, and what the control plane does. Both processes read the same file with this crate, so
//! what `trunkline check` accepts is what `trunkline-dataplane` runs.
//!
//! From the bottom up:
//!
//! - `keys`: what a key is: name, unit, rule, default and the reason. `sections!` declares the
//!   typed struct and the table of keys in one go, so neither can drift from the other.
//! - `profile`: the sections of a profile. Read it to learn what can be configured.
//! - `source`: TOML text with spans → checked, completed values. Every refusal knows file, line,
//!   column, key, value and limit ([`Problem`]).
//! - `rules`: what no single key can say: sums, subsets, rules between sections.
//! - `instance`: names derived from the instance (`{instance}`, run directory).
//! - [`memory`]: bytes per record, and the [`memory::Plan`]: connections → bytes → hugepages.
//! - `reference`: the table of keys as markdown, for the README.
//!
//! Invariant: a [`Profile`] exists only if every rule holds. Nothing downstream validates again.
#![forbid(unsafe_code)]

mod error;
mod instance;
mod keys;
pub mod memory;
mod profile;
mod reference;
mod rules;
mod source;
mod values;

pub use error::{ConfigError, Problem};
pub use instance::{Instance, RunDir};
pub use keys::{Key, Preset, Rule, Section};
pub use profile::{
    Backend, Control, Idle, Impairment, Listener, ListenerKind, Memory, Mqtt, Port, Profile,
    SECTIONS, Shards, Stop, Tcp, TierChoice,
};
pub use reference::markdown;
pub use source::{EMBEDDED_NAME, Overrides, embedded, load, load_or_embedded, parse};
pub use values::{Cidr, Mac};

/// The schema this crate reads. A profile of another schema is refused, never guessed at.
pub const SCHEMA: u32 = 1;
