//! The sections of a profile and every key in them. This file is what can be configured.
//!
//! Table sizes are for the whole appliance; [`Profile::per_shard`] says what one shard gets.

use crate::instance::{Instance, RunDir};
use crate::keys::{Key, Preset, Rule, Section, sections};
use crate::values::{Cidr, Mac};
use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// One instance of the appliance, every rule checked and every default filled in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Version of the profile's language, [`crate::SCHEMA`].
    pub schema: u32,
    /// Name of the profile, for logs and `build_info`.
    pub name: String,
    /// Name of the running appliance; see [`Instance`].
    pub instance: String,
    /// The user-facing port.
    pub port: Port,
    /// The polling cores.
    pub shards: Shards,
    /// Table and pool sizes.
    pub memory: Memory,
    /// Timers of the TCP stack.
    pub tcp: Tcp,
    /// Limits of the MQTT broker.
    pub mqtt: Mqtt,
    /// What the appliance listens on.
    pub listeners: Vec<Listener>,
    /// The control plane.
    pub control: Control,
    /// The back-end network.
    pub backend: Backend,
    /// How the appliance ends.
    pub stop: Stop,
    /// A worse network, for tests.
    pub impairment: Impairment,
}

/// How a shard spends a turn in which nothing arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Idle {
    /// Poll again at once. Lowest latency, a whole core each.
    Poll,
    /// Spin for some turns, then sleep in small growing steps.
    Adaptive,
}

/// Which pages the tables may lie on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TierChoice {
    /// Hugetlb pages; else transparent huge pages; else 4 KiB pages with a warning.
    Best,
    /// Hugetlb pages or no start.
    Hugetlb,
    /// 4 KiB pages, for comparisons.
    Base,
}

/// What a listener does with the bytes of its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListenerKind {
    /// MQTT 3.1.1 and 5.0.
    Mqtt,
    /// Sends everything back (RFC 862).
    Echo,
    /// Takes everything and answers nothing (RFC 863).
    Discard,
    /// Sends the first chunk back, then closes.
    EchoOnce,
    /// Sends a pattern for as long as the peer reads (RFC 864).
    Chargen,
}

