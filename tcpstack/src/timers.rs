//! What happens when time passes: the caller's wheel for connections, and the tables' own orders
//! for everything else.

use std::net::IpAddr;

use crate::ConnId;
use crate::chunks::Use;
use crate::context::{Context, Then};
use crate::dad::Step;
use crate::ethernet::{self, Mac};
use crate::event::{CloseReason, Event, NeighborNews};
use crate::flight::{Probe, Timer};
use crate::ndp::Outgoing;
use crate::neighbor::{Claim, Learnt};
use crate::path_mtu::narrowing;
use crate::recovery;
use crate::settings::{NS_PER_MS, milliseconds};
use crate::stack::Stack;
use crate::syn_table::Due;
use crate::tcb::{Place, State, Tcb, flag};

impl Stack {
    /// A connection whose deadline moved earlier than what the caller's wheel is set to, and the
    /// deadline.
    pub fn poll_rearm(&mut self) -> Option<(ConnId, u64)> {
        while let Some(conn) = self.rearm.pop_front(&mut self.tcbs) {
            self.tcbs[conn].clear(flag::REARM);
            let due_ns = self.due_ns(conn);
            let tcb = &mut self.tcbs[conn];
            if due_ns != 0 && (tcb.armed_ns == 0 || due_ns < tcb.armed_ns) {
                tcb.armed_ns = due_ns;
                return Some((conn, due_ns));
            }
        }
        None
    }

    /// The caller's wheel has fired for a connection. Does what is due and gives the next deadline
    /// to set the wheel to, if there is one. Harmless for a connection that is gone.
    pub fn on_timer(&mut self, now_ns: u64, conn: ConnId) -> Option<u64> {
        let (tcb, mut context) = self.connection(now_ns, conn)?;
        tcb.armed_ns = 0;
        let then = act(tcb, &mut context);
        self.carry_out(now_ns, conn, then);
        let due_ns = self.due_ns(conn);
        self.tcbs[conn].armed_ns = due_ns;
        (due_ns != 0).then_some(due_ns)
    }

    /// Housekeeping: passive opens, TIME-WAIT and neighbours whose time is over, connections that
    /// wait for chunks, and those that hold them when they are short. Looks at no more than about `budget` of them.
    pub fn expire(&mut self, now_ns: u64, budget: usize) {
        self.now_ns = now_ns;
        self.trace.new_round();
        for _ in 0..budget {
            match self.syns.next_due(now_ns) {
                Some(Due::Repeated) => self.counters.tcp_syn_ack_retransmitted += 1,
                Some(Due::Expired(index)) => {
                    self.counters.tcp_syn_expired += 1;
                    self.forget_syn(index);
                }
                None => break,
            }
        }
        for _ in 0..budget {
            match self.time_waits.oldest() {
                Some(index) if self.time_waits.next_expiry() <= Some(now_ns) => {
                    self.forget_time_wait(index);
                }
                _ => break,
            }
        }
        self.expire_claims(now_ns);
        self.neighbors.expire(now_ns);
        self.expire_announcements(now_ns);
        self.expire_fragments(now_ns, budget);
        self.counters.neighbor_refused = self.neighbors.refused();
        self.counters.neighbor_evicted = self.neighbors.evicted();
        self.reclaim(now_ns, budget);
        self.expire_addresses(now_ns, budget);
        self.wake_chunk_waiters(budget);
    }

