"""ICMP and ICMPv6 echo, and what must and must not be answered by an error: RFC 792, 1122, 4443."""

import struct

import wire
from client import need
from registry import BOTH, SIX, cases, check


@cases("RFC 1122 §3.2.2.6, RFC 4443 §4.2", ("0", 0), ("1", 1), ("8", 8), ("55", 55), ("56", 56),
       ("512", 512), ("1400", 1400), ("1452", 1452), families=BOTH)
def echo_request_is_answered(host, size):
    """The reply has identification, number and data of the request, and the asked address."""
    data = host.random.randbytes(size)
    rest = host.ping(data, seq=size)
    frame = host.pong(rest)
    need(frame.data == data and frame.code == 0, "other data")
    need(frame.source == host.peer and frame.destination == host.own, "other addresses")


@check("RFC 1122 §3.2.2.6")
def largest_echo_request_is_answered(host):
    """1472 octets fill an Ethernet frame."""
    data = host.random.randbytes(1472)
    need(host.pong(host.ping(data)).data == data, "other data")


@check("RFC 1122 §3.2.2, RFC 4443 §2.3", BOTH)
def bad_icmp_checksum_is_dropped(host):
    """What is not verified is not answered."""
    rest = host.ping(value=0x1111)
    host.not_ponged(rest, "an answer to a bad checksum")


@check("RFC 792", BOTH)
def cut_off_icmp_is_dropped(host):
    """Less than a header."""
    protocol = wire.ICMP if host.family == 4 else wire.ICMPV6
    for size in range(8):
        host.send_ip(protocol, (b"\x08\0\xf7\xff" if host.family == 4 else b"\x80\0\x12\x34")[:size]
                     + b"\0" * max(0, size - 4))
    host.silent("an answer to a cut-off message")
    host.alive()


@cases("RFC 1122 §3.2.2", ("echo_reply", 0, 0), ("unknown", 42, 0), ("redirect", 5, 1),
       ("address_mask", 17, 0), ("source_quench", 4, 0), ("router_advertisement", 9, 0))
def other_icmp_is_dropped_silently(host, kind, code):
    """Unknown types and those for routers get no answer (MUST for unknown ones)."""
    host.send_ip(wire.ICMP, wire.icmp(kind, code, 0, bytes(28)))
    host.silent("an answer")
    host.alive()


@check("RFC 4443 §2.4 (b)", SIX)
def unknown_icmpv6_information_is_dropped(host):
    """Unknown informational types are dropped silently."""
    host.send_icmpv6(200, 0, 0, bytes(8))
    host.send_icmpv6(129, 0, 7, bytes(8))
    host.silent("an answer")


@check("RFC 1122 §4.1.3.1, RFC 4443 §3.1", BOTH)
def closed_udp_port_is_unreachable(host):
    """Port unreachable, with the packet it is about."""
    message = wire.udp(host.own, host.peer, (5000, 33434), b"anyone?")
    host.send_ip(wire.UDP, message)
    kind, code = (3, 3) if host.family == 4 else (1, 4)
    frame = host.wait("port unreachable", lambda frame: frame.kind.startswith("icmp")
                      and (frame.type, frame.code) == (kind, code))
    header = 20 if host.family == 4 else 40
    need(frame.data[header:header + 8] == message[:8], "the quote is another packet's")


@check("RFC 1122 §3.2.2.1")
def unknown_protocol_is_unreachable(host):
    """Protocol unreachable, or silence: it is a SHOULD."""
    host.send_ip(200, b"what is this?")
    for frame in host.wait_all(0.25):
        need(frame.kind == "icmp" and (frame.type, frame.code) == (3, 2), wire.describe(frame))


@check("RFC 1122 §3.2.2", BOTH)
def error_about_an_error_is_never_sent(host):
    """An ICMP error for a connection nobody has is dropped."""
    quote = host.random.randbytes(8)
    if host.family == 4:
        packet = wire.ipv4(host.peer, host.own, wire.UDP, quote)
        for code in range(16):
            host.send_ip(wire.ICMP, wire.icmp(3, code, 0, packet))
        for kind in (4, 5, 11, 12):
            host.send_ip(wire.ICMP, wire.icmp(kind, 0, 0, packet))
    else:
        packet = wire.ipv6(host.peer, host.own, wire.UDP, quote)
        for kind in (1, 2, 3, 4, 100, 127):
            host.send_icmpv6(kind, 0, 1280, packet)
    host.silent("an error about an error", lambda frame: frame.kind.startswith("icmp"))
    host.alive()


def unicast_icmp(host, what):
    host.silent(what, lambda frame: frame.kind.startswith("icmp"))
    host.alive()


@check("RFC 1122 §3.2.2")
def nothing_is_sent_about_broadcasts(host):
    """UDP to a broadcast or group address, or in a broadcast frame, gets no error."""
    broadcast, group = bytes([10, 77, 255, 255]), bytes([224, 0, 0, 1])
    for to, mac in ((broadcast, wire.BROADCAST), (b"\xff" * 4, wire.BROADCAST),
                    (group, b"\1\0\x5e\0\0\1"), (host.peer, wire.BROADCAST), (broadcast, None)):
        host.send_ip(wire.UDP, wire.udp(host.own, to, (5000, 33434), b"all"), to=to, mac=mac)
    unicast_icmp(host, "an error about a broadcast")


@check("RFC 1122 §3.2.2")
def nothing_is_sent_about_later_fragments(host):
    """A fragment that is not the first causes no error."""
    host.send_ip(200, bytes(64), flags=0, offset=64, ident=77)
    host.send_ip(wire.UDP, bytes(64), flags=1, offset=128, ident=78)
    unicast_icmp(host, "an error about a fragment")


