//! smoltcp's whole stack, as a host on the other end of the wire.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};

const BUFFER_BYTES: usize = 64 * 1024;

/// One host with one TCP socket.
pub(crate) struct Peer {
    wire: Wire,
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
}

impl Peer {
    pub(crate) fn new(mac: [u8; 6], address: Ipv4Addr, seed: u64) -> Peer {
        let mut wire = Wire::default();
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac)));
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut wire, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(IpAddress::from(address), 24)).expect("room for one");
        });
        let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER_BYTES]);
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(tcp::Socket::new(buffer(), buffer()));
        Peer { wire, interface, sockets, handle }
    }

    pub(crate) fn connect(&mut self, remote: SocketAddr, local_port: u16) {
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(self.handle);
        socket.connect(self.interface.context(), remote, local_port).expect("a closed socket");
    }

    pub(crate) fn listen(&mut self, port: u16) {
        self.socket().listen(port).expect("a closed socket");
    }

    pub(crate) fn socket(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    /// Takes in `frames`, does what is due, returns what it sends.
    pub(crate) fn poll(&mut self, now_ns: u64, frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        self.wire.rx.extend(frames);
        self.interface.poll(instant(now_ns), &mut self.wire, &mut self.sockets);
        std::mem::take(&mut self.wire.tx)
    }

    pub(crate) fn next_poll_ns(&mut self, now_ns: u64) -> Option<u64> {
        let at = self.interface.poll_at(instant(now_ns), &self.sockets)?;
        Some(u64::try_from(at.total_micros()).expect("time goes forward from zero") * 1000)
    }
}

fn instant(now_ns: u64) -> Instant {
    Instant::from_micros(
        i64::try_from(now_ns / 1000).expect("a simulation of less than 292,000 years"),
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
        capabilities.max_transmission_unit = 1514;
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
