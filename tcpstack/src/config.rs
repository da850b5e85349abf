//! What a stack is made from: addresses, limits, timers.

use std::net::{Ipv4Addr, Ipv6Addr};

use superpage::Placement;

use crate::ip::IpCidr;
use crate::ipv6;
use crate::steering::Steering;

/// Everything a stack needs to know at the start.
#[derive(Clone, Debug)]
pub struct StackConfig {
    /// The port's MAC address.
    pub mac: [u8; 6],
    /// Largest IP packet the port sends and takes, 576 to 9,216 bytes; with IPv6 at least 1,280.
    pub mtu: u16,
    /// The stack's own addresses, 1 to 63. If one is of IPv6, the stack adds a link-local one made
    /// from the MAC address.
    pub addresses: Vec<IpCidr>,
    /// Next hop for IPv4 destinations on no network of ours.
    pub gateway: Option<Ipv4Addr>,
    /// Next hop for IPv6 destinations on no network of ours.
    pub gateway_ipv6: Option<Ipv6Addr>,
    /// Ports listened on, on every address; the position is the listener's number.
    pub listeners: Vec<u16>,
    /// Sizes of all tables, buffers and pools.
    pub limits: Limits,
    /// Times after which things happen.
    pub timers: Timers,
    /// What of TCP is switched on.
    pub features: Features,
    /// Random secret of the process: keys the flow table and the initial sequence numbers.
    pub secret: [u8; 16],
    /// Which shard owns which flow.
    pub steering: Steering,
    /// Whether the port fills in TCP checksums; the stack then writes the pseudo-header sum only.
    pub tx_checksum_offload: bool,
    /// Where the regions shall lie.
    pub placement: Placement,
    /// Network of IEEE 802.1Q that the port is on, 1 to 4,094: all frames are tagged.
    pub vlan: Option<u16>,
    /// Largest segment to offer and to send, when it shall be less than the MTU allows.
    pub segment_bytes_max: Option<u16>,
}

/// Sizes of all tables, buffers and pools. Nothing grows after the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections, without those in SYN-RECEIVED by a passive open and those in TIME-WAIT.
    pub connections: u32,
    /// Passive opens waiting for the handshake's last ACK.
    pub syn_entries: u32,
    /// Connections in TIME-WAIT.
    pub time_wait_entries: u32,
    /// Connections that may have unacknowledged data at the same time.
    pub flights: u32,
    /// Records of what was sent, beyond the two that each flight owns: one for each burst under way
    /// and each gap in what the peer has. Without one, losses are found less precisely.
    pub sent_ranges: u32,
    /// Chunks for data to send, out-of-order data and data not consumed yet.
    pub chunks: u32,
    /// Bytes of a chunk.
    pub chunk_bytes: u32,
    /// Bytes a peer may send beyond what the application has consumed.
    pub receive_buffer_bytes: u32,
    /// Bytes the application may queue beyond what the peer has acknowledged.
    pub send_buffer_bytes: u32,
    /// Neighbours remembered on the link.
    pub neighbors: u32,
    /// Destinations remembered whose path is narrower than the link.
    pub paths: u32,
    /// Datagrams whose fragments are collected at the same time.
    pub fragments: u32,
}

impl Default for Limits {
    /// A small machine: ten thousand connections.
    fn default() -> Self {
        Self {
            connections: 10_000,
            syn_entries: 1_024,
            time_wait_entries: 4_096,
            flights: 2_048,
            sent_ranges: 16_384,
            chunks: 32_768,
            chunk_bytes: 512,
            receive_buffer_bytes: 65_535,
            send_buffer_bytes: 65_535,
            neighbors: 256,
            paths: 256,
            fragments: 32,
        }
    }
}

