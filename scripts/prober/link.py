"""The wire: one packet socket, and the hosts that the prober pretends to be."""

import collections
import itertools
import random
import socket
import struct
import threading
import time

import wire

SO_TIMESTAMPNS, SO_RCVBUFFORCE, PACKET_OUTGOING = 35, 33, 4
ALL_NODES = wire.address("ff02::1")


class Failure(Exception):
    """The target did not do what the RFC says."""


class Skip(Exception):
    """The target has not what the check is about, and need not have it."""


class Link:
    """The interface towards the target. A thread reads it and gives each host what is for it."""

    def __init__(self, interface, target):
        self.interface, self.target = interface, target
        self.hosts, self.by_address, self.faults = {}, {}, []
        self._numbers = itertools.count(3)
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.bind((interface, 0))
        self._socket.settimeout(0.2)
        self._reads = True
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def close(self):
        self._reads = False
        self._reader.join()
        self._socket.close()

    def host(self):
        """A new host, with addresses nobody had before."""
        with self._lock:
            host = Host(self, next(self._numbers))
            self.hosts[host.mac] = host
            for own in host.addresses:
                self.by_address[own] = host
        return host

    def forget(self, host):
        with self._lock:
            self.hosts.pop(host.mac, None)
            for own in host.addresses:
                if self.by_address.get(own) is host:
                    del self.by_address[own]

    def transmit(self, frame):
        for _ in range(2000):
            try:
                self._socket.send(frame)
                return
            except OSError as error:
                # The queue of the interface is full.
                if error.errno not in (105, 11):
                    raise
                time.sleep(0.001)

    def _read(self):
        while self._reads:
            try:
                raw, ancillary, _, sender = self._socket.recvmsg(70000, 256)
            except (TimeoutError, OSError):
                continue
            if sender[2] == PACKET_OUTGOING or len(raw) < 14 or raw[6:8] == b"\x02\x50":
                continue
            at = time.time()
            for _, kind, data in ancillary:
                if kind == SO_TIMESTAMPNS:
                    seconds, nanoseconds = struct.unpack("qq", data[:16])
                    at = seconds + nanoseconds / 1e9
            self._deliver(wire.read(raw, at))

    def _deliver(self, frame):
        if frame.source_mac != self.target.mac:
            return
        for fault in frame.faults:
            self.faults.append(f"{fault}: {wire.describe(frame)} {frame.raw.hex()}")
        if not frame.destination_mac[0] & 1:
            host = self.hosts.get(frame.destination_mac)
            if host:
                host.deliver(frame)
            return
        wanted = self._asked_for(frame)
        for host in list(self.hosts.values()):
            asks = frame.kind == "arp" or frame.kind == "icmpv6" and frame.type == 135
            if host is wanted or host.hears_all and not asks:
                host.deliver(frame)

    def _asked_for(self, frame):
        if frame.kind == "arp":
            return self.by_address.get(frame.target_ip)
        if frame.kind == "icmpv6" and frame.type == 135:
            return self.by_address.get(frame.data[:16])
        return None


