//! Passive opens: from a SYN to an entry, from its last ACK to a connection.

use super::listen::{OnListen, on_listen};
use super::syn_received::{OnSynReceived, on_syn_received, syn_window};
use crate::ConnId;
use crate::counters::Drop;
use crate::event::Event;
use crate::flow_table::Entry;
use crate::options::Options;
use crate::rtt::RttEstimate;
use crate::segment::Segment;
use crate::seq::SeqNum;
use crate::settings::milliseconds;
use crate::stack::Stack;
use crate::syn_table::{NO_SHIFT, SynEntry};
use crate::tcb::{State, Tcb, flag};

impl Stack {
    /// A segment for which there is nothing in the flow table. `old_nxt` is where an old connection
    /// of the same flow ended, if it was in TIME-WAIT until now.
    pub(super) fn stray_segment(
        &mut self,
        now_ns: u64,
        segment: &Segment,
        old_nxt: Option<SeqNum>,
    ) -> Result<(), Drop> {
        let port = segment.key.local_port;
        let listener = self.settings.listeners.iter().position(|own| *own == port);
        match on_listen(segment, listener.is_some()) {
            OnListen::Ignore(reason) => Err(reason),
            OnListen::Reset(reason, header) => {
                self.answer(header);
                Err(reason)
            }
            OnListen::Open => {
                let iss = match old_nxt {
                    Some(old_nxt) => self.isn.isn_after(now_ns, &segment.key, old_nxt),
                    None => self.isn.isn(now_ns, &segment.key),
                };
                self.begin_passive_open(segment, listener.unwrap_or(0) as u16, iss)
            }
        }
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
        let Options { mss, window_shift, timestamp } = segment.options;
        let entry = SynEntry {
            key: segment.key,
            mss: mss.unwrap_or(0),
            iss,
            irs: segment.seq,
            ts_recent: timestamp.map_or(0, |timestamp| timestamp.value),
            window: segment.window,
            listener,
            shift: window_shift.unwrap_or(NO_SHIFT),
            timestamps: timestamp.is_some().into(),
            ..superpage::Record::zeroed()
        };
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
        Ok(())
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
            OnSynReceived::Resend => {
                if let Some(timestamp) = segment.options.timestamp {
                    self.syns.get_mut(index).ts_recent = timestamp.value;
                }
                self.syns.resend(index);
                Ok(())
            }
            OnSynReceived::Forget => {
                self.counters.tcp_reset_received += 1;
                self.forget_syn(index);
                Ok(())
            }
            OnSynReceived::Establish => {
                let conn = self.establish_passive_open(now_ns, index, segment.hash);
                self.connection_segment(now_ns, conn, segment, octets)
            }
        }
    }

    /// The entry becomes a connection. The segment that did it comes next, and brings its window.
    fn establish_passive_open(&mut self, now_ns: u64, index: u32, hash: u64) -> ConnId {
        let sent_ns = self.syns.sent_once_ns(index);
        let entry = self.syns.remove(index);
        let window = syn_window(&self.settings);
        let mut tcb = Tcb::established(entry.key, entry.iss, entry.irs, window);
        let mss = (entry.mss != 0).then_some(entry.mss);
        tcb.mss = self.settings.send_mss(mss, entry.timestamps != 0);
        if entry.timestamps != 0 {
            tcb.set(flag::TIMESTAMPS);
            (tcb.ts_recent, tcb.ts_recent_ms) = (entry.ts_recent, milliseconds(now_ns));
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
        let conn = self.begin(tcb);
        self.table.replace(hash, Entry::Syn(index), Entry::Connection(conn));
        self.counters.tcp_accepted += 1;
        if let Some((tcb, mut context)) = self.connection(now_ns, conn) {
            debug_assert_eq!(tcb.state(), State::Established);
            context.establish(tcb);
            context.events.push(Event::Accepted { conn, listener: entry.listener });
        }
        conn
    }
}
