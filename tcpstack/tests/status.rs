//! What a stack shows of itself: connections by the variables of their TCBs, and the trace.

use std::net::{Ipv4Addr, SocketAddr};

use superpage::{Placement, TierPolicy};
use tcpstack::{
    Event, Features, FrameSink, IpCidr, Limits, RxFrame, Stack, StackConfig, State, Steering,
    Timers, Traced,
};

#[derive(Default)]
struct Wire(Vec<Vec<u8>>);

impl FrameSink for Wire {
    fn frame(&mut self, len: usize) -> Option<&mut [u8]> {
        self.0.push(vec![0; len]);
        self.0.last_mut().map(Vec::as_mut_slice)
    }

    fn checksum(&mut self, _: usize, _: usize) {}
}

fn stack(last: u8) -> Stack {
    Stack::new(StackConfig {
        mac: [2, 0, 0, 0, 0, last],
        mtu: 1_500,
        addresses: vec![IpCidr::new(Ipv4Addr::new(10, 0, 0, last), 24)],
        gateway: None,
        gateway_ipv6: None,
        listeners: vec![7],
        limits: Limits::default(),
        timers: Timers::default(),
        features: Features::default(),
        secret: [last; 16],
        steering: Steering::single(),
        tx_checksum_offload: false,
        placement: Placement { tier: TierPolicy::BaseOnly, ..Placement::default() },
        segment_bytes_max: None,
        vlan: None,
    })
    .expect("a small stack fits")
}

/// Frames of one stack go to the other until both are silent; nobody takes any data.
fn talk(now_ns: u64, ends: &mut [&mut Stack; 2]) {
    for turn in 0..20 {
        let mut wire = Wire::default();
        ends[turn % 2].output(now_ns, &mut wire);
        let to = &mut ends[(turn + 1) % 2];
        for bytes in &wire.0 {
            to.input(now_ns, &[RxFrame { bytes, checksum_verified: false }]);
            while let Some(event) = to.poll_event() {
                if let Event::Data { conn, frame: 0, start, len } = event {
                    to.keep(conn, &bytes[usize::from(start)..][..usize::from(len)]);
                }
            }
        }
    }
}

#[test]
fn variables_of_both_ends_agree() {
    let (mut client, mut server) = (stack(1), stack(2));
    let remote = SocketAddr::from(([10, 0, 0, 2], 7));
    let conn = client.connect(1_000, remote).expect("room");
    talk(1_000, &mut [&mut client, &mut server]);
    client.send(2_000, conn, &[5; 3_000]);
    talk(2_000, &mut [&mut client, &mut server]);
    let (ours, theirs) = (client.status(conn).expect("open"), server.status(0).expect("accepted"));
    assert_eq!((ours.state(), theirs.state()), (State::Established, State::Established));
    assert_eq!(theirs.tcb.receive_queue, 3_000);
    assert_eq!(ours.tcb.snd_nxt, theirs.tcb.rcv_nxt);
    assert_eq!(ours.tcb.rcv_nxt, theirs.tcb.snd_nxt);
    let edge = ours.tcb.snd_una + ours.tcb.snd_wnd;
    assert!(edge <= theirs.tcb.rcv_adv, "the peer's window is never overestimated");
    let line = theirs.to_string();
    let ends = format!("local=10.0.0.2:7 remote={} state=ESTABLISHED", client.local(conn).unwrap());
    assert!(line.contains(&ends), "{line}");
    assert!(line.contains(" RCV.queue=3000 ") && line.contains(" RTO=200ms "), "{line}");
    assert!(client.status(conn + 1).is_none());
}

#[test]
fn trace_has_every_transition_in_order() {
    let (mut client, mut server) = (stack(1), stack(2));
    let conn = client.connect(1_000, SocketAddr::from(([10, 0, 0, 2], 7))).expect("room");
    talk(1_000, &mut [&mut client, &mut server]);
    client.close(2_000, conn);
    talk(2_000, &mut [&mut client, &mut server]);
    let mut changes = Vec::new();
    while let Some(entry) = client.trace(changes.len() as u64) {
        assert_eq!(entry.number, changes.len() as u64);
        changes.push(entry.traced());
    }
    let states =
        [State::Closed, State::SynSent, State::Established, State::FinWait1, State::FinWait2];
    let expected: Vec<_> =
        states.windows(2).map(|pair| Traced::Transition { from: pair[0], to: pair[1] }).collect();
    assert_eq!(changes, expected);
    assert_eq!(client.trace_end(), changes.len() as u64);
}
