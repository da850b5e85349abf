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
use crate::rack::Rack;
use crate::scoreboard::{Chain, RANGE_BYTES, Ranges, Scoreboard};
use crate::seq::SeqNum;
use crate::settings::{NS_PER_MS, Settings, milliseconds};
use crate::tcb::Tcb;

record! {
    /// Loss and congestion state of one connection.
    pub(crate) struct Flight {
        /// When the timer expires; 0: it is off.
        pub(crate) due_ns: u64,
        /// The connection it belongs to.
        owner: u32,
        /// When SND.UNA last moved, or the flight began, in ms, modulo 2³².
        pub(crate) progress_ms: u32,
        /// A chunk of the send buffer, or NIL.
        pub(crate) cursor_chunk: u32,
        /// Sequence number of that chunk's first octet.
        pub(crate) cursor_seq: SeqNum,
        /// What became of what was sent.
        pub(crate) chain: Chain,
        /// What was delivered.
        pub(crate) rack: Rack,
        /// Congestion state.
        pub(crate) congestion: Congestion,
        /// The acknowledgment that ends the round trip being measured.
        pub(crate) round_end: SeqNum,
        /// [`Timer`].
        timer: u8,
        /// Expiries of the timer in a row.
        pub(crate) backoff: u8,
        /// [`Probe`].
        probe: u8,
        /// 1 while idle.
        idle: u8,
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
    /// RFC 8985 §6.3: a missing segment may only be late.
    Reordering = 2,
    /// RFC 8985 §7.2: the last segments may be lost.
    Tail = 3,
}

/// What is sent against the rules of the windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Probe {
    /// Nothing.
    None = 0,
    /// Output shall probe for a lost tail, RFC 8985 §7.3.
    TailDue = 1,
    /// It has, with new data.
    TailNew = 2,
    /// It has, with a copy of the last segment.
    TailCopy = 3,
    /// Output shall probe the peer's window, RFC 9293 §3.8.6.1.
    Window = 4,
}

impl Flight {
    pub(crate) fn new(now_ms: u32, owner: u32, tcb: &Tcb) -> Self {
        Self {
            owner,
            progress_ms: now_ms,
            cursor_chunk: NIL,
            chain: Chain::EMPTY,
            rack: Rack::new(tcb.snd_una, tcb.srtt_us),
            congestion: Congestion::new(tcb.mss, tcb.ssthresh, tcb.snd_una),
            round_end: tcb.snd_una,
            ..superpage::Record::zeroed()
        }
    }

    pub(crate) fn timer(&self) -> Timer {
        match self.timer {
            1 => Timer::Persist,
            2 => Timer::Reordering,
            3 => Timer::Tail,
            _ => Timer::Retransmit,
        }
    }

    pub(crate) fn probe(&self) -> Probe {
        match self.probe {
            1 => Probe::TailDue,
            2 => Probe::TailNew,
            3 => Probe::TailCopy,
            4 => Probe::Window,
            _ => Probe::None,
        }
    }

    pub(crate) fn set_probe(&mut self, probe: Probe) {
        self.probe = probe as u8;
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
}

/// All flights of a shard.
#[derive(Debug)]
pub(crate) struct FlightPool {
    flights: Slab<Flight>,
    idle: List<ByIdle>,
    ranges: Ranges,
}

impl FlightPool {
    /// `shared_ranges` are those beyond the flights' own.
    pub(crate) fn create(
        capacity: u32,
        shared_ranges: u32,
        placement: Placement,
    ) -> Result<Self, RegionError> {
        Ok(Self {
            flights: Slab::create("flights", capacity, placement)?,
            idle: List::new(),
            ranges: Ranges::create(capacity, shared_ranges, placement)?,
        })
    }

    /// The flight at `index`, if it is `owner`'s.
    pub(crate) fn get(&self, owner: u32, index: u32) -> Option<&Flight> {
        self.flights.get(index).filter(|flight| flight.owner == owner)
    }

    /// As [`Self::get`], writable.
    pub(crate) fn get_mut(&mut self, owner: u32, index: u32) -> Option<&mut Flight> {
        self.flights.get_mut(index).filter(|flight| flight.owner == owner)
    }

    /// As [`Self::get_mut`], with the pool that its ranges are from.
    pub(crate) fn parts(&mut self, owner: u32, index: u32) -> Option<(&mut Flight, &mut Ranges)> {
        let flight = self.flights.get_mut(index).filter(|flight| flight.owner == owner)?;
        Some((flight, &mut self.ranges))
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
        let now_ms = milliseconds(now_ns);
        if self.get(owner, tcb.flight).is_none() {
            tcb.flight = self.acquire(Flight::new(now_ms, owner, tcb))?;
        }
        self.wake(tcb.flight);
        let flight = &mut self.flights[tcb.flight];
        if !tcb.has_unacked() && flight.due_ns == 0 {
            // RFC 5681 §4.1: what was learnt before a pause longer than the RTO is not trusted.
            let pause_ms = now_ms.wrapping_sub(flight.progress_ms);
            if u64::from(pause_ms) * NS_PER_MS > settings.rto_ns(tcb, 0) {
                flight.congestion.restart(tcb.mss, tcb.ssthresh);
            }
            flight.progress_ms = now_ms;
        }
        Some(flight)
    }

    /// Makes `flight` one of the pool: in a free place, or that of the one idle longest. `None`:
    /// all are in use.
    fn acquire(&mut self, flight: Flight) -> Option<u32> {
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
        flight.set_probe(Probe::None);
        (flight.backoff, flight.chain.dup_acks) = (0, 0);
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
            self.flights[index].chain = Chain::EMPTY;
        }
    }

    /// The owner is gone.
    pub(crate) fn release(&mut self, owner: u32, index: u32) {
        if self.get(owner, index).is_some() {
            self.wake(index);
            let flight = &mut self.flights[index];
            let ranges = &mut self.ranges;
            Scoreboard { flight, ranges, nxt: SeqNum(0) }.clear();
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

    pub(crate) fn ranges(&self) -> &Ranges {
        &self.ranges
    }
}

/// Flights by `links`.
#[derive(Debug)]
struct ByIdle;

impl Linked for ByIdle {
    type Record = Flight;
    fn links(flight: &Flight) -> &Links {
        flight.chain.links()
    }
    fn links_mut(flight: &mut Flight) -> &mut Links {
        flight.chain.links_mut()
    }
}

const _: () =
    assert!(size_of::<Flight>() + RANGE_BYTES <= 136, "the budget of loss and congestion state");

#[cfg(test)]
mod tests {
    use super::*;

    fn acquire(pool: &mut FlightPool, owner: u32) -> Option<u32> {
        let tcb = Tcb::new(superpage::Record::zeroed(), crate::tcb::State::Established);
        pool.acquire(Flight::new(0, owner, &tcb))
    }

    #[test]
    fn full_pool_gives_away_the_flight_that_is_idle_longest() {
        let mut pool = FlightPool::create(3, 0, Placement::default()).expect("pool");
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
