"""Path MTU discovery and ICMP errors for connections: RFC 1191, 8201, 5927, 1122 §4.2.3.9."""

import wire
from client import need
from registry import BOTH, SIX, cases, check

OVERHEAD = {4: 40, 6: 60}


def quote(host, client, seq=None, octets=8):
    """The beginning of a segment that the target sent: header and as many octets of TCP."""
    seq = client.rcv if seq is None else seq
    segment = wire.tcp(client.peer, client.own, (client.port, client.own_port), seq, client.snd,
                       24, 65535, data=bytes(1400))
    if host.family == 4:
        return wire.ipv4(client.peer, client.own, wire.TCP, segment)[:20 + octets]
    return wire.ipv6(client.peer, client.own, wire.TCP, segment)[:40 + max(octets, 20)]


def too_big(host, client, mtu, seq=None):
    """The error of a router on the way."""
    if host.family == 4:
        router = bytes([10, 77, 99, 1])
        host.send_ip(wire.ICMP, wire.icmp(3, 4, mtu, quote(host, client, seq)), source=router)
    else:
        router = wire.address("fd77::bad:1")
        host.send_icmpv6(2, 0, mtu, quote(host, client, seq), source=router)


def outstanding(host):
    """A connection with full segments in flight, none acknowledged."""
    client = host.tcp().connect(sack=True)
    data = client.hold(7000)
    frames = [frame for frame in client.collect(0.08) if frame.data]
    need(frames and max(len(frame.data) for frame in frames) >= client.mss - 12, "no full segment")
    return client, data


def lengths(client, during):
    return [frame.total for frame in client.collect(during) if frame.data]


def next_lengths(client):
    """Sizes of the packets that come next."""
    first = client.expect(None, 2, size=lambda size: size > 0)
    return [first.total, *lengths(client, 0.1)]


def smaller(client, mtu):
    """Waits for packets that fit, and sees to it that no larger ones follow."""
    client.expect(None, 2, total=lambda total: total <= mtu, size=lambda size: size > 0)
    found = lengths(client, 0.1)
    need(max(found, default=0) <= mtu, f"packets of {found}")


@check("RFC 1191 §6.5, RFC 5927 §7.2", BOTH)
def path_that_becomes_smaller_is_used(host):
    """Also when full segments got through before; there a report may be doubted until a time-out."""
    client = host.tcp().connect(sack=True)
    client.echo(host.random.randbytes(6000))
    data = client.hold(7000)
    client.collect(0.05)
    for _ in range(8):
        too_big(host, client, 1300)
        if any(total <= 1300 for total in lengths(client, 0.2)):
            break
    need(client.read(7000, 8) == data, "echo")
    client.hold(5000)
    found = next_lengths(client)
    need(max(found) <= 1300, f"then packets of {found}")


@cases("RFC 1191 §6.5, RFC 8201 §5", ("1400", 1400), ("1300", 1300), ("1280", 1280), families=BOTH)
def smaller_path_is_used(host, mtu):
    """A valid report of a smaller MTU: what is sent from then on fits in it, and comes soon."""
    client, data = outstanding(host)
    too_big(host, client, mtu)
    smaller(client, mtu)
    need(client.read(7000, 6) == data, "echo")
    client.hold(5000)
    found = next_lengths(client)
    need(max(found) <= mtu, f"then packets of {found}")


@check("RFC 1191 §6.5")
def path_of_576_is_used(host):
    """The smallest that is common."""
    client, data = outstanding(host)
    too_big(host, client, 576)
    smaller(client, 576)
    need(client.read(7000, 8) == data, "echo")


@cases("RFC 5927 §4.1, RFC 8201 §4", ("before", -100_000), ("ahead", 100_000),
       ("far", 1 << 30), families=BOTH)
def report_about_what_is_not_in_flight_is_ignored(host, offset):
    """The sequence number in the quote must be in flight."""
    client, data = outstanding(host)
    too_big(host, client, 600 if host.family == 4 else 1280, client.rcv + offset)
    client.collect(0.05)
    need(client.read(7000, 6) == data, "echo")
    client.hold(5000)
    found = next_lengths(client)
    need(max(found) >= client.mss, f"packets of {found}")


@cases("RFC 1191 §7, RFC 5927 §7", ("0", 0), ("1", 1), ("40", 40), ("67", 67), ("68", 68),
       ("296", 296))
def absurd_mtu_does_no_harm(host, mtu):
    """Below 68 octets it is nonsense; whatever is believed, the stream comes in few packets."""
    client, data = outstanding(host)
    too_big(host, client, mtu)
    need(client.read(7000, 12) == data, "echo")
    sent = [frame for _, arrow, frame in host.story if arrow == "◀" and frame.kind == "tcp"
            and frame.data]
    need(len(sent) < 400, f"{len(sent)} packets")