/// Times after which things happen, in milliseconds unless the name says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// How long a closed connection's address pair stays taken: 2 MSL, RFC 9293 §3.6.1. RFC 9293
    /// has 4 minutes; 60 s is what the kernels of our peers use.
    pub time_wait_ms: u32,
    /// How long the peer may take to close its half after ours is closed and acknowledged.
    pub fin_wait_2_ms: u32,
    /// Longest delay of an acknowledgement. RFC 9293 §3.8.6.3 allows 500 ms.
    pub delayed_ack_ms: u32,
    /// Retransmission time-out before the first measurement, RFC 6298 §2.1.
    pub rto_initial_ms: u32,
    /// Lower bound of the retransmission time-out. RFC 6298 §2.4 has 1 s as a SHOULD; with
    /// nanosecond clocks and delayed ACKs of at most 40 ms, 200 ms keeps its purpose.
    pub rto_min_ms: u32,
    /// Upper bound of the retransmission time-out, RFC 6298 §2.5.
    pub rto_max_ms: u32,
    /// A connection without progress for so long is given up: R2 of RFC 9293 §3.8.3.
    pub user_timeout_ms: u32,
    /// How long an active open may take: R2 for SYN, RFC 9293 §3.8.3 (MUST-23: ≥ 3 minutes).
    pub connect_timeout_ms: u32,
    /// How often a SYN-ACK is repeated before a passive open is forgotten, 0 to 7.
    pub syn_ack_retries: u8,
    /// Idle time before the first keep-alive probe; 0 turns keep-alive off, RFC 9293 §3.8.4.
    pub keep_alive_idle_ms: u32,
    /// Time between keep-alive probes.
    pub keep_alive_interval_ms: u32,
    /// Unanswered probes after which the connection is given up.
    pub keep_alive_probes: u8,
    /// Questions whether anybody else has an IPv6 address before it is used, a second each: RFC
    /// 4862 §5.1, DupAddrDetectTransmits. 0: addresses are used at once.
    pub duplicate_address_probes: u8,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            time_wait_ms: 60_000,
            fin_wait_2_ms: 60_000,
            delayed_ack_ms: 40,
            rto_initial_ms: 1_000,
            rto_min_ms: 200,
            rto_max_ms: 60_000,
            user_timeout_ms: 300_000,
            connect_timeout_ms: 180_000,
            syn_ack_retries: 5,
            keep_alive_idle_ms: 0,
            keep_alive_interval_ms: 75_000,
            keep_alive_probes: 9,
            duplicate_address_probes: 1,
        }
    }
}

/// What of TCP is switched on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// When a SYN is answered without remembering it.
    pub syn_cookies: SynCookies,
    /// Whether connections may tell each other of congestion without a loss.
    pub ecn: Ecn,
    /// How the congestion window grows and shrinks.
    pub congestion_control: CongestionControl,
}

/// Explicit congestion notification (RFC 3168).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ecn {
    /// Never.
    Off,
    /// For peers that ask for it. That is what Linux does.
    #[default]
    Accept,
    /// Active opens ask for it as well. Some firewalls drop such a SYN: its repetition does not ask.
    Request,
}

/// How the congestion window grows and shrinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CongestionControl {
    /// With the time since the last loss, RFC 9438.
    #[default]
    Cubic,
    /// By a segment a round trip, RFC 5681.
    NewReno,
}

/// When a SYN is answered without remembering it (RFC 4987 §3.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SynCookies {
    /// Never: a SYN beyond the table of passive opens takes the place of one whose peer has let a
    /// time-out pass, or is dropped.
    Never,
    /// When there is no entry for it: the table is full, or as many are waiting as there are
    /// connections left.
    #[default]
    WhenFull,
    /// Always.
    Always,
}

/// Why a stack cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// A value of the configuration is out of its bounds.
    #[error("{key} = {value} is out of bounds: {limit}")]
    OutOfBounds {
        /// Which value.
        key: &'static str,
        /// What it is.
        value: u64,
        /// What it may be.
        limit: &'static str,
    },
    /// Memory for a table could not be had.
    #[error("no memory for {region}: {source}")]
    Memory {
        /// Which table.
        region: &'static str,
        /// Why.
        source: superpage::RegionError,
    },
}

