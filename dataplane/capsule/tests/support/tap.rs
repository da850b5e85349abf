//! A tap port in a network namespace of this test's own, opposite the kernel at 10.77.0.2.
//!
//! The namespace has no name and goes with the process, and everything in it.

use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, UdpSocket};
use std::process::Command;
use std::time::Duration;

use capsule::{PortQueue, RxBatch, RxChecksum, TxBatch, TxChecksum};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};

const TAP: &str = "tl-test";
const KERNEL_MAC: [u8; 6] = [2, 0x54, 0x4c, 0, 0, 2];
const OUR_MAC: [u8; 6] = [2, 0x54, 0x4c, 0, 0, 1];
const KERNEL: [u8; 4] = [10, 77, 0, 2];
const OURS: [u8; 4] = [10, 77, 0, 1];
const L4: usize = 34;

/// Polls to wait for a frame that the kernel has already queued.
const POLLS_MAX: usize = 1_000_000;

/// Opens a persistent tap with `queues` queue pairs, passes frames each way, closes it.
pub(crate) fn frames_pass_each_way(queues: u16) {
    unshare(CloneFlags::CLONE_NEWNET).expect("tests run as root");
    ip(&["tuntap", "add", "dev", TAP, "mode", "tap", "multi_queue"]);
    ip(&["addr", "add", "10.77.0.2/24", "dev", TAP]);
    fs::write(format!("/proc/sys/net/ipv6/conf/{TAP}/disable_ipv6"), "1").expect("we are root");
    ip(&["link", "set", TAP, "up"]);
    let eal = crate::support::eal(&["net_tap0,iface=tl-test,mac=02:54:4c:00:00:02"]);
    let pool = crate::support::mempool(&eal, 2_047);
    let wishes = capsule::PortConfig { mtu: 1_400, ..crate::support::wishes("net_tap0", queues) };
    let mut port = capsule::Port::open(&eal, &wishes, &pool).expect("it opens");
    let mut pairs = port.take_queues();
    port.start().expect("it starts");

    let facts = port.facts();
    assert_eq!((facts.driver.as_str(), facts.mac), ("net_tap", KERNEL_MAC));
    assert!(facts.granted.rx_checksum && facts.granted.tx_checksum);
    assert!(facts.rx_interrupts);
    assert!(!facts.granted.rss && facts.reta.is_empty() && facts.rss_key.is_empty());
    let link = ip(&["link", "show", TAP]);
    assert!(link.contains("mtu 1400") && link.contains("02:54:4c:00:00:02"), "{link}");
    ip(&["neigh", "replace", "10.77.0.1", "lladdr", "02:54:4c:00:00:01", "dev", TAP]);

    the_kernel_reaches_every_queue(&mut pairs);
    a_frame_wakes_a_sleeper(&mut pairs);
    datagrams_are_answered_to_the_queue_that_sent(&mut pairs);
    the_kernel_takes_checksums_and_sends_good_ones(&mut pairs);

    let counted = pairs.iter().map(|pair| pair.counters().rx_frames).sum::<u64>();
    assert_eq!(port.stats().rx_frames, counted);
    drop(port);
    drop(pairs);
    assert_eq!(pool.in_use(), 0);
    let address = ip(&["-brief", "address", "show", TAP]);
    assert!(address.contains("10.77.0.2/24"), "a persistent tap keeps its address: {address}");
}

/// Datagrams of many flows, to a MAC address that is not the port's.
fn the_kernel_reaches_every_queue(pairs: &mut [PortQueue]) {
    const FLOWS: u8 = 64;
    let mut arrived = vec![0; pairs.len()];
    for flow in 0..FLOWS {
        let socket = UdpSocket::bind("10.77.0.2:0").expect("the address is there");
        socket.send_to(&[flow; 100], "10.77.0.1:7").expect("the neighbour is known");
        let queue = wait_for(pairs, |frame, _| {
            frame[..6] == OUR_MAC && frame[12..14] == [8, 0] && frame[L4 + 8..] == [flow; 100]
        });
        arrived[queue] += 1;
    }
    assert!(arrived.iter().all(|&count| count > 0), "frames per queue: {arrived:?}");
}

