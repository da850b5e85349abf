//! Flights: what a connection needs only while something it sent is not acknowledged.
//!
//! A connection takes a flight from the pool at its first unacknowledged octet. When all is
//! acknowledged the flight becomes idle: it stays with its connection, congestion window and all,
//! until another connection needs one and none is free; the one idle longest is taken. Its former
//! owner notices by the owner's number. So a pool sized for what is in flight at the same time is
//! enough for any number of connections.

use superpage::{NIL, Placement, RegionError, Slab, Tier, record};

use crate::congestion::Congestion;
use crate::list::{Linked, Links, List};
use crate::seq::SeqNum;
use crate::settings::Settings;
use crate::tcb::Tcb;

record! {
    /// Loss and congestion state of one connection.
    pub(crate) struct Flight {
        /// The connection it belongs to.
        owner: u32,
        /// Next octet to send: SND.NXT, or before it when lost data is sent again.
        pub(crate) send_next: SeqNum,
        /// When the timer expires; 0: it is off.
        pub(crate) due_ns: u64,
        /// When SND.UNA last moved, or the flight began.
        pub(crate) progress_ns: u64,
        /// When the timed segment was sent; 0: none is timed.
        pub(crate) timed_ns: u64,
        /// The acknowledgement that ends the measurement.
        pub(crate) timed_seq: SeqNum,
        /// A chunk of the send buffer, or NIL.
        pub(crate) cursor_chunk: u32,
        /// Sequence number of that chunk's first octet.
        pub(crate) cursor_seq: SeqNum,
        /// Congestion state.
        pub(crate) congestion: Congestion,
        /// Links of the list of idle flights.
        links: Links,
        /// [`Timer`].
        timer: u8,
        /// Expiries of the timer in a row.
        pub(crate) backoff: u8,
        /// 1: the first unacknowledged segment is to be sent again.
        pub(crate) retransmit_first: u8,
        /// 1: a part of the stream is to be sent against the rules of the window.
        pub(crate) probe_window: u8,
        /// 1 while idle.
        idle: u8,
        spare: [u8; 3],
    }
}

/// What the flight's one timer stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Timer {
    /// RFC 6298 §5.
    Retransmit = 0,
    /// RFC 9293 §3.8.6.1: the window is too small to send.
    Persist = 1,
}

impl Flight {
    pub(crate) fn timer(&self) -> Timer {
        if self.timer == Timer::Persist as u8 { Timer::Persist } else { Timer::Retransmit }
    }

    /// Whether the peer's window holds output back.
    pub(crate) fn is_persisting(&self) -> bool {
        self.timer() == Timer::Persist && self.due_ns != 0
    }

    pub(crate) fn arm(&mut self, timer: Timer, due_ns: u64) {
        self.timer = timer as u8;
        self.due_ns = due_ns;
    }

    pub(crate) fn disarm(&mut self) {
        self.due_ns = 0;
    }

    /// Karn's algorithm, RFC 6298 §3: what is sent again cannot be timed.
    pub(crate) fn stop_timing(&mut self) {
        self.timed_ns = 0;
    }
}

/// All flights of a shard.
#[derive(Debug)]
pub(crate) struct FlightPool {
    flights: Slab<Flight>,
    idle: List<ByIdle>,
}

impl FlightPool {
    pub(crate) fn create(capacity: u32, placement: Placement) -> Result<Self, RegionError> {
        Ok(Self { flights: Slab::create("flights", capacity, placement)?, idle: List::new() })
    }

    /// The flight at `index`, if it is `owner`'s.
    pub(crate) fn get(&self, owner: u32, index: u32) -> Option<&Flight> {
        self.flights.get(index).filter(|flight| flight.owner == owner)
    }

    /// As [`Self::get`], writable.
    pub(crate) fn get_mut(&mut self, owner: u32, index: u32) -> Option<&mut Flight> {
        self.flights.get_mut(index).filter(|flight| flight.owner == owner)
    }

