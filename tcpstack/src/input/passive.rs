//! Passive opens: from a SYN to an entry, from its last ACK to a connection.

use superpage::NIL;

use super::listen::{OnListen, on_listen};
use super::syn_received::{OnSynReceived, on_syn_received, syn_ack, syn_window};
use crate::ConnId;
use crate::answers::reset_for;
use crate::config::{Ecn, SynCookies};
use crate::context::CHALLENGES_MAX;
use crate::cookies::Granted;
use crate::counters::Drop;
use crate::ecn;
use crate::event::Event;
use crate::flow_table::Entry;
use crate::options::Options;
use crate::rtt::RttEstimate;
use crate::segment::{Header, Segment};
use crate::seq::SeqNum;
use crate::settings::{default_mss, ts_age};
use crate::stack::Stack;
use crate::syn_table::{NO_SHIFT, SynEntry};
use crate::tcb::{State, Tcb, flag};
use crate::trace::Spot;

impl Stack {
    /// A segment for which there is nothing in the flow table.
    pub(super) fn stray_segment(
        &mut self,
        now_ns: u64,
        segment: &Segment,
        octets: &[u8],
    ) -> Result<(), Drop> {
        let listener = self.listener(segment.key.local_port);
        if self.refuses_new && listener.is_some() {
            return Err(self.refuse(segment));
        }
        match on_listen(segment, listener.is_some(), self.cookies.are_out(now_ns)) {
            OnListen::Ignore(reason) => Err(reason),
            OnListen::Reset(reason, header) => {
                self.answer(header);
                Err(reason)
            }
            OnListen::Open if self.settings.next_hop(segment.key.remote_ip()).is_none() => {
                Err(Drop::TcpUnreachable)
            }
            OnListen::Open if self.wants_cookie() => {
                self.answer_with_cookie(now_ns, segment);
                Ok(())
            }
            OnListen::Open => {
                let iss = self.isn.isn(now_ns, &segment.key);
                self.begin_passive_open(segment, listener.unwrap_or(0), iss)
            }
            OnListen::CheckCookie(refusal) => {
                let listener = listener.unwrap_or(0);
                match self.accept_cookie(now_ns, segment, listener)? {
                    Some(conn) => self.connection_segment(now_ns, conn, segment, octets),
                    None => {
                        let (key, iss) = (&segment.key, segment.ack - 1);
                        if !self.cookies.is_overtaken(now_ns, key, iss) {
                            self.answer(refusal);
                        }
                        Err(Drop::TcpSynCookie)
                    }
                }
            }
        }
    }

    /// A SYN that takes over an address pair in TIME-WAIT: RFC 6191. The old connection ended at
    /// `old_nxt`.
    pub(super) fn reopen(
        &mut self,
        now_ns: u64,
        segment: &Segment,
        old_nxt: SeqNum,
    ) -> Result<(), Drop> {
        let iss = self.isn.isn_after(now_ns, &segment.key, old_nxt);
        let listener = self.listener(segment.key.local_port).unwrap_or(0);
        self.begin_passive_open(segment, listener, iss)
    }

    /// Resets whoever wants a connection after [`Stack::refuse_new`].
    fn refuse(&mut self, segment: &Segment) -> Drop {
        if let Some(reset) = reset_for(segment) {
            self.answer(reset);
        }
        Drop::TcpRefused
    }

    /// Which listener a port has.
    fn listener(&self, port: u16) -> Option<u16> {
        self.settings.listeners.iter().position(|own| *own == port).map(|at| at as u16)
    }

    fn begin_passive_open(
        &mut self,
        segment: &Segment,
        listener: u16,
        iss: SeqNum,
    ) -> Result<(), Drop> {
        // Its last ACK must find a TCB: so SYNs are counted as connections.
        if !self.has_room() {
            return Err(Drop::TcpConnectionsFull);
        }
        let entry = SynEntry { listener, ..self.entry_of(segment, iss) };
        let index = match self.syns.insert(entry) {
            Some(index) => index,
            None => {
                let victim = self.syns.victim().ok_or(Drop::TcpSynFull)?;
                self.counters.tcp_syn_evicted += 1;
                self.forget_syn(victim);
                self.syns.insert(entry).ok_or(Drop::TcpSynFull)?
            }
        };
        self.table.insert(segment.hash, Entry::Syn(index));
        self.counters.tcp_syn_received += 1;
        let spot = Spot { conn: NIL, key: segment.key, seq: segment.seq + 1, ack: iss };
        self.trace.transition(self.now_ns, spot, State::Closed, State::SynReceived);
        Ok(())
    }