    /// The next time [`Self::expire`] has something to do.
    #[must_use]
    pub fn next_expiry(&self) -> Option<u64> {
        let waits_for_chunks =
            self.places.len(Place::Chunks) > 0 && self.chunks.room(Use::Sending) > 0;
        [
            waits_for_chunks.then_some(0),
            self.syns.next_expiry(),
            self.time_waits.next_expiry(),
            self.neighbors.next_expiry(),
            self.next_reclaim(),
            self.next_address_expiry(),
            self.fragments.next_expiry(),
            self.defences.next_expiry(),
            self.claims.next_expiry(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Duplicate address detection goes on (RFC 4862 §5.4). Of several shards, one asks.
    fn expire_claims(&mut self, now_ns: u64) {
        while let Some(step) = self.claims.next_due(now_ns) {
            let (local, is_question) = match step {
                Step::Probe(local) => (local, true),
                Step::Announce(local) => (local, false),
            };
            let Some(own) = self.settings.ipv6_address(local) else { continue };
            if self.steering.shard == 0 {
                let probe = Outgoing::Probe { target: own };
                let announcement = Outgoing::Announcement { own };
                // The queue has room for one of every address.
                let _ = self.ndp.push(if is_question { probe } else { announcement });
            }
        }
    }

    /// Another shard has heard that one of our addresses, not in use yet, is somebody else's.
    pub fn lose_address(&mut self, ip: IpAddr) {
        if let Some(local) = self.settings.local(ip) {
            self.claims.contest(local);
        }
    }

    /// Another shard has heard where a neighbour is, just now.
    pub fn learn_neighbor(&mut self, ip: IpAddr, mac: Mac, news: NeighborNews) {
        if !ethernet::is_unicast(mac) {
            return;
        }
        let now_ns = self.now_ns;
        let learnt = match news {
            NeighborNews::Asked => self.neighbors.learn(now_ns, ip, mac, true),
            NeighborNews::Told => self.neighbors.learn(now_ns, ip, mac, false),
            NeighborNews::Answered => {
                let claim = Claim { mac: Some(mac), solicited: true, overrides: false };
                self.neighbors.advertised(now_ns, ip, claim)
            }
        };
        self.after_learning(learnt);
    }

    /// Everything that waited for a neighbour tries again.
    pub(crate) fn after_learning(&mut self, learnt: Learnt) {
        if learnt != Learnt::Ignored {
            self.held.kick();
        }
        if learnt != Learnt::Answered {
            return;
        }
        self.syns.kick_unresolved();
        while let Some(conn) = self.places.first(Place::Neighbor) {
            let tcb = &mut self.tcbs[conn];
            tcb.set(flag::OUTPUT);
            if tcb.state() >= State::Established {
                tcb.set(flag::ACK_NOW);
            }
            if let Some((tcb, mut context)) = self.connection(self.now_ns, conn) {
                recovery::send_again(tcb, &mut context);
            }
            self.places.put(&mut self.tcbs, conn, Place::Output);
        }
    }

    /// Puts a connection in the list for [`Self::poll_rearm`] if its deadline moved earlier.
    pub(crate) fn request_timer(&mut self, conn: ConnId) {
        let due_ns = self.due_ns(conn);
        let tcb = &mut self.tcbs[conn];
        let is_earlier = due_ns != 0 && (tcb.armed_ns == 0 || due_ns < tcb.armed_ns);
        if is_earlier && !tcb.has(flag::REARM) {
            tcb.set(flag::REARM);
            self.rearm.push_back(&mut self.tcbs, conn);
        }
    }

    fn due_ns(&mut self, conn: ConnId) -> u64 {
        self.connection(0, conn).map_or(0, |(tcb, context)| context.deadline_ns(tcb))
    }

    fn wake_chunk_waiters(&mut self, budget: usize) {
        for _ in 0..budget.min(self.events.room()) {
            let Some(conn) =
                self.places.first(Place::Chunks).filter(|_| self.chunks.room(Use::Sending) > 0)
            else {
                return;
            };
            self.places.put(&mut self.tcbs, conn, Place::Idle);
            if self.tcbs[conn].has(flag::WANT_WRITABLE) {
                self.tcbs[conn].clear(flag::WANT_WRITABLE);
                self.events.push(Event::Writable { conn });
            }
        }
    }
}

/// Does what is due for a connection.
fn act(tcb: &mut Tcb, context: &mut Context<'_>) -> Then {
    let now_ns = context.now_ns;
    let is_due = |due_ns: u64| due_ns != 0 && due_ns <= now_ns;
    if tcb.state() == State::Closed {
        return Then::GoOn;
    }
    if is_due(tcb.ack_due_ns) {
        tcb.ack_due_ns = 0;
        tcb.set(flag::ACK_NOW);
    }
    if is_due(tcb.state_due_ns) {
        let then = on_state_timer(tcb, context);
        if !matches!(then, Then::GoOn) {
            return then;
        }
    }
    match context.flight(tcb) {
        Some(flight) if is_due(flight.due_ns) => match flight.timer() {
            Timer::Retransmit => on_retransmission_timer(tcb, context),
            Timer::Persist => on_persist_timer(tcb, context),
            Timer::Reordering => {
                recovery::on_reordering_timer(tcb, context);
                Then::GoOn
            }
            Timer::Tail => {
                recovery::on_tail_timer(tcb, context);
                Then::GoOn
            }
        },
        _ => Then::GoOn,
    }
}

/// RFC 6298 §5, within the limits of RFC 9293 §3.8.3.
fn on_retransmission_timer(tcb: &mut Tcb, context: &mut Context<'_>) -> Then {
    if is_given_up(tcb, context) {
        return Then::End { reason: CloseReason::TimedOut, reset: false };
    }
    let Some(flight) = context.flight(tcb) else { return Then::GoOn };
    flight.disarm();
    let backoff = flight.backoff;
    if !narrowing::on_timeout(tcb, context, backoff) {
        recovery::on_retransmission_timer(tcb, context);
    }
    Then::GoOn
}

/// RFC 9293 §3.8.6.1: the closed window is probed, with growing intervals.
fn on_persist_timer(tcb: &mut Tcb, context: &mut Context<'_>) -> Then {
    if is_given_up(tcb, context) {
        return Then::End { reason: CloseReason::TimedOut, reset: false };
    }
    let now_ns = context.now_ns;
    let Some(flight) = context.flight(tcb) else { return Then::GoOn };
    flight.backoff = flight.backoff.saturating_add(1);
    flight.set_probe(Probe::Window);
    let backoff = flight.backoff;
    // A peer must have the chance to answer before it is given up.
    let limit_ns = u64::from(context.settings.timers.user_timeout_ms) * NS_PER_MS / 2;
    let due_ns = now_ns + context.settings.rto_ns(tcb, backoff).min(limit_ns.max(NS_PER_MS));
    if let Some(flight) = context.flight(tcb) {
        flight.arm(Timer::Persist, due_ns);
    }
    tcb.set(flag::OUTPUT);
    Then::GoOn
}

/// R2 of RFC 9293 §3.8.3: no progress for too long.
fn is_given_up(tcb: &Tcb, context: &mut Context<'_>) -> bool {
    let limit_ms = context.settings.timers.user_timeout_ms;
    let now_ms = milliseconds(context.now_ns);
    context.flight(tcb).is_some_and(|flight| now_ms.wrapping_sub(flight.progress_ms) >= limit_ms)
}

fn on_state_timer(tcb: &mut Tcb, context: &mut Context<'_>) -> Then {
    match tcb.state() {
        State::SynSent | State::SynReceived | State::FinWait2 => {
            Then::End { reason: CloseReason::TimedOut, reset: false }
        }
        _ => on_keep_alive_timer(tcb, context),
    }
}

/// RFC 9293 §3.8.4.
fn on_keep_alive_timer(tcb: &mut Tcb, context: &mut Context<'_>) -> Then {
    let timers = &context.settings.timers;
    let quiet_ms = milliseconds(context.now_ns).wrapping_sub(tcb.heard_ms);
    if quiet_ms < timers.keep_alive_idle_ms || tcb.has_unacked() {
        let wait_ms = timers.keep_alive_idle_ms.saturating_sub(quiet_ms).max(1_000);
        tcb.state_due_ns = context.now_ns + u64::from(wait_ms) * NS_PER_MS;
        return Then::GoOn;
    }
    if tcb.probes >= timers.keep_alive_probes {
        return Then::End { reason: CloseReason::TimedOut, reset: true };
    }
    tcb.probes += 1;
    tcb.state_due_ns = context.now_ns + u64::from(timers.keep_alive_interval_ms) * NS_PER_MS;
    tcb.set(flag::PROBE_DUE);
    Then::GoOn
}
