"""A small MQTT 3.1.1 and 5.0 client that shows every packet, and sends wrong ones when asked to."""

import collections
import contextlib
import itertools
import socket
import struct

CONNECT, CONNACK, PUBLISH, PUBACK = 1, 2, 3, 4
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK = 8, 9, 10, 11
PINGREQ, PINGRESP, DISCONNECT = 12, 13, 14

V311, V5 = 4, 5

#: How long a test waits for what must come. Nothing is asserted about shorter times.
PATIENCE_S = 20

Packet = collections.namedtuple("Packet", "kind flags body")
Message = collections.namedtuple("Message", "topic payload qos retain packet_id")
Will = collections.namedtuple("Will", "topic payload qos retain")


class Closed(Exception):
    """The connection ended where a packet was expected."""


def text(value):
    """A UTF-8 string with its length."""
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack(">H", len(data)) + data


def packet(kind, flags, body):
    """The bytes of a packet: fixed header, remaining length, body."""
    length = len(body)
    head = bytearray([kind << 4 | flags])
    while True:
        length, low = divmod(length, 128)
        head.append(low | (0x80 if length else 0))
        if not length:
            return bytes(head) + body


class Client:
    """One connection. Methods wait for the answer that the protocol promises."""

    def __init__(self, address, version=V5, port=1883):
        self.version = version
        self.socket = socket.create_connection((address, port), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.messages = collections.deque()
        self.packets = []
        self._bytes = bytearray()
        self._ids = itertools.cycle(range(1, 65536))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends the connection without DISCONNECT."""
        self.socket.close()

    def send(self, kind, flags, body=b""):
        self.socket.sendall(packet(kind, flags, body))

    def connect(self, client_id, keep_alive=60, clean=True, will=None, expect=0):
        """Sends CONNECT, waits for CONNACK, returns whether a session was present."""
        flags = 2 if clean else 0
        body = text(client_id)
        if will:
            flags |= 4 | will.qos << 3 | (32 if will.retain else 0)
            body += self._properties() + text(will.topic) + text(will.payload)
        head = text("MQTT") + bytes([self.version, flags]) + struct.pack(">H", keep_alive)
        self.send(CONNECT, 0, head + self._properties() + body)
        answer = self.expect(CONNACK)
        assert answer.body[1] == expect, f"CONNACK with code {answer.body[1]:#x}"
        return bool(answer.body[0] & 1)

    def subscribe(self, topic_filter, qos=0):
        """Sends SUBSCRIBE and returns the code for its one filter."""
        packet_id = struct.pack(">H", next(self._ids))
        self.send(SUBSCRIBE, 2, packet_id + self._properties() + text(topic_filter) + bytes([qos]))
        answer = self.expect(SUBACK)
        assert answer.body[:2] == packet_id, "SUBACK for another packet"
        return answer.body[-1]

    def unsubscribe(self, topic_filter):
        packet_id = struct.pack(">H", next(self._ids))
        self.send(UNSUBSCRIBE, 2, packet_id + self._properties() + text(topic_filter))
        answer = self.expect(UNSUBACK)
        assert answer.body[:2] == packet_id, "UNSUBACK for another packet"

    def publish(self, topic, payload, qos=0, retain=False):
        """Sends PUBLISH and, with QoS 1, waits for its PUBACK."""
        body = text(topic)
        packet_id = struct.pack(">H", next(self._ids)) if qos else b""
        body += packet_id + self._properties() + payload
        self.send(PUBLISH, qos << 1 | retain, body)
        if qos:
            answer = self.expect(PUBACK)
            assert answer.body[:2] == packet_id, "PUBACK for another packet"

    def ping(self):
        self.send(PINGREQ, 0)
        self.expect(PINGRESP)

    def disconnect(self):
        self.send(DISCONNECT, 0)
        self.close()

    def message(self):
        """The next message; it is acknowledged if it asks for that."""
        while not self.messages:
            self._take(self.read())
        return self.messages.popleft()

    def expect(self, kind):
        """The next packet that is no PUBLISH; those are kept for `message`."""
        while True:
            got = self.read()
            if got.kind != PUBLISH:
                assert got.kind == kind, f"packet of type {got.kind} where {kind} was due"
                return got
            self._take(got)

    def read(self):
        """The next packet of any type."""
        while True:
            got = self._split()
            if got:
                self.packets.append(got)
                return got
            data = self._receive()
            if not data:
                raise Closed(f"after {[p.kind for p in self.packets]}")
            self._bytes += data

    def until_closed(self):
        """Reads on until the other side closes; returns the packets that came before."""
        seen = []
        with contextlib.suppress(Closed):
            while True:
                seen.append(self.read())
        return seen

    def disconnect_reason(self):
        """The reason of the DISCONNECT that ends this connection; None when there was none."""
        seen = self.until_closed()
        last = seen[-1] if seen else None
        if last is None or last.kind != DISCONNECT:
            return None
        return last.body[0] if last.body else 0

    def _receive(self):
        try:
            return self.socket.recv(65536)
        except ConnectionResetError:
            return b""

    def _properties(self):
        return b"\0" if self.version == V5 else b""

    def _split(self):
        """Cuts one whole packet off the front of what was received."""
        length = shift = 0
        for at in range(1, min(len(self._bytes), 5)):
            length |= (self._bytes[at] & 0x7F) << shift
            shift += 7
            if self._bytes[at] < 0x80:
                end = at + 1 + length
                if len(self._bytes) < end:
                    return None
                first, body = self._bytes[0], bytes(self._bytes[at + 1:end])
                del self._bytes[:end]
                return Packet(first >> 4, first & 15, body)
        return None

    def _take(self, got):
        assert got.kind == PUBLISH, f"packet of type {got.kind} where PUBLISH was due"
        qos = got.flags >> 1 & 3
        size = struct.unpack_from(">H", got.body)[0]
        topic, rest = got.body[2:2 + size].decode(), got.body[2 + size:]
        packet_id = None
        if qos:
            packet_id, rest = rest[:2], rest[2:]
            self.send(PUBACK, 0, packet_id)
        if self.version == V5:
            assert rest[0] < 0x80, "more properties than this client reads"
            rest = rest[1 + rest[0]:]
        self.messages.append(Message(topic, rest, qos, bool(got.flags & 1), packet_id))