    /// The flight of a connection that is about to send: its own, woken if it was idle, or a new
    /// one. `None`: all are in use.
    pub(crate) fn take(
        &mut self,
        now_ns: u64,
        owner: u32,
        tcb: &mut Tcb,
        settings: &Settings,
    ) -> Option<&mut Flight> {
        if self.get(owner, tcb.flight).is_none() {
            let congestion = Congestion::new(tcb.mss, tcb.ssthresh, tcb.snd_una);
            tcb.flight = self.acquire(now_ns, owner, tcb.snd_una, congestion)?;
        }
        self.wake(tcb.flight);
        let flight = &mut self.flights[tcb.flight];
        if !tcb.has_unacked() && flight.due_ns == 0 {
            // RFC 5681 §4.1: what was learnt before a pause longer than the RTO is not trusted.
            let pause_ns = now_ns.saturating_sub(flight.progress_ns);
            if pause_ns > settings.rto_ns(tcb, 0) {
                flight.congestion.restart(tcb.mss);
            }
            flight.progress_ns = now_ns;
            flight.send_next = tcb.snd_una;
        }
        Some(flight)
    }

    /// A new flight for `owner`, which has none: a free one, or the one idle longest. `None`: all
    /// are in use.
    fn acquire(
        &mut self,
        now_ns: u64,
        owner: u32,
        una: SeqNum,
        congestion: Congestion,
    ) -> Option<u32> {
        let flight = Flight {
            owner,
            send_next: una,
            progress_ns: now_ns,
            cursor_chunk: NIL,
            congestion,
            ..superpage::Record::zeroed()
        };
        if let Some(index) = self.flights.insert(flight) {
            return Some(index);
        }
        let index = self.idle.pop_front(&mut self.flights)?;
        self.flights[index] = flight;
        Some(index)
    }

    /// All of the flight is acknowledged: others may have it from now on.
    pub(crate) fn rest(&mut self, index: u32) {
        let flight = &mut self.flights[index];
        flight.disarm();
        flight.stop_timing();
        flight.backoff = 0;
        if flight.idle == 0 {
            flight.idle = 1;
            self.idle.push_back(&mut self.flights, index);
        }
    }

    /// The flight's owner sends again.
    pub(crate) fn wake(&mut self, index: u32) {
        if self.flights[index].idle != 0 {
            self.idle.remove(&mut self.flights, index);
            self.flights[index].idle = 0;
        }
    }

    /// The owner is gone.
    pub(crate) fn release(&mut self, owner: u32, index: u32) {
        if self.get(owner, index).is_some() {
            self.wake(index);
            self.flights.remove(index);
        }
    }

    /// Flights that are idle or free.
    pub(crate) fn available(&self) -> u32 {
        self.flights.capacity() - self.flights.len() + self.idle.len()
    }

    pub(crate) fn tier(&self) -> Tier {
        self.flights.tier()
    }

    pub(crate) fn region_bytes(&self) -> usize {
        self.flights.region_bytes()
    }
}

/// Flights by `links`.
#[derive(Debug)]
struct ByIdle;

impl Linked for ByIdle {
    type Record = Flight;
    fn links(flight: &Flight) -> &Links {
        &flight.links
    }
    fn links_mut(flight: &mut Flight) -> &mut Links {
        &mut flight.links
    }
}

const _: () = assert!(size_of::<Flight>() <= 136, "the budget of loss and congestion state");

#[cfg(test)]
mod tests {
    use super::*;

    fn acquire(pool: &mut FlightPool, owner: u32) -> Option<u32> {
        let una = SeqNum(1);
        pool.acquire(0, owner, una, Congestion::new(1_000, u32::MAX, una))
    }

    #[test]
    fn full_pool_gives_away_the_flight_that_is_idle_longest() {
        let mut pool = FlightPool::create(3, Placement::default()).expect("pool");
        let [a, b, c] = [10, 11, 12].map(|owner| acquire(&mut pool, owner).expect("free"));
        assert_eq!(acquire(&mut pool, 13), None, "all are in use");
        pool.rest(b);
        pool.rest(a);
        pool.wake(b);
        pool.rest(b);
        assert_eq!(pool.available(), 2);
        assert_eq!(acquire(&mut pool, 13), Some(a));
        assert!(pool.get(10, a).is_none(), "the former owner notices");
        assert!(pool.get(13, a).is_some() && pool.get(11, b).is_some());
        pool.release(10, a);
        assert!(pool.get(13, a).is_some(), "who lost a flight cannot release it");
        for (owner, index) in [(13, a), (11, b), (12, c)] {
            pool.release(owner, index);
        }
        assert_eq!(pool.available(), 3);
        assert_eq!(pool.idle.len(), 0);
    }
}
