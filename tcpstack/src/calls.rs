//! The application's calls: RFC 9293 §3.10.1 to §3.10.6.

use std::net::{IpAddr, SocketAddr};

use zerocopy::IntoBytes;

use crate::chunks::Use;
use crate::config::Ecn;
use crate::context::Then;
use crate::event::CloseReason;
use crate::flow::{Flow, FlowKey};
use crate::flow_table::Entry;
use crate::seq::SeqNum;
use crate::settings::NS_PER_MS;
use crate::stack::Stack;
use crate::tcb::{Place, State, Tcb, flag};
use crate::{ConnId, receive_buffer, send_buffer, window};

/// Why an active open cannot begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Every TCB is in use.
    #[error("the table of connections is full")]
    Full,
    /// No port is left for this peer that this shard would own.
    #[error("no port is left for this peer")]
    NoPort,
    /// The peer is on no network of ours and there is no gateway, or it cannot be a peer.
    #[error("the peer cannot be reached")]
    Unreachable,
}

impl Stack {
    /// OPEN, active: begins a connection to `remote`. `Connected` or `Closed` follows.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn connect(&mut self, now_ns: u64, remote: SocketAddr) -> Result<ConnId, ConnectError> {
        let ip = remote.ip();
        if !may_be_host(ip) || remote.port() == 0 || self.settings.local(ip).is_some() {
            return Err(ConnectError::Unreachable);
        }
        if !self.has_room() {
            return Err(ConnectError::Full);
        }
        // RFC 4862 §5.4: an address that is still being asked for only if there is no other.
        let preferred = self.settings.source_among(ip, |local| self.claims.is_preferred(local));
        let local = preferred.or_else(|| self.settings.source_for(ip));
        let local = local.ok_or(ConnectError::Unreachable)?;
        let key = self.choose_flow(remote, local).ok_or(ConnectError::NoPort)?;
        let iss = self.isn.isn(now_ns, &key);
        let mut tcb = Tcb::new(key, State::SynSent);
        (tcb.snd_una, tcb.snd_nxt) = (iss, iss);
        tcb.mss = self.settings.mss(&key);
        let limit_ms = u64::from(self.settings.timers.connect_timeout_ms);
        tcb.state_due_ns = now_ns + limit_ms * NS_PER_MS;
        tcb.set(flag::OUTPUT);
        if self.settings.features.ecn == Ecn::Request {
            tcb.set(flag::ECN);
        }
        let conn = self.begin(now_ns, tcb);
        self.table.insert(self.hasher.hash(&key), Entry::Connection(conn));
        self.counters.tcp_connect += 1;
        self.settle(conn);
        Ok(conn)
    }

    /// From now on nobody is accepted: SYNs and the last ACKs of passive opens are answered by a
    /// reset. Connections there are go on.
    pub fn refuse_new(&mut self) {
        self.refuses_new = true;
    }

    /// A flow to `remote` that nobody uses and this shard owns.
    fn choose_flow(&mut self, remote: SocketAddr, local: u16) -> Option<FlowKey> {
        let address = self.settings.address(local);
        let key = |port| FlowKey::new(remote.ip(), remote.port(), local, port);
        let Self { ports, steering, settings, table, hasher, tcbs, syns, time_waits, .. } = self;
        let port = ports.choose(key(0).as_bytes(), |port| {
            let flow = Flow { local: SocketAddr::new(address, port), remote };
            let key = key(port);
            let is_taken = |entry| match entry {
                Entry::Connection(index) => tcbs[index].key == key,
                Entry::Syn(index) => syns.get(index).is_some_and(|entry| entry.key == key),
                Entry::TimeWait(index) => {
                    time_waits.get(index).is_some_and(|entry| entry.key == key)
                }
            };
            steering.owner(&flow) == steering.shard
                && !settings.listeners.contains(&port)
                && table.find(hasher.hash(&key), is_taken).is_none()
        })?;
        Some(key(port))
    }

    /// SEND: queues as many of `bytes` as there is room for; returns how many.
    pub fn send(&mut self, now_ns: u64, conn: ConnId, bytes: &[u8]) -> usize {
        let Some((tcb, context)) = self.connection(now_ns, conn) else { return 0 };
        if !may_send(tcb) {
            return 0;
        }
        let limit = context.settings.limits.send_buffer_bytes;
        let taken = send_buffer::append(tcb, context.chunks, limit, bytes);
        if taken > 0 && tcb.state() >= State::Established {
            tcb.set(flag::OUTPUT);
            self.settle(conn);
        }
        taken
    }

    /// How many bytes `send` would take now.
    #[must_use]
    pub fn send_space(&self, conn: ConnId) -> usize {
        let Some(tcb) = self.tcbs.get(conn).filter(|tcb| may_send(tcb)) else { return 0 };
        let room = self.settings.limits.send_buffer_bytes.saturating_sub(tcb.snd_len) as usize;
        room.min(self.chunks.room(Use::Sending) as usize * self.chunks.chunk_bytes())
    }

    /// Asks for one `Writable`, when the send buffer is at most half full and there are chunks.
    pub fn want_writable(&mut self, conn: ConnId) {
        let Some(tcb) = self.tcbs.get_mut(conn).filter(|tcb| may_send(tcb)) else { return };
        tcb.set(flag::WANT_WRITABLE);
        // With nothing to be acknowledged, only housekeeping can bring the event.
        if self.is_waiting_for_chunks(conn) {
            self.places.put(&mut self.tcbs, conn, Place::Chunks);
        }
    }

    /// Whether a connection that is not due for output has to wait for chunks.
    pub(crate) fn is_waiting_for_chunks(&self, conn: ConnId) -> bool {
        let tcb = &self.tcbs[conn];
        tcb.has(flag::WANT_WRITABLE)
            && tcb.snd_len <= self.settings.limits.send_buffer_bytes / 2
            && !tcb.has_unacked()
            && tcb.state() >= State::Established
            && tcb.place == Place::Idle as u8
    }

    /// Returns what the application did not take of a Data event. Room was promised for it, and
    /// the event must be answered this way even when nothing is left.
    pub fn keep(&mut self, conn: ConnId, bytes: &[u8]) {
        let Some((tcb, mut context)) = self.connection(0, conn) else { return };
        if tcb.keeps_due == 0 {
            return;
        }
        if tcb.state() != State::Closed && !tcb.has(flag::APP_CLOSED) {
            receive_buffer::append_promised(tcb, context.chunks, bytes);
        }
        context.chunks.end_promise();
        tcb.keeps_due -= 1;
        context.tell_in_order(tcb);
    }

    /// Bytes received in order and not consumed.
    #[must_use]
    pub fn backlog(&self, conn: ConnId) -> usize {
        self.tcbs.get(conn).map_or(0, |tcb| tcb.rcv_len as usize)
    }

    /// Copies the first bytes of the backlog; returns how many.
    #[must_use]
    pub fn peek(&self, conn: ConnId, into: &mut [u8]) -> usize {
        self.tcbs.get(conn).map_or(0, |tcb| receive_buffer::peek(tcb, &self.chunks, into))
    }

    /// RECEIVE: drops the first `count` bytes of the backlog. The peer's window opens by as much.
    pub fn consume(&mut self, conn: ConnId, count: usize) {
        let Some((tcb, context)) = self.connection(0, conn) else { return };
        receive_buffer::consume(tcb, context.chunks, count);
        if tcb.state().may_receive() && window::is_update_due(tcb, context.settings) {
            tcb.set(flag::ACK_NOW);
            self.settle(conn);
        }
    }

    /// CLOSE: a FIN follows the data queued. The application gets no event but `Closed`.
    ///
    /// A backlog is discarded without the reset that RFC 9293 §3.6.1 (SHLD-3) suggests: the reset
    /// would overtake what was queued last, which tells the peer why it is left. Data that comes
    /// later is answered by a reset.
    pub fn close(&mut self, now_ns: u64, conn: ConnId) {
        let Some((tcb, mut context)) = self.connection(now_ns, conn) else { return };
        if tcb.has(flag::APP_CLOSED) || tcb.state() == State::Closed {
            return;
        }
        tcb.set(flag::APP_CLOSED | flag::OUTPUT);
        tcb.clear(flag::WANT_WRITABLE);
        context.discard_received(tcb);
        let then = match tcb.state() {
            // RFC 9293 §3.10.4, SYN-SENT: delete the TCB.
            State::SynSent => Then::End { reason: CloseReason::Aborted, reset: false },
            // RFC 9293 §3.10.4, SYN-RECEIVED: the FIN comes after the handshake.
            State::SynReceived => Then::GoOn,
            State::CloseWait => {
                context.set_state(tcb, State::LastAck);
                Then::GoOn
            }
            _ => {
                context.set_state(tcb, State::FinWait1);
                Then::GoOn
            }
        };
        self.carry_out(now_ns, conn, then);
    }

    /// ABORT: everything queued is dropped and the peer gets a reset. `Closed` follows once that
    /// was sent.
    pub fn abort(&mut self, now_ns: u64, conn: ConnId) {
        let Some(tcb) = self.tcbs.get_mut(conn).filter(|tcb| tcb.state() != State::Closed) else {
            return;
        };
        // RFC 9293 §3.10.5: a peer that has heard nothing of us needs no reset.
        let reset = tcb.state() != State::SynSent;
        self.carry_out(now_ns, conn, Then::End { reason: CloseReason::Aborted, reset });
        self.tcbs[conn].set(flag::APP_CLOSED);
    }

    /// The application's own number for a connection; `NIL` until it is set.
    #[must_use]
    pub fn user(&self, conn: ConnId) -> u32 {
        self.tcbs.get(conn).map_or(superpage::NIL, |tcb| tcb.user)
    }

    /// Sets the application's own number for a connection.
    pub fn set_user(&mut self, conn: ConnId, user: u32) {
        if let Some(tcb) = self.tcbs.get_mut(conn) {
            tcb.user = user;
        }
    }

    /// The peer's end; `None` when there is no such connection.
    #[must_use]
    pub fn peer(&self, conn: ConnId) -> Option<SocketAddr> {
        Some(self.tcbs.get(conn)?.key.remote_socket())
    }

    /// Our end; `None` when there is no such connection.
    #[must_use]
    pub fn local(&self, conn: ConnId) -> Option<SocketAddr> {
        let key = self.tcbs.get(conn)?.key;
        Some(SocketAddr::new(self.settings.address(key.local), key.local_port))
    }

    /// STATUS: the state; `None` when there is no such connection.
    #[must_use]
    pub fn state(&self, conn: ConnId) -> Option<State> {
        self.tcbs.get(conn).map(Tcb::state)
    }

    /// Connections there can be: their numbers are smaller.
    #[must_use]
    pub fn connections_max(&self) -> u32 {
        self.tcbs.capacity()
    }

    /// Connections with a TCB, those included whose end was not reported yet.
    #[must_use]
    pub fn open_connections(&self) -> u32 {
        self.tcbs.len()
    }
}

/// Whether an address can be one host's. An IPv4 address in IPv6's clothes is not: it is IPv4 that
/// would carry the packets.
pub(crate) fn may_be_host(address: IpAddr) -> bool {
    let is_special = match address {
        IpAddr::V4(address) => address.is_broadcast(),
        IpAddr::V6(address) => address.is_loopback() || address.to_ipv4_mapped().is_some(),
    };
    !(is_special || address.is_unspecified() || address.is_multicast())
}

fn may_send(tcb: &Tcb) -> bool {
    tcb.state().may_send() && !tcb.has(flag::APP_CLOSED)
}

impl Tcb {
    /// A connection whose handshake is done: both initial sequence numbers are acknowledged.
    pub(crate) fn established(key: FlowKey, iss: SeqNum, irs: SeqNum, window: u32) -> Self {
        let mut tcb = Self::new(key, State::Established);
        (tcb.snd_una, tcb.snd_nxt) = (iss + 1, iss + 1);
        tcb.rcv_nxt = irs + 1;
        tcb.rcv_adv = tcb.rcv_nxt + window;
        tcb.last_ack_sent = tcb.rcv_nxt;
        tcb
    }
}