impl StackConfig {
    /// Checks every bound the rest of the stack relies on.
    pub(crate) fn check(&self) -> Result<(), StackError> {
        let limits = &self.limits;
        let buffer = (2_048, BUFFER_BYTES_MAX, "2 KiB to 64 MiB");
        let records = (0, RECORDS_MAX, "at most 2^28");
        let mtu = match self.addresses.iter().any(|own| own.addr.is_ipv6()) {
            true => (u32::from(ipv6::MTU_MIN), 9_216, "1280 to 9216 with IPv6"),
            false => (576, 9_216, "576 to 9216"),
        };
        let rules = [
            ("mtu", self.mtu.into(), mtu),
            ("addresses", self.addresses.len() as u32, (1, ADDRESSES_MAX as u32 - 1, "1 to 63")),
            ("vlan", self.vlan.unwrap_or(1).into(), (1, 4_094, "1 to 4094")),
            ("listeners", self.listeners.len() as u32, (0, LISTENERS_MAX as u32, "at most 64")),
            ("connections", limits.connections, records),
            ("syn_entries", limits.syn_entries, records),
            ("time_wait_entries", limits.time_wait_entries, records),
            ("flights", limits.flights, records),
            ("sent_ranges", limits.sent_ranges, records),
            ("chunk_bytes", limits.chunk_bytes, (CHUNK_BYTES_MIN, 16_384, "64 to 16384")),
            ("receive_buffer_bytes", limits.receive_buffer_bytes, buffer),
            ("send_buffer_bytes", limits.send_buffer_bytes, buffer),
            ("neighbors", limits.neighbors, (1, NEIGHBORS_MAX, "1 to 32768")),
            ("paths", limits.paths, (1, 1 << 20, "1 to 1048576")),
            ("fragments", limits.fragments, (1, 4_096, "1 to 4096")),
        ];
        for (key, value, (least, most, limit)) in rules {
            if !(least..=most).contains(&value) {
                return Err(StackError::OutOfBounds { key, value: value.into(), limit });
            }
        }
        Ok(())
    }
}

/// Own addresses of a stack, with the link-local one that it makes itself: they are scanned for
/// every packet.
pub const ADDRESSES_MAX: usize = 64;
/// Ports listened on: they are scanned for every SYN.
pub const LISTENERS_MAX: usize = 64;
/// Records of the stack's own lie in chunks.
pub(crate) const CHUNK_BYTES_MIN: u32 = 64;
/// Records of a kind: the flow table keeps the kind in an index's two high bits.
const RECORDS_MAX: u32 = 1 << 28;
/// A buffer must stay far below half of the sequence space.
const BUFFER_BYTES_MAX: u32 = 64 << 20;
/// A connection remembers its neighbour's place in 16 bits.
const NEIGHBORS_MAX: u32 = 32_768;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_out_of_bounds_is_named_with_its_limit() {
        let config = StackConfig {
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 1_500,
            addresses: vec![IpCidr::new(Ipv4Addr::new(10, 0, 0, 1), 8)],
            gateway: None,
            gateway_ipv6: None,
            listeners: Vec::new(),
            limits: Limits::default(),
            timers: Timers::default(),
            features: Features::default(),
            secret: [0; 16],
            steering: Steering::single(),
            tx_checksum_offload: false,
            placement: Placement::default(),
            segment_bytes_max: None,
            vlan: None,
        };
        assert!(config.check().is_ok());
        let message = |config: StackConfig| config.check().expect_err("refused").to_string();
        let mtu = message(StackConfig { mtu: 500, ..config.clone() });
        assert_eq!(mtu, "mtu = 500 is out of bounds: 576 to 9216");
        let none = message(StackConfig { addresses: Vec::new(), ..config.clone() });
        assert_eq!(none, "addresses = 0 is out of bounds: 1 to 63");
        let addresses = vec![IpCidr::new(Ipv6Addr::LOCALHOST, 64)];
        let ipv6 = message(StackConfig { mtu: 1_279, addresses, ..config });
        assert_eq!(ipv6, "mtu = 1279 is out of bounds: 1280 to 9216 with IPv6");
    }
}
