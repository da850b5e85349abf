//! Very many TCP peers that cost four bytes each: they speak as Linux does, in frames.
//!
//! Checksums are left zero, as in frames that a port has verified.

use std::net::Ipv4Addr;

/// Peers by number: number n has the address 11.0.0.0 + n / 60,000 and the port 1,024 + n % 60,000.
#[derive(Debug)]
pub struct Peers {
    server: Ipv4Addr,
    port: u16,
    macs: [[u8; 6]; 2],
    /// What each peer acknowledges next: the server's numbers.
    acks: Vec<u32>,
}

/// What every peer says.
pub const MESSAGE: &[u8] = b"sixteen bytes ok";
const PORTS: u32 = 60_000;
const FIRST_PORT: u32 = 1_024;
const FIRST_ADDRESS: u32 = 11 << 24;
/// Initial sequence number of all peers.
const ISS: u32 = 1_000;
const ETHERNET_BYTES: usize = 14;
const IP_BYTES: usize = 20;
const TCP_BYTES: usize = 20;
const SYN: u8 = 2;
const PSH: u8 = 8;
const ACK: u8 = 16;
/// MSS 1460, SACK permitted, timestamps, window scale 7.
const SYN_OPTIONS: [u8; 20] = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
const TIMESTAMPS: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 2, 0, 0, 0, 0];

impl Peers {
    /// Peers of the listener at `server`:`port`, behind a router.
    #[must_use]
    pub fn new(server: Ipv4Addr, port: u16, to: [u8; 6], from: [u8; 6]) -> Peers {
        Peers { server, port, macs: [to, from], acks: Vec::new() }
    }

    /// A peer's SYN.
    pub fn syn(&mut self, peer: u32) -> Vec<u8> {
        self.frame(peer, ISS, SYN, &SYN_OPTIONS, b"")
    }

    /// A peer's first message, which also ends the handshake.
    pub fn message(&mut self, peer: u32) -> Vec<u8> {
        self.frame(peer, ISS + 1, ACK | PSH, &TIMESTAMPS, MESSAGE)
    }

    /// A peer's acknowledgment of the echo.
    pub fn last_ack(&mut self, peer: u32) -> Vec<u8> {
        self.frame(peer, ISS + 1 + MESSAGE.len() as u32, ACK, &TIMESTAMPS, b"")
    }

    /// A peer gets its SYN-ACK.
    pub fn heard_syn_ack(&mut self, frame: &[u8]) {
        let (peer, seq) = addressee(frame);
        self.set_ack(peer, seq.wrapping_add(1));
    }

    /// A peer gets its echo.
    ///
    /// # Panics
    /// When it is not what the peer said.
    pub fn heard_echo(&mut self, frame: &[u8]) {
        let (peer, seq) = addressee(frame);
        assert!(frame.ends_with(MESSAGE), "peer {peer} hears something else");
        self.set_ack(peer, seq.wrapping_add(MESSAGE.len() as u32));
    }

    fn set_ack(&mut self, peer: u32, ack: u32) {
        let at = peer as usize;
        if self.acks.len() <= at {
            self.acks.resize(at + 1, 0);
        }
        self.acks[at] = ack;
    }

    fn frame(&self, peer: u32, seq: u32, control: u8, options: &[u8], text: &[u8]) -> Vec<u8> {
        let ack = self.acks.get(peer as usize).copied().unwrap_or(0);
        let mut bytes = Vec::with_capacity(128);
        bytes.extend(self.macs.as_flattened());
        bytes.extend([8, 0, 0x45, 0]);
        let ip_bytes = IP_BYTES + TCP_BYTES + options.len() + text.len();
        bytes.extend((ip_bytes as u16).to_be_bytes());
        bytes.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
        bytes.extend((FIRST_ADDRESS + peer / PORTS).to_be_bytes());
        bytes.extend(self.server.octets());
        bytes.extend(((FIRST_PORT + peer % PORTS) as u16).to_be_bytes());
        bytes.extend(self.port.to_be_bytes());
        bytes.extend(seq.to_be_bytes());
        bytes.extend(ack.to_be_bytes());
        bytes.extend([((TCP_BYTES + options.len()) * 4) as u8, control, 0xff, 0xff]);
        bytes.extend([0; 4]);
        bytes.extend(options);
        bytes.extend(text);
        bytes
    }
}

/// Which peer a frame is for, and its sequence number.
fn addressee(frame: &[u8]) -> (u32, u32) {
    let word = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|byte| frame[at + byte]));
    let tcp = ETHERNET_BYTES + IP_BYTES;
    let address = word(ETHERNET_BYTES + 16);
    let port = u32::from(u16::from_be_bytes([frame[tcp + 2], frame[tcp + 3]]));
    ((address - FIRST_ADDRESS) * PORTS + port - FIRST_PORT, word(tcp + 4))
}
