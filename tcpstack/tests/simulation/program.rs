//! What the application at one end of a connection does: send a known stream, check the peer's,
//! and end in a given manner.
//!
//! Either end tells in the first octets of its stream, the header, how the rest is made. So the
//! ends need no agreement beforehand, and data that strays into another connection is found out.

use std::collections::HashSet;

/// How an end ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Closes once everything was sent and received.
    WhenDone,
    /// As `WhenDone`, but the peer shall close first, unless it waits as well.
    AfterPeer,
    /// Closes once everything was sent, whatever the peer still has to say.
    Early,
    /// Resets after so many octets received.
    Abort(usize),
    /// Says that it sends no more once everything was sent, and goes on to receive.
    HalfClose,
}

impl Manner {
    fn is_polite(self) -> bool {
        matches!(self, Self::WhenDone | Self::AfterPeer | Self::HalfClose)
    }
}

/// How applications of a run behave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    pub(crate) octets_max: usize,
    /// Whether some close early or abort.
    pub(crate) has_rude: bool,
    /// Whether there is such a thing as closing one direction only.
    pub(crate) has_half_close: bool,
    /// Whether a segment that opened a connection may open it again, delayed, after its end: so it
    /// is with SYN cookies.
    pub(crate) may_repeat: bool,
    /// Longest time in ms an end reads nothing.
    pub(crate) sleep_max_ms: u64,
    /// Octets written and read at a time, at most.
    pub(crate) portion_max: usize,
}

/// A stream: everything about it follows from these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stream {
    nonce: u64,
    octets: usize,
}

const HEADER_OCTETS: usize = 16;
const POLITE: u64 = 1;
const WAITS: u64 = 2;

impl Stream {
    fn octet(&self, at: usize) -> u8 {
        match at {
            0..8 => self.nonce.to_le_bytes()[at],
            8..HEADER_OCTETS => (self.octets as u64).to_le_bytes()[at - 8],
            _ => {
                let word = (at as u64).wrapping_mul(0x2545_f491_4f6c_dd1d) ^ self.nonce;
                (word ^ word >> 29 ^ word >> 47) as u8
            }
        }
    }
}

