//! smoltcp's whole stack as a host: an independent implementation.

use std::cell::Cell;
use std::collections::VecDeque;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{self, State};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};
use tcpstack::CloseReason;

use crate::frame::{Segment, flag, segment};
use crate::link::{ETHERNET_BYTES, Frame};
use crate::program::{Applications, Habits, Program};
use crate::wire::{End, MTU, PORT, PREFIX_IPV4, PREFIX_IPV6};

pub(crate) struct Peer {
    wire: Wire,
    interface: Interface,
    sockets: SocketSet<'static>,
    slots: Vec<Slot>,
    /// How connections ended.
    pub(crate) ended: Vec<(CloseReason, Program)>,
    end: End,
    applications: Applications,
    next_port: u16,
    wakes_ns: Option<u64>,
    /// It has forgotten to send something again.
    pub(crate) has_stalled: bool,
}

/// A socket and the program on its connection.
struct Slot {
    handle: SocketHandle,
    program: Option<Program>,
    /// When its connection had nothing to send, or sent.
    moved_ns: u64,
}

impl Peer {
    pub(crate) fn new(end: End, run: u64, habits: Habits) -> Peer {
        let mut wire = Wire::default();
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(end.mac())));
        config.random_seed = run;
        let mut interface = Interface::new(config, &mut wire, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            let ipv4 = IpCidr::new(IpAddress::from(end.ipv4()), PREFIX_IPV4);
            let ipv6 = IpCidr::new(IpAddress::from(end.ipv6()), PREFIX_IPV6);
            addresses.extend([ipv4, ipv6]);
        });
        let mut random = fastrand::Rng::with_seed(run ^ 0x736d_6f6c);
        let mut sockets = SocketSet::new(Vec::new());
        let slots = (0..SOCKETS).map(|_| Slot::new(&mut sockets, &mut random)).collect();
        Peer {
            wire,
            interface,
            sockets,
            slots,
            ended: Vec::new(),
            end,
            applications: Applications::new(run, end.0, habits),
            next_port: 49_152,
            wakes_ns: None,
            has_stalled: false,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.slots.iter().all(|slot| slot.program.is_none())
    }

    /// Every connection that is open.
    pub(crate) fn describe(&self) -> String {
        let line = |slot: &Slot| {
            let socket = self.sockets.get::<tcp::Socket<'_>>(slot.handle);
            let program = slot.program.as_ref()?;
            let (queued, backlog) = (socket.send_queue(), socket.recv_queue());
            Some(format!("{:?} {queued} {backlog} {program:?}\n", socket.state()))
        };
        self.slots.iter().filter_map(line).collect()
    }

    /// Whether a connection could be begun.
    pub(crate) fn connect(&mut self, is_ipv6: bool) -> bool {
        let sockets = &mut self.sockets;
        let is_free = |slot: &&mut Slot| {
            let state = sockets.get::<tcp::Socket<'_>>(slot.handle).state();
            slot.program.is_none() && matches!(state, State::Closed | State::Listen)
        };
        let Some(slot) = self.slots.iter_mut().find(is_free) else { return false };
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(slot.handle);
        socket.abort();
        self.next_port += 1;
        let remote = self.end.other().listener(is_ipv6);
        let context = self.interface.context();
        socket.connect(context, remote, self.next_port).expect("a closed socket");
        slot.program = Some(self.applications.begin());
        true
    }

    /// One turn: frames, timers, programs, output.
    pub(crate) fn turn(&mut self, now_ns: u64, incoming: Vec<Frame>) -> Vec<Vec<u8>> {
        NOW_MS.set((now_ns / 1_000_000) as u32);
        for frame in incoming {
            if self.is_open_twice(&frame.bytes) {
                continue;
            }
            self.wire.rx.push_back(frame.bytes);
            self.interface.poll(instant(now_ns), &mut self.wire, &mut self.sockets);
        }
        for slot in self.slots.iter().filter(|slot| slot.program.is_none()) {
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(slot.handle);
            if socket.state() == State::Closed {
                socket.listen(PORT).expect("a closed socket");
            }
        }
        // Applications act on what came, and what they write leaves at once.
        for _ in 0..2 {
            self.interface.poll(instant(now_ns), &mut self.wire, &mut self.sockets);
            self.work(now_ns);
        }
        self.look_for_stalls(now_ns);
        let at = self.interface.poll_at(instant(now_ns), &self.sockets);
        let timer_ns = at.map(|at| u64::try_from(at.total_micros()).expect("not negative") * 1_000);
        let naps = self.slots.iter().filter_map(|slot| slot.program.as_ref());
        let nap_ns = naps.map(|program| program.sleeps_until_ns).filter(|&at| at > now_ns).min();
        self.wakes_ns = [timer_ns, nap_ns].into_iter().flatten().min();
        std::mem::take(&mut self.wire.tx)
    }

    /// A SYN of a connection that there is. smoltcp might give it to another of its listening
    /// sockets, which then answers for the same address pair.
    fn is_open_twice(&self, bytes: &[u8]) -> bool {
        let Some(segment) = segment(bytes).filter(|segment| segment.has(flag::SYN)) else {
            return false;
        };
        self.slots.iter().any(|slot| {
            let remote = self.sockets.get::<tcp::Socket<'_>>(slot.handle).remote_endpoint();
            remote == Some(segment.src.into()) && !segment.has(flag::ACK)
        })
    }

    pub(crate) fn next_ns(&self) -> Option<u64> {
        self.wakes_ns
    }

    /// Once in thousands of runs smoltcp leaves what was beyond a window that closed, when that opens
    /// again, and no timer is armed. Such a connection is ended here.
    fn look_for_stalls(&mut self, now_ns: u64) {
        let sent: Vec<_> = self.wire.tx.iter().filter_map(|bytes| segment(bytes)).collect();
        for slot in &mut self.slots {
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(slot.handle);
            let remote = socket.remote_endpoint();
            let has_sent =
                |segment: &Segment| segment.octets > 0 && remote == Some(segment.dst.into());
            if socket.send_queue() == 0 || sent.iter().any(has_sent) {
                slot.moved_ns = now_ns;
            } else if now_ns - slot.moved_ns > STALL_NS {
                socket.abort();
                self.has_stalled = true;
            }
        }
    }

    fn work(&mut self, now_ns: u64) {
        for slot in &mut self.slots {
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(slot.handle);
            if slot.program.is_none() && socket.state() == State::Established {
                slot.program = Some(self.applications.begin());
            }
            let Some(program) = &mut slot.program else { continue };
            receive(socket, &mut self.applications, program, now_ns);
            send(socket, &mut self.applications, program);
            program.peer_closed |= matches!(
                socket.state(),
                State::CloseWait | State::LastAck | State::Closing | State::TimeWait
            );
            if program.wants_abort() && !program.closed && socket.state() != State::SynSent {
                program.closed = true;
                socket.abort();
            } else if program.wants_close() && !program.closed && socket.may_send() {
                program.closed = true;
                socket.close();
            }
            if matches!(socket.state(), State::Closed | State::TimeWait) && socket.recv_queue() == 0
            {
                let program = slot.program.take().expect("there is one");
                let is_whole = program.has_sent_all() && program.has_received_all();
                let reason = if is_whole { CloseReason::Finished } else { CloseReason::Reset };
                self.ended.push((reason, program));
            }
        }
    }
}