class Host:
    """One pretended host: an Ethernet, an IPv4 and two IPv6 addresses, and what arrives for them."""

    def __init__(self, link, number):
        self.link, self.target, self.number = link, link.target, number
        self.mac = b"\x02\x50\x52\x00" + struct.pack("!H", number)
        self.ip4 = self.target.network4(number)
        self.ip6 = self.target.network6(number)
        self.link_local = wire.address("fe80::5052:0")[:14] + struct.pack("!H", number)
        self.addresses = (self.ip4, self.ip6, self.link_local)
        #: Whether ARP and NDP are answered; whether other people's multicasts are of interest.
        self.answers, self.hears_all = True, False
        self.family = 4
        self.flows, self.inbox, self.story = {}, collections.deque(), []
        self.changed = threading.Condition()
        self.random = random.Random()

    # --- addresses -------------------------------------------------------------------------

    @property
    def own(self):
        return self.ip4 if self.family == 4 else self.ip6

    @property
    def peer(self):
        return self.target.ip4 if self.family == 4 else self.target.ip6

    # --- what arrives ----------------------------------------------------------------------

    def deliver(self, frame):
        with self.changed:
            if self.answers and self._answer_for_address(frame):
                return
            self.story.append((frame.at, "◀", frame))
            flow = None
            if frame.kind == "tcp":
                flow = self.flows.get((frame.destination, frame.port, frame.source_port))
            (flow.inbox if flow else self.inbox).append(frame)
            if flow:
                flow.notice(frame)
            self.changed.notify_all()

    def _answer_for_address(self, frame):
        """Answers for its addresses, and says whether the frame asked for one."""
        if frame.kind == "arp" and frame.operation == 1 and frame.target_ip == self.ip4:
            self.story.append((frame.at, "◀", frame))
            self.send_arp(2, target_mac=frame.sender_mac, target_ip=frame.sender_ip)
            return True
        if frame.kind == "icmpv6" and frame.type == 135 and frame.data[:16] in self.addresses:
            self.story.append((frame.at, "◀", frame))
            self.send_advertisement(frame.data[:16], frame.source)
            return True
        return False

    def wait(self, what, wanted, within=1.0, inbox=None):
        """The first frame that satisfies `wanted`; those before it are dropped."""
        inbox = self.inbox if inbox is None else inbox
        deadline = time.time() + within * self.target.patience
        with self.changed:
            while True:
                while inbox:
                    frame = inbox.popleft()
                    if wanted(frame):
                        return frame
                left = deadline - time.time()
                if left <= 0:
                    raise Failure(f"expected within {within} s: {what}")
                self.changed.wait(left)

    def silent(self, what, unwanted=lambda frame: True, during=0.25, inbox=None):
        """Fails when a frame arrives that satisfies `unwanted`."""
        time.sleep(during)
        with self.changed:
            for frame in self.inbox if inbox is None else inbox:
                if unwanted(frame):
                    raise Failure(f"not expected ({what}): {wire.describe(frame)}")

    def wait_all(self, during):
        """All that arrives in that time and belongs to no connection."""
        time.sleep(during)
        with self.changed:
            frames = list(self.inbox)
            self.inbox.clear()
        return frames

    # --- what is sent ----------------------------------------------------------------------

    def transmit(self, kind, payload, destination=None, source=None):
        frame = wire.ethernet(destination or self.target.mac, source or self.mac, kind, payload)
        self.story.append((time.time(), "▶", frame))
        self.link.transmit(frame)

    def send_ip(self, protocol, payload, family=None, **odd):
        """An IP packet to the target. `odd`: source, to, mac and what wire.ipv4 or ipv6 take."""
        family = family or self.family
        own, peer = (self.ip4, self.target.ip4) if family == 4 else (self.ip6, self.target.ip6)
        source, to, mac = odd.pop("source", own), odd.pop("to", peer), odd.pop("mac", None)
        if len(source) == 4:
            self.transmit(wire.IPV4, wire.ipv4(source, to, protocol, payload, **odd), mac)
        else:
            self.transmit(wire.IPV6, wire.ipv6(source, to, protocol, payload, **odd), mac)

    def send_arp(self, operation, destination=None, **odd):
        """`odd`: sender_mac, sender_ip, target_mac, target_ip and what wire.arp takes."""
        payload = wire.arp(
            operation, odd.pop("sender_mac", self.mac), odd.pop("sender_ip", self.ip4),
            odd.pop("target_mac", b"\0" * 6), odd.pop("target_ip", self.target.ip4), **odd)
        if destination is None:
            destination = wire.BROADCAST if operation == 1 else self.target.mac
        self.transmit(wire.ARP, payload, destination)

    def send_icmpv6(self, kind, code, rest, data=b"", **odd):
        """`odd`: value (of the checksum) and what send_ip takes."""
        source, to = odd.get("source", self.ip6), odd.get("to", self.target.ip6)
        message = wire.icmpv6(source, to, kind, code, rest, data, odd.pop("value", None))
        self.send_ip(wire.ICMPV6, message, 6, **odd)

    def send_advertisement(self, of, to, flags=0x60000000, mac=None, **odd):
        """A neighbour advertisement: solicited and overriding unless `flags` say otherwise."""
        if to == bytes(16):
            to = ALL_NODES
        odd.setdefault("hops", 255)
        option = b"\2\1" + (mac or self.mac)
        self.send_icmpv6(136, 0, flags, of + option, source=of, to=to, **odd)

    def send_solicitation(self, of, source=None, to=None, option=True, **odd):
        """A neighbour solicitation to the solicited-node group, or to `to`."""
        group = wire.address("ff02::1:ff00:0")[:13] + of[13:]
        to = to or group
        source = source or self.ip6
        if to[0] == 0xFF:
            odd.setdefault("mac", b"\x33\x33" + to[12:])
        odd.setdefault("hops", 255)
        data = of + (b"\1\1" + self.mac if option is True else option or b"")
        self.send_icmpv6(135, 0, 0, data, source=source, to=to, **odd)

    def ping(self, data=b"trunkline", ident=None, seq=1, **odd):
        """An echo request; returns its identification."""
        ident = self.random.randrange(1, 65536) if ident is None else ident
        rest = wire.echo_id(ident, seq)
        if self.family == 6 or len(odd.get("source", b"")) == 16:
            self.send_icmpv6(128, 0, rest, data, **odd)
        else:
            self.send_ip(wire.ICMP, wire.icmp(8, 0, rest, data, odd.pop("value", None)), 4, **odd)
        return rest

    def pong(self, rest, within=1.0):
        """The answer to a ping."""
        wanted = (("icmp", 0), ("icmpv6", 129))
        return self.wait("an echo reply", lambda frame: frame.kind.startswith("icmp") and (
            frame.kind, frame.type) in wanted and frame.rest == rest, within)

    def not_ponged(self, rest, why, during=0.25):
        self.silent(why, lambda frame: frame.kind.startswith("icmp") and frame.type in (0, 129)
                    and frame.rest == rest, during)

    def alive(self):
        """The target still answers this host."""
        for _ in range(5):
            try:
                return self.pong(self.ping())
            except Failure:
                continue
        raise Failure("the target does not answer pings any more")

    def free_port(self):
        return self.random.randrange(1025, 65535)

    def tcp(self, *arguments, **odd):
        """A TCP client of this host."""
        return self.client(self, *arguments, **odd)

    def tell(self):
        """What was sent and what came, in order: for a failed check."""
        begun = self.story[0][0] if self.story else 0
        lines = []
        for at, arrow, frame in sorted(self.story, key=lambda line: line[0])[-60:]:
            frame = wire.read(frame) if isinstance(frame, bytes) else frame
            lines.append(f"    {(at - begun) * 1000:9.1f} ms {arrow} {wire.describe(frame)}")
        return "\n".join(lines)


