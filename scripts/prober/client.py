"""A TCP client made by hand: it sends exactly what a check says and knows what it should get."""

import collections
import time

import wire
from link import Failure

ECHO, DISCARD, ECHO_ONCE = 7, 9, 1007


class Client:
    """One connection of a host, with as much state as a check needs to write little."""

    def __init__(self, host, port=ECHO, own_port=None, family=None, own=None, peer=None):
        self.host, self.port = host, port
        self.own, self.peer = own or host.own, peer or host.peer
        if family:
            self.own = host.ip4 if family == 4 else host.ip6
            self.peer = host.target.ip4 if family == 4 else host.target.ip6
        self.own_port = own_port or host.free_port()
        self.inbox = collections.deque()
        self.iss = host.random.randrange(1 << 32)
        #: Next sequence number to send, next to receive, and what the target acknowledged last.
        self.snd, self.rcv, self.acked = self.iss, 0, None
        self.window, self.scale, self.mss = 65535, 0, 0
        #: Whether segments carry timestamps; the clock; the last TSval of the target.
        self.stamps, self.clock, self.heard = False, host.random.randrange(1 << 31), 0
        self.ip_odd, self.syn_ack, self.sent_at = {}, None, 0.0
        host.flows[(self.own, self.own_port, port)] = self

    # --- sending ---------------------------------------------------------------------------

    def send(self, flags="A", data=b"", **odd):
        """A segment. `odd`: seq, ack, window, options, and what wire.tcp and `ip` takes.

        Without `seq` it is the next one and counts.
        """
        bits = sum(wire.FLAGS[letter] for letter in flags)
        counts = "seq" not in odd
        seq = odd.pop("seq", self.snd)
        ack = odd.pop("ack", self.rcv if "A" in flags else 0)
        window = odd.pop("window", self.window)
        options = odd.pop("options", None)
        if options is None:
            options = self.stamp() if self.stamps and "S" not in flags else b""
        ip = {**self.ip_odd, **odd.pop("ip", {})}
        ports = odd.pop("ports", (self.own_port, self.port))
        segment = wire.tcp(self.own, self.peer, ports, seq, ack, bits, window, options=options,
                           data=data, **odd)
        self.sent_at = time.time()
        self.host.send_ip(wire.TCP, segment, source=self.own, to=self.peer, **ip)
        if counts:
            self.snd = (seq + len(data) + ("S" in flags) + ("F" in flags)) % wire.MODULUS

    def stamp(self, value=None, echo=None):
        """A timestamp option: of now, unless told otherwise."""
        if value is None:
            value = self.clock + int(time.time() * 1000) % (1 << 30)
        return wire.timestamp_option(value, self.heard if echo is None else echo)

    def syn(self, mss=1460, scale=None, sack=False, stamps=False, flags="S", **odd):
        """A SYN with these options; the next handshake step is the check's."""
        options = b""
        if mss is not None:
            options += wire.mss_option(mss)
        if sack:
            options += wire.sack_permitted_option()
        if scale is not None:
            options += wire.scale_option(scale)
        if stamps:
            options += self.stamp(echo=0)
        odd.setdefault("options", options)
        self.send(flags, seq=self.iss, **odd)
        self.snd = (self.iss + 1) % wire.MODULUS

    def take_syn_ack(self, within=2.0):
        """The SYN-ACK of the target, taken note of."""
        segment = self.expect("SA", within, ack=self.snd, any_ecn=True)
        self.syn_ack = segment
        self.rcv = (segment.seq + 1) % wire.MODULUS
        self.mss = segment.options.get("mss", 536)
        return segment

    def connect(self, window=None, **options):
        """The whole handshake. Timestamps and scaling are used if the target agrees to them."""
        if window is not None:
            self.window = window
        self.syn(**options)
        try:
            segment = self.take_syn_ack(1.0)
        except Failure:
            # RFC 9293 §3.8.1: a flood takes its share of frames too.
            self.syn(**options)
            segment = self.take_syn_ack()
        self.stamps = bool(options.get("stamps")) and "timestamp" in segment.options
        if options.get("scale") is not None and "scale" in segment.options:
            self.scale = min(options["scale"], 14)
        self.send("A")
        return self

    @property
    def room(self):
        """Most octets of text in a segment of ours."""
        return (self.mss or 536) - (12 if self.stamps else 0)

    def reset(self):
        """Ends it, wherever the target believes the connection to be."""
        for seq in {self.snd} | ({self.acked} if self.acked is not None else set()):
            self.send("RA", seq=seq, ip={})

    # --- receiving -------------------------------------------------------------------------

    def notice(self, frame):
        """Every segment that arrives, as soon as it does."""
        if "A" in frame.flags and "R" not in frame.flags:
            self.acked = frame.ack
        if "timestamp" in frame.options:
            self.heard = frame.options["timestamp"][0]

    def expect(self, flags=None, within=1.0, **fields):
        """The first segment with these flags and fields; those before it are dropped.

        Flags are compared without P and, unless `any_ecn`, with E and C. A field is a value, or a
        predicate. `data` may be given as its length with `size`.
        """
        return self.host.wait(f"[{flags}] {self._words(fields)}",
                              lambda frame: matches(frame, flags, fields), within, self.inbox)

    def reply(self, flags=None, within=1.0, **fields):
        """The next segment, which must have these flags and fields."""
        words = f"[{flags}] {self._words(fields)}"
        frame = self.host.wait(words, lambda frame: True, within, self.inbox)
        if not matches(frame, flags, fields):
            raise Failure(f"expected {words}, got {wire.describe(frame)}")
        return frame

    @staticmethod
    def _words(fields):
        return " ".join(f"{key} {'as described' if callable(value) else value}"
                        for key, value in fields.items())

    def silent(self, what="silence", during=0.25, unwanted=lambda frame: True):
        self.host.silent(what, unwanted, during, self.inbox)

    def drain(self, after=0.0):
        """Forgets what arrived; returns it."""
        time.sleep(after)
        with self.host.changed:
            frames = list(self.inbox)
            self.inbox.clear()
        return frames

    def collect(self, during):
        """All that arrives in that time."""
        return self.drain(during)

    def challenged(self, within=1.0):
        """A challenge ACK: RFC 5961 §3.2, <SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>."""
        return self.expect("A", within, ack=self.snd, size=0)

    def read(self, count, within=3.0, acknowledge=True):
        """`count` octets of the stream from the target, acknowledged as they come."""
        stream, pieces, deadline = b"", {}, time.time() + within * self.host.target.patience
        while len(stream) < count:
            left = deadline - time.time()
            if left <= 0:
                raise Failure(f"expected {count} octets within {within} s, got {len(stream)}")
            frame = self._next(left)
            if frame is None or not frame.data:
                if frame is not None and "R" in frame.flags:
                    raise Failure(f"reset after {len(stream)} of {count} octets")
                continue
            offset = (frame.seq - self.rcv) % wire.MODULUS
            if offset < 1 << 31:
                pieces[frame.seq] = frame.data
            before = len(stream)
            while self.rcv in pieces:
                piece = pieces.pop(self.rcv)
                stream += piece
                self.rcv = (self.rcv + len(piece)) % wire.MODULUS
            if acknowledge and (len(stream) > before or offset >= 1 << 31):
                self.send("A")
        return stream

    def _next(self, within):
        """The next segment; None when none comes."""
        try:
            return self.host.wait("a segment", lambda frame: True,
                                  within / self.host.target.patience, self.inbox)
        except Failure:
            return None

    def echo(self, data=b"ping", within=3.0):
        """Sends, and gets the same back."""
        for at in range(0, len(data), self.room):
            self.send("PA", data[at:at + self.room])
        got = self.read(len(data), within)
        if got != data:
            at = next(i for i in range(len(data)) if got[i] != data[i])
            raise Failure(f"the echo differs at octet {at}: {got[at:at + 32]!r}")
        return got

    def alive(self):
        """The connection still echoes."""
        self.drain()
        self.echo(b"still here")

    def gone(self):
        """The target knows nothing of the connection: RFC 9293 §3.10.7.1."""
        self.drain()
        self.send("A", seq=self.snd, ack=self.rcv)
        self.expect("R", seq=self.rcv)

    def hold(self, count, window=65535, size=None):
        """Makes the target owe `count` octets of echo that are not acknowledged: returns them.

        The window stays open; the first flight of the target is in the inbox.
        """
        data = bytes(self.host.random.randrange(256) for _ in range(count))
        size = min(size or 1 << 16, self.room)
        for at in range(0, count, size):
            self.send("PA", data[at:at + size], window=window)
        return data


def matches(frame, flags, fields):
    """Whether a segment has these flags and fields."""
    if frame.kind != "tcp":
        return False
    if flags is not None:
        ignored = "PEC" if fields.get("any_ecn") else "P"
        if {*frame.flags} - {*ignored} != {*flags} - {*ignored}:
            return False
    for key, value in fields.items():
        if key == "any_ecn":
            continue
        got = len(frame.data) if key == "size" else getattr(frame, key)
        if callable(value):
            if not value(got):
                return False
        elif key in ("seq", "ack"):
            if got != value % wire.MODULUS:
                return False
        elif got != value:
            return False
    return True


def need(condition, what):
    if not condition:
        raise Failure(what)
