//! What can happen to a stack: frames of every kind, time, and whatever an application does.

use tcpstack::{AddressError, IpCidr, NeighborNews};

use super::input::Input;
use super::packet::{
    OUR_IPV4, OUR_IPV6, OUR_MAC, PEER_IPV4, PEER_IPV6, PEER_MAC, Segment, fragments, packet,
    protocol, seal, wrapped,
};
use super::scene::PEER_PORT;
use super::world::{Appetite, LISTENERS, Seen, World};

/// Makes a frame, or both halves of one, out of the fuzzer's bytes.
fn frames(world: &World, input: &mut Input<'_>) -> Vec<Vec<u8>> {
    let kind = input.byte() % 16;
    if kind != 7 {
        return vec![frame(world, kind, input)];
    }
    let (which, cut) = (input.byte(), usize::from(input.u16() % 600));
    let [first, second] = fragments(&segment(world, input), cut, u16::from(which >> 4));
    match which & 7 {
        0 | 4 => vec![first],
        1 | 5 => vec![second],
        2 | 6 => vec![first, second],
        _ => vec![second, first],
    }
}

fn frame(world: &World, kind: u8, input: &mut Input<'_>) -> Vec<u8> {
    match kind {
        0 => {
            let len = usize::from(input.u16() % 1_600);
            input.bytes(len).to_vec()
        }
        1 => {
            let mut frame = segment(world, input);
            mutate(&mut frame, input);
            frame
        }
        2 => {
            let mut frame = segment(world, input);
            mutate(&mut frame, input);
            seal(&mut frame);
            frame
        }
        3 => {
            let (kind, len) = (input.byte(), usize::from(input.u16() % 1_400));
            packet(kind & 1 != 0, input.byte(), input.bytes(len))
        }
        4 => icmp_error(world, input),
        5 => arp(input),
        6 => neighbor_discovery(input),
        8 => {
            let (next, len) = (input.byte(), usize::from(input.byte() % 64));
            let mut frame = wrapped(&segment(world, input), next, input.bytes(len));
            seal(&mut frame);
            frame
        }
        _ => segment(world, input),
    }
}

/// A segment numbered near what is expected.
fn segment(world: &World, input: &mut Input<'_>) -> Vec<u8> {
    let which = input.byte();
    let seen = flow(world, which);
    let flags = input.byte();
    let (seq, ack) = (input.near(seen.ack), input.near(seen.seq_end));
    let window = input.u16();
    let mut options = Vec::with_capacity(40);
    while let kind @ 1.. = input.byte() {
        option(world, kind, &seen, input, &mut options);
        if options.len() >= 40 {
            break;
        }
    }
    let octets = [0xa5; 1_400];
    let len = match input.byte() {
        255 => usize::from(input.u16() % 1_400),
        len @ 0..128 => usize::from(len),
        len => usize::from(len - 127) * 8,
    };
    Segment {
        is_ipv6: seen.is_ipv6,
        source: seen.peer_port,
        destination: seen.our_port,
        seq,
        ack,
        flags,
        window,
        options: &options,
        octets: &octets[..len],
    }
    .frame()
}

/// A flow the stack has sent on, or a new one.
fn flow(world: &World, which: u8) -> Seen {
    let known = usize::from(which & 7);
    if let Some(seen) = world.seen.iter().rev().nth(known).filter(|_| which & 0x80 == 0) {
        return *seen;
    }
    Seen {
        is_ipv6: which & 0x40 != 0,
        our_port: LISTENERS[usize::from(which >> 4 & 1)],
        peer_port: PEER_PORT + u16::from(which >> 3 & 1) + 1,
        ..Seen::default()
    }
}

fn option(world: &World, kind: u8, seen: &Seen, input: &mut Input<'_>, options: &mut Vec<u8>) {
    match kind % 8 {
        // A right timestamp.
        1 | 2 => {
            let now_ms = (world.now_ns / 1_000_000) as u32;
            let value = if kind & 0x80 != 0 { input.near(now_ms) } else { now_ms };
            options.extend([1, 1, 8, 10]);
            options.extend(value.to_be_bytes());
            options.extend(seen.timestamp.to_be_bytes());
        }
        3 => {
            let blocks = input.byte() % 4 + 1;
            options.extend([1, 1, 5, 2 + 8 * blocks]);
            for _ in 0..blocks {
                options.extend(input.near(seen.seq_end).to_be_bytes());
                options.extend(input.near(seen.seq_end).to_be_bytes());
            }
        }
        4 => options.extend([2, 4, input.byte(), input.byte()]),
        5 => options.extend([3, 3, input.byte(), 1]),
        6 => options.extend([4, 2, 1, 1]),
        _ => {
            let len = usize::from(input.byte() % 16);
            options.extend(input.bytes(len));
        }
    }
}

