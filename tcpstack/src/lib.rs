//! TCP/IP for millions of mostly idle connections: frames and time in, events, stream bytes and
//! frames out.
//!
//! A [`Stack`] is everything one shard needs to speak IP and TCP: it owns no device, no clock
//! and no timer wheel, starts no thread, and after [`Stack::new`] allocates nothing. The caller's
//! loop is the only thing that moves it:
//!
//! ```text
//!              input(now, frames)                          output(now, sink)
//!   frames ─▶ ethernet ─ arp, ndp ─ ip ─ icmp ─ tcp ─┐   ┌─▶ plan ─ segment ─ ip ─ ethernet ─▶
//!                                                    ▼   │
//!                               TCBs, flights, chunks, entries, queues
//!                                                    │   ▲
//!   poll_event() ◀── Accepted, Data, …, Closed ──────┘   └── send, close, consume, on_timer
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
//! | [`FLIGHT_BYTES`] | 120 | each connection with unacknowledged data at the same time |
//! | [`RANGE_BYTES`] | 16 | each burst of those under way, and each gap in what their peers have |
//!
//! # Code map
//!
//! | what | where |
//! |---|---|
//! | the public face | `stack` (tables), `calls` (the application's calls), `lifecycle` (events, beginnings and ends), `timers`, `event`, `config`, `counters`; `status` and `trace` for whoever looks in |
//! | wire formats, on smoltcp's | `ethernet`, `arp`, `acd`, `ip`, `ipv4`, `ipv6`, `icmp`, `icmpv6`, `ndp`, `icmp_error` (received), `icmp_answer` (sent), `segment`, `options`, `checksum`; `fragments` until they are whole |
//! | finding things | `flow`, `flow_table`, `steering`, `placement`, `neighbor`, `addresses` and `dad` (our own), `path_mtu`, `ports`, `settings` (next hop) |
//! | a connection's state | `tcb`, `flight`, `scoreboard` (what became of what was sent), `seq`; entries without a TCB: `syn_table`, `time_wait`; nothing at all: `cookies` |
//! | a connection's data | `chunks` (the pool), `reclaim` (when it is short), `send_buffer`, `receive_buffer`, `reassembly`, `sack` (what to report of it) |
//! | what comes in decides | `input`: `frame`, `listen`, `passive`, `syn_received`, `syn_sent`, `synchronized` with its steps `sequence`, `ack`, `text` |
//! | what goes out | `output`: `plan` decides, `connection` does, `egress` frames; `answers` without a TCB; `held` until their next hop is known |
//! | what is lost, and how fast to send | `recovery` (the order of it), `rack`, `prr`, `congestion`, `cubic`, `hystart`, `ecn` |
//! | numbers | `rtt`, `rto`, `window`, `isn` |
//! | plumbing | `context` (what one connection's handling may touch), `list`, `places` (which list a connection waits in), `queue`, `sets` (places for a key) |
//!
//! Input never sends and output never decides about input: they meet in flags of the TCB. Protocol
//! rules return values (`OnListen`, `OnTimeWait`, `Verdict`, `Plan`, `Then`), and one caller carries
//! them out.
//!
//! # RFCs
//!
//! Tests without a path are in the file itself; `scripts/` is `tests/scripts/`, `attacks/`
//! is `tests/attacks/`.
//!
//! | section | file | test |
//! |---|---|---|
//! | 826, 1122 §2.3.2 ARP | `arp`, `neighbor`, `held`, `input/frame` | themselves, `scripts/link`, `scripts/arp` |
//! | 894 Ethernet; IEEE 802.1Q tags | `ethernet` | itself, `scripts/vlan` |
//! | 5227 §2.3 announcements, §2.4 (c) defence; no probes (§2.1), reason in the file | `acd` | itself, `scripts/arp` |
//! | 791, 1122 §3.2 IPv4; 6864 identification | `ipv4` | itself, `scripts/link` |
//! | 791 §3.2, 1122 §3.3.2, 8200 §4.5, 1858, 3128, 5722, 6864, 7112 fragments | `fragments`, `input/fragment` | itself, `scripts/fragments`, large_echo |
//! | 792 echo | `icmp` | itself, `scripts/link` |
//! | 792, 4443 §3, 1122 §4.2.3.9, 5927 §4 and §5, 6633 ICMP errors | `icmp_error`, `input/icmp_error`, `placement` | itself, `steering`, `scripts/icmp` |
//! | 1191, 8201, 4821 §7.7, 5927 §7 path MTU | `path_mtu`, `input/icmp_error`, `timers` | itself, `scripts/mtu` |
//! | 1122 §3.2.2.1, §4.1.3.1; 4443 §2.4, §3 errors told, within a rate | `icmp_answer`, `input/unknown`, `input/ipv6` | itself, `scripts/unreachable` |
//! | 8200 IPv6, 2464 on Ethernet, 6437 flow labels | `ipv6`, `ip`, `flow`, `input/ipv6` | themselves, `scripts/ipv6` |
//! | 8200 §4, 8504 §5.3, 5095, 6946 extension headers | `ipv6` | itself, `scripts/ipv6` |
//! | 4291 §2.8 addresses and groups of a host, 6724 source address | `settings`, `input/ipv6` | themselves, `scripts/ipv6` |
//! | 5227 §2.3, 4862 §5.4, 9293 §3.10.5 addresses that come and go at run time | `addresses` | itself, `scripts/addresses`, allocation |
//! | 4443 §4 echo | `icmpv6`, `input/ipv6` | itself, `scripts/icmpv6` |
//! | 4861 §4, §7.1, 6980 neighbour discovery messages | `ndp` | itself, `scripts/ndp` |
//! | 4861 §7.2, §7.3 resolution, reachability; 7048 §3 | `neighbor`, `input/ndp`, `input/mod` | itself, `scripts/ndp` |
//! | 4862 §5.4 duplicate addresses | `dad`, `input/ndp`, `timers` | itself, `scripts/ndp` |
//! | 1071 checksum | `checksum` | itself |
//! | 9293 §3.1 header, §3.2 options | `segment`, `options` | themselves, `scripts/options` |
//! | 9293 §3.4 sequence numbers, §3.4.1 initial ones | `seq`, `isn` | themselves, `scripts/acknowledgements` |
//! | 9293 §3.5 opening, simultaneous too | `input/listen`, `input/passive`, `input/syn_sent` | `scripts/handshake` |
//! | 9293 §3.6 closing, in every order | `calls`, `input/text`, `input/ack` | `scripts/closing`, simulation |
//! | 9293 §3.7.1, 6691 segment size | `settings` | itself, `scripts/options` |
//! | 9293 §3.8.1, 6298 retransmission | `rtt`, `rto`, `recovery` | themselves, `scripts/retransmission` |
//! | 9293 §3.8.3 giving up (R2) | `timers` | `scripts/retransmission`, `scripts/handshake` |
//! | 9293 §3.8.4 keep-alive | `timers` | `scripts/keep_alive` |
//! | 9293 §3.8.6 windows, probes, slivers | `window`, `output/plan`, `timers` | `scripts/windows` |
//! | 9293 §3.8.6.3 delayed acknowledgements | `input/text` | `scripts/acknowledgements` |
//! | 9293 §3.10.7 segment arrives | `input` | `scripts/sequence`, `scripts/handshake` |
//! | 3168 ECN | `ecn`, `input/passive`, `input/syn_sent` | `attacks/ecn`, `scripts/ecn` |
//! | 4987 SYN cookies | `cookies`, `input/passive` | itself, `attacks/cookies`, `scripts/cookies` |
//! | 2018 §8 reneging, 6675 pipe and NextSeg | `scoreboard`, `recovery`, `output/plan` | themselves, `scripts/recovery` |
//! | 2883 §4, 3522, 3708, 4015 reductions taken back | `recovery`, `congestion` | themselves |
//! | 5681 congestion, 6582 NewReno, 3042 limited transmit, 3465, 6928, 7661 §4.1 | `congestion`, `recovery` | themselves, `scripts/recovery` |
//! | 8985 §6 RACK, §7 TLP | `rack`, `recovery`, `output/plan` | themselves, `scripts/recovery` |
//! | 9406 HyStart++ | `hystart` | itself |
//! | 9438 CUBIC | `cubic` | itself, `simulation/goodput` |
//! | 9937 PRR | `prr`, `recovery` | themselves |
//! | 5961 §3 to §5, §7 blind attacks | `input/sequence`, `input/ack`, `context` | `scripts/challenge`, `scripts/sequence`, `scripts/attacks` |
//! | 7323 §2 window scale, §3 timestamps, §5 PAWS | `options`, `settings`, `input/sequence` | `scripts/options`, `scripts/windows`, `scripts/sequence` |
//! | 2018 §2 to §4, 2883 §4 selective acknowledgment, the receiver | `sack`, `options`, `input/text` | themselves, `scripts/options` |
//! | 1337, 6191 TIME-WAIT | `time_wait` | itself, `scripts/time_wait` |
//! | 6093 urgent data in line | `input/synchronized` | `scripts/sequence`, `scripts/acknowledgements` |
//! | 6056 ephemeral ports | `ports` | itself |
//!
//! Attacks and what answers them: [`attacks`].
//!
//! Not done, and why:
//!
//! * Router advertisements and redirects (4861 §6, §8) are counted and dropped: a server's addresses
//!   and routes are its operator's, and on a link that everybody can write to they stay so.
//! * Multicast listener reports (3810): a switch that snoops has to flood what it does not know.
//! * Source routes (791 §3.1, 5095) are dropped and counted, as everybody does.
//! * Probes for more than an estimate of the path allows (4821 §7.3): an estimate is forgotten after ten
//!   minutes, and then the link's MTU is tried.
//! * Urgent data has no place of its own: it is delivered in line (6093 §6).
//! * Nagle's algorithm (9293 §3.7.4) is off: output runs once a turn, so what is written in a turn
//!   shares segments anyway.
//! * Segmentation offload: no port that has it was at hand. Segments are cut here.
//! * AccECN (9768), Fast Open (7413), MD5 and AO (5925): no MQTT client asks for them.
#![forbid(unsafe_code)]