sections! {
    /// The user-facing port, driven by DPDK: the kernel does not see it.
    pub struct Port = "port" * 1 {
        /// The device as EAL knows it: a PCI address bound to vfio-pci, or a virtual device that
        /// eal_args create.
        device: String, "EAL device", DEVICE, Preset::Required;
        /// The Ethernet address of the stack. Without it the port's own is used. net_tap needs
        /// one: the kernel's interface has the same address as the port behind it.
        mac: Option<Mac>, "address", MAC, Preset::Absent;
        /// Largest IP packet. Above 1500 every device on the link must agree.
        mtu: u16, "bytes", Rule::Range(576, 9000), Preset::Number(1500);
        /// Number of the VLAN (IEEE 802.1Q) that the port is on: frames are sent with its tag, and those
        /// of others are dropped. Without it frames have no tag.
        vlan: Option<u16>, "number", Rule::Range(1, 4_094), Preset::Absent;
        /// IPv4 and IPv6 addresses that clients connect to, with their networks. With an IPv6
        /// address the port has a link-local one too, made from its Ethernet address.
        addresses: Vec<Cidr>, "address/prefix", ADDRESSES, Preset::Required;
        /// Next hop for IPv4 clients on other networks. Without it only the port's own networks
        /// are reached.
        gateway: Option<Ipv4Addr>, "address", ADDRESS, Preset::Absent;
        /// Next hop for IPv6 clients on other networks, mostly the router's link-local address.
        /// Router advertisements are not listened to: a server's routes are its operator's.
        gateway_ipv6: Option<Ipv6Addr>, "address", ADDRESS_IPV6, Preset::Absent;
        /// Questions whether another station has an IPv6 address before it is used, one a second.
        /// 0: addresses are used at once.
        duplicate_address_probes: u8, "questions", Rule::Range(0, 10), Preset::Number(1);
        /// Network namespace the dataplane joins before EAL starts, so that a virtual device's
        /// kernel side lives there.
        netns: Option<String>, "name", NAME, Preset::Absent;
        /// Receive descriptors a queue: how many frames may wait while a shard is busy with a
        /// turn.
        rx_slots: u16, "frames", Rule::Multiple(64, 8192, 32), Preset::Number(1024);
        /// Transmit descriptors a queue.
        tx_slots: u16, "frames", Rule::Multiple(64, 8192, 32), Preset::Number(1024);
        /// Take frames for any Ethernet address. Needed when mac is not the port's own and the
        /// driver cannot filter for it.
        promiscuous: bool, "flag", Rule::Flag, Preset::Flag(false);
        /// Let the port verify IPv4 and TCP checksums where it can. Software does it otherwise.
        rx_checksum: bool, "flag", Rule::Flag, Preset::Flag(true);
        /// Let the port compute IPv4 and TCP checksums where it can. Software does it otherwise.
        tx_checksum: bool, "flag", Rule::Flag, Preset::Flag(true);
        /// Let the port spread flows over the queues. Where it cannot, shards pass frames on in
        /// software.
        rss: bool, "flag", Rule::Flag, Preset::Flag(true);
        /// Further arguments for EAL, such as the --vdev that makes a virtual device. The
        /// dataplane itself sets cores, memory, file prefix and PCI addresses.
        eal_args: Vec<String>, "arguments", EAL_ARGS, Preset::Empty;
    } => PORT

    /// The polling cores. Each owns a queue pair, its connections and its sessions.
    pub struct Shards = "shards" * 1 {
        /// One shard is pinned to each of these cores.
        cores: Vec<u16>, "core numbers", CORES, Preset::Required;
        /// What a shard does when nothing arrives: poll burns its core for the lowest latency,
        /// adaptive sleeps.
        idle: Idle, "policy", Rule::OneOf(&["poll", "adaptive"]), Preset::Text("adaptive");
        /// Empty turns before an adaptive shard begins to sleep. 2,000 turns are some 200 µs:
        /// longer than the gaps within a busy connection.
        spin_turns: u32, "turns", Rule::Range(0, 100_000_000), Preset::Number(2_000);
        /// Longest sleep of an adaptive shard, hence the most it adds to a latency. Must stay
        /// well below the millisecond of housekeeping.
        sleep_us_max: u32, "µs", Rule::Range(1, 1_000), Preset::Number(100);
        /// Most frames taken from a queue in a turn. 32 hides the misses of one frame behind the
        /// work on the others; more only adds latency.
        batch_frames: u16, "frames", Rule::Range(1, 64), Preset::Number(32);
    } => SHARDS

    /// Sizes of all tables and pools. Nothing is allocated after the start, so these are the
    /// limits; `trunkline check` shows what they cost.
    pub struct Memory = "memory" * 1 {
        /// Pages for the tables. hugetlb refuses to start without reserved huge pages, best
        /// takes what there is and says so.
        tier: TierChoice, "policy", Rule::OneOf(&["best", "hugetlb", "base"]), Preset::Text("best");
        /// Bind all memory to this NUMA node: the port's. Without it the kernel places pages
        /// where they are first touched.
        numa_node: Option<u16>, "node", Rule::Range(0, 63), Preset::Absent;
        /// Huge-page memory that EAL takes for its own: mbufs and device rings.
        eal_mb: u32, "MiB", Rule::Multiple(16, 65_536, 2), Preset::Number(96);
        /// Packet buffers of all shards together. They only hold frames between the port and a
        /// turn: connections keep none.
        mbufs: u32, "buffers", Rule::Range(512, 4_194_304), Preset::Number(16_384);
        /// TCP connections open at a time.
        connections: u32, "records", Rule::Range(1, 100_000_000), Preset::Number(65_536);
        /// Half-open connections. When full the oldest is evicted and counted.
        syn_entries: u32, "records", Rule::Range(16, 16_777_216), Preset::Number(8_192);
        /// Connections in TIME-WAIT. When full the oldest is evicted and counted.
        time_wait_entries: u32, "records", Rule::Range(16, 16_777_216), Preset::Number(32_768);
        /// Connections that may have unacknowledged data at a time: only those hold loss and
        /// congestion state. When none is free output waits.
        flights: u32, "records", Rule::Range(16, 100_000_000), Preset::Number(16_384);
        /// Records of what was sent, beyond two for each flight: one for each burst under way and
        /// each gap in what a peer has. When none is free losses are found less precisely.
        sent_ranges: u32, "records", Rule::Range(16, 100_000_000), Preset::Number(65_536);
        /// TCP chunks: data sent and not yet acknowledged, received and not yet taken. When
        /// empty, segments are dropped unacknowledged and counted.
        chunks: u32, "chunks", Rule::Range(64, 268_435_456), Preset::Number(65_536);
        /// Bytes in a TCP chunk: small ones waste less on small messages, large ones cost fewer
        /// steps on streams.
        chunk_bytes: u32, "bytes", Rule::Multiple(128, 4_096, 64), Preset::Number(512);
        /// Most bytes a connection may have received and not taken: the largest window offered.
        receive_buffer_bytes: u32, "bytes", Rule::Range(4_096, 16_777_216),
            Preset::Number(262_144);
        /// Most bytes a connection may have in flight or waiting to be sent.
        send_buffer_bytes: u32, "bytes", Rule::Range(4_096, 16_777_216), Preset::Number(262_144);
        /// Link-layer neighbours (ARP). Clients behind the gateway need none of their own.
        neighbors: u32, "records", Rule::Range(8, 32_768), Preset::Number(1_024);
        /// Destinations remembered on each shard whose path takes smaller packets than the link.
        /// When full the oldest is forgotten: its connections find out again.
        paths: u32, "records", Rule::Range(4, 1_048_576), Preset::Number(1_024);
        /// Datagrams on each shard whose fragments are being collected. One source has at most
        /// eight; when full the oldest is given up.
        fragments: u32, "records", Rule::Range(8, 4_096), Preset::Number(64);
        /// MQTT sessions, connected or kept for their expiry.
        sessions: u32, "records", Rule::Range(0, 100_000_000), Preset::Number(65_536);
        /// MQTT connections with something in progress: half a packet received, bytes waiting to
        /// be sent. Idle ones need none; beyond it connections wait.
        active_links: u32, "records", Rule::Range(0, 100_000_000), Preset::Number(16_384);
        /// MQTT subscriptions of all sessions.
        subscriptions: u32, "records", Rule::Range(0, 400_000_000), Preset::Number(131_072);
        /// Distinct MQTT topic filters.
        filters: u32, "records", Rule::Range(0, 100_000_000), Preset::Number(65_536);
        /// Nodes of the wildcard trees: about one for each topic level of distinct wildcard
        /// filters.
        wildcard_nodes: u32, "records", Rule::Range(0, 100_000_000), Preset::Number(65_536);
        /// Distinct MQTT 5 Subscription Identifiers in use.
        identifiers: u32, "records", Rule::Range(0, 100_000_000), Preset::Number(16_384);
        /// MQTT messages held: queued, in flight, retained, wills, half received.
        messages: u32, "records", Rule::Range(0, 100_000_000), Preset::Number(65_536);
        /// Units of payload memory: a message takes whole units.
        payload_units: u32, "units", Rule::Range(0, 268_435_456), Preset::Number(131_072);
        /// Bytes in a unit of payload memory: small ones waste less on small messages.
        payload_unit_bytes: u32, "bytes", Rule::Multiple(64, 4_096, 64), Preset::Number(256);
        /// Places of messages in the queues of sessions: a message waiting for N sessions takes N.
        deliveries: u32, "records", Rule::Range(0, 400_000_000), Preset::Number(262_144);
        /// Topics that have a retained message.
        retained: u32, "records", Rule::Range(0, 100_000_000), Preset::Number(16_384);
        /// Chunks of acknowledgements and other small answers waiting to be sent.
        output_chunks: u32, "chunks", Rule::Range(0, 100_000_000), Preset::Number(16_384);
        /// Acknowledgements that wait for another shard to accept a message.
        pending: u32, "records", Rule::Range(0, 100_000_000), Preset::Number(16_384);
    } => MEMORY

    /// Timers of the TCP stack.
    pub struct Tcp = "tcp" * 1 {
        /// How long a closed connection keeps its ports from being mistaken. RFC 9293 says twice
        /// the maximum segment lifetime; 60 s is what Linux keeps.
        time_wait_ms: u32, "ms", Rule::Range(1_000, 240_000), Preset::Number(60_000);
        /// How long a connection that closed first waits for the peer's FIN.
        fin_wait_2_ms: u32, "ms", Rule::Range(1_000, 3_600_000), Preset::Number(60_000);
        /// Longest delay of an acknowledgement. RFC 9293 §3.8.6.3 allows 500 ms.
        delayed_ack_ms: u32, "ms", Rule::Range(1, 500), Preset::Number(40);
        /// Retransmission time-out before the first measurement: RFC 6298 §2.1.
        rto_initial_ms: u32, "ms", Rule::Range(200, 60_000), Preset::Number(1_000);
        /// Lower bound of the retransmission time-out. RFC 6298 §2.4 has 1 s as a SHOULD; above
        /// any delayed acknowledgement of 40 ms, 200 ms keeps its purpose.
        rto_min_ms: u32, "ms", Rule::Range(20, 10_000), Preset::Number(200);
        /// Upper bound of the retransmission time-out: RFC 6298 §2.5.
        rto_max_ms: u32, "ms", Rule::Range(10_000, 600_000), Preset::Number(60_000);
        /// How long data may stay unacknowledged before the connection is given up: RFC 1122
        /// asks for at least 100 s.
        user_timeout_ms: u32, "ms", Rule::Range(10_000, 3_600_000), Preset::Number(300_000);
        /// How long an active open may take: RFC 9293 §3.8.3 asks for at least 3 minutes.
        connect_timeout_ms: u32, "ms", Rule::Range(1_000, 600_000), Preset::Number(180_000);
        /// Times a SYN-ACK is sent again before a half-open connection is forgotten.
        syn_ack_retries: u8, "times", Rule::Range(0, 7), Preset::Number(5);
        /// Silence before keep-alive probes begin; 0 turns them off: MQTT has a keep-alive of its
        /// own.
        keep_alive_idle_ms: u32, "ms", Rule::Range(0, 86_400_000), Preset::Number(0);
        /// Time between two keep-alive probes.
        keep_alive_interval_ms: u32, "ms", Rule::Range(1_000, 3_600_000), Preset::Number(75_000);
        /// Unanswered keep-alive probes before the connection is given up.
        keep_alive_probes: u8, "probes", Rule::Range(1, 50), Preset::Number(9);
    } => TCP

    /// Limits of the MQTT broker.
    pub struct Mqtt = "mqtt" * 1 {
        /// Let anyone in who reaches an MQTT listener. There is no authentication yet, so a
        /// profile with such a listener must say true, knowingly.
        allow_anonymous: bool, "flag", Rule::Flag, Preset::Flag(false);
        /// Largest packet accepted; told to MQTT 5 clients as Maximum Packet Size.
        packet_bytes_max: u32, "bytes", Rule::Range(1_024, 268_435_455),
            Preset::Number(1_048_576);
        /// Time from accept to a complete CONNECT, and again to the answer to it.
        connect_timeout_ms: u32, "ms", Rule::Range(100, 600_000), Preset::Number(10_000);
        /// How long a closing connection may take to send what is left.
        close_timeout_ms: u32, "ms", Rule::Range(100, 600_000), Preset::Number(5_000);
        /// Largest Keep Alive; MQTT 5 clients that ask for more, or for none, are told this one.
        /// 65,535 leaves every client its own.
        keep_alive_max_s: u16, "s", Rule::Range(1, 65_535), Preset::Number(65_535);
        /// Longest time a session outlives its connection; longer wishes are cut to it.
        session_expiry_max_s: u32, "s", Rule::Range(0, 4_294_967_295), Preset::Number(604_800);
        /// Unacknowledged QoS 1 messages a client may have towards us: Receive Maximum.
        receive_maximum: u16, "messages", Rule::Range(1, 65_535), Preset::Number(64);
        /// Unacknowledged QoS 1 messages we have towards a client, if it allows as many.
        inflight: u16, "messages", Rule::Range(1, 65_535), Preset::Number(64);
        /// Topic aliases a client may set.
        topic_alias_maximum: u16, "aliases", Rule::Range(0, 1_024), Preset::Number(16);
        /// Messages waiting for one session, for each of QoS 0 and QoS 1. Beyond it QoS 0 drops
        /// the oldest; an offline session refuses the newest QoS 1.
        session_queue_messages: u32, "messages", Rule::Range(1, 1_000_000), Preset::Number(1_000);
    } => MQTT

    /// What the appliance listens on, at every address of the port.
    pub struct Listener = "listeners" * 64 {
        /// TCP port.
        port: u16, "port", Rule::Range(1, 65_535), Preset::Required;
        /// What is spoken there.
        kind: ListenerKind, "protocol", KINDS, Preset::Required;
    } => LISTENERS

    /// The control plane. A change here needs no restart of the dataplane.
    pub struct Control = "control" * 1 {
        /// Where /metrics, /healthz and /readyz are served by the kernel's network. Loopback or
        /// the back-end address: there is no authentication.
        metrics_listen: SocketAddr, "address:port", SOCKET, Preset::Text("127.0.0.1:9464");
        /// A shard whose heartbeat is older than this is reported as stalled. It beats every
        /// millisecond.
        stall_ms: u32, "ms", Rule::Range(50, 60_000), Preset::Number(2_000);
        /// Longest pause before a dataplane that exited is started again. Pauses double from
        /// 250 ms.
        restart_pause_ms_max: u32, "ms", Rule::Range(250, 600_000), Preset::Number(10_000);
        /// How long a dataplane may take from its start to ready.
        start_ms_max: u32, "ms", Rule::Range(1_000, 600_000), Preset::Number(60_000);
    } => CONTROL

    /// The back-end network: the second NIC, which stays with the kernel.
    pub struct Backend = "backend" * 1 {
        /// Interface towards the other nodes and the operators.
        interface: Option<String>, "interface", INTERFACE, Preset::Absent;
    } => BACKEND

    /// How the appliance ends.
    pub struct Stop = "stop" * 1 {
        /// Time to tell all clients and close their connections; those still open afterwards get
        /// a reset.
        drain_ms: u32, "ms", Rule::Range(0, 600_000), Preset::Number(5_000);
    } => STOP

    /// For tests only: a worse network between the port and the stack, the same in both
    /// directions. While it is off there is no such stage.
    pub struct Impairment = "impairment" * 1 {
        /// Switches the stage on; `trunkline check` and the log then say so.
        enabled: bool, "flag", Rule::Flag, Preset::Flag(false);
        /// Allows it on a physical port, where it would hurt whoever is connected.
        on_physical_port: bool, "flag", Rule::Flag, Preset::Flag(false);
        /// Where the fate of frames is drawn from: each queue and direction draws its own.
        seed: u32, "number", Rule::Range(0, 4_294_967_295), Preset::Number(1);
        /// Frames lost.
        loss_ppm: u32, "millionths", PPM, Preset::Number(0);
        /// Frames delivered twice.
        duplicate_ppm: u32, "millionths", PPM, Preset::Number(0);
        /// Frames that take longer than others, so that later ones overtake them.
        reorder_ppm: u32, "millionths", PPM, Preset::Number(0);
        /// How much longer those take.
        reorder_us: u32, "µs", Rule::Range(0, 1_000_000), Preset::Number(5_000);
        /// Time that each frame takes, in each direction: half of what it adds to a round trip.
        delay_us: u32, "µs", Rule::Range(0, 10_000_000), Preset::Number(0);
        /// Rate of the link in each direction; 0 leaves the port's own.
        rate_kbps: u32, "kbit/s", Rule::Range(0, 100_000_000), Preset::Number(0);
        /// Bytes that may wait for the rate, in each direction; further ones are dropped.
        queue_bytes: u32, "bytes", Rule::Range(9_216, 1_073_741_824),
            Preset::Number(1_048_576);
        /// Frames that may be under way in each direction of a queue; further ones are dropped. Each takes
        /// a buffer of the port's frame size. 4,096 hold 25 ms of 1,900 Mbit/s.
        frames: u32, "frames", Rule::Range(64, 1_048_576), Preset::Number(4_096);
    } => IMPAIRMENT
}