@cases("RFC 8201 §4", ("0", 0), ("68", 68), ("1000", 1000), ("1279", 1279), families=SIX)
def path_below_1280_is_ignored(host, mtu):
    """No link of IPv6 is smaller: packets stay at 1280 or more."""
    client, data = outstanding(host)
    too_big(host, client, mtu)
    client.collect(0.05)
    need(client.read(7000, 6) == data, "echo")
    client.hold(6000)
    found = next_lengths(client)
    need(max(found) >= 1280, f"packets of {found}")


@check("RFC 1191 §3, RFC 8201 §4", BOTH)
def larger_mtu_is_ignored(host):
    """A report never enlarges packets."""
    client, data = outstanding(host)
    too_big(host, client, 9000)
    need(client.read(7000, 6) == data, "echo")
    client.hold(6000)
    found = next_lengths(client)
    need(max(found) <= 1500, f"packets of {found}")


@cases("RFC 5927 §5, RFC 1122 §4.2.3.9", *[(f"code_{code}", 3, code) for code in
                                           (0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13)],
       ("source_quench", 4, 0), ("time_exceeded", 11, 0), ("reassembly", 11, 1),
       ("parameter_problem", 12, 0))
def icmp_error_does_not_end_a_connection(host, kind, code):
    """Hard errors are soft for a synchronized connection."""
    client = host.tcp().connect()
    client.echo()
    client.send("PA", b"flying")
    frame = client.expect(None, 1, size=6)
    host.send_ip(wire.ICMP, wire.icmp(kind, code, 0, quote(host, client, frame.seq)))
    host.send_ip(wire.ICMP, wire.icmp(kind, code, 0, quote(host, client, frame.seq, 20)))
    client.silent("a reset", 0.1, lambda frame: "R" in frame.flags)
    client.rcv = frame.seq + 6
    client.send("A")
    client.alive()


@cases("RFC 5927 §5, RFC 4443", *[(f"type_{kind}_code_{code}", kind, code) for kind, code in
                                  ((1, 0), (1, 1), (1, 3), (1, 4), (1, 5), (3, 0), (4, 0), (4, 1))],
       families=SIX)
def icmpv6_error_does_not_end_a_connection(host, kind, code):
    """As for IPv4."""
    client = host.tcp().connect()
    client.echo()
    client.send("PA", b"flying")
    frame = client.expect(None, 1, size=6)
    host.send_icmpv6(kind, code, 0, quote(host, client, frame.seq))
    client.silent("a reset", 0.1, lambda frame: "R" in frame.flags)
    client.rcv = frame.seq + 6
    client.send("A")
    client.alive()


@check("RFC 6633 §4")
def source_quench_does_not_slow_down(host):
    """Source quench must be ignored: the flight is as large as before."""
    client = host.tcp().connect(scale=7)
    client.echo(b"x" * 3000)
    for _ in range(20):
        host.send_ip(wire.ICMP, wire.icmp(4, 0, 0, quote(host, client)))
    client.hold(14_000)
    octets = sum(len(frame.data) for frame in client.collect(0.15) if frame.data)
    need(octets >= 5 * client.mss, f"{octets} octets in flight")


@check("RFC 1122 §3.2.2", BOTH)
def error_about_no_connection_is_ignored(host):
    """Quotes of connections that nobody has, or cut off."""
    client = host.tcp()
    client.snd = client.rcv = 1000
    for mtu in (0, 576, 1280):
        too_big(host, client, mtu)
    whole = quote(host, client)
    for size in (0, 1, 19, 20, 24, 27, 39, 40, 44):
        if host.family == 4:
            host.send_ip(wire.ICMP, wire.icmp(3, 4, 600, whole[:size]))
            host.send_ip(wire.ICMP, wire.icmp(3, 3, 0, whole[:size]))
        else:
            host.send_icmpv6(2, 0, 1280, whole[:size])
            host.send_icmpv6(1, 4, 0, whole[:size])
    host.silent("an answer to an error")
    host.alive()


@check("RFC 5927 §4", BOTH)
def error_in_syn_received_does_no_harm(host):
    """An error that does not fit the SYN-ACK ends no half-open connection."""
    client = host.tcp()
    client.syn()
    client.take_syn_ack()
    if host.family == 4:
        host.send_ip(wire.ICMP, wire.icmp(3, 1, 0, quote(host, client, client.rcv + 99_999)))
    else:
        host.send_icmpv6(1, 3, 0, quote(host, client, client.rcv + 99_999))
    client.send("A")
    client.echo()


@check("RFC 792")
def error_with_bad_checksum_is_ignored(host):
    """A report that is not verified is none."""
    client, data = outstanding(host)
    host.send_ip(wire.ICMP, wire.icmp(3, 4, 600, quote(host, client), value=0x4711))
    need(client.read(7000, 6) == data, "echo")
    client.hold(5000)
    found = next_lengths(client)
    need(max(found) == 1500, f"packets of {found}")
