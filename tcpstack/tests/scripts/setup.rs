//! From `config` to a stack. Everything that names the stack's own types of addresses is here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use superpage::{Placement, TierPolicy};
use tcpstack::{
    AddressError, CloseReason, CongestionControl, ConnId, ConnectError, Ecn, Event, Features,
    IpCidr, Limits, NeighborNews, Stack, StackConfig, State, Steering, SynCookies, Timers,
};

use crate::script::{Change, Host, Link, Mac, Told};
use crate::words::{Fault, cidr, duration_ns, expected};

pub(crate) const OWN_MAC: Mac = [2, 0, 0, 0, 0, 1];
pub(crate) const PEER_MAC: Mac = [2, 0, 0, 0, 0, 2];
const LISTENER: u16 = 80;
const PEER_PORT: u16 = 4_000;

/// What a script configures.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) stack: StackConfig,
    pub(crate) v6: bool,
    /// The peer's initial sequence number.
    pub(crate) irs: u32,
    /// The stack does not know the peer's MAC address.
    pub(crate) stranger: bool,
}

impl Setup {
    pub(crate) fn new(config: &[(usize, String, String)]) -> Result<Self, (usize, Fault)> {
        let mut setup = Self {
            stack: defaults(),
            v6: false,
            // The first kilobytes cross the wrap.
            irs: u32::MAX - 1_500,
            stranger: false,
        };
        for (line, key, value) in config {
            setup.set(key, value).map_err(|fault| (*line, fault))?;
        }
        Ok(setup)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), Fault> {
        let number = || value.parse::<u32>().map_err(|_| expected("a number", value));
        let ms = || {
            duration_ns(value)
                .map(|ns| (ns / 1_000_000) as u32)
                .ok_or_else(|| expected("a time", value))
        };
        let Limits { connections, syn_entries, time_wait_entries, flights, chunks, .. } =
            &mut self.stack.limits;
        let timers = &mut self.stack.timers;
        match key {
            "ip" if value == "6" => {
                self.v6 = true;
                self.stack.addresses.push(IpCidr::new(self.own_ip(), 64));
            }
            "address" => {
                let (ip, prefix) = cidr(value)?;
                self.stack.addresses.push(IpCidr::new(ip, prefix));
            }
            "irs" => self.irs = number()?,
            "stranger" => self.stranger = value == "yes",
            "vlan" => self.stack.vlan = Some(number()? as u16),
            "mtu" => self.stack.mtu = number()? as u16,
            "mss" => self.stack.segment_bytes_max = Some(number()? as u16),
            "gateway" => match value.parse() {
                Ok(IpAddr::V4(ip)) => self.stack.gateway = Some(ip),
                Ok(IpAddr::V6(ip)) => self.stack.gateway_ipv6 = Some(ip),
                Err(_) => return Err(expected("an address", value)),
            },
            "listen" => {
                let ports = value.split('+').map(str::parse);
                self.stack.listeners = ports
                    .collect::<Result<_, _>>()
                    .map_err(|_| expected("ports like 80+81", value))?;
            }
            "syn-cookies" => self.stack.features.syn_cookies = cookies(value)?,
            "ecn" => self.stack.features.ecn = ecn(value)?,
            "congestion-control" => {
                self.stack.features.congestion_control = match value {
                    "cubic" => CongestionControl::Cubic,
                    "newreno" => CongestionControl::NewReno,
                    _ => return Err(expected("cubic or newreno", value)),
                };
            }
            "sent-ranges" => self.stack.limits.sent_ranges = number()?,
            "connections" => *connections = number()?,
            "syn-entries" => *syn_entries = number()?,
            "time-wait-entries" => *time_wait_entries = number()?,
            "flights" => *flights = number()?,
            "chunks" => *chunks = number()?,
            "receive-buffer" => self.stack.limits.receive_buffer_bytes = number()?,
            "send-buffer" => self.stack.limits.send_buffer_bytes = number()?,
            "neighbors" => self.stack.limits.neighbors = number()?,
            "time-wait" => timers.time_wait_ms = ms()?,
            "fin-wait-2" => timers.fin_wait_2_ms = ms()?,
            "delayed-ack" => timers.delayed_ack_ms = ms()?,
            "rto-initial" => timers.rto_initial_ms = ms()?,
            "rto-min" => timers.rto_min_ms = ms()?,
            "rto-max" => timers.rto_max_ms = ms()?,
            "user-timeout" => timers.user_timeout_ms = ms()?,
            "connect-timeout" => timers.connect_timeout_ms = ms()?,
            "syn-ack-retries" => timers.syn_ack_retries = number()? as u8,
            "keep-alive-idle" => timers.keep_alive_idle_ms = ms()?,
            "keep-alive-interval" => timers.keep_alive_interval_ms = ms()?,
            "keep-alive-probes" => timers.keep_alive_probes = number()? as u8,
            "duplicate-address-probes" => timers.duplicate_address_probes = number()? as u8,
            _ => return Err(format!("there is no `config {key}=`: setup.rs has them all")),
        }
        Ok(())
    }

    pub(crate) fn own_ip(&self) -> IpAddr {
        self.ip(1)
    }

    pub(crate) fn peer_ip(&self) -> IpAddr {
        self.ip(2)
    }

    fn ip(&self, last: u8) -> IpAddr {
        if self.v6 {
            IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(last)])
        } else {
            IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
        }
    }

    /// The ends of the flow with this number, unless the script says otherwise.
    pub(crate) fn ends(&self, number: usize) -> (SocketAddr, SocketAddr) {
        let peer = SocketAddr::new(self.peer_ip(), PEER_PORT + number as u16 - 1);
        (peer, SocketAddr::new(self.own_ip(), LISTENER))
    }
}

