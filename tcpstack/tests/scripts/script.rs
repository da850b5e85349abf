//! What a script says, as values, and how a packet is written.

use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, SocketAddr};

pub(crate) type Mac = [u8; 6];

/// A script: what is configured, and what happens.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// Key and value of every `config` word, with its line.
    pub(crate) config: Vec<(usize, String, String)>,
    /// Connections that do not have the usual addresses.
    pub(crate) flows: Vec<(usize, FlowEnds)>,
    pub(crate) steps: Vec<Step>,
}

/// `flow N …`
#[derive(Clone, Debug)]
pub(crate) struct FlowEnds {
    pub(crate) number: usize,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) own: Option<SocketAddr>,
    pub(crate) mac: Option<Mac>,
}

/// A line.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) line: usize,
    pub(crate) when: When,
    /// Whether it belongs to the turn of the step before: `and`.
    pub(crate) joined: bool,
    pub(crate) action: Action,
}

/// Earliest and latest time after the step before, in ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct When {
    pub(crate) earliest_ns: u64,
    pub(crate) latest_ns: u64,
}

/// What happens, or must have happened. The number is the flow's.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// The peer sends.
    Peer(usize, Packet),
    /// We have sent.
    Us(usize, Packet),
    /// The application calls.
    App(usize, Call),
    /// The application was told.
    Event(usize, Told),
    /// The connection is in this state.
    State(usize, String),
    /// A counter or gauge has this value.
    Metric(String, u64),
    /// Nothing was sent and nobody was told.
    Nothing,
    /// As many packets that we sent do not matter; all of them.
    Skip(Option<usize>),
}

/// What the application does.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Connect {
        fails: Option<String>,
    },
    Send {
        what: Payload,
        takes: Option<usize>,
    },
    Close,
    Abort,
    /// It leaves what comes in the stack's buffer from now on.
    Hold,
    /// It takes what comes from now on, and what is there.
    Resume,
    /// It takes so many octets out of the buffer.
    Read(usize),
    WantWritable,
    /// Tells the link our addresses.
    Announce,
    /// Gives the stack an address with its prefix, or takes one away.
    Address {
        change: Change,
        fails: Option<String>,
    },
}

/// What becomes of an address of ours.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Add(IpAddr, u8),
    Remove(IpAddr),
}

/// What the application is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Accepted,
    Connected,
    Received(Payload),
    Readable,
    Writable,
    PeerClosed,
    Closed(String),
    Neighbor(Host, Link),
}

/// Octets of a stream: by position, or said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Payload {
    #[default]
    Empty,
    Len(usize),
    Text(Vec<u8>),
}

/// A packet: to be sent by the peer, expected of us, or seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packet {
    pub(crate) envelope: Envelope,
    pub(crate) body: Body,
}

/// Ethernet and IP around it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Envelope {
    pub(crate) vlan: Option<u16>,
    pub(crate) mac_from: Option<Link>,
    pub(crate) mac_to: Option<Link>,
    pub(crate) from: Option<Host>,
    pub(crate) to: Option<Host>,
    pub(crate) ecn: Option<u8>,
    pub(crate) ttl: Option<u8>,
    pub(crate) df: Option<bool>,
    pub(crate) id: Option<u32>,
    /// Options of IPv4, ready for the wire.
    pub(crate) ip_options: Vec<u8>,
    /// Extension headers of IPv6: number, and what follows its first octet.
    pub(crate) extensions: Vec<(u8, Vec<u8>)>,
    /// The parts of the IP payload to send instead of the whole: first octet, and the one after
    /// the last.
    pub(crate) fragments: Vec<(usize, Option<usize>)>,
    /// Octets left off at the end of the frame.
    pub(crate) cut: usize,
    pub(crate) bad_checksum: bool,
    pub(crate) bad_ip_checksum: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    Tcp(Segment),
    Icmp(Icmp),
    WhoHas {
        target: Host,
        sender: Host,
    },
    IsAt {
        sender: Host,
        mac: Link,
    },
    Solicitation {
        target: Host,
        mac: Option<Link>,
    },
    Advertisement {
        target: Host,
        mac: Option<Link>,
        flags: u8,
    },
    /// IP payload of this protocol.
    Ip(u8, Vec<u8>),
    /// A whole frame.
    Frame(Vec<u8>),
}

impl Default for Body {
    fn default() -> Self {
        Self::Frame(Vec::new())
    }
}

/// An address: by its role or said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Peer,
    Us,
    /// 0.0.0.0 or ::
    Nobody,
    Is(IpAddr),
}

/// A MAC address: by its role or said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Peer,
    Us,
    Broadcast,
    Is(Mac),
}