/// Changes some bytes.
fn mutate(frame: &mut Vec<u8>, input: &mut Input<'_>) {
    let count = input.byte();
    for _ in 0..count % 8 {
        let at = usize::from(input.byte());
        let value = input.byte();
        if let Some(byte) = frame.get_mut(at) {
            *byte ^= value;
        }
    }
    if count & 0x80 != 0 {
        frame.truncate(usize::from(input.u16() % 1_600));
    }
}

/// An error about a segment of the stack, perhaps one it never sent.
fn icmp_error(world: &World, input: &mut Input<'_>) -> Vec<u8> {
    let seen = flow(world, input.byte());
    let mut quoted = Segment {
        is_ipv6: seen.is_ipv6,
        source: seen.our_port,
        destination: seen.peer_port,
        seq: input.near(seen.seq),
        ack: seen.ack,
        flags: seen.flags,
        ..Segment::default()
    }
    .frame();
    // It went the other way.
    let (addresses, half) = if seen.is_ipv6 { (22..54, 16) } else { (26..34, 4) };
    quoted[addresses].rotate_left(half);
    let (kind, code) = (input.byte(), input.byte());
    let kind = match (kind % 8, seen.is_ipv6) {
        (0..4, true) => 2,
        (4, true) => 1,
        (0..5, false) => 3,
        _ => kind,
    };
    let mut message = vec![kind, code, 0, 0, 0, 0];
    let mtu = input.u16();
    message.extend(mtu.to_be_bytes());
    message.extend(&quoted[14..]);
    let len = usize::from(input.byte());
    if len > 0 {
        message.truncate(8 + len % 64);
    }
    packet(seen.is_ipv6, if seen.is_ipv6 { protocol::ICMPV6 } else { protocol::ICMP }, &message)
}

fn arp(input: &mut Input<'_>) -> Vec<u8> {
    let choice = input.byte();
    let mut frame = if choice & 1 == 0 { OUR_MAC.to_vec() } else { vec![0xff; 6] };
    frame.extend(PEER_MAC);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1 + (choice >> 1 & 1)]);
    let mac = if choice & 4 == 0 { PEER_MAC } else { [2, 0, 0, 0, 0, input.byte()] };
    let sender = [10, 0, 0, if choice & 8 == 0 { 2 } else { input.byte() }];
    let target = [10, 0, 0, if choice & 16 == 0 { 1 } else { input.byte() }];
    frame.extend(mac);
    frame.extend(if choice & 32 == 0 { sender } else { PEER_IPV4.octets() });
    frame.extend(OUR_MAC);
    frame.extend(if choice & 64 == 0 { target } else { OUR_IPV4.octets() });
    mutate(&mut frame, input);
    frame
}

/// Solicitations, advertisements, redirects, with whatever options.
fn neighbor_discovery(input: &mut Input<'_>) -> Vec<u8> {
    let choice = input.byte();
    let target = match choice >> 4 & 3 {
        0 => OUR_IPV6.octets(),
        1 => PEER_IPV6.octets(),
        _ => {
            let mut target = PEER_IPV6.octets();
            target[15] = input.byte();
            target
        }
    };
    let mut message = vec![133 + choice % 5, 0, 0, 0, input.byte(), 0, 0, 0];
    message.extend(target);
    if choice & 0x80 == 0 {
        // Link-layer address: source or target.
        message.extend([1 + (choice >> 6 & 1), 1]);
        message.extend([2, 0, 0, 0, 0, input.byte() % 4]);
    }
    let len = usize::from(input.byte() % 48);
    message.extend(input.bytes(len));
    let mut frame = packet(true, protocol::ICMPV6, &message);
    if choice & 8 != 0 {
        // To all nodes, or to the group of the solicited address; perhaps from nobody.
        frame[38..54].copy_from_slice(&[0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 1]);
        frame[..6].copy_from_slice(&[0x33, 0x33, 0xff, 0, 0, 1]);
        if input.byte() & 1 != 0 {
            frame[22..38].fill(0);
        }
    }
    mutate(&mut frame, input);
    seal(&mut frame);
    frame
}