    /// Whether a SYN is answered by a cookie. It needs no entry, but its last ACK needs a TCB.
    fn wants_cookie(&self) -> bool {
        let wants = match self.settings.features.syn_cookies {
            SynCookies::Never => false,
            SynCookies::WhenFull => self.syns.is_full() || !self.has_room(),
            SynCookies::Always => true,
        };
        wants && !self.is_full()
    }

    /// RFC 4987 §3.6: a SYN-ACK that says itself what an entry would remember.
    fn answer_with_cookie(&mut self, now_ns: u64, segment: &Segment) {
        let now_stamp = self.settings.timestamp(now_ns);
        let mut entry = self.entry_of(segment, SeqNum(0));
        entry.iss = self.cookies.make(now_ns, &segment.key, segment.seq, mss_of(&entry));
        if entry.timestamps == 0 {
            (entry.shift, entry.sack_permitted, entry.ecn) = (NO_SHIFT, 0, 0);
        }
        let mut header = syn_ack(&entry, &self.settings, now_stamp);
        if let Some(timestamp) = &mut header.options.timestamp {
            let shift = (entry.shift != NO_SHIFT).then_some(entry.shift);
            let sack = entry.sack_permitted != 0;
            timestamp.value = Granted { shift, sack, ecn: entry.ecn != 0 }.write(now_stamp);
        }
        self.counters.tcp_syn_cookie_sent += 1;
        self.answer(header);
    }

    /// The connection that the last ACK of a cookie makes; `None` when it is none. A handshake that
    /// is done is worth more than one that is not, whose place it may take.
    fn accept_cookie(
        &mut self,
        now_ns: u64,
        segment: &Segment,
        listener: u16,
    ) -> Result<Option<ConnId>, Drop> {
        let (irs, iss) = (segment.seq - 1, segment.ack - 1);
        let Some(mss) = self.cookies.check(now_ns, &segment.key, irs, iss) else {
            return Ok(None);
        };
        if self.is_full() {
            // The peer sends its data again, and the cookie lasts for a while.
            return Err(Drop::TcpConnectionsFull);
        }
        if !self.has_room() {
            let victim = self.syns.any_victim().ok_or(Drop::TcpConnectionsFull)?;
            self.counters.tcp_syn_evicted += 1;
            self.forget_syn(victim);
        }
        let stamp = segment.options.timestamp;
        let granted = stamp.map_or(Granted::default(), |stamp| Granted::read(stamp.echo));
        let entry = SynEntry {
            irs,
            listener,
            mss,
            window: 0,
            shift: granted.shift.unwrap_or(NO_SHIFT),
            sack_permitted: granted.sack.into(),
            ecn: granted.ecn.into(),
            ..self.entry_of(segment, iss)
        };
        let conn = self.accept(now_ns, &entry, None);
        self.table.insert(segment.hash, Entry::Connection(conn));
        self.counters.tcp_syn_cookie_accepted += 1;
        Ok(Some(conn))
    }

    pub(super) fn syn_received_segment(
        &mut self,
        now_ns: u64,
        index: u32,
        segment: &Segment,
        octets: &[u8],
    ) -> Result<(), Drop> {
        let Some(entry) = self.syns.get(index).copied() else {
            return Err(Drop::TcpNoConnection);
        };
        let timestamp = self.settings.timestamp(now_ns);
        match on_syn_received(&entry, segment, &self.settings, timestamp) {
            OnSynReceived::Refuse(reason, answer) => {
                if let Some(header) = answer {
                    self.answer(header);
                }
                Err(reason)
            }
            OnSynReceived::Challenge(reason, answer) => {
                self.challenge(index, answer);
                Err(reason)
            }
            OnSynReceived::Resend => {
                let entry = self.syns.get_mut(index);
                if let Some(timestamp) = segment.options.timestamp {
                    entry.ts_recent = timestamp.value;
                }
                // RFC 3168 §6.1.1.1: the peer tries without.
                entry.ecn &= u8::from(ecn::is_setup_syn(segment));
                self.syns.resend(index);
                Ok(())
            }
            OnSynReceived::Forget => {
                self.counters.tcp_reset_received += 1;
                self.forget_syn(index);
                Ok(())
            }
            OnSynReceived::Establish if self.refuses_new => {
                self.forget_syn(index);
                Err(self.refuse(segment))
            }
            OnSynReceived::Establish => {
                let conn = self.establish_passive_open(now_ns, index, segment.hash);
                self.connection_segment(now_ns, conn, segment, octets)
            }
        }
    }

