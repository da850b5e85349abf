//! Plain facts about ports: what is asked, what was granted, what is counted.

use std::fmt;

/// DPDK's number of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortId(pub u16);

impl fmt::Display for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of an RX and TX queue pair on its port, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(pub u16);

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Work that a port can take over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// Verify IPv4 and TCP checksums of received frames.
    pub rx_checksum: bool,
    /// Fill in IPv4 and TCP checksums of sent frames.
    pub tx_checksum: bool,
    /// Spread TCP flows over the RX queues by Toeplitz hash and indirection table.
    pub rss: bool,
}

/// What is asked of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortConfig {
    /// A PCI address (`0000:03:00.0`) or the name of a virtual device given to EAL (`net_tap0`).
    pub device: String,
    /// RX queues; as many as `tx_queues`, because queues are handed out in pairs.
    pub rx_queues: u16,
    /// TX queues.
    pub tx_queues: u16,
    /// Descriptors of each RX ring. Each holds an mbuf while the port runs.
    pub rx_slots: u16,
    /// Descriptors of each TX ring.
    pub tx_slots: u16,
    /// Largest IP packet in bytes, without the Ethernet header.
    pub mtu: u16,
    /// Also receive frames for other MAC addresses.
    pub promiscuous: bool,
    /// Take frames for all multicast addresses: neighbour discovery of IPv6 needs those of a few
    /// groups, and the stack picks them out.
    pub all_groups: bool,
    /// Key of the RSS hash; `None` leaves the driver's own.
    pub rss_key: Option<[u8; 40]>,
    /// Offloads to use if the port has them.
    pub want: Offloads,
}

/// What a port is and what it granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortFacts {
    /// Name of the driver, such as `net_tap` or `net_ixgbe`.
    pub driver: String,
    /// The device as asked for.
    pub device: String,
    /// The port's own MAC address.
    pub mac: [u8; 6],
    /// The wanted offloads that are in use.
    pub granted: Offloads,
    /// RX queues.
    pub rx_queues: u16,
    /// TX queues.
    pub tx_queues: u16,
    /// Descriptors of each RX ring, after rounding to what the port can do.
    pub rx_slots: u16,
    /// Descriptors of each TX ring, after rounding.
    pub tx_slots: u16,
    /// Largest IP packet in bytes.
    pub mtu: u16,
    /// The RSS indirection table as the port reports it: entry → RX queue. Empty without RSS, and
    /// on most hardware before the port is started.
    pub reta: Vec<u16>,
    /// The RSS key as the port reports it; some ports have more than 40 bytes. Empty without RSS.
    pub rss_key: Vec<u8>,
    /// The NUMA node of the device, where there is one.
    pub numa_node: Option<u32>,
    /// Whether every RX queue can wake a sleeping thread; known after the start.
    pub rx_interrupts: bool,
}

/// State of a port's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Whether there is a carrier.
    pub up: bool,
    /// Speed in Mbit/s; 0 if the port does not know.
    pub speed_mbps: u32,
    /// Whether both ends can send at once.
    pub full_duplex: bool,
}

/// A port's own counters, since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Frames received.
    pub rx_frames: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames dropped by the port because no RX descriptor was free: the shard is too slow.
    pub rx_missed: u64,
    /// Frames received in error.
    pub rx_errors: u64,
    /// Frames that could not be sent.
    pub tx_errors: u64,
    /// Frames lost because the mempool was empty.
    pub rx_no_mbuf: u64,
}