/// Bits of the TCP header.
pub(crate) mod flag {
    pub(crate) const FIN: u8 = 1;
    pub(crate) const SYN: u8 = 2;
    pub(crate) const PSH: u8 = 8;
    pub(crate) const ACK: u8 = 16;
    pub(crate) const URG: u8 = 32;
    pub(crate) const NAMES: [(&str, u8); 8] = [
        ("SYN", SYN),
        ("FIN", FIN),
        ("RST", 4),
        ("PSH", PSH),
        ("ACK", ACK),
        ("URG", URG),
        ("ECE", 64),
        ("CWR", 128),
    ];
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Segment {
    pub(crate) flags: u8,
    pub(crate) seq: Option<Num>,
    pub(crate) ack: Option<Num>,
    pub(crate) win: Option<u16>,
    pub(crate) urg: Option<u16>,
    pub(crate) options: Option<Options>,
    pub(crate) payload: Payload,
    /// Data offset, in words, when it shall be wrong.
    pub(crate) offset: Option<u8>,
    /// The segment's initial sequence number must be after all we sent on this flow before.
    pub(crate) iss_later: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) list: Vec<Opt>,
    /// `..`: there may be others.
    pub(crate) open: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Opt {
    Eol,
    Nop,
    Mss(u16),
    Ws(u8),
    SackOk,
    Sack(Vec<(Num, Num)>),
    Ts(Num, Num),
    /// Octets as they are.
    Raw(Vec<u8>),
}

/// A sequence number or timestamp: relative to the first of its sender, as on the wire, or any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Num {
    Rel(i64),
    Raw(u32),
    Any,
}

#[derive(Clone, Debug)]
pub(crate) enum Icmp {
    Echo { reply: bool, id: u16, seq: u16, len: usize },
    Error { name: String, value: Option<u32>, about: Option<Quote> },
    Other { kind: u8, code: u8, bytes: Vec<u8> },
}

/// The segment of ours that an error is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quote {
    pub(crate) seq: Num,
    pub(crate) port: Option<u16>,
    pub(crate) to: Option<Host>,
    /// Octets of its packet.
    pub(crate) size: u16,
}

/// Type and code of an ICMP message.
type Kind = Option<(u8, u8)>;

/// Names of ICMP errors, with what they are in ICMP and in ICMPv6.
pub(crate) const ICMP_ERRORS: [(&str, Kind, Kind); 14] = [
    ("net-unreachable", Some((3, 0)), Some((1, 0))),
    ("host-unreachable", Some((3, 1)), Some((1, 3))),
    ("protocol-unreachable", Some((3, 2)), None),
    ("port-unreachable", Some((3, 3)), Some((1, 4))),
    ("frag-needed", Some((3, 4)), None),
    ("packet-too-big", None, Some((2, 0))),
    ("admin-prohibited", Some((3, 13)), Some((1, 1))),
    ("source-quench", Some((4, 0)), None),
    ("time-exceeded", Some((11, 0)), Some((3, 0))),
    ("reassembly-time-exceeded", Some((11, 1)), Some((3, 1))),
    ("parameter-problem", Some((12, 0)), Some((4, 0))),
    ("unknown-next-header", None, Some((4, 1))),
    ("unknown-option", None, Some((4, 2))),
    ("incomplete-header-chain", None, Some((4, 3))),
];

impl Display for Num {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rel(number) => write!(f, "{number}"),
            Self::Raw(number) => write!(f, "!{number}"),
            Self::Any => write!(f, "*"),
        }
    }
}

impl Display for Host {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer => write!(f, "peer"),
            Self::Us => write!(f, "us"),
            Self::Nobody => write!(f, "nobody"),
            Self::Is(ip) => write!(f, "{ip}"),
        }
    }
}

impl Display for Link {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer => write!(f, "peer"),
            Self::Us => write!(f, "us"),
            Self::Broadcast => write!(f, "broadcast"),
            Self::Is(mac) => {
                let octets: Vec<String> = mac.iter().map(|octet| format!("{octet:02x}")).collect();
                write!(f, "{}", octets.join(":"))
            }
        }
    }
}

impl Display for Told {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted => write!(f, "accepted"),
            Self::Connected => write!(f, "connected"),
            Self::Received(payload) => write!(f, "received{payload}"),
            Self::Readable => write!(f, "readable"),
            Self::Writable => write!(f, "writable"),
            Self::PeerClosed => write!(f, "peer-closed"),
            Self::Closed(reason) => write!(f, "closed {reason}"),
            Self::Neighbor(host, mac) => write!(f, "neighbor {host} is-at {mac}"),
        }
    }
}