/// Keys at the top of a profile.
const ROOT: Section = Section {
    path: "",
    count_max: 1,
    about: " What the profile is.",
    keys: &[
        Key {
            name: "schema",
            unit: "version",
            rule: Rule::Range(crate::SCHEMA as i64, crate::SCHEMA as i64),
            preset: Preset::Required,
            why: " Version of the profile's language. Another one is refused, never guessed at.",
        },
        Key {
            name: "name",
            unit: "name",
            rule: NAME,
            preset: Preset::Required,
            why: " Name of the profile, for logs and build_info.",
        },
        Key {
            name: "instance",
            unit: "name",
            rule: Rule::Text(Instance::FORM, |text| Instance::parse(text).is_some()),
            preset: Preset::Text("dev"),
            why: " Name of the running appliance; --instance overrides it. Every text of a profile \
                  may say {instance}, so that two can run side by side.",
        },
    ],
};

/// Every section, in the order of the reference.
pub const SECTIONS: &[Section] =
    &[ROOT, PORT, SHARDS, MEMORY, TCP, MQTT, LISTENERS, CONTROL, BACKEND, STOP, IMPAIRMENT];

const KINDS: Rule = Rule::OneOf(&["mqtt", "echo", "discard", "echo-once", "chargen"]);
const PPM: Rule = Rule::Range(0, 1_000_000);
const DEVICE: Rule =
    Rule::Text("a PCI address such as 0000:03:00.0 or a virtual device such as net_tap0", |text| {
        is_pci_address(text) || is_virtual_device(text)
    });
