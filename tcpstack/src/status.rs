//! What a connection looks like to whoever asks: every variable of its TCB, by the names of the RFCs.
//!
//! ISS, IRS, SND.UP and RCV.UP are not among them: the stack needs neither initial number once the
//! handshake is done, and delivers urgent data in line, so that a TCB does not keep them.

use std::fmt;
use std::net::SocketAddr;

use superpage::{counters, record};

use crate::scoreboard::Chain;
use crate::settings::{NS_PER_MS, milliseconds};
use crate::stack::Stack;
use crate::tcb::{State, Tcb, flag};
use crate::{ConnId, ip};

counters! {
    /// The variables of a TCB. The help text of each begins with its name. Times are as long as they
    /// still have to go, or have gone; 0 means that the timer is off.
    pub struct TcbStatus {
        /// SND.UNA: oldest unacknowledged octet.
        snd_una: sequence,
        /// SND.NXT: after the last octet ever sent.
        snd_nxt: sequence,
        /// SND.WND: octets the peer takes from SND.UNA on.
        snd_wnd: octets,
        /// SND.WL1: sequence number of the last window update.
        snd_wl1: sequence,
        /// SND.WL2: acknowledgment number of the last window update.
        snd_wl2: sequence,
        /// Max.SND.WND: largest window the peer ever offered (RFC 9293 §3.8.6.2.1).
        snd_wnd_max: octets,
        /// Snd.Wind.Shift: shift of the peer's window field (RFC 7323 §2).
        snd_wind_shift: bits,
        /// Eff.snd.MSS: octets of a full segment (RFC 9293 §3.7.1).
        eff_snd_mss: octets,
        /// RCV.NXT: next octet expected.
        rcv_nxt: sequence,
        /// RCV.WND: octets the peer may still send.
        rcv_wnd: octets,
        /// RCV.ADV: right edge of the window ever advertised.
        rcv_adv: sequence,
        /// Rcv.Wind.Shift: shift of our window field (RFC 7323 §2).
        rcv_wind_shift: bits,
        /// Last.ACK.sent: RCV.NXT of the last segment sent (RFC 7323 §4.3).
        last_ack_sent: sequence,
        /// TS.Recent: timestamp to echo (RFC 7323 §4.3).
        ts_recent: timestamp,
        /// TS: whether both ends send timestamps.
        timestamps: flag,
        /// SRTT: smoothed round-trip time (RFC 6298 §2).
        srtt: microseconds,
        /// RTTVAR: its variation (RFC 6298 §2).
        rttvar: microseconds,
        /// RTO: retransmission time-out without back-off (RFC 6298 §2).
        rto: milliseconds,
        /// ssthresh: slow start threshold (RFC 5681 §3.1); 0: not found yet.
        ssthresh: octets,
        /// cwnd: congestion window (RFC 5681 §2); 0: at rest, with nothing to remember.
        cwnd: octets,
        /// RECOVERY: 0 none, 1 fast recovery, 2 after a time-out.
        recovery: phase,
        /// RecoveryPoint: SND.NXT when it began (RFC 6675 §2).
        recovery_point: sequence,
        /// pipe: octets on their way (RFC 6675 §4).
        pipe: octets,
        /// SACKed: octets acknowledged selectively (RFC 2018).
        sacked: octets,
        /// LOST: octets found lost and not sent again.
        lost: octets,
        /// BACKOFF: expiries of the retransmission or persist timer in a row (RFC 6298 §5).
        backoff: expiries,
        /// RACK.min_RTT: least round-trip time (RFC 8985 §6.1).
        min_rtt: microseconds,
        /// SACK: whether both ends acknowledge selectively.
        sack: flag,
        /// ECN: whether both ends tell congestion (RFC 3168).
        ecn: flag,
        /// FlightSize: octets sent and not acknowledged (RFC 5681 §2).
        flight_size: octets,
        /// SND.queue: octets the application has queued and the peer has not acknowledged.
        send_queue: octets,
        /// RCV.queue: octets in order that the application has not consumed.
        receive_queue: octets,
        /// RCV.ooo: chunks that hold octets received out of order.
        out_of_order: chunks,
        /// APP.closed: whether the application has closed.
        app_closed: flag,
        /// ACK.timer: the delayed acknowledgment.
        ack_timer: milliseconds,
        /// REXMT.timer: retransmission, loss probe, reordering or persist timer.
        retransmission_timer: milliseconds,
        /// STATE.timer: connect, FIN-WAIT-2 or keep-alive.
        state_timer: milliseconds,
        /// KEEP.probes: keep-alive probes without an answer (RFC 9293 §3.8.4).
        keep_alive_probes: segments,
        /// CHALLENGE.acks: sent in the current period (RFC 5961 §7).
        challenge_acks: segments,
        /// HEARD.ago: since the last acceptable segment.
        heard_ago: milliseconds,
        /// USER: the application's number for the connection.
        user: number,
    }
}

record! {
    /// A connection at one moment. Plain bytes, so that it can cross a ring; for people, print it.
    pub struct ConnectionStatus {
        /// Our address; IPv4 as `::ffff:a.b.c.d`.
        pub local: [u8; 16],
        /// The peer's address.
        pub remote: [u8; 16],
        /// Its number.
        pub conn: ConnId,
        /// Our port.
        pub local_port: u16,
        /// The peer's port.
        pub remote_port: u16,
        /// Code of its [`State`].
        state: u64,
        /// Its variables.
        pub tcb: TcbStatus,
    }
}