/// A burst of one frame or some.
pub fn burst(world: &mut World, input: &mut Input<'_>) {
    let count = input.byte();
    let count = if count & 0xf0 == 0 { count & 15 } else { 1 };
    let frames: Vec<_> = (0..count).flat_map(|_| frames(world, input)).collect();
    world.input(&frames);
}

/// From a microsecond to some minutes.
pub fn wait(world: &mut World, input: &mut Input<'_>) {
    world.wait_ns(1_000 << (input.byte() % 29));
}

/// A call of the application's.
pub fn call(world: &mut World, input: &mut Input<'_>) {
    let (choice, which) = (input.byte(), usize::from(input.byte()));
    let known = world.conns.keys().copied().nth(which % world.conns.len().max(1));
    // Calls about connections that are not there do nothing.
    let conn = known.filter(|_| which < 0xf8).unwrap_or(which as u32);
    let now_ns = world.now_ns;
    match choice % 16 {
        0..=2 => {
            let len = usize::from(input.u16() % 5_000);
            world.stack.send(now_ns, conn, &[0x55; 5_000][..len]);
        }
        3..=4 => {
            let mut bytes = [0; 1_500];
            let offered = world.stack.peek(conn, &mut bytes);
            let count = if choice & 0x80 == 0 { offered } else { usize::from(input.byte()) };
            world.stack.consume(conn, count.min(world.stack.backlog(conn)));
        }
        5..=6 => world.stack.close(now_ns, conn),
        7 => world.stack.abort(now_ns, conn),
        8 => world.stack.want_writable(conn),
        9 => {
            world.stack.set_user(conn, now_ns as u32);
            let is_open = world.stack.state(conn).is_some();
            assert_eq!(world.stack.user(conn) == now_ns as u32, is_open, "its own number");
        }
        10 => {
            let is_open = world.stack.status(conn).is_some();
            assert_eq!(world.stack.peer(conn).is_some(), is_open);
            assert_eq!(world.stack.local(conn).is_some(), is_open);
        }
        11 => {
            world.appetite =
                [Appetite::Echo, Appetite::All, Appetite::Half, Appetite::None][which % 4];
        }
        12 => world.fire(conn),
        13 => world.expire(which % 3),
        14 => world.connect(choice & 0x80 != 0, PEER_PORT + u16::from(input.byte() % 4)),
        _ if choice & 0x40 != 0 => change_addresses(world, which, choice & 0x80 != 0),
        _ => {
            let mac = [2, 0, 0, 0, 0, input.byte()];
            let ip = if choice & 0x80 == 0 { PEER_IPV4.into() } else { PEER_IPV6.into() };
            let news = [NeighborNews::Asked, NeighborNews::Told, NeighborNews::Answered];
            world.stack.learn_neighbor(ip, mac, news[usize::from(mac[5] % 3)]);
        }
    }
    world.events(&[]);
}

/// An address comes or goes: one with connections, or another.
fn change_addresses(world: &mut World, which: usize, is_added: bool) {
    let other = (which >> 2) as u8;
    let own = match which % 4 {
        0 => IpCidr::new(OUR_IPV4, 24),
        1 => IpCidr::new(OUR_IPV6, 64),
        2 => IpCidr::new([10, 0, 0, other], 24),
        _ => IpCidr::new([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(other)], 64),
    };
    let was_there = world.stack.remove_address(world.now_ns, own.addr).is_ok();
    assert!(world.stack.remove_address(world.now_ns, own.addr).is_err(), "removed twice");
    if is_added {
        let added = world.stack.add_address(world.now_ns, own);
        let may_fail = matches!(added, Err(AddressError::Full | AddressError::Impossible));
        assert!(added.is_ok() || may_fail, "{own:?} gave {added:?}, was there: {was_there}");
    }
}

/// Output to a sink that may be small.
pub fn output(world: &mut World, input: &mut Input<'_>) {
    let room = input.byte();
    world.output(if room < 16 { usize::from(room) } else { 64 });
}
