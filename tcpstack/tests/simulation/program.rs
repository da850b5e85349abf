//! What the application at one end of a connection does: send a known stream, check the peer's,
//! and close in a given order.

use std::net::{IpAddr, SocketAddr};

/// Which end of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// Who closes first, once everything was sent and received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    ClientFirst,
    ServerFirst,
    Together,
    /// This side resets after so many octets received.
    AbortedBy(Side, usize),
}

/// Both ends derive the same script from the client's address and the run's seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script {
    seed: u64,
    pub(crate) client_octets: usize,
    pub(crate) server_octets: usize,
    pub(crate) ending: Ending,
    /// The server sends back what it gets, instead of a stream of its own.
    pub(crate) echo: bool,
}

impl Script {
    pub(crate) fn of(run: u64, client: SocketAddr, octets_max: usize) -> Self {
        let ip_bits = match client.ip() {
            IpAddr::V4(ip) => u64::from(ip.to_bits()),
            IpAddr::V6(ip) => ip.to_bits() as u64,
        };
        let seed = run ^ ip_bits << 16 ^ u64::from(client.port());
        let mut random = fastrand::Rng::with_seed(seed);
        let mut octets = || match random.u8(..4) {
            0 => 0,
            1 => random.usize(1..200),
            _ => random.usize(1..=octets_max),
        };
        let (client_octets, mut server_octets) = (octets(), octets());
        let echo = random.u8(..3) == 0;
        if echo {
            server_octets = client_octets;
        }
        let ending = match random.u8(..8) {
            0..=2 => Ending::ClientFirst,
            3 | 4 => Ending::ServerFirst,
            5 | 6 => Ending::Together,
            _ => {
                let side = if random.bool() { Side::Client } else { Side::Server };
                Ending::AbortedBy(side, random.usize(..=octets_max / 2))
            }
        };
        Self { seed, client_octets, server_octets, ending, echo }
    }

    /// The octet `at` of the stream that `side` sends.
    pub(crate) fn octet(&self, side: Side, at: usize) -> u8 {
        let direction = if side == Side::Server && !self.echo { 0x9e37_79b9 } else { 0 };
        let word = (at as u64).wrapping_mul(0x2545_f491_4f6c_dd1d) ^ self.seed ^ direction;
        (word ^ word >> 29 ^ word >> 47) as u8
    }
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) side: Side,
    pub(crate) script: Script,
    pub(crate) sent: usize,
    pub(crate) received: usize,
    pub(crate) connected: bool,
    pub(crate) peer_closed: bool,
    pub(crate) closed: bool,
    /// It reads nothing until then.
    pub(crate) sleeps_until_ns: u64,
}

impl Program {
    pub(crate) fn new(side: Side, script: Script) -> Self {
        Self {
            side,
            script,
            sent: 0,
            received: 0,
            connected: side == Side::Server,
            peer_closed: false,
            closed: false,
            sleeps_until_ns: 0,
        }
    }

    fn peer(&self) -> Side {
        if self.side == Side::Client { Side::Server } else { Side::Client }
    }

    fn to_send(&self) -> usize {
        match self.side {
            Side::Client => self.script.client_octets,
            Side::Server => self.script.server_octets,
        }
    }

    pub(crate) fn expected(&self) -> usize {
        match self.side {
            Side::Client => self.script.server_octets,
            Side::Server => self.script.client_octets,
        }
    }

    /// Octets it may send now.
    pub(crate) fn sendable(&self) -> usize {
        let end = if self.script.echo && self.side == Side::Server {
            self.received
        } else {
            self.to_send()
        };
        end - self.sent
    }

    pub(crate) fn next_octets(&self, count: usize) -> Vec<u8> {
        (self.sent..self.sent + count).map(|at| self.script.octet(self.side, at)).collect()
    }

    /// Checks octets received: once each, in order.
    pub(crate) fn check(&mut self, octets: &[u8]) {
        for octet in octets {
            let expected = self.script.octet(self.peer(), self.received);
            assert_eq!(*octet, expected, "octet {} of {self:?}", self.received);
            self.received += 1;
        }
        assert!(self.received <= self.expected(), "too many octets for {self:?}");
    }

    pub(crate) fn wants_abort(&self) -> bool {
        matches!(self.script.ending, Ending::AbortedBy(side, at)
            if side == self.side && self.received >= at.min(self.expected()))
    }

    pub(crate) fn wants_close(&self) -> bool {
        let is_done = self.sent == self.to_send() && self.received == self.expected();
        let is_first = match self.script.ending {
            Ending::ClientFirst => self.side == Side::Client,
            Ending::ServerFirst => self.side == Side::Server,
            Ending::Together => true,
            Ending::AbortedBy(..) => false,
        };
        is_done && (is_first || self.peer_closed)
    }
}