@cases("RFC 1122 §3.2.2", ("loopback", "127.0.0.1"), ("zero", "0.0.0.0"),
       ("broadcast", "255.255.255.255"), ("group", "224.0.0.5"), ("own", "10.77.0.1"),
       ("net_broadcast", "10.77.255.255"), ("reserved", "240.0.0.1"),
       linux="Linux without rp_filter looks only whether the source is its own")
def impossible_source_gets_no_answer(host, source):
    """Nothing is sent to an address that names no single host."""
    host.hears_all = True
    source = wire.address(source)
    rest = host.ping(source=source)
    host.send_ip(wire.UDP, wire.udp(source, host.peer, (5000, 33434), b"?"), source=source)
    segment = wire.tcp(source, host.peer, (5000, 7), 1, 0, 2, 65535)
    host.send_ip(wire.TCP, segment, source=source)
    host.not_ponged(rest, "an answer to an impossible address")
    host.silent("an answer to an impossible address", lambda frame: frame.destination == source, 0)
    host.alive()


@check("RFC 1122 §3.2.2.6")
def broadcast_echo_does_no_harm(host):
    """An echo request to a broadcast address may be answered, from the own address."""
    rest = host.ping(to=bytes([10, 77, 255, 255]), mac=wire.BROADCAST)
    for frame in host.wait_all(0.25):
        if frame.kind == "icmp" and frame.rest == rest:
            need(frame.source == host.peer, "a reply from a broadcast address")
    host.alive()


@check("RFC 4443 §4.2", SIX)
def all_nodes_echo_is_answered_from_the_own_address(host):
    """ff02::1 may be answered; then the source is the node's own address (SHOULD answer)."""
    host.ping(to=wire.address("ff02::1"), mac=b"\x33\x33\0\0\0\1", source=host.link_local)
    frame = host.wait("an echo reply", lambda frame: frame.kind == "icmpv6" and frame.type == 129)
    need(frame.source == host.target.link_local, f"from {wire.name(frame.source)}")


@check("RFC 4443 §4.2, RFC 4291 §2.5.6", SIX)
def link_local_address_answers(host):
    """The link-local address made from the Ethernet address is reachable."""
    rest = host.ping(source=host.link_local, to=host.target.link_local)
    frame = host.pong(rest)
    need(frame.source == host.target.link_local, f"from {wire.name(frame.source)}")


@check("RFC 1122 §3.2.1.8 (c), (d)")
def echo_with_record_route_is_answered(host):
    """Record Route in a request: the reply comes, and if it has the option it goes on in it."""
    rest = host.ping(options=b"\x07\x0b\x04" + bytes(8))
    frame = host.pong(rest)
    if frame.ip_options:
        need(frame.ip_options[0] in (7, 1), f"options {frame.ip_options.hex()}")


@check("RFC 791")
def echo_with_options_of_nothing_is_answered(host):
    """No-operation and end of list."""
    host.pong(host.ping(options=b"\1\1\1\0"))
    host.pong(host.ping(options=b"\1" * 39 + b"\0"))


@check("RFC 1122 §3.2.2.6")
def identification_zero_and_large_numbers(host):
    """Every identification and number is echoed."""
    for ident, seq in ((0, 0), (65535, 65535), (0, 65535), (1, 0)):
        host.pong(host.ping(ident=ident, seq=seq))


@check("RFC 792")
def many_pings_are_answered(host):
    """Sixty requests one after the other, none lost."""
    for number in range(60):
        host.pong(host.ping(b"%d" % number, seq=number))


@check("RFC 4443 §2.4 (e)", SIX)
def nothing_is_sent_about_groups(host):
    """UDP to a group gets no port unreachable."""
    group = wire.address("ff02::1")
    host.send_ip(wire.UDP, wire.udp(host.ip6, group, (5000, 33434), b"all"), to=group,
                 mac=b"\x33\x33\0\0\0\1")
    unicast_icmp(host, "an error about a group")


@cases("RFC 4443 §2.4 (e.6)", ("unspecified", "::"), ("group", "ff02::1"), ("loopback", "::1"),
       ("own", "fd77::1"), ("mapped", "::ffff:10.77.16.99"), families=SIX)
def impossible_source_gets_no_answer(host, source):
    """Nothing is sent to an address that names no single host."""
    host.hears_all = True
    source = wire.address(source)
    rest = host.ping(source=source)
    segment = wire.tcp(source, host.peer, (5000, 7), 1, 0, 2, 65535)
    host.send_ip(wire.TCP, segment, source=source)
    host.send_ip(wire.UDP, wire.udp(source, host.peer, (5000, 33434), b"?"), source=source)
    host.not_ponged(rest, "an answer to an impossible address")
    host.silent("an answer to an impossible address", lambda frame: frame.destination == source, 0)
    host.alive()


@check("RFC 1122 §4.1.3.1, RFC 1812 §4.3.2.8")
def errors_are_limited(host):
    """Five hundred packets to a closed port get fewer errors: they are rate limited."""
    message = wire.udp(host.own, host.peer, (5000, 33434), b"flood")
    for _ in range(500):
        host.send_ip(wire.UDP, message)
    got = [frame for frame in host.wait_all(0.5) if frame.kind == "icmp" and frame.type == 3]
    need(len(got) <= 400, f"{len(got)} errors for 500 packets")
    host.alive()


@check("RFC 1122 §3.2.2.1")
def cut_off_udp_does_no_harm(host):
    """A UDP header that is cut off, or says another length."""
    host.send_ip(wire.UDP, b"\x12\x34")
    host.send_ip(wire.UDP, struct.pack("!HHHH", 5000, 33434, 4000, 0) + b"short")
    host.send_ip(wire.UDP, struct.pack("!HHHH", 5000, 33434, 3, 0) + b"short")
    host.alive()