/// An armed interrupt is silent while there is nothing, and signals a frame.
fn a_frame_wakes_a_sleeper(pairs: &mut [PortQueue]) {
    let wakes = |pairs: &mut [PortQueue], timeout: PollTimeout| {
        let armed: Option<Vec<_>> = pairs.iter_mut().map(PortQueue::arm_interrupt).collect();
        let fds = armed.expect("a tap has interrupts");
        let mut fds: Vec<_> = fds.iter().map(|&fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        loop {
            // The tap driver's own signal may interrupt.
            match poll(&mut fds, timeout) {
                Err(Errno::EINTR) => {}
                woken => return woken.expect("the descriptors are good"),
            }
        }
    };
    assert_eq!(wakes(pairs, PollTimeout::ZERO), 0);
    let socket = UdpSocket::bind("10.77.0.2:0").expect("the address is there");
    socket.send_to(&[0xaa; 100], "10.77.0.1:7").expect("the neighbour is known");
    assert_eq!(wakes(pairs, PollTimeout::from(10_000_u16)), 1);
    pairs.iter_mut().for_each(PortQueue::disarm_interrupt);
    wait_for(pairs, |frame, _| frame[L4 + 8..] == [0xaa; 100]);
    assert_eq!(wakes(pairs, PollTimeout::ZERO), 0);
}

/// The kernel sends a flow to the queue on which it last received from that flow.
fn datagrams_are_answered_to_the_queue_that_sent(pairs: &mut [PortQueue]) {
    let socket = UdpSocket::bind("10.77.0.2:7").expect("the address is there");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
    for i in 0..pairs.len() {
        let pair = &mut pairs[i];
        let mut tx = TxBatch::new();
        let payload = [i as u8; 32];
        let frame = pair.reserve(&mut tx, L4 + 8 + 32).expect("there is room");
        headers(frame, 17);
        frame[L4..L4 + 8].copy_from_slice(&[0x10, i as u8, 0, 7, 0, 8 + 32, 0, 0]);
        frame[L4 + 8..].copy_from_slice(&payload);
        // The kernel drops what has a wrong header checksum. UDP's may be left out.
        pair.set_checksum(&mut tx, TxChecksum::Ipv4Only { l2: 14, l3: 20 });
        assert_eq!(pair.send(&mut tx), 1);
        let mut received = [0; 64];
        let (len, from) = socket.recv_from(&mut received).expect("the datagram arrives");
        assert_eq!((&received[..len], from.port()), (&payload[..], 0x1000 + i as u16));
        socket.send_to(b"answer of the kernel", from).expect("the neighbour is known");
        let answered =
            wait_for(pairs, |frame, _| frame[L4 + 8..].starts_with(b"answer of the kernel"));
        assert_eq!(answered, i);
    }
}

/// A SYN whose checksums the port filled in is answered with good checksums. (The very first answer
/// comes to the queue of the flow's hash: the kernel notes the sender's queue only afterwards.)
fn the_kernel_takes_checksums_and_sends_good_ones(pairs: &mut [PortQueue]) {
    let listener = TcpListener::bind("10.77.0.2:9").expect("the address is there");
    for queue in 0..pairs.len() {
        let mut tx = TxBatch::new();
        let frame = pairs[queue].reserve(&mut tx, L4 + 20).expect("there is room");
        headers(frame, 6);
        let port = 0x2000 + queue as u16;
        frame[L4..L4 + 2].copy_from_slice(&port.to_be_bytes());
        frame[L4 + 2..]
            .copy_from_slice(&[0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
        pairs[queue].set_checksum(&mut tx, TxChecksum::Ipv4Tcp { l2: 14, l3: 20 });
        assert_eq!(pairs[queue].send(&mut tx), 1);
        wait_for(pairs, |frame, checksum| {
            let is_syn_ack = frame[23] == 6
                && frame[L4 + 2..L4 + 4] == port.to_be_bytes()
                && frame[L4 + 13] == 0x12;
            assert!(!is_syn_ack || checksum == RxChecksum::Good, "{checksum:?}");
            is_syn_ack
        });
    }
    listener.set_nonblocking(true).expect("it can");
    let unfinished = listener.accept().expect_err("the handshakes were left unfinished");
    assert_eq!(unfinished.kind(), ErrorKind::WouldBlock);
}

/// Ethernet and IPv4 headers to the kernel, without checksum.
fn headers(frame: &mut [u8], protocol: u8) {
    let length = (frame.len() - 14) as u16;
    frame[..6].copy_from_slice(&KERNEL_MAC);
    frame[6..12].copy_from_slice(&OUR_MAC);
    frame[12..16].copy_from_slice(&[8, 0, 0x45, 0]);
    frame[16..18].copy_from_slice(&length.to_be_bytes());
    frame[18..26].copy_from_slice(&[0, 0, 0, 0, 64, protocol, 0xde, 0xad]);
    frame[26..30].copy_from_slice(&OURS);
    frame[30..34].copy_from_slice(&KERNEL);
}

/// Polls all queues until a frame long enough for TCP or UDP is as `wanted`; returns its queue.
fn wait_for(pairs: &mut [PortQueue], mut wanted: impl FnMut(&[u8], RxChecksum) -> bool) -> usize {
    let mut rx = RxBatch::new();
    for _ in 0..POLLS_MAX {
        for (queue, pair) in pairs.iter_mut().enumerate() {
            pair.receive(&mut rx);
            let mut frames = (0..rx.len()).map(|i| (rx.frame(i), rx.checksum(i)));
            if frames.any(|(frame, checksum)| frame.len() >= L4 + 20 && wanted(frame, checksum)) {
                return queue;
            }
        }
        std::thread::yield_now();
    }
    panic!("the frame did not arrive on any of {} queues", pairs.len());
}

fn ip(args: &[&str]) -> String {
    let output = Command::new("ip").args(args).output().expect("iproute2 is installed");
    assert!(output.status.success(), "ip {args:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
