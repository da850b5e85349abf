//! What a broker is told when it is made: its place among the shards, limits, timers.

use superpage::{Placement, RegionError};

/// Most shards of one process: sets of them are 64-bit words.
pub const SHARDS_MAX: u16 = 64;

/// Everything a [`crate::Broker`] needs to know.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// Which shard this is, from 0.
    pub shard: u16,
    /// How many shards there are, 1 to [`SHARDS_MAX`].
    pub shards: u16,
    /// Accept every client, whatever user name and password it gives. Without it every client is
    /// refused, because there is no authentication yet.
    pub allow_anonymous: bool,
    /// Sizes of tables and queues.
    pub limits: Limits,
    /// Times.
    pub timers: Timers,
    /// Receive Maximum told to MQTT 5 clients: their QoS 1 publishes in flight towards us.
    pub receive_maximum: u16,
    /// Topic Alias Maximum told to MQTT 5 clients; 0 switches aliases off.
    pub topic_alias_maximum: u16,
    /// Key of all hashes. The same on every shard of a process, and secret.
    pub secret: [u8; 16],
    /// Where the regions go.
    pub placement: Placement,
}

impl Default for BrokerConfig {
    /// One shard of development size. The secret is all zeroes: set one.
    fn default() -> BrokerConfig {
        BrokerConfig {
            shard: 0,
            shards: 1,
            allow_anonymous: true,
            limits: Limits::default(),
            timers: Timers::default(),
            receive_maximum: 64,
            topic_alias_maximum: 16,
            secret: [0; 16],
            placement: Placement::default(),
        }
    }
}

/// Sizes of one shard's tables and queues. All memory is taken when the broker is made.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Transport connections.
    pub links: u32,
    /// Links with something in progress at the same time: half a packet received, bytes waiting to
    /// be sent. Idle links need none. Beyond it links are parked.
    pub active_links: u32,
    /// Sessions, connected or not.
    pub sessions: u32,
    /// Client ids whose home this shard is: about as many as sessions a shard.
    pub clients: u32,
    /// Subscriptions of all sessions.
    pub subscriptions: u32,
    /// Different topic filters.
    pub filters: u32,
    /// Nodes of each wildcard tree (own subscriptions, other shards' interest): one a topic level.
    pub wildcard_nodes: u32,
    /// Different pairs of subscription and Subscription Identifier.
    pub identifiers: u32,
    /// Messages stored at the same time: queued, in flight, retained, wills, half received.
    pub messages: u32,
    /// Units of payload memory.
    pub payload_units: u32,
    /// Bytes of one unit: a message takes whole units.
    pub payload_unit_bytes: u32,
    /// Deliveries queued or in flight, of all sessions.
    pub deliveries: u32,
    /// Retained messages whose home this shard is.
    pub retained: u32,
    /// Messages queued for one session, for each of QoS 0 and QoS 1; and QoS 2 publishes it may have
    /// sent without releasing them.
    pub session_queue_messages: u32,
    /// QoS 1 deliveries in flight to one client, whatever Receive Maximum it gives.
    pub inflight: u16,
    /// Bytes of a packet; told to MQTT 5 clients as Maximum Packet Size.
    pub packet_bytes_max: u32,
    /// Bytes of a packet that must be at hand in one piece: a whole packet other than PUBLISH, or
    /// what stands before a PUBLISH's payload. The transport must be able to hold that many.
    pub header_bytes_max: u32,
    /// Chunks of [`crate::OUTPUT_CHUNK_BYTES`] for acknowledgements and other answers.
    pub output_chunks: u32,
    /// Acknowledgements that wait for another shard.
    pub pending: u32,
    /// Subscriptions whose retained messages are being fetched.
    pub retained_jobs: u32,
    /// Sessions moving away to another shard at the same time.
    pub moves: u32,
    /// Bytes staged for each other shard: at least two of the largest packets.
    pub staging_bytes: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            links: 16_384,
            active_links: 8_192,
            sessions: 16_384,
            clients: 20_480,
            subscriptions: 65_536,
            filters: 65_536,
            wildcard_nodes: 65_536,
            identifiers: 16_384,
            messages: 65_536,
            payload_units: 131_072,
            payload_unit_bytes: 256,
            deliveries: 262_144,
            retained: 16_384,
            session_queue_messages: 1_000,
            inflight: 64,
            packet_bytes_max: 1 << 20,
            header_bytes_max: (64 << 10) + (1 << 10),
            output_chunks: 16_384,
            pending: 16_384,
            retained_jobs: 4_096,
            moves: 1_024,
            staging_bytes: 4 << 20,
        }
    }
}

