//! TCP/IP for millions of mostly idle connections: frames and time in, events, stream bytes and
//! frames out.
//!
//! A [`Stack`] is everything one shard needs to speak IPv4 and TCP: it owns no device, no clock
//! and no timer wheel, starts no thread, and after [`Stack::new`] allocates nothing. The caller's
//! loop is the only thing that moves it:
//!
//! ```text
//!              input(now, frames)                          output(now, sink)
//!   frames ──▶ ethernet ─ arp ─ ipv4 ─ icmp ─ tcp ──┐   ┌─▶ plan ─ segment ─ ipv4 ─ ethernet ──▶
//!                                                   ▼   │
//!                              TCBs, flights, chunks, entries, queues
//!                                                   │   ▲
//!   poll_event() ◀── Accepted, Data, …, Closed ─────┘   └── send, close, consume, on_timer
//! ```
//!
//! # The order of calls
//!
//! Four kinds of methods. *Input* ([`input`](Stack::input), [`on_timer`](Stack::on_timer),
//! [`expire`](Stack::expire)) changes state and queues events; after each of them the caller drains
//! [`poll_event`](Stack::poll_event), answering every `Data` with [`keep`](Stack::keep). *Calls*
//! ([`send`](Stack::send), [`consume`](Stack::consume), [`close`](Stack::close), …) are the
//! application's and may be made at any time. [`poll_rearm`](Stack::poll_rearm) tells for which
//! connections the caller's timer wheel must fire earlier than it was told before. At the end of a
//! turn [`output`](Stack::output) sends: nothing leaves at any other time, so whatever was written
//! or acknowledged during a turn shares segments.
//!
//! # What an idle connection costs
//!
//! 192 bytes of TCB and 10 of flow table. It has no buffer: octets received are offered to the
//! application while they still lie in the frame, and only what it leaves, what came out of order,
//! and what it wants to send is copied, to chunks of a pool that all connections share. It has no
//! congestion state either: a *flight* comes from a pool with the first unacknowledged octet.
//! Nothing is acknowledged that might have to be discarded: the room for it is promised first.
//!
//! | record | bytes | of |
//! |---|---|---|
//! | [`TCB_BYTES`] | 192 | each connection |
//! | [`FLOW_BYTES`] | 10 | each connection, passive open and TIME-WAIT |
//! | [`SYN_ENTRY_BYTES`] | 64 | each passive open without its last ACK |
//! | [`TIME_WAIT_ENTRY_BYTES`] | 64 | each connection in TIME-WAIT |
//! | [`FLIGHT_BYTES`] | 80 | each connection with unacknowledged data at the same time |
#![forbid(unsafe_code)]

mod answers;
mod arp;
mod calls;
mod checksum;
mod chunks;
mod config;
mod congestion;
mod context;
mod counters;
mod ethernet;
mod event;
mod flight;
mod flow;
mod flow_table;
mod icmp;
mod input;
mod ipv4;
mod isn;
mod lifecycle;
mod list;
mod neighbor;
mod options;
mod output;
mod places;
mod ports;
mod reassembly;
mod receive_buffer;
mod rto;
mod rtt;
mod segment;
mod send_buffer;
mod seq;
mod settings;
mod stack;
mod steering;
mod syn_table;
mod tcb;
mod time_wait;
mod timers;
mod window;

pub use calls::ConnectError;
pub use config::{ADDRESSES_MAX, Ipv4Cidr, LISTENERS_MAX, Limits, StackConfig, StackError, Timers};
pub use counters::{StackCounters, StackGauges};
pub use event::{CloseReason, Event};
pub use flow::Flow;
pub use input::RxFrame;
pub use output::FrameSink;
pub use stack::Stack;
pub use steering::{MICROSOFT_KEY, Steering};
pub use tcb::State;

/// A connection's number: the index of its TCB. It is the connection's until `Event::Closed`.
pub type ConnId = u32;

/// Frames of a burst given to [`Stack::input`] at once.
pub const BURST_FRAMES_MAX: usize = 64;

/// Bytes of a connection's TCB.
pub const TCB_BYTES: usize = size_of::<tcb::Tcb>();
/// Bytes of flow table for each connection, passive open and connection in TIME-WAIT, at most.
pub const FLOW_BYTES: usize = 10;
/// Bytes of a passive open that waits for its last ACK.
pub const SYN_ENTRY_BYTES: usize = size_of::<syn_table::SynEntry>();
/// Bytes of a connection in TIME-WAIT.
pub const TIME_WAIT_ENTRY_BYTES: usize = size_of::<time_wait::TimeWaitEntry>();
/// Bytes of a flight.
pub const FLIGHT_BYTES: usize = size_of::<flight::Flight>();

const _: () = assert!(TCB_BYTES == 192 && SYN_ENTRY_BYTES == 64 && TIME_WAIT_ENTRY_BYTES == 64);
const _: () = assert!(FLIGHT_BYTES == 80);