impl ConnectionStatus {
    /// The state. A code that no stack writes counts as CLOSED.
    #[must_use]
    pub fn state(&self) -> State {
        State::from_code(u8::try_from(self.state).unwrap_or(0))
    }
}

/// `NAME=value` by `NAME=value`, on one line.
impl fmt::Display for ConnectionStatus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local = socket(self.local, self.local_port);
        let remote = socket(self.remote, self.remote_port);
        let state = self.state().name();
        write!(out, "conn={} local={local} remote={remote} state={state}", self.conn)?;
        for (field, value) in TcbStatus::FIELDS.iter().zip(self.tcb.values()) {
            let name = field.help.split_once(':').map_or(field.name, |(name, _)| name);
            write!(out, " {name}={value}{}", suffix(field.unit))?;
        }
        Ok(())
    }
}

/// What follows a number with this unit.
fn suffix(unit: &str) -> &'static str {
    match unit {
        "microseconds" => "us",
        "milliseconds" => "ms",
        _ => "",
    }
}

/// An end of a flow, as people write it.
pub(crate) fn socket(address: [u8; 16], port: u16) -> SocketAddr {
    SocketAddr::new(ip::address(address), port)
}

impl Stack {
    /// STATUS (RFC 9293 §3.10.6): everything about a connection; `None` when there is none.
    #[must_use]
    pub fn status(&self, conn: ConnId) -> Option<ConnectionStatus> {
        let tcb = self.tcbs.get(conn)?;
        Some(ConnectionStatus {
            local: self.local_octets(tcb.key.local),
            remote: tcb.key.remote,
            conn,
            local_port: tcb.key.local_port,
            remote_port: tcb.key.remote_port,
            state: tcb.state.into(),
            tcb: self.variables(conn, tcb),
        })
    }

    fn variables(&self, conn: ConnId, tcb: &Tcb) -> TcbStatus {
        let now_ns = self.now_ns;
        let to_go = |due_ns: u64| match due_ns {
            0 => 0,
            due_ns => due_ns.saturating_sub(now_ns).div_ceil(NS_PER_MS).max(1),
        };
        let flight = self.flights.get(conn, tcb.flight);
        let chain = flight.map_or(Chain::EMPTY, |flight| flight.chain);
        let congestion = flight.map(|flight| &flight.congestion);
        let flight_size = tcb.snd_nxt.since(tcb.snd_una);
        TcbStatus {
            snd_una: tcb.snd_una.0.into(),
            snd_nxt: tcb.snd_nxt.0.into(),
            snd_wnd: tcb.snd_wnd.into(),
            snd_wl1: tcb.snd_wl1.0.into(),
            snd_wl2: tcb.snd_wl2.0.into(),
            snd_wnd_max: tcb.snd_wnd_max.into(),
            snd_wind_shift: tcb.snd_shift.into(),
            eff_snd_mss: tcb.mss.into(),
            rcv_nxt: tcb.rcv_nxt.0.into(),
            rcv_wnd: tcb.rcv_wnd().into(),
            rcv_adv: tcb.rcv_adv.0.into(),
            rcv_wind_shift: tcb.rcv_shift.into(),
            last_ack_sent: tcb.last_ack_sent.0.into(),
            ts_recent: tcb.ts_recent.into(),
            timestamps: tcb.has(flag::TIMESTAMPS).into(),
            srtt: tcb.srtt_us.into(),
            rttvar: tcb.rttvar_us.into(),
            rto: self.settings.rto_ns(tcb, 0) / NS_PER_MS,
            ssthresh: if tcb.ssthresh == u32::MAX { 0 } else { tcb.ssthresh.into() },
            cwnd: congestion.map_or(0, |congestion| congestion.cwnd().into()),
            recovery: congestion.map_or(0, |congestion| congestion.phase() as u64),
            recovery_point: congestion.map_or(0, |congestion| congestion.recover.0.into()),
            pipe: flight_size.saturating_sub(chain.sacked + chain.lost).into(),
            sacked: chain.sacked.into(),
            lost: chain.lost.into(),
            backoff: flight.map_or(0, |flight| flight.backoff.into()),
            min_rtt: flight.map_or(0, |flight| flight.rack.min_rtt_us.into()),
            sack: tcb.has(flag::SACK).into(),
            ecn: tcb.has(flag::ECN).into(),
            flight_size: flight_size.into(),
            send_queue: tcb.snd_len.into(),
            receive_queue: tcb.rcv_len.into(),
            out_of_order: tcb.ooo_chunks.into(),
            app_closed: tcb.has(flag::APP_CLOSED).into(),
            ack_timer: to_go(tcb.ack_due_ns),
            retransmission_timer: to_go(flight.map_or(0, |flight| flight.due_ns)),
            state_timer: to_go(tcb.state_due_ns),
            keep_alive_probes: tcb.probes.into(),
            challenge_acks: tcb.challenges.into(),
            heard_ago: milliseconds(now_ns).wrapping_sub(tcb.heard_ms).into(),
            user: tcb.user.into(),
        }
    }

    /// One of our addresses; IPv4 as `::ffff:a.b.c.d`.
    pub(crate) fn local_octets(&self, local: u16) -> [u8; 16] {
        ip::octets(self.settings.address(local))
    }
}