const MAC: Rule = Rule::Text(Mac::FORM, |text| text.parse::<Mac>().is_ok());
const CIDR: Rule = Rule::Text(Cidr::FORM, |text| text.parse::<Cidr>().is_ok());
const ADDRESSES: Rule = Rule::List(1, 32, &CIDR);
const ADDRESS: Rule =
    Rule::Text("an IPv4 address such as 10.77.0.2", |text| text.parse::<Ipv4Addr>().is_ok());
const ADDRESS_IPV6: Rule =
    Rule::Text("an IPv6 address such as fe80::1", |text| text.parse::<Ipv6Addr>().is_ok());
const SOCKET: Rule = Rule::Text("an address and port such as 127.0.0.1:9464", |text| {
    text.parse::<SocketAddr>().is_ok()
});
const NAME: Rule = Rule::Text("1 to 64 letters, digits, dashes, underscores or dots", |text| {
    let clean = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=64).contains(&text.len()) && text.chars().all(clean) && !text.starts_with('.')
});
const INTERFACE: Rule = Rule::Text("the name of a network interface, 1 to 15 characters", |text| {
    let clean = |c: char| c.is_ascii_graphic() && c != '/' && c != ':';
    (1..=15).contains(&text.len()) && text.chars().all(clean) && text != "." && text != ".."
});
const EAL_ARGS: Rule = Rule::List(
    0,
    32,
    &Rule::Text("one argument beginning with a dash, 256 bytes at most", |text| {
        let clean = |c: char| !c.is_control();
        text.starts_with('-') && text.len() <= 256 && text.chars().all(clean)
    }),
);
const CORES: Rule = Rule::List(1, 64, &Rule::Range(0, 1_023));