fn defaults() -> StackConfig {
    StackConfig {
        mac: OWN_MAC,
        mtu: 1_500,
        addresses: vec![IpCidr::new(Ipv4Addr::new(10, 0, 0, 1), 24)],
        gateway: None,
        gateway_ipv6: None,
        listeners: vec![LISTENER],
        limits: Limits {
            connections: 8,
            syn_entries: 4,
            time_wait_entries: 4,
            flights: 4,
            sent_ranges: 1_000,
            chunks: 1_000,
            chunk_bytes: 512,
            receive_buffer_bytes: 65_535,
            send_buffer_bytes: 65_535,
            neighbors: 8,
            paths: 4,
            fragments: 8,
        },
        timers: Timers { duplicate_address_probes: 0, ..Timers::default() },
        features: Features::default(),
        secret: [3; 16],
        steering: Steering::single(),
        tx_checksum_offload: false,
        placement: Placement { tier: TierPolicy::BaseOnly, ..Placement::default() },
        segment_bytes_max: None,
        vlan: None,
    }
}

fn cookies(value: &str) -> Result<SynCookies, Fault> {
    match value {
        "never" => Ok(SynCookies::Never),
        "when-full" => Ok(SynCookies::WhenFull),
        "always" => Ok(SynCookies::Always),
        _ => Err(expected("never, when-full or always", value)),
    }
}

fn ecn(value: &str) -> Result<Ecn, Fault> {
    match value {
        "off" => Ok(Ecn::Off),
        "accept" => Ok(Ecn::Accept),
        "request" => Ok(Ecn::Request),
        _ => Err(expected("off, accept or request", value)),
    }
}

pub(crate) fn learn(stack: &mut Stack, ip: IpAddr, mac: Mac) {
    stack.learn_neighbor(ip, mac, NeighborNews::Asked);
}

/// The next hop for what is on no network of ours.
pub(crate) fn gateways(config: &StackConfig) -> impl Iterator<Item = IpAddr> {
    let v4 = config.gateway.map(IpAddr::V4);
    v4.into_iter().chain(config.gateway_ipv6.map(IpAddr::V6))
}

/// Begins an active open. The error is the word for it in scripts.
pub(crate) fn connect(
    stack: &mut Stack,
    now_ns: u64,
    remote: SocketAddr,
) -> Result<ConnId, &'static str> {
    stack.connect(now_ns, remote).map_err(|error| match error {
        ConnectError::Full => "full",
        ConnectError::NoPort => "no-port",
        ConnectError::Unreachable => "unreachable",
    })
}

/// Changes our addresses. The error is the word for it in scripts.
pub(crate) fn change(stack: &mut Stack, now_ns: u64, change: Change) -> Result<(), &'static str> {
    let done = match change {
        Change::Add(ip, prefix) => stack.add_address(now_ns, IpCidr::new(ip, prefix)).map(|_| ()),
        Change::Remove(ip) => stack.remove_address(now_ns, ip),
    };
    done.map_err(|error| match error {
        AddressError::Impossible => "impossible",
        AddressError::Known => "known",
        AddressError::Full => "full",
        AddressError::NoIpv6 => "no-ipv6",
        AddressError::Unknown => "unknown",
        AddressError::LinkLocal => "link-local",
    })
}

/// Peer and own end of a connection.
pub(crate) fn ends(stack: &Stack, conn: ConnId) -> Option<(SocketAddr, SocketAddr)> {
    Some((stack.peer(conn)?, stack.local(conn)?))
}

/// What an event means in scripts: for which connection, and the words for it. Octets received are
/// not here: they come with the frame.
pub(crate) fn told(event: Event) -> Option<(Option<ConnId>, Told)> {
    Some(match event {
        Event::Accepted { conn, .. } => (Some(conn), Told::Accepted),
        Event::Connected { conn } => (Some(conn), Told::Connected),
        // A gauge says the latter.
        Event::Data { .. } | Event::Duplicate { .. } => return None,
        Event::Readable { conn } => (Some(conn), Told::Readable),
        Event::Writable { conn } => (Some(conn), Told::Writable),
        Event::PeerClosed { conn } => (Some(conn), Told::PeerClosed),
        Event::Closed { conn, reason } => (Some(conn), Told::Closed(word(reason).to_owned())),
        Event::Neighbor { ip, mac, .. } => (None, Told::Neighbor(Host::Is(ip), Link::Is(mac))),
    })
}

fn word(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Finished => "finished",
        CloseReason::Reset => "reset",
        CloseReason::TimedOut => "timed-out",
        CloseReason::Refused => "refused",
        CloseReason::Aborted => "aborted",
    }
}

/// A state as RFC 9293 §3.3.2 writes it.
pub(crate) fn state_name(state: State) -> &'static str {
    match state {
        State::Closed => "CLOSED",
        State::SynSent => "SYN-SENT",
        State::SynReceived => "SYN-RECEIVED",
        State::Established => "ESTABLISHED",
        State::FinWait1 => "FIN-WAIT-1",
        State::FinWait2 => "FIN-WAIT-2",
        State::CloseWait => "CLOSE-WAIT",
        State::Closing => "CLOSING",
        State::LastAck => "LAST-ACK",
        State::TimeWait => "TIME-WAIT",
    }
}