impl Display for Payload {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => Ok(()),
            Self::Len(len) => write!(f, " len {len}"),
            Self::Text(octets) => write!(f, " data \"{}\"", octets.escape_ascii()),
        }
    }
}

impl Display for Opt {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Eol => write!(f, "eol"),
            Self::Nop => write!(f, "nop"),
            Self::Mss(mss) => write!(f, "mss {mss}"),
            Self::Ws(shift) => write!(f, "ws {shift}"),
            Self::SackOk => write!(f, "sack-ok"),
            Self::Sack(blocks) => {
                write!(f, "sack")?;
                blocks.iter().try_for_each(|(from, to)| write!(f, " {from}..{to}"))
            }
            Self::Ts(value, echo) => write!(f, "ts {value} {echo}"),
            Self::Raw(octets) => write!(f, "hex {}", hex(octets)),
        }
    }
}

impl Display for Segment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let names = flag::NAMES.iter().filter(|(_, bit)| self.flags & bit != 0);
        let names: Vec<&str> = names.map(|(name, _)| *name).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(",") };
        write!(f, "{names}")?;
        if let Some(seq) = self.seq {
            write!(f, " seq {seq}")?;
        }
        if let Some(ack) = self.ack {
            write!(f, " ack {ack}")?;
        }
        write!(f, "{}", self.payload)?;
        if let Some(win) = self.win {
            write!(f, " win {win}")?;
        }
        if let Some(urg) = self.urg {
            write!(f, " urg {urg}")?;
        }
        if let Some(options) = &self.options {
            let mut list: Vec<String> = options.list.iter().map(Opt::to_string).collect();
            list.extend(options.open.then(|| "..".to_owned()));
            write!(f, " <{}>", list.join(", "))?;
        }
        Ok(())
    }
}

impl Display for Icmp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Echo { reply, id, seq, len } => {
                let name = if *reply { "echo-reply" } else { "echo-request" };
                write!(f, "icmp {name} id {id} seq {seq} len {len}")
            }
            Self::Error { name, value, about } => {
                write!(f, "icmp {name}")?;
                if let Some(value) = value {
                    write!(f, " value {value}")?;
                }
                about.map_or(Ok(()), |quote| write!(f, " about seq {}", quote.seq))
            }
            Self::Other { kind, code, bytes } => {
                write!(f, "icmp type {kind} code {code} hex {}", hex(bytes))
            }
        }
    }
}

impl Display for Body {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mac = |mac: &Option<Link>| mac.map_or(String::new(), |mac| format!(" is-at {mac}"));
        match self {
            Self::Tcp(segment) => write!(f, "{segment}"),
            Self::Icmp(icmp) => write!(f, "{icmp}"),
            Self::WhoHas { target, sender } => write!(f, "arp who-has {target} tell {sender}"),
            Self::IsAt { sender, mac } => write!(f, "arp {sender} is-at {mac}"),
            Self::Solicitation { target, mac: source } => write!(f, "ns {target}{}", mac(source)),
            Self::Advertisement { target, mac: own, flags } => {
                write!(f, "na {target}{}", mac(own))?;
                NA_FLAGS
                    .iter()
                    .filter(|(_, bit)| flags & bit != 0)
                    .try_for_each(|(name, _)| write!(f, " {name}"))
            }
            Self::Ip(protocol, bytes) => write!(f, "ip {protocol} hex {}", hex(bytes)),
            Self::Frame(bytes) => write!(f, "frame hex {}", hex(bytes)),
        }
    }
}

impl Display for Packet {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.body)?;
        let envelope = &self.envelope;
        if let Some(vlan) = envelope.vlan {
            write!(f, " vlan {vlan}")?;
        }
        if let Some(mac) = envelope.mac_to {
            write!(f, " mac-to {mac}")?;
        }
        if let Some(ecn) = envelope.ecn.filter(|ecn| *ecn != 0) {
            write!(f, " ecn {}", ECN_NAMES[usize::from(ecn)])?;
        }
        if let Some(ttl) = envelope.ttl {
            write!(f, " ttl {ttl}")?;
        }
        if let Some(df) = envelope.df {
            write!(f, " df {}", u8::from(df))?;
        }
        Ok(())
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Names of the two bits, RFC 3168 §5.
pub(crate) const ECN_NAMES: [&str; 4] = ["not-ect", "ect1", "ect0", "ce"];
/// Flags of a neighbour advertisement, RFC 4861 §4.4.
pub(crate) const NA_FLAGS: [(&str, u8); 3] =
    [("router", 0x80), ("solicited", 0x40), ("override", 0x20)];