mod acd;
mod addresses;
mod answers;
mod arp;
pub mod attacks;
mod calls;
mod checksum;
mod chunks;
mod config;
mod congestion;
mod context;
mod cookies;
mod counters;
mod cubic;
mod dad;
mod ecn;
mod ethernet;
mod event;
mod flight;
mod flow;
mod flow_table;
mod fragments;
mod held;
mod hystart;
mod icmp;
mod icmp_answer;
mod icmp_error;
mod icmp_queue;
mod icmpv6;
mod input;
mod ip;
mod ipv4;
mod ipv6;
mod isn;
mod lifecycle;
mod list;
mod ndp;
mod neighbor;
mod options;
mod output;
mod path_mtu;
mod placement;
mod places;
mod ports;
mod prr;
mod queue;
mod rack;
mod reassembly;
mod receive_buffer;
mod reclaim;
mod recovery;
mod rto;
mod rtt;
mod sack;
mod scoreboard;
mod segment;
mod send_buffer;
mod seq;
mod sets;
mod settings;
mod stack;
mod status;
mod steering;
mod syn_table;
mod tcb;
mod time_wait;
mod timers;
mod trace;
mod window;

pub use addresses::AddressError;
pub use calls::ConnectError;
pub use config::{
    ADDRESSES_MAX, CongestionControl, Ecn, Features, LISTENERS_MAX, Limits, StackConfig,
    StackError, SynCookies, Timers,
};
pub use counters::{StackCounters, StackGauges};
pub use event::{CloseReason, Event, NeighborNews};
pub use flow::Flow;
pub use input::{REASSEMBLED_BYTES_MAX, RxFrame};
pub use ip::IpCidr;
pub use output::FrameSink;
pub use stack::Stack;
pub use status::{ConnectionStatus, TcbStatus};
pub use steering::{MICROSOFT_KEY, Steering};
pub use tcb::State;
pub use trace::{TraceEntry, Traced};

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
/// Bytes of a record of what was sent.
pub const RANGE_BYTES: usize = scoreboard::RANGE_BYTES;
/// Records of what was sent that are there for each flight.
pub const RANGES_PER_FLIGHT: u32 = scoreboard::RANGES_OWNED;

/// Bytes of what is known of the path to a destination.
pub const PATH_BYTES: usize = size_of::<path_mtu::Path>();
/// Bytes of what is known of a datagram in fragments, without its payload.
pub const FRAGMENTS_BYTES: usize = size_of::<fragments::Datagram>();

const _: () = assert!(TCB_BYTES == 192 && SYN_ENTRY_BYTES == 64 && TIME_WAIT_ENTRY_BYTES == 64);
const _: () = assert!(FLIGHT_BYTES == 120 && RANGE_BYTES == 16);