/// Times of the protocol.
#[derive(Clone, Copy, Debug)]
pub struct Timers {
    /// From the transport connection to a whole CONNECT, and again to the answer to it.
    pub connect_timeout_ms: u32,
    /// How long a closing link may take to send what is left.
    pub close_timeout_ms: u32,
    /// Largest Keep Alive; clients that ask for more, or for none, are told this one by MQTT 5's
    /// Server Keep Alive. `u16::MAX` leaves every client its own.
    pub keep_alive_max_s: u16,
    /// Longest Session Expiry Interval; `u32::MAX` lets sessions live for ever. Sessions of MQTT
    /// 3.1.1 clients without Clean Session get this one.
    pub session_expiry_max_s: u32,
}

impl Default for Timers {
    fn default() -> Timers {
        Timers {
            connect_timeout_ms: 10_000,
            close_timeout_ms: 5_000,
            keep_alive_max_s: u16::MAX,
            session_expiry_max_s: 7 * 24 * 3_600,
        }
    }
}

/// Why a broker could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// `shard` must be below `shards`, and `shards` at most [`SHARDS_MAX`].
    #[error("shard {shard} of {shards}: there are 1 to {SHARDS_MAX} shards, counted from 0")]
    Shard {
        /// The shard asked for.
        shard: u16,
        /// The number of shards asked for.
        shards: u16,
    },
    /// Two limits contradict each other.
    #[error("{name} = {value}: {rule}")]
    Limit {
        /// The limit.
        name: &'static str,
        /// Its value.
        value: u64,
        /// What it must be.
        rule: &'static str,
    },
    /// A region could not be had.
    #[error(transparent)]
    Region(#[from] RegionError),
}

/// Smallest `header_bytes_max`: the longest topic, its length, and the longest inter-shard header.
const HEADER_BYTES_MIN: u32 = 256;
const PACKET_BYTES_LIMIT: u32 = 256 << 20;
const SESSIONS_LIMIT: u32 = 1 << 27;

impl BrokerConfig {
    /// Checks what no type can.
    pub(crate) fn check(&self) -> Result<(), BrokerError> {
        let BrokerConfig { shard, shards, limits, receive_maximum, .. } = self;
        if *shards == 0 || *shards > SHARDS_MAX || shard >= shards {
            return Err(BrokerError::Shard { shard: *shard, shards: *shards });
        }
        let rules = [
            ("sessions", limits.sessions, limits.sessions < SESSIONS_LIMIT, "below 2^27"),
            (
                "header_bytes_max",
                limits.header_bytes_max,
                limits.header_bytes_max >= HEADER_BYTES_MIN,
                "at least 256",
            ),
            (
                "packet_bytes_max",
                limits.packet_bytes_max,
                (HEADER_BYTES_MIN..=PACKET_BYTES_LIMIT).contains(&limits.packet_bytes_max),
                "256 to 268,435,456",
            ),
            ("inflight", limits.inflight.into(), limits.inflight > 0, "at least 1"),
            ("receive_maximum", (*receive_maximum).into(), *receive_maximum > 0, "at least 1"),
            (
                "staging_bytes",
                limits.staging_bytes,
                u64::from(limits.staging_bytes)
                    >= 2 * u64::from(limits.packet_bytes_max)
                        + 4 * u64::from(limits.header_bytes_max),
                "at least 2 * packet_bytes_max + 4 * header_bytes_max",
            ),
        ];
        for (name, value, holds, rule) in rules {
            if !holds {
                return Err(BrokerError::Limit { name, value: value.into(), rule });
            }
        }
        Ok(())
    }
}