    /// RFC 5961 §7, for a passive open: in its short life it questions a few segments.
    fn challenge(&mut self, index: u32, answer: Header) {
        let entry = self.syns.get_mut(index);
        if entry.challenges >= CHALLENGES_MAX {
            self.counters.tcp_challenge_ack_limited += 1;
            return;
        }
        entry.challenges += 1;
        self.counters.tcp_challenge_ack += 1;
        self.answer(answer);
    }

    /// The entry becomes a connection. The segment that did it comes next, and brings its window.
    fn establish_passive_open(&mut self, now_ns: u64, index: u32, hash: u64) -> ConnId {
        let sent_ns = self.syns.sent_once_ns(index);
        let entry = self.syns.remove(index);
        let conn = self.accept(now_ns, &entry, sent_ns);
        self.table.replace(hash, Entry::Syn(index), Entry::Connection(conn));
        conn
    }

    /// A connection with what `entry` agreed on. The SYN-ACK was sent at `sent_ns`, if that tells
    /// the round-trip time.
    fn accept(&mut self, now_ns: u64, entry: &SynEntry, sent_ns: Option<u64>) -> ConnId {
        let window = syn_window(&self.settings);
        let mut tcb = Tcb::established(entry.key, entry.iss, entry.irs, window);
        let mss = (entry.mss != 0).then_some(entry.mss);
        tcb.mss = self.settings.send_mss(&entry.key, mss, entry.timestamps != 0);
        if entry.timestamps != 0 {
            tcb.set(flag::TIMESTAMPS);
            (tcb.ts_recent, tcb.ts_recent_age) = (entry.ts_recent, ts_age(now_ns));
        }
        if entry.ecn != 0 {
            tcb.set(flag::ECN);
            self.counters.tcp_ecn += 1;
        }
        if entry.sack_permitted != 0 {
            tcb.set(flag::SACK);
        }
        if entry.shift != NO_SHIFT {
            (tcb.snd_shift, tcb.rcv_shift) = (entry.shift, self.settings.window_shift);
        }
        tcb.snd_wnd = entry.window.into();
        tcb.snd_wnd_max = tcb.snd_wnd;
        (tcb.snd_wl1, tcb.snd_wl2) = (entry.irs, entry.iss + 1);
        if let Some(sent_ns) = sent_ns {
            let none = RttEstimate { srtt_us: 0, rttvar_us: 0 };
            let estimate = none.with_sample(now_ns.saturating_sub(sent_ns));
            (tcb.srtt_us, tcb.rttvar_us) = (estimate.srtt_us, estimate.rttvar_us);
        }
        let conn = self.begin(now_ns, tcb);
        self.counters.tcp_accepted += 1;
        if let Some((tcb, mut context)) = self.connection(now_ns, conn) {
            debug_assert_eq!(tcb.state(), State::Established);
            context.establish(tcb);
            context.events.push(Event::Accepted { conn, listener: entry.listener });
        }
        conn
    }

    /// What a SYN says, for its entry.
    fn entry_of(&self, segment: &Segment, iss: SeqNum) -> SynEntry {
        let Options { mss, window_shift, timestamp, sack_permitted, .. } = segment.options;
        let has_ecn = self.settings.features.ecn != Ecn::Off && ecn::is_setup_syn(segment);
        SynEntry {
            key: segment.key,
            mss: mss.unwrap_or(0),
            iss,
            irs: segment.seq,
            ts_recent: timestamp.map_or(0, |timestamp| timestamp.value),
            window: segment.window,
            shift: window_shift.unwrap_or(NO_SHIFT),
            timestamps: timestamp.is_some().into(),
            sack_permitted: sack_permitted.into(),
            ecn: has_ecn.into(),
            ..superpage::Record::zeroed()
        }
    }
}

/// The MSS an entry stands for.
fn mss_of(entry: &SynEntry) -> u16 {
    if entry.mss == 0 { default_mss(&entry.key) } else { entry.mss }
}