fn is_pci_address(text: &str) -> bool {
    let hex =
        |part: &str, digits| part.len() == digits && part.chars().all(|c| c.is_ascii_hexdigit());
    let Some((bus, function)) = text.rsplit_once('.') else { return false };
    let parts: Vec<&str> = bus.split(':').collect();
    let is_function = matches!(function.as_bytes(), [b'0'..=b'7']);
    is_function && matches!(parts[..], [a, b, c] if hex(a, 4) && hex(b, 2) && hex(c, 2))
}

fn is_virtual_device(text: &str) -> bool {
    let clean = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let is_driver = text.starts_with("net_") || text.starts_with("virtio_user");
    is_driver && text.len() <= 32 && text.chars().all(clean)
}

impl Profile {
    /// The instance as a checked name.
    pub fn instance(&self) -> Instance {
        Instance::parse(&self.instance).expect("a profile's instance was checked when it was read")
    }

    /// Where both processes of this instance meet, unless the user names another directory.
    pub fn run_dir(&self) -> RunDir {
        RunDir::of(&self.instance())
    }

    /// How many shards there are: one for each core.
    pub fn shard_count(&self) -> u16 {
        u16::try_from(self.shards.cores.len()).expect("at most 64 cores were checked")
    }

    /// What one shard gets of a table of `total` records.
    ///
    /// Flows and client ids are spread by hash, so a shard's part is a binomial with a standard
    /// deviation below √(total/shards). Six of them on top make a refusal by the fullest shard,
    /// while the appliance as a whole has room, too rare to meet.
    pub fn per_shard(&self, total: u32) -> u32 {
        let shards = u32::from(self.shard_count());
        if shards == 1 {
            return total;
        }
        let mean = total.div_ceil(shards);
        mean.saturating_add(6 * (mean.isqrt() + 1)).min(total)
    }

