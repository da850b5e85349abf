//! Scenes: how a stack comes to be in each state of TCP, before the fuzzer takes over.

use tcpstack::{State, SynCookies};

use super::packet::{Segment, flag, fragments, packet, protocol};
use super::world::{Appetite, LISTENERS, Seen, World};

/// What the stack is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Nothing has happened.
    Listen,
    /// Its SYN waits for an answer.
    SynSent,
    /// Its SYN waits for the neighbour's address.
    Unresolved,
    /// A passive open waits for its last ACK.
    SynReceived,
    /// As before, with nothing remembered.
    Cookie,
    /// Both SYNs crossed.
    Simultaneous,
    /// All is quiet.
    Established,
    /// Data is on its way.
    InFlight,
    /// A segment was found lost.
    Recovery,
    /// The retransmission timer has expired twice.
    TimedOut,
    /// The peer's window is closed.
    Persist,
    /// Two pieces have come out of order.
    OutOfOrder,
    /// The application reads nothing, and the window is closed.
    SlowReader,
    /// Our FIN is on its way.
    FinWait1,
    /// Our FIN is acknowledged.
    FinWait2,
    /// Both FINs crossed.
    Closing,
    /// The peer has closed.
    CloseWait,
    /// The peer has closed first, and our FIN is on its way.
    LastAck,
    /// Both have closed.
    TimeWait,
    /// The peer's FIN has come before its data.
    FinAhead,
    /// The first fragment of a segment has come.
    Fragment,
}

/// Every scene.
pub const SCENES: [Scene; 21] = [
    Scene::Listen,
    Scene::SynSent,
    Scene::Unresolved,
    Scene::SynReceived,
    Scene::Cookie,
    Scene::Simultaneous,
    Scene::Established,
    Scene::InFlight,
    Scene::Recovery,
    Scene::TimedOut,
    Scene::Persist,
    Scene::OutOfOrder,
    Scene::SlowReader,
    Scene::FinWait1,
    Scene::FinWait2,
    Scene::Closing,
    Scene::CloseWait,
    Scene::LastAck,
    Scene::TimeWait,
    Scene::FinAhead,
    Scene::Fragment,
];

impl Scene {
    /// A stack in the midst of the scene. The bits of `options` choose the peer's: timestamps, window
    /// scale, SACK.
    pub fn set(self, is_ipv6: bool, options: u8) -> World {
        let cookies = if self == Scene::Cookie { SynCookies::Always } else { SynCookies::WhenFull };
        let mut actor = Actor {
            world: World::new(cookies),
            is_ipv6,
            options,
            port: PEER_PORT,
            our_port: LISTENERS[0],
            snd_nxt: ISS,
            window: 8_192,
        };
        self.play(&mut actor);
        actor.world.check();
        actor.world
    }

    /// How many connections are in what state.
    pub fn state(self) -> Option<State> {
        Some(match self {
            Scene::Listen | Scene::TimeWait | Scene::SynReceived | Scene::Cookie => return None,
            Scene::SynSent | Scene::Unresolved => State::SynSent,
            Scene::Simultaneous => State::SynReceived,
            Scene::FinWait1 => State::FinWait1,
            Scene::FinWait2 => State::FinWait2,
            Scene::Closing => State::Closing,
            Scene::CloseWait => State::CloseWait,
            Scene::LastAck => State::LastAck,
            _ => State::Established,
        })
    }

    fn play(self, actor: &mut Actor) {
        match self {
            Scene::Listen => {}
            Scene::SynSent | Scene::Simultaneous => {
                actor.connected_to();
                if self == Scene::Simultaneous {
                    actor.syn(0);
                }
            }
            Scene::Unresolved => {
                // Neighbours are forgotten after a while.
                actor.world.wait_ns(3_600_000_000_000);
                actor.world.connect(actor.is_ipv6, PEER_PORT);
                actor.world.output(8);
            }
            Scene::SynReceived | Scene::Cookie => actor.syn(0),
            _ => {
                actor.establish();
                self.continue_established(actor);
            }
        }
    }

