//! The link between a dataplane process and its control plane.
//!
//! The dataplane makes a **page**, a memory file that holds everything it wants seen, and listens on
//! a Unix socket of its own. Whoever may open that socket may connect: [`hello`] hands over the page,
//! which can be mapped for reading only. Somebody who wants to control as well also gets a fresh
//! **command slot**, which replaces that of the control plane before, whose commands then go nowhere,
//! and the generation goes up, so that the older one can notice.
//!
//! | module | what it holds |
//! |---|---|
//! | `layout` | which word of the page and of the slot means what |
//! | `catalogue` | the text that names the counters |
//! | `memory` | memory files as words: sealing, mapping |
//! | `server` | the dataplane's side |
//! | `client` | the control plane's side |
//! | `socket` | listening, and passing the files over |
//! | [`inquiry`] | questions about connections and the trace |
//!
//! Pages are the same on both sides of a version only when `layout`'s version is: a client refuses
//! any other.

mod catalogue;
mod client;
pub mod inquiry;
mod layout;
mod memory;
mod server;
mod socket;

pub use catalogue::{CatalogueError, Kind, Slot};
pub use client::{AttachError, LinkClient, NotInControl};
pub use server::{LinkError, LinkServer, LinkSpec, ShardPage};
pub use socket::{hello, listen};

/// What a dataplane process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Setting up ports and tables; no client can connect.
    Starting,
    /// Serving.
    Running,
    /// Closing connections; no new ones are taken.
    Draining,
    /// All connections are closed; the process is about to exit.
    Stopped,
}

impl State {
    fn code(self) -> u64 {
        match self {
            Self::Starting => 0,
            Self::Running => 1,
            Self::Draining => 2,
            Self::Stopped => 3,
        }
    }

    /// A word that no dataplane writes counts as `Starting`: not known to serve, not done.
    fn from_code(code: u64) -> Self {
        [Self::Running, Self::Draining, Self::Stopped]
            .into_iter()
            .find(|state| state.code() == code)
            .unwrap_or(Self::Starting)
    }
}

/// What a control plane can ask of a dataplane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Close all connections in an orderly way, then exit; at the deadline, reset what is left.
    Stop {
        /// Time to do it in, at most [`STOP_DEADLINE_MS_MAX`].
        deadline_ms: u32,
    },
}

/// The longest a stop may take: an hour.
pub const STOP_DEADLINE_MS_MAX: u32 = 3_600_000;

#[cfg(test)]
mod tests;
