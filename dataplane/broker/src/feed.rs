//! Input: bytes of a link become packets, packets become calls.

use crate::broker::{Broker, millis};
use crate::codec::{
    Ack, AckKind, DecodeError, Disconnect, FixedHeader, PacketType, ReasonCode, Version, connect,
};
use crate::lifecycle::Leave;
use crate::link::{Incoming, LinkState, flag};
use crate::outbox::PINGRESP;
use crate::output::OUTPUT_BYTES_HIGH;
use superpage::NIL;

/// What came of a piece of input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// So many bytes are dealt with.
    Took(usize),
    /// Nothing more can be done now: more bytes are needed, or the link is held up.
    Wait,
}

/// What came of a whole packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Handled {
    /// It is dealt with.
    Done,
    /// Something it needs is full: the link is parked and the packet offered again.
    Park,
}

/// Why a link is closed by us.
pub(crate) type Refusal = ReasonCode;

impl From<DecodeError> for ReasonCode {
    fn from(error: DecodeError) -> ReasonCode {
        error.reason()
    }
}

impl Broker {
    /// Bytes have come in on a link. Returns how many are dealt with.
    ///
    /// When fewer are, the caller keeps the rest and offers it again: once more bytes have come, or
    /// once [`Broker::next_resumed`] names the link. A payload is always taken as it comes, so at
    /// most `header_bytes_max` bytes are ever waited for in one piece.
    pub fn feed(&mut self, now_ns: u64, link: u32, bytes: &[u8]) -> usize {
        self.now_ns = now_ns;
        if self.links[link].state() == LinkState::Open && !bytes.is_empty() {
            self.links[link].heard_ms = millis(now_ns);
        }
        let mut at = 0;
        while at < bytes.len() {
            match self.step(now_ns, link, &bytes[at..]) {
                Step::Took(taken) => at += taken,
                Step::Wait => break,
            }
        }
        self.run_own_messages(now_ns);
        at
    }

    fn step(&mut self, now_ns: u64, link: u32, bytes: &[u8]) -> Step {
        let record = &self.links[link];
        match record.state() {
            LinkState::Closing | LinkState::Dead => return Step::Took(bytes.len()),
            LinkState::Claiming => return Step::Wait,
            LinkState::AwaitConnect | LinkState::Open => {}
        }
        if record.has(flag::PARKED | flag::CORKED) {
            return Step::Wait;
        }
        let work = record.work;
        if work != NIL && self.works[work].incoming.state != Incoming::STATE_NONE {
            return self.take_payload(now_ns, link, bytes);
        }
        match self.take_packet(now_ns, link, bytes) {
            Ok(step) => step,
            Err(reason) => {
                self.refuse(now_ns, link, reason);
                Step::Took(bytes.len())
            }
        }
    }

    fn take_packet(&mut self, now_ns: u64, link: u32, bytes: &[u8]) -> Result<Step, Refusal> {
        let Some(fixed) = FixedHeader::parse(bytes)? else { return Ok(Step::Wait) };
        self.admit(link, &fixed)?;
        if fixed.kind == PacketType::Publish {
            return self.begin_publish(now_ns, link, &fixed, bytes);
        }
        let packet_bytes = fixed.packet_bytes();
        if packet_bytes > self.config.limits.header_bytes_max as usize {
            return Err(ReasonCode::PACKET_TOO_LARGE);
        }
        let Some(packet) = bytes.get(..packet_bytes) else { return Ok(Step::Wait) };
        let body = &packet[usize::from(fixed.header_bytes)..];
        match self.dispatch(now_ns, link, fixed.kind, body)? {
            Handled::Done => {
                self.counters.packets_in += 1;
                Ok(Step::Took(packet_bytes))
            }
            Handled::Park => {
                self.park(link);
                Ok(Step::Wait)
            }
        }
    }

    /// Whether a packet of this kind and size may come now.
    fn admit(&self, link: u32, fixed: &FixedHeader) -> Result<(), Refusal> {
        let record = &self.links[link];
        let expected = match record.state() {
            // MQTT 5 §3.1.0-1: the first packet is a CONNECT, §3.1.0-2: and the only one.
            LinkState::AwaitConnect => fixed.kind == PacketType::Connect,
            _ => !matches!(
                fixed.kind,
                PacketType::Connect
                    | PacketType::Connack
                    | PacketType::Suback
                    | PacketType::Unsuback
                    | PacketType::Pingresp
            ),
        };
        if !expected {
            return Err(ReasonCode::PROTOCOL_ERROR);
        }
        if record.state() == LinkState::Open {
            fixed.check_version(record.version())?;
        }
        if fixed.packet_bytes() > self.config.limits.packet_bytes_max as usize {
            return Err(ReasonCode::PACKET_TOO_LARGE);
        }
        Ok(())
    }