/// The upper half of a nonce vouches for the lower.
fn seal(run: u64, low: u32) -> u64 {
    let mixed = (run ^ u64::from(low)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed & 0xffff_ffff_0000_0000 | u64::from(low)
}

/// All applications of a host.
#[derive(Debug)]
pub(crate) struct Applications {
    run: u64,
    host: u8,
    habits: Habits,
    random: fastrand::Rng,
    begun: u32,
    /// Peers' streams: none may arrive in two connections.
    seen: HashSet<u64>,
}

impl Applications {
    pub(crate) fn new(run: u64, host: u8, habits: Habits) -> Self {
        let random = fastrand::Rng::with_seed(run ^ u64::from(host) << 32);
        Self { run, host, habits, random, begun: 0, seen: HashSet::new() }
    }

    /// An application for a new connection.
    pub(crate) fn begin(&mut self) -> Program {
        let random = &mut self.random;
        let octets = match random.u8(..4) {
            0 => 0,
            1 => random.usize(1..200),
            _ => random.usize(1..=self.habits.octets_max),
        };
        let rude = if self.habits.has_rude { random.u8(..4) } else { 4 };
        let manner = match rude {
            0 => Manner::Early,
            1 => Manner::Abort(random.usize(..=self.habits.octets_max / 2)),
            _ if self.habits.has_half_close && random.bool() => Manner::HalfClose,
            _ if random.u8(..3) == 0 => Manner::AfterPeer,
            _ => Manner::WhenDone,
        };
        self.begun += 1;
        let waits = manner == Manner::AfterPeer;
        let polite = if manner.is_polite() { POLITE } else { 0 };
        let flags = polite | if waits { WAITS } else { 0 };
        let low = self.begun << 16 | u32::from(self.host) << 8 | flags as u32;
        Program {
            manner,
            own: Stream { nonce: seal(self.run, low), octets: octets + HEADER_OCTETS },
            peer: None,
            header: [0; HEADER_OCTETS],
            sent: 0,
            received: 0,
            connected: false,
            peer_closed: false,
            is_repeated: false,
            closed: false,
            sleeps_until_ns: 0,
        }
    }

    /// Sometimes an application stops reading for a while.
    pub(crate) fn maybe_sleep(&mut self, now_ns: u64, program: &mut Program) {
        if self.habits.sleep_max_ms > 0 && self.random.u8(..40) == 0 {
            let ms = self.random.u64(1..=self.habits.sleep_max_ms);
            program.sleeps_until_ns = now_ns + 1_000_000 * ms;
        }
    }

    /// How much is written or read next.
    pub(crate) fn portion(&mut self) -> usize {
        self.random.usize(1..=self.habits.portion_max)
    }

    /// How much of octets just come is taken at once.
    pub(crate) fn taken_of(&mut self, octets: usize) -> usize {
        if self.random.u8(..4) == 0 { self.random.usize(..=octets) } else { octets }
    }

    pub(crate) fn flip(&mut self) -> bool {
        self.random.bool()
    }

    /// Checks octets received: once each, in order, and of a stream of this run that arrives here
    /// only.
    pub(crate) fn check(&mut self, program: &mut Program, octets: &[u8]) {
        for &octet in octets {
            let at = program.received;
            program.received += 1;
            if let Some(peer) = program.peer {
                assert!(at < peer.octets, "octets after the end of the stream: {program:?}");
                assert_eq!(octet, peer.octet(at), "octet {at} of {program:?}");
                continue;
            }
            program.header[at] = octet;
            if program.received == HEADER_OCTETS {
                let (nonce, octets) = program.header.split_at(8);
                let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("8 octets"));
                let peer = Stream { nonce: word(nonce), octets: word(octets) as usize };
                assert_eq!(peer.nonce, seal(self.run, peer.nonce as u32), "header of {program:?}");
                assert_ne!((peer.nonce >> 8) as u8, self.host, "a stream of its own: {program:?}");
                program.is_repeated = !self.seen.insert(peer.nonce);
                let may_repeat = self.habits.may_repeat;
                assert!(may_repeat || !program.is_repeated, "of another connection: {program:?}");
                program.peer = Some(peer);
            }
        }
    }
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Program {
    manner: Manner,
    own: Stream,
    peer: Option<Stream>,
    header: [u8; HEADER_OCTETS],
    pub(crate) sent: usize,
    received: usize,
    pub(crate) connected: bool,
    pub(crate) peer_closed: bool,
    /// The peer's stream has come before: nobody is there any more.
    is_repeated: bool,
    pub(crate) closed: bool,
    /// It reads nothing until then.
    pub(crate) sleeps_until_ns: u64,
}

impl Program {
    /// The next octets to send, at most `count`.
    pub(crate) fn next_octets(&self, count: usize) -> Vec<u8> {
        let end = self.own.octets.min(self.sent + count);
        (self.sent..end).map(|at| self.own.octet(at)).collect()
    }

    pub(crate) fn has_sent_all(&self) -> bool {
        self.sent == self.own.octets
    }

    /// Whether everything the peer said it would send was received.
    pub(crate) fn has_received_all(&self) -> bool {
        self.peer.is_some_and(|peer| self.received == peer.octets)
    }

    pub(crate) fn wants_abort(&self) -> bool {
        let Manner::Abort(at) = self.manner else { return false };
        self.received >= at || self.has_received_all() || self.peer_closed
    }

    pub(crate) fn wants_close(&self) -> bool {
        let is_done = self.has_sent_all() && self.has_received_all();
        let peer_waits = self.peer.is_some_and(|peer| peer.nonce & WAITS != 0);
        match self.manner {
            Manner::WhenDone => is_done,
            Manner::AfterPeer => is_done && (self.peer_closed || peer_waits),
            Manner::Early | Manner::HalfClose => self.has_sent_all(),
            Manner::Abort(_) => false,
        }
    }

    /// Both ends are known to end in order.
    pub(crate) fn must_finish(&self) -> bool {
        let is_polite = self.manner.is_polite() && !self.is_repeated;
        is_polite && self.peer.is_some_and(|peer| peer.nonce & POLITE != 0)
    }
}