    fn continue_established(self, actor: &mut Actor) {
        match self {
            Scene::InFlight => actor.write(1_500),
            Scene::Recovery => {
                actor.write(3_000);
                for _ in 0..3 {
                    actor.say(flag::ACK, peer_seq(1), actor.first_unacked(), b"");
                }
            }
            Scene::TimedOut => {
                actor.write(1_500);
                for wait_ms in [2_000, 4_000] {
                    actor.world.wait_ns(wait_ms * 1_000_000);
                    actor.world.output(8);
                }
            }
            Scene::Persist => {
                actor.window = 0;
                actor.say(flag::ACK, peer_seq(1), actor.first_unacked(), b"");
                actor.write(1_500);
                actor.world.wait_ns(2_000_000_000);
                actor.world.output(8);
            }
            Scene::OutOfOrder => {
                actor.text(peer_seq(301), &[3; 100], 0);
                actor.text(peer_seq(101), &[1; 100], 0);
            }
            Scene::SlowReader => {
                actor.world.appetite = Appetite::None;
                for at in 0..5 {
                    actor.text(peer_seq(1 + at * 1_000), &[at as u8; 1_000], 0);
                }
            }
            Scene::FinWait1 => actor.close(),
            Scene::FinWait2 | Scene::TimeWait => {
                actor.close();
                actor.answer(flag::ACK);
                if self == Scene::TimeWait {
                    actor.answer(flag::FIN | flag::ACK);
                }
            }
            Scene::Closing => {
                let before = actor.first_unacked();
                actor.close();
                actor.say(flag::FIN | flag::ACK, peer_seq(1), before, b"");
            }
            Scene::CloseWait | Scene::LastAck => {
                actor.answer(flag::FIN | flag::ACK);
                if self == Scene::LastAck {
                    actor.close();
                }
            }
            Scene::FinAhead => actor.text(peer_seq(101), &[1; 100], flag::FIN),
            Scene::Fragment => {
                let whole = packet(actor.is_ipv6, protocol::TCP, &[0; 600]);
                let [first, _] = fragments(&whole, 304, 77);
                actor.world.input(&[first]);
            }
            _ => {}
        }
    }
}

/// A peer that does what it should, up to the scene.
struct Actor {
    world: World,
    is_ipv6: bool,
    options: u8,
    port: u16,
    our_port: u16,
    snd_nxt: u32,
    window: u16,
}

impl Actor {
    /// What the stack said last.
    fn heard(&self) -> Seen {
        self.world.seen.last().copied().unwrap_or_default()
    }

    /// SND.UNA of the stack, as long as nothing of what it sent is acknowledged.
    fn first_unacked(&self) -> u32 {
        self.world.conns.keys().next().map_or(0, |&conn| {
            self.world.stack.status(conn).map_or(0, |status| status.tcb.snd_una as u32)
        })
    }

    fn connected_to(&mut self) {
        self.world.connect(self.is_ipv6, PEER_PORT);
        self.world.output(8);
        self.our_port = self.heard().our_port;
    }

    fn syn(&mut self, flags: u8) {
        let mut options = vec![2, 4, 1, 0];
        if self.options & 1 != 0 {
            options.extend([1, 1, 8, 10]);
            options.extend(self.timestamps());
        }
        if self.options & 2 != 0 {
            options.extend([1, 3, 3, 2]);
        }
        if self.options & 4 != 0 {
            options.extend([1, 1, 4, 2]);
        }
        let frame = Segment {
            is_ipv6: self.is_ipv6,
            source: self.port,
            destination: self.our_port,
            seq: ISS,
            ack: if flags & flag::ACK != 0 { self.heard().seq_end } else { 0 },
            flags: flags | flag::SYN,
            window: self.window,
            options: &options,
            octets: b"",
        }
        .frame();
        self.world.input(&[frame]);
        self.world.output(8);
        self.snd_nxt = peer_seq(1);
    }

    fn timestamps(&self) -> [u8; 8] {
        let mut both = [0; 8];
        let now_ms = (self.world.now_ns / 1_000_000) as u32;
        both[..4].copy_from_slice(&now_ms.to_be_bytes());
        both[4..].copy_from_slice(&self.heard().timestamp.to_be_bytes());
        both
    }

    fn establish(&mut self) {
        self.syn(0);
        self.answer(flag::ACK);
    }

    /// A segment in order that acknowledges all.
    fn answer(&mut self, flags: u8) {
        self.say(flags, self.snd_nxt, self.heard().seq_end, b"");
    }

    fn text(&mut self, seq: u32, octets: &[u8], flags: u8) {
        self.say(flags | flag::ACK, seq, self.heard().seq_end, octets);
    }

    fn say(&mut self, flags: u8, seq: u32, ack: u32, octets: &[u8]) {
        let mut options = Vec::new();
        if self.options & 1 != 0 {
            options.extend([1, 1, 8, 10]);
            options.extend(self.timestamps());
        }
        let frame = Segment {
            is_ipv6: self.is_ipv6,
            source: self.port,
            destination: self.our_port,
            seq,
            ack,
            flags,
            window: self.window,
            options: &options,
            octets,
        }
        .frame();
        self.world.input(&[frame]);
        self.world.output(16);
    }

    fn write(&mut self, octets: usize) {
        for conn in self.world.conns.keys().copied().collect::<Vec<_>>() {
            self.world.stack.send(self.world.now_ns, conn, &[0x77; 4_096][..octets]);
        }
        self.world.output(16);
    }

    fn close(&mut self) {
        for conn in self.world.conns.keys().copied().collect::<Vec<_>>() {
            self.world.stack.close(self.world.now_ns, conn);
        }
        self.world.events(&[]);
        self.world.output(16);
    }
}

/// An octet of the peer's.
fn peer_seq(offset: u32) -> u32 {
    ISS.wrapping_add(offset)
}

/// The peer's port.
pub const PEER_PORT: u16 = 1_000;
/// The peer's initial sequence number: numbers wrap soon after it.
const ISS: u32 = 0xffff_fe00;
