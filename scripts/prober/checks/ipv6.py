"""IPv6 headers, extension headers and fragments: RFC 8200, 4443, 5095, 5722, 6946, 8504."""

import struct

import wire
from client import need
from registry import SIX, cases, check


def problem(host, code, pointer=None):
    """A parameter problem for our last packet."""
    frame = host.wait("a parameter problem", lambda frame: frame.kind == "icmpv6"
                      and frame.type == 4 and frame.code == code)
    need(pointer is None or frame.rest == pointer, f"pointer {frame.rest}, expected {pointer}")
    return frame


def echo_message(host, data=b"behind headers"):
    rest = wire.echo_id(host.random.randrange(1, 65536), 1)
    return wire.icmpv6(host.ip6, host.target.ip6, 128, 0, rest, data), rest


def chain(*headers, last):
    """Extension headers in a row: (kind, octets behind the first two), and what they lead to."""
    following, octets = last
    for kind, data in reversed(headers):
        if kind == wire.FRAGMENT:
            octets = wire.fragment_header(following, 0, 0, data) + octets
        elif kind == wire.ROUTING:
            octets = bytes([following, (len(data) + 2) // 8 - 1]) + data + octets
        else:
            octets = wire.extension(following, data) + octets
        following = kind
    return following, octets


@cases("RFC 8200 §6", ("version_4", {"version": 4}), ("version_0", {"version": 0}),
       ("length_beyond_frame", {"length": 1400}), ("length_zero", {"length": 0}),
       ("length_cuts", {"length": 9}), families=SIX)
def malformed_header_is_dropped(host, odd):
    """What is no IPv6 packet, or says a wrong length, gets no echo."""
    rest = host.ping(**odd)
    host.not_ponged(rest, "an answer to a malformed packet")
    host.alive()


@cases("RFC 8200 §3", ("1", 1), ("2", 2), ("255", 255), ("0", 0), families=SIX)
def hop_limit_does_not_matter_to_the_receiver(host, hops):
    """A destination takes a packet whatever its hop limit."""
    host.pong(host.ping(hops=hops))


@check("RFC 8200 §3, RFC 4443", SIX)
def hop_limit_of_answers(host):
    """Our packets must travel."""
    client = host.tcp().connect()
    need(client.syn_ack.ttl >= 32, f"hop limit {client.syn_ack.ttl}")


@check("RFC 2464", SIX)
def padding_of_frames_is_ignored(host):
    """What stands behind the payload is no text."""
    message, rest = echo_message(host)
    packet = wire.ipv6(host.ip6, host.target.ip6, wire.ICMPV6, message)
    host.transmit(wire.IPV6, packet + b"\xee" * 40)
    need(host.pong(rest).data == b"behind headers", "padding was echoed")


@check("RFC 6437", SIX)
def flow_label_and_traffic_class_do_not_matter(host):
    """Whatever their values."""
    for flow, tos in ((0xFFFFF, 0), (1, 0xFC), (0x12345, 0x2E << 2)):
        host.pong(host.ping(flow=flow, tos=tos))


@cases("RFC 8200 §4.2", ("hop_by_hop", [(wire.HOP_BY_HOP, b"")]),
       ("destination", [(wire.DESTINATION, b"")]),
       ("two_destinations", [(wire.DESTINATION, b""), (wire.DESTINATION, b"")]),
       ("hop_by_hop_destination", [(wire.HOP_BY_HOP, b""), (wire.DESTINATION, b"")]),
       ("router_alert", [(wire.HOP_BY_HOP, b"\5\2\0\0")]),
       ("skipped_option", [(wire.DESTINATION, b"\x1e\x04abcd")]),
       ("atomic_fragment", [(wire.FRAGMENT, 7)]),
       ("destination_atomic_fragment", [(wire.DESTINATION, b""), (wire.FRAGMENT, 8)]),
       families=SIX)
def extension_headers_are_passed(host, headers):
    """Padding and options of action 00 are skipped: the ping behind is answered."""
    message, rest = echo_message(host)
    following, octets = chain(*headers, last=(wire.ICMPV6, message))
    host.send_ip(following, octets)
    host.pong(rest)


@cases("RFC 8200 §4.1", ("destination", [(wire.DESTINATION, b"")]),
       ("hop_by_hop", [(wire.HOP_BY_HOP, b"")]), ("atomic_fragment", [(wire.FRAGMENT, 9)]),
       families=SIX)
def tcp_behind_extension_headers_is_served(host, headers):
    """A SYN behind headers gets its SYN-ACK."""
    client = host.tcp()
    segment = wire.tcp(client.own, client.peer, (client.own_port, 7), client.iss, 0, 2, 65535)
    following, octets = chain(*headers, last=(wire.TCP, segment))
    host.send_ip(following, octets)
    client.snd = client.iss + 1
    client.take_syn_ack()


@check("RFC 8200 §4.2, action 01", SIX)
def option_of_action_01_drops(host):
    """Unknown option whose highest bits are 01: dropped silently."""
    message, rest = echo_message(host)
    following, octets = chain((wire.DESTINATION, b"\x5e\x04abcd"), last=(wire.ICMPV6, message))
    host.send_ip(following, octets)
    host.silent("an answer", lambda frame: frame.kind == "icmpv6")


@cases("RFC 8200 §4.2", ("10_destination", wire.DESTINATION, 0x9E),
       ("11_destination", wire.DESTINATION, 0xDE), ("10_hop_by_hop", wire.HOP_BY_HOP, 0x9E),
       ("11_hop_by_hop", wire.HOP_BY_HOP, 0xDE), families=SIX)
def option_of_action_10_and_11_is_a_problem(host, kind, option):
    """Unknown option whose highest bits are 10 or 11: parameter problem, code 2, at the option."""
    message, rest = echo_message(host)
    following, octets = chain((kind, bytes([option]) + b"\x04abcd"), last=(wire.ICMPV6, message))
    host.send_ip(following, octets)
    problem(host, 2, 42)
    host.not_ponged(rest, "an echo reply", 0.05)


@check("RFC 8200 §4.2", SIX)
def option_of_action_11_to_a_group_is_dropped(host):
    """To a group action 11 sends nothing, action 10 does."""
    group = wire.address("ff02::1")
    for option, answered in ((0xDE, False), (0x9E, True)):
        message = wire.icmpv6(host.link_local, group, 128, 0, 5, b"x")
        following, octets = chain((wire.DESTINATION, bytes([option]) + b"\x04abcd"),
                                  last=(wire.ICMPV6, message))
        host.send_ip(following, octets, 6, source=host.link_local, to=group,
                     mac=b"\x33\x33\0\0\0\1")
        if answered:
            problem(host, 2, 42)
        else:
            host.silent("an answer", lambda frame: frame.kind == "icmpv6" and frame.type == 4)


@check("RFC 8200 §4, RFC 4443 §3.4", SIX)
def unknown_next_header_is_a_problem(host):
    """Code 1, with the pointer at the Next Header field of the header before."""
    host.send_ip(200, b"what is this?")
    problem(host, 1, 6)


@check("RFC 8200 §4, RFC 4443 §3.4", SIX)
def unknown_next_header_behind_another_is_a_problem(host):
    """The pointer is at the extension header's own field then."""
    following, octets = chain((wire.DESTINATION, b""), last=(201, b"what?"))
    host.send_ip(following, octets)
    problem(host, 1, 40)


@check("RFC 8200 §4.7", SIX)
def no_next_header_ends_the_packet(host):
    """What stands behind 59 is ignored: no answer at all."""
    host.send_ip(wire.NO_NEXT, b"ignored")
    following, octets = chain((wire.DESTINATION, b""), last=(wire.NO_NEXT, b"ignored"))
    host.send_ip(following, octets)
    host.silent("an answer", lambda frame: frame.kind == "icmpv6")


@check("RFC 8200 §4.1", SIX)
def hop_by_hop_stands_only_first(host):
    """Behind another header it is unknown: parameter problem, code 1."""
    message, _ = echo_message(host)
    following, octets = chain((wire.DESTINATION, b""), (wire.HOP_BY_HOP, b""),
                              last=(wire.ICMPV6, message))
    host.send_ip(following, octets)
    problem(host, 1)


@cases("RFC 5095, RFC 8200 §4.4", ("type_0", 0), ("type_77", 77), families=SIX)
def routing_header_with_segments_left_is_a_problem(host, kind):
    """Type 0 is deprecated and handled as unknown: code 0, at the type."""
    message, rest = echo_message(host)
    data = bytes([kind, 1]) + bytes(4) + wire.address("fd77::9")
    following, octets = chain((wire.ROUTING, data), last=(wire.ICMPV6, message))
    host.send_ip(following, octets)
    problem(host, 0, 42)
    host.not_ponged(rest, "an echo reply", 0.05)


@check("RFC 8200 §4.4", SIX)
def routing_header_without_segments_left_is_ignored(host):
    """Unknown type, but nothing left to do: go on."""
    message, rest = echo_message(host)
    data = bytes([77, 0]) + bytes(4) + wire.address("fd77::9")
    following, octets = chain((wire.ROUTING, data), last=(wire.ICMPV6, message))
    host.send_ip(following, octets)
    host.pong(rest)


@cases("RFC 8200 §4", ("header_beyond_packet", wire.DESTINATION, b"\x3a\xff\1\4" + bytes(4)),
       ("option_beyond_header", wire.DESTINATION, b"\x3a\0\x1e\xff" + bytes(4)),
       ("cut_off", wire.DESTINATION, b"\x3a"), ("fragment_cut_off", wire.FRAGMENT, b"\x3a\0\0"),
       ("hop_by_hop_cut_off", wire.HOP_BY_HOP, b"\x3a\1\1\4\0\0\0\0"), families=SIX)
def malformed_extension_does_no_harm(host, kind, octets):
    """Headers that end beyond the packet."""
    host.send_ip(kind, octets)
    for frame in host.wait_all(0.2):
        need(frame.kind == "icmpv6" and frame.type == 4, wire.describe(frame))
    host.alive()


@check("RFC 8504 §5.3 (header chains)", SIX)
def long_chain_of_headers_does_no_harm(host):
    """A hundred headers: passed or dropped, at bounded cost."""
    message, _ = echo_message(host)
    following, octets = chain(*[(wire.DESTINATION, b"")] * 100, last=(wire.ICMPV6, message))
    for _ in range(50):
        host.send_ip(following, octets)
    host.wait_all(0.1)
    host.alive()


@check("RFC 8200 §4.2 (option floods)", SIX)
def header_of_many_options_does_no_harm(host):
    """A header of five hundred one-octet paddings."""
    message, _ = echo_message(host)
    header = bytes([wire.ICMPV6, 63]) + bytes(510)
    for _ in range(20):
        host.send_ip(wire.DESTINATION, header + message)
    host.wait_all(0.1)
    host.alive()


@check("RFC 2675", SIX)
def jumbo_payload_option_does_no_harm(host):
    """A jumbogram on Ethernet is a mistake."""
    message, rest = echo_message(host)
    option = b"\xc2\4" + struct.pack("!I", 70_000)
    host.send_ip(wire.HOP_BY_HOP, wire.extension(wire.ICMPV6, option) + message)
    host.send_ip(wire.HOP_BY_HOP, wire.extension(wire.ICMPV6, option) + message, length=0)
    host.not_ponged(rest, "an echo reply")
    host.alive()


# --- Fragments ---------------------------------------------------------------------------------

def pieces_of(message, cuts, ident, following=wire.ICMPV6):
    begin, found = 0, []
    for end in [*cuts, len(message)]:
        head = wire.fragment_header(following, begin, int(end < len(message)), ident)
        found.append(head + message[begin:end])
        begin = end
    return found


@cases("RFC 8200 §4.5", ("in_order", [0, 1, 2]), ("reverse", [2, 1, 0]), ("middle_last", [0, 2, 1]),
       families=SIX)
def fragments_are_put_together(host, order):
    """A ping in three fragments is answered."""
    data = host.random.randbytes(1000)
    message, rest = echo_message(host, data)
    pieces = pieces_of(message, (400, 800), host.random.randrange(1 << 32))
    for at in order:
        host.send_ip(wire.FRAGMENT, pieces[at])
    need(host.pong(rest).data == data, "other data")


@check("RFC 8200 §4.5", SIX)
def segment_in_fragments_is_taken(host):
    """A TCP segment in two fragments."""
    client = host.tcp().connect()
    text = host.random.randbytes(800)
    segment = wire.tcp(client.own, client.peer, (client.own_port, 7), client.snd, client.rcv, 24,
                       65535, data=text)
    for piece in pieces_of(segment, (408,), host.random.randrange(1 << 32), wire.TCP):
        host.send_ip(wire.FRAGMENT, piece)
    client.snd += 800
    need(client.read(800) == text, "echo")


@check("RFC 6946", SIX)
def atomic_fragment_is_alone(host):
    """An atomic fragment does not mix with waiting fragments of the same identification."""
    data = host.random.randbytes(600)
    message, rest = echo_message(host, data)
    first, second = pieces_of(message, (304,), 4242)
    host.send_ip(wire.FRAGMENT, first)
    other, other_rest = echo_message(host, b"atomic")
    host.send_ip(wire.FRAGMENT, wire.fragment_header(wire.ICMPV6, 0, 0, 4242) + other)
    host.send_ip(wire.FRAGMENT, second)
    got = {frame.rest: frame.data for frame in host.wait_all(0.3) if frame.kind == "icmpv6"}
    need(got.get(other_rest) == b"atomic", "the atomic fragment was not taken")
    need(got.get(rest) == data, "the waiting fragments were lost")


@check("RFC 5722, RFC 8200 §4.5", SIX)
def overlapping_fragments_are_dropped(host):
    """A packet with overlapping fragments is discarded whole (MUST), silently."""
    data = host.random.randbytes(600)
    message, rest = echo_message(host, data)
    ident = 777
    send = lambda begin, end, more: host.send_ip(
        wire.FRAGMENT, wire.fragment_header(wire.ICMPV6, begin, more, ident) + message[begin:end])
    send(0, 400, 1)
    send(200, 480, 1)
    send(400, len(message), 0)
    host.not_ponged(rest, "an answer to overlapping fragments")
    host.alive()


@check("RFC 8200 §4.5, RFC 4443 §3.4", SIX)
def fragment_of_odd_length_is_a_problem(host):
    """Not a multiple of eight and not the last: parameter problem, code 0, at Payload Length."""
    host.send_ip(wire.FRAGMENT, wire.fragment_header(wire.ICMPV6, 0, 1, 5) + b"\x80" * 13)
    problem(host, 0, 4)


@check("RFC 8200 §4.5", SIX)
def fragment_beyond_64_kib_is_a_problem(host):
    """Parameter problem, code 0, at Fragment Offset."""
    host.send_ip(wire.FRAGMENT, wire.fragment_header(wire.ICMPV6, 65528, 0, 6) + bytes(1000))
    problem(host, 0, 42)


@check("RFC 8200 §4.5, RFC 7112", SIX)
def first_fragment_without_all_headers_is_a_problem(host):
    """The chain of headers must be in the first fragment: parameter problem, code 3."""
    message, rest = echo_message(host)
    whole = wire.extension(wire.ICMPV6, b"\1\x0c" + bytes(12)) + message
    for piece in pieces_of(whole, (8,), 99, wire.DESTINATION):
        host.send_ip(wire.FRAGMENT, piece)
    problem(host, 3, 0)
    host.not_ponged(rest, "an echo reply", 0.05)


@check("RFC 8200 §5, §4.5", SIX)
def echo_larger_than_the_link_is_answered(host):
    """1500 octets after reassembly is the least every node takes; the reply comes in fragments."""
    data = host.random.randbytes(1452)
    message, rest = echo_message(host, data)
    for piece in pieces_of(message, (800,), 55):
        host.send_ip(wire.FRAGMENT, piece)
    need(host.pong(rest).data == data, "other data")


@check("RFC 8200 §4.5", SIX, alone=True)
def flood_of_fragments_does_no_harm(host):
    """Three thousand packets begun; whole ones are still served."""
    for ident in range(3000):
        host.send_ip(wire.FRAGMENT, wire.fragment_header(wire.ICMPV6, 0, 1, ident) + bytes(64))
    host.tcp().connect().echo()
    host.alive()


# --- Addresses ---------------------------------------------------------------------------------

@cases("RFC 4291 §2.7, RFC 9293 §3.9.2.3", ("all_nodes", "ff02::1", b"\x33\x33\0\0\0\1"),
       ("solicited_node", "ff02::1:ff00:1", b"\x33\x33\xff\0\0\1"), ("other_host", "fd77::99", None),
       ("loopback", "::1", None), ("mapped", "::ffff:10.77.0.1", None), ("zero", "::", None),
       families=SIX)
def syn_for_others_is_dropped(host, to, mac):
    """A SYN for a group or a foreign address gets nothing."""
    host.hears_all = True
    to = wire.address(to)
    segment = wire.tcp(host.ip6, to, (host.free_port(), 7), 1, 0, 2, 65535)
    host.send_ip(wire.TCP, segment, to=to, mac=mac)
    host.silent("an answer to a foreign SYN", lambda frame: frame.kind == "tcp"
                and frame.destination == host.ip6)
    host.alive()


@check("RFC 4291 §2.5.6", SIX)
def link_local_connection_is_served(host):
    """TCP between link-local addresses."""
    client = host.tcp(own=host.link_local, peer=host.target.link_local)
    client.connect().echo()


@check("RFC 4443 §3.1", SIX)
def closed_udp_port_of_link_local_address_is_unreachable(host):
    """Code 4, from the address that was asked."""
    to = host.target.link_local
    message = wire.udp(host.link_local, to, (5000, 33434), b"anyone?")
    host.send_ip(wire.UDP, message, 6, source=host.link_local, to=to)
    frame = host.wait("port unreachable", lambda frame: frame.kind == "icmpv6"
                      and (frame.type, frame.code) == (1, 4))
    need(frame.source == to and frame.destination == host.link_local, "addresses")


@check("RFC 4443 §3", SIX)
def errors_are_no_larger_than_1280(host):
    """An ICMPv6 error quotes as much as fits in 1280 octets."""
    message = wire.udp(host.own, host.peer, (5000, 33434), bytes(1400))
    host.send_ip(wire.UDP, message)
    frame = host.wait("port unreachable", lambda frame: frame.kind == "icmpv6" and frame.type == 1)
    need(frame.total <= 1280, f"{frame.total} octets")
    need(len(frame.data) >= 40 + 8, "too little of the packet")


@check("RFC 8200 §8.1", SIX)
def udp_without_checksum_is_dropped(host):
    """Zero is no checksum in IPv6."""
    message = wire.udp(host.own, host.peer, (5000, 33434), b"zero")
    host.send_ip(wire.UDP, message[:6] + b"\0\0" + message[8:])
    host.wait_all(0.1)
    host.alive()