    /// Digest of everything the dataplane acts on, the same on every machine and build.
    ///
    /// [`Profile::control`] and [`Profile::backend`] are left out: only the control plane reads
    /// them, and a change there must not look like another dataplane.
    pub fn hash(&self) -> [u8; 32] {
        let mut canonical = toml::Table::try_from(self).expect("a profile is plain TOML values");
        canonical.remove("control");
        canonical.remove("backend");
        let text = canonical.to_string();
        let mut digest = [0; 32];
        for (half, key) in digest.chunks_exact_mut(16).zip([(0, 0), (1, 1)]) {
            let mut hasher = SipHasher24::new_with_keys(key.0, key.1);
            hasher.write(text.as_bytes());
            half.copy_from_slice(&hasher.finish128().as_bytes());
        }
        digest
    }

    /// Where clients connect, in one line.
    pub fn listens(&self) -> String {
        let addresses: Vec<String> =
            self.port.addresses.iter().map(|cidr| cidr.address.to_string()).collect();
        let listeners = self.listeners.iter();
        let ports: Vec<String> = listeners
            .map(|listener| format!("{} ({})", listener.port, listener.kind.as_str()))
            .collect();
        format!("{}, ports {}", addresses.join(" and "), ports.join(", "))
    }

    /// What is allowed but should be known before users come.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::from_iter(self.impairment.warning());
        if self.mqtt.allow_anonymous && self.port.is_pci() {
            warnings.push(
                "mqtt.allow_anonymous = true: anyone who reaches the port may publish and \
                 subscribe anything; restrict who can reach it"
                    .to_owned(),
            );
        }
        if !self.control.metrics_listen.ip().is_loopback() {
            warnings.push(format!(
                "control.metrics_listen = \"{}\": /metrics has no authentication; keep this \
                 address on a network of operators",
                self.control.metrics_listen
            ));
        }
        warnings
    }
}

impl Impairment {
    /// What it does to the network, when it is on.
    fn warning(&self) -> Option<String> {
        let percent = |ppm: u32| f64::from(ppm) / 10_000.0;
        self.enabled.then(|| {
            format!(
                "[impairment] is on, for tests only: each way {} % loss, {} % duplicates, {} % \
                 overtaken, {} ms delay, {} kbit/s (0: no limit)",
                percent(self.loss_ppm),
                percent(self.duplicate_ppm),
                percent(self.reorder_ppm),
                f64::from(self.delay_us) / 1_000.0,
                self.rate_kbps
            )
        })
    }
}

impl Port {
    /// Whether the device is real hardware, by PCI address.
    pub fn is_pci(&self) -> bool {
        is_pci_address(&self.device)
    }
}

impl ListenerKind {
    /// The word that a profile uses.
    pub fn as_str(self) -> &'static str {
        match self {
            ListenerKind::Mqtt => "mqtt",
            ListenerKind::Echo => "echo",
            ListenerKind::Discard => "discard",
            ListenerKind::EchoOnce => "echo-once",
            ListenerKind::Chargen => "chargen",
        }
    }
}
