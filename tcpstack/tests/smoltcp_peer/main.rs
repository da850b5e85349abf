//! Our stack against smoltcp's, an independent implementation, over a bad wire.
//!
//! Every case runs many seeds in virtual time; a failure prints the seed, which replays exactly.

mod host;
#[path = "../simulation/link.rs"]
mod link;
mod peer;

use std::net::{Ipv4Addr, SocketAddr};

use host::{Application, Host};
use link::{Impairment, Link};
use peer::Peer;
use smoltcp::socket::tcp::State;
use tcpstack::{IpCidr, Limits, Stack, StackConfig, Steering, Timers};

const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const OUR_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PEER_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const PORT: u16 = 7;

const CLEAN: Impairment =
    Impairment { delay_us: 1_000, jitter_us: 0, loss_percent: 0, duplicate_percent: 0 };
const LOSSY: Impairment =
    Impairment { delay_us: 5_000, jitter_us: 0, loss_percent: 3, duplicate_percent: 0 };
const BAD: Impairment =
    Impairment { delay_us: 10_000, jitter_us: 30_000, loss_percent: 5, duplicate_percent: 2 };

/// Virtual time by which every case must have ended.
const TIME_MAX_NS: u64 = 3_600_000_000_000;

struct World {
    now_ns: u64,
    ours: Host,
    peer: Peer,
    to_us: Link,
    to_peer: Link,
}

impl World {
    fn new(seed: u64, impairment: Impairment, application: Application) -> World {
        World {
            now_ns: 0,
            ours: Host::new(stack(seed), application),
            peer: Peer::new(PEER_MAC, PEER_ADDRESS, seed),
            to_us: Link::new(seed ^ 0x5555, impairment),
            to_peer: Link::new(seed ^ 0xaaaa, impairment),
        }
    }

    /// Runs both hosts until the peer's application, called whenever something moved, and ours are
    /// through and every connection is gone from our tables.
    fn run(&mut self, mut peer_is_done: impl FnMut(&mut Peer) -> bool) {
        loop {
            let done = peer_is_done(&mut self.peer);
            let frames = arrived(&mut self.to_us, self.now_ns);
            for frame in self.ours.poll(self.now_ns, &frames) {
                self.to_peer.send(self.now_ns, frame);
            }
            let frames = arrived(&mut self.to_peer, self.now_ns);
            for frame in self.peer.poll(self.now_ns, frames) {
                self.to_us.send(self.now_ns, frame);
            }
            let gauges = self.ours.stack.gauges();
            if done && gauges.in_use == 0 {
                assert_eq!(gauges.free, gauges.total, "buffers given back");
                return;
            }
            let next = [
                self.to_us.next_ns(),
                self.to_peer.next_ns(),
                self.ours.next_poll_ns(),
                self.peer.next_poll_ns(self.now_ns),
            ];
            let next_ns = next.into_iter().flatten().min().expect("nobody will ever move again");
            self.now_ns = next_ns.max(self.now_ns + 1_000);
            assert!(
                self.now_ns < TIME_MAX_NS,
                "stuck: {gauges:?} {:?}",
                self.peer.socket().state()
            );
        }
    }
}

/// Every frame that has arrived by `now_ns`.
fn arrived(link: &mut Link, now_ns: u64) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| link.receive(now_ns)).collect()
}

fn stack(seed: u64) -> Stack {
    let config = StackConfig {
        mac: OUR_MAC,
        mtu: 1500,
        addresses: vec![IpCidr::new(OUR_ADDRESS, 24)],
        gateway: None,
        gateway_ipv6: None,
        listeners: vec![PORT],
        limits: Limits {
            connections: 16,
            syn_entries: 16,
            time_wait_entries: 16,
            flights: 16,
            chunks: 2048,
            chunk_bytes: 512,
            receive_buffer_bytes: 64 * 1024,
            send_buffer_bytes: 64 * 1024,
            neighbors: 16,
        },
        timers: Timers::default(),
        features: tcpstack::Features::default(),
        secret: u128::from(seed).to_ne_bytes(),
        steering: Steering::single(),
        tx_checksum_offload: false,
        placement: superpage::Placement::default(),
        segment_bytes_max: None,
    };
    Stack::new(config).expect("a small stack fits")
}

fn payload(seed: u64, len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(len).collect()
}

/// smoltcp connects, sends `len` bytes, wants them back, closes.
fn peer_connects(seed: u64, impairment: Impairment, len: usize) {
    println!("seed {seed} {impairment:?} {len} bytes, smoltcp connects");
    let payload = payload(seed, len);
    let mut world = World::new(seed, impairment, Application::Echo);
    world.peer.connect(SocketAddr::new(OUR_ADDRESS.into(), PORT), 49_152);
    let (mut sent, mut received) = (0, Vec::new());
    world.run(|peer| {
        let socket = peer.socket();
        if socket.can_send() && sent < payload.len() {
            sent += socket.send_slice(&payload[sent..]).expect("can send");
        }
        if sent == payload.len() && socket.may_send() {
            socket.close();
        }
        while socket.can_recv() {
            socket
                .recv(|bytes| {
                    received.extend_from_slice(bytes);
                    (bytes.len(), ())
                })
                .expect("can receive");
        }
        matches!(socket.state(), State::Closed | State::TimeWait)
    });
    assert!(received == payload, "the echo differs from what was sent");
}

/// We connect, send `len` bytes, want them back, close; smoltcp echoes.
fn we_connect(seed: u64, impairment: Impairment, len: usize) {
    println!("seed {seed} {impairment:?} {len} bytes, we connect");
    let payload = payload(seed, len);
    let client = Application::Client { payload: payload.clone(), sent: 0, received: Vec::new() };
    let mut world = World::new(seed, impairment, client);
    world.peer.listen(PORT);
    world.ours.connect(0, SocketAddr::new(PEER_ADDRESS.into(), PORT));
    let mut held = Vec::new();
    world.run(|peer| {
        let socket = peer.socket();
        while socket.can_recv() {
            socket
                .recv(|bytes| {
                    held.extend_from_slice(bytes);
                    (bytes.len(), ())
                })
                .expect("can receive");
        }
        if socket.can_send() && !held.is_empty() {
            let sent = socket.send_slice(&held).expect("can send");
            held.drain(..sent);
        }
        if socket.state() == State::CloseWait && held.is_empty() {
            socket.close();
        }
        matches!(socket.state(), State::Closed)
    });
    let Application::Client { received, .. } = &world.ours.application else { unreachable!() };
    assert!(*received == payload, "the echo differs from what was sent");
}

#[test]
fn smoltcp_client_gets_its_echo_over_a_clean_wire() {
    (0..20).for_each(|seed| peer_connects(seed, CLEAN, 1 + 20_000 * seed as usize));
}

#[test]
fn smoltcp_client_gets_its_echo_despite_loss() {
    (0..200).for_each(|seed| peer_connects(seed, LOSSY, 1 + 500 * seed as usize));
}

#[test]
fn smoltcp_client_gets_its_echo_over_a_bad_wire() {
    (0..200).for_each(|seed| peer_connects(seed, BAD, 1 + 500 * seed as usize));
}

#[test]
fn smoltcp_server_echoes_to_us_over_a_clean_wire() {
    (0..20).for_each(|seed| we_connect(seed, CLEAN, 1 + 20_000 * seed as usize));
}

#[test]
fn smoltcp_server_echoes_to_us_over_a_bad_wire() {
    (0..200).for_each(|seed| we_connect(seed, BAD, 1 + 500 * seed as usize));
}
