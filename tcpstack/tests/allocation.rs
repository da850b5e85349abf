//! After `Stack::new` nothing is allocated: two stacks open, talk, lose segments and close while
//! every allocation is counted.

use std::net::{Ipv4Addr, SocketAddr};

use superpage::{Placement, TierPolicy};
use tcpstack::{
    BURST_FRAMES_MAX, Event, FrameSink, IpCidr, Limits, RxFrame, Stack, StackConfig, State,
    Steering, Timers,
};

const FRAME_BYTES: usize = 1_600;
const FRAMES: usize = 512;

/// A wire with room for so many frames.
struct Wire {
    bytes: Vec<[u8; FRAME_BYTES]>,
    lens: Vec<usize>,
    count: usize,
}

impl Wire {
    fn new() -> Self {
        Self { bytes: vec![[0; FRAME_BYTES]; FRAMES], lens: vec![0; FRAMES], count: 0 }
    }
}

impl FrameSink for Wire {
    fn frame(&mut self, len: usize) -> Option<&mut [u8]> {
        let at = self.count;
        *self.lens.get_mut(at)? = len;
        self.count += 1;
        Some(&mut self.bytes[at][..len])
    }

    fn checksum(&mut self, _: usize, _: usize) {}
}

fn stack(last: u8) -> Stack {
    let config = StackConfig {
        mac: [2, 0, 0, 0, 0, last],
        mtu: 1_500,
        addresses: vec![IpCidr::new(Ipv4Addr::new(10, 0, 0, last), 24)],
        gateway: None,
        gateway_ipv6: None,
        listeners: vec![7],
        limits: Limits::default(),
        timers: Timers::default(),
        features: tcpstack::Features::default(),
        secret: [last; 16],
        steering: Steering::single(),
        tx_checksum_offload: false,
        placement: Placement { tier: TierPolicy::BaseOnly, ..Placement::default() },
        segment_bytes_max: None,
        vlan: None,
    };
    Stack::new(config).expect("a small stack fits")
}

/// Octets that reached an application, and connections that ended.
#[derive(Default)]
struct Seen {
    octets: usize,
    ended: usize,
}

/// One end takes what is on the wire, but for every `loss`th frame, and echoes or closes.
fn turn(now_ns: u64, stack: &mut Stack, wire: &mut Wire, loss: usize, seen: &mut Seen) {
    for first in (0..wire.count).step_by(BURST_FRAMES_MAX) {
        let mut burst = [RxFrame { bytes: &[], checksum_verified: false }; BURST_FRAMES_MAX];
        let mut len = 0;
        for at in first..wire.count.min(first + BURST_FRAMES_MAX) {
            if at % loss != loss - 1 {
                burst[len].bytes = &wire.bytes[at][..wire.lens[at]];
                len += 1;
            }
        }
        stack.input(now_ns, &burst[..len]);
        settle(now_ns, stack, &burst, seen);
    }
    wire.count = 0;
    for conn in 0..40 {
        stack.on_timer(now_ns, conn);
        settle(now_ns, stack, &[], seen);
    }
    stack.expire(now_ns, 64);
    settle(now_ns, stack, &[], seen);
}

fn settle(now_ns: u64, stack: &mut Stack, burst: &[RxFrame<'_>], seen: &mut Seen) {
    while let Some(event) = stack.poll_event() {
        match event {
            Event::Data { conn, frame, start, len } => {
                let octets = &burst[usize::from(frame)].bytes[usize::from(start)..];
                stack.keep(conn, &octets[..usize::from(len)]);
            }
            Event::PeerClosed { conn } => {
                seen.octets += stack.backlog(conn);
                stack.close(now_ns, conn);
            }
            Event::Closed { .. } => seen.ended += 1,
            _ => {}
        }
    }
    for conn in 0..40 {
        let backlog = stack.backlog(conn);
        seen.octets += backlog;
        stack.consume(conn, backlog);
    }
    while stack.poll_rearm().is_some() {}
}

#[test]
fn nothing_is_allocated_after_the_start() {
    let (mut client, mut server) = (stack(2), stack(1));
    let (mut there, mut back) = (Wire::new(), Wire::new());
    let (mut at_client, mut at_server) = (Seen::default(), Seen::default());
    let octets = [7; 20_000];
    let mut sent = [0; 20];
    let work = || {
        let mut now_ns = 1_000_000_000;
        let mut conns = [0; 20];
        for conn in &mut conns {
            let remote = SocketAddr::new([10, 0, 0, 1].into(), 7);
            *conn = client.connect(now_ns, remote).expect("room");
        }
        for _ in 0..2_000 {
            for (conn, sent) in conns.iter().zip(&mut sent) {
                if *sent < octets.len() {
                    *sent += client.send(now_ns, *conn, &octets[*sent..]);
                } else if client.state(*conn) == Some(State::Established) {
                    client.close(now_ns, *conn);
                }
            }
            client.output(now_ns, &mut there);
            turn(now_ns, &mut server, &mut there, 13, &mut at_server);
            server.output(now_ns, &mut back);
            turn(now_ns, &mut client, &mut back, 17, &mut at_client);
            now_ns += 5_000_000;
        }
        for last in 2..=201 {
            let own = IpCidr::new([10, 0, 1, last], 24);
            assert_eq!(server.add_address(now_ns, own), Ok(1), "its place was free again");
            server.remove_address(now_ns, own.addr).expect("it was there");
            server.expire(now_ns, 1 << 20);
            now_ns += 200_000_000;
        }
    };
    let allocations = allocation_counter::measure(work);
    assert_eq!((at_server.octets, at_server.ended, at_client.ended), (400_000, 20, 20));
    assert!(client.counters().tcp_retransmitted > 0, "there were losses");
    assert_eq!(allocations.count_total, 0, "{allocations:?}");
}