    fn dispatch(
        &mut self,
        now_ns: u64,
        link: u32,
        kind: PacketType,
        body: &[u8],
    ) -> Result<Handled, Refusal> {
        let version = self.links[link].version();
        match kind {
            PacketType::Connect => self.on_connect(now_ns, link, body),
            PacketType::Subscribe => self.on_subscribe(now_ns, link, body),
            PacketType::Unsubscribe => self.on_unsubscribe(link, body),
            PacketType::Puback => {
                let ack = Ack::parse(version, AckKind::Puback, body)?;
                self.on_puback(link, ack.packet_id);
                Ok(Handled::Done)
            }
            PacketType::Pubrel => {
                let ack = Ack::parse(version, AckKind::Pubrel, body)?;
                Ok(self.on_pubrel(link, ack.packet_id))
            }
            // We send no QoS 2, so nobody has these to send to us.
            PacketType::Pubrec | PacketType::Pubcomp => Err(ReasonCode::PROTOCOL_ERROR),
            PacketType::Pingreq if body.is_empty() => Ok(self.on_pingreq(link)),
            PacketType::Disconnect => self.on_disconnect(now_ns, link, body),
            // Enhanced authentication was not begun, so there is none to go on with.
            PacketType::Auth => Err(ReasonCode::PROTOCOL_ERROR),
            _ => Err(ReasonCode::MALFORMED_PACKET),
        }
    }

    /// A PINGRESP for each (MQTT 5 §3.12.4). The first one waiting takes no memory.
    fn on_pingreq(&mut self, link: u32) -> Handled {
        if !self.links[link].has(flag::PING_DUE) {
            self.links[link].set(flag::PING_DUE);
            self.wake(link);
        } else if !self.answer(link, &PINGRESP) {
            return Handled::Park;
        }
        Handled::Done
    }

    /// The client leaves (MQTT 5 §3.14).
    fn on_disconnect(&mut self, now_ns: u64, link: u32, body: &[u8]) -> Result<Handled, Refusal> {
        let record = &self.links[link];
        let packet = Disconnect::parse(record.version(), body)?;
        let session = record.session;
        for (property, _) in &packet.properties {
            if let crate::codec::Property::SessionExpiryInterval(expiry_s) = property {
                let record = &mut self.sessions[session];
                if record.expiry_s == 0 && expiry_s != 0 {
                    return Err(ReasonCode::PROTOCOL_ERROR);
                }
                record.expiry_s = expiry_s.min(self.config.timers.session_expiry_max_s);
            }
        }
        self.counters.disconnects_in += 1;
        let normal = packet.reason == ReasonCode::SUCCESS;
        self.close_after(now_ns, link, if normal { Leave::Normal } else { Leave::Lost });
        Ok(Handled::Done)
    }

    /// Closes a link and tells the client why, as far as its version and state allow.
    pub(crate) fn refuse(&mut self, now_ns: u64, link: u32, reason: ReasonCode) {
        self.refuse_as(now_ns, link, reason, Leave::Lost);
    }

    /// The same, when it matters to the session how.
    pub(crate) fn refuse_as(&mut self, now_ns: u64, link: u32, reason: ReasonCode, how: Leave) {
        match reason {
            ReasonCode::PACKET_TOO_LARGE => self.counters.packets_too_large += 1,
            ReasonCode::MALFORMED_PACKET
            | ReasonCode::PROTOCOL_ERROR
            | ReasonCode::RECEIVE_MAXIMUM_EXCEEDED
            | ReasonCode::TOPIC_ALIAS_INVALID
            | ReasonCode::TOPIC_NAME_INVALID
            | ReasonCode::QOS_NOT_SUPPORTED => self.counters.protocol_errors += 1,
            _ => {}
        }
        let record = &self.links[link];
        let mut bytes = [0; FAREWELL_BYTES_MAX];
        let version = record.version();
        let len = match record.state() {
            LinkState::Open if version == Version::V5 => {
                self.counters.disconnects_out += 1;
                let properties = crate::codec::Properties::EMPTY;
                Disconnect { reason, properties }.encode(version, &mut bytes)
            }
            LinkState::Claiming => {
                self.counters.connects_refused += 1;
                connect::refusal(version, reason).encode(version, &mut bytes)
            }
            _ => None,
        };
        if let Some(len) = len {
            // Without memory for the reason the client finds out by the close alone.
            self.answer(link, &bytes[..len]);
        }
        self.close_after(now_ns, link, how);
    }

    /// Queues an answer on a link; `false` when there is no memory for it.
    pub(crate) fn answer(&mut self, link: u32, bytes: &[u8]) -> bool {
        let Some(work) = self.work(link) else { return false };
        let output = &mut self.works[work].output;
        if !output.push(&mut self.output, bytes) {
            return false;
        }
        let full = output.len() > OUTPUT_BYTES_HIGH;
        self.counters.packets_out += 1;
        if full {
            self.links[link].set(flag::CORKED);
        }
        self.wake(link);
        true
    }

    /// Whether an answer of so many bytes could be queued now.
    pub(crate) fn can_answer(&mut self, link: u32, bytes: usize) -> bool {
        match self.work(link) {
            Some(work) => self.works[work].output.has_room(&self.output, bytes),
            None => false,
        }
    }
}

/// Bytes of a DISCONNECT or a refusing CONNACK without properties.
const FAREWELL_BYTES_MAX: usize = 8;