impl Slot {
    fn new(sockets: &mut SocketSet<'static>, random: &mut fastrand::Rng) -> Slot {
        let mut buffer = || {
            let bytes = 4_096 << random.u32(..6);
            tcp::SocketBuffer::new(vec![0; bytes])
        };
        let mut socket = tcp::Socket::new(buffer(), buffer());
        // Its probes carry an octet of garbage, even while the octet of that number is on its way: so
        // they come when the wire has long been good.
        socket.set_keep_alive(Some(Duration::from_secs(200)));
        socket.set_timeout(Some(Duration::from_secs(1_000)));
        socket.set_nagle_enabled(random.bool());
        socket.set_tsval_generator(random.bool().then_some(milliseconds));
        socket.set_congestion_control(match random.u8(..3) {
            0 => tcp::CongestionControl::None,
            1 => tcp::CongestionControl::Reno,
            _ => tcp::CongestionControl::Cubic,
        });
        Slot { handle: sockets.add(socket), program: None, moved_ns: 0 }
    }
}

fn receive(
    socket: &mut tcp::Socket<'_>,
    applications: &mut Applications,
    program: &mut Program,
    now_ns: u64,
) {
    // In TIME-WAIT smoltcp keeps what was not read for ten seconds only.
    let is_urgent = socket.state() == State::TimeWait;
    while socket.can_recv() && (is_urgent || program.sleeps_until_ns <= now_ns) {
        let portion = applications.portion();
        let taken = socket.recv(|bytes| {
            let bytes = &bytes[..portion.min(bytes.len())];
            applications.check(program, bytes);
            (bytes.len(), ())
        });
        taken.expect("it can receive");
        applications.maybe_sleep(now_ns, program);
    }
}

fn send(socket: &mut tcp::Socket<'_>, applications: &mut Applications, program: &mut Program) {
    while socket.can_send() && !program.has_sent_all() {
        let octets = program.next_octets(applications.portion());
        program.sent += socket.send_slice(&octets).expect("it can send");
    }
}

/// smoltcp asks for its timestamps without saying what time it is.
fn milliseconds() -> u32 {
    NOW_MS.get()
}

thread_local! {
    static NOW_MS: Cell<u32> = const { Cell::new(0) };
}

fn instant(now_ns: u64) -> Instant {
    Instant::from_micros(
        i64::try_from(now_ns / 1_000).expect("a simulation of less than 292,000 years"),
    )
}

#[derive(Default)]
struct Wire {
    rx: VecDeque<Vec<u8>>,
    tx: Vec<Vec<u8>>,
}

impl Device for Wire {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sending<'_>)> {
        let frame = self.rx.pop_front()?;
        Some((Received(frame), Sending(&mut self.tx)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        Some(Sending(&mut self.tx))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = usize::from(MTU) + ETHERNET_BYTES;
        capabilities
    }
}

struct Received(Vec<u8>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

struct Sending<'a>(&'a mut Vec<Vec<u8>>);

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut frame = vec![0; len];
        let result = write(&mut frame);
        self.0.push(frame);
        result
    }
}

/// Longer than its longest time-out, shorter than its keep-alive.
const STALL_NS: u64 = 150_000_000_000;
/// Connections of the peer at the same time.
pub(crate) const SOCKETS: usize = 16;
