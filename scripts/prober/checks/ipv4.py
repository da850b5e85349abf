"""IPv4 headers and fragments: RFC 791, 1122 §3.2.1 and §3.3.2, 815, 1858, 5722."""

import wire
from client import need
from registry import cases, check


@cases("RFC 791, RFC 1122 §3.2.1", ("checksum", {"checksum": 0x1234}), ("version_5", {"version": 5}),
       ("version_0", {"version": 0}), ("version_6", {"version": 6}), ("header_length_4", {"ihl": 4}),
       ("header_length_0", {"ihl": 0}), ("header_beyond_packet", {"ihl": 15, "total": 40}),
       ("total_below_header", {"total": 19}), ("total_zero", {"total": 0}),
       ("total_beyond_frame", {"total": 1400}))
def malformed_header_is_dropped(host, odd):
    """What is no IPv4 packet is dropped silently (MUST)."""
    rest = host.ping(**odd)
    client = host.tcp()
    client.ip_odd = odd
    client.syn()
    client.ip_odd = {}
    host.not_ponged(rest, "an answer to a malformed packet")
    client.silent("an answer to a malformed packet", 0)
    host.alive()


@cases("RFC 1122 §3.2.1.7", ("1", 1), ("2", 2), ("255", 255))
def time_to_live_does_not_matter_to_the_receiver(host, ttl):
    """A packet for us is taken whatever is left of its life (MUST NOT drop below 2)."""
    host.pong(host.ping(ttl=ttl))
    client = host.tcp()
    client.ip_odd = {"ttl": ttl}
    client.connect().echo()


@check("RFC 1122 §3.2.1.7")
def time_to_live_of_answers(host):
    """Our packets must travel: at least 32, at most 255."""
    client = host.tcp().connect()
    need(32 <= client.syn_ack.ttl <= 255, f"TTL {client.syn_ack.ttl}")
    need(32 <= host.alive().ttl <= 255, "TTL of the echo reply")


@check("RFC 1191 §3")
def segments_may_not_be_fragmented(host):
    """Path MTU discovery needs DF."""
    client = host.tcp().connect()
    client.send("PA", b"df?")
    frame = client.expect(None, 1, size=3)
    need(frame.dont_fragment, "no DF")


@check("RFC 894")
def padding_of_short_frames_is_ignored(host):
    """What stands behind the total length is no text."""
    client = host.tcp().connect()
    segment = wire.tcp(client.own, client.peer, (client.own_port, 7), client.snd, client.rcv, 24,
                       65535, data=b"pad")
    packet = wire.ipv4(client.own, client.peer, wire.TCP, segment)
    host.transmit(wire.IPV4, packet + b"\xee" * 40)
    client.snd += 3
    need(client.read(3) == b"pad", "echo")


@cases("RFC 791", ("nop", b"\1\1\1\1"), ("end", b"\0"), ("security", b"\x82\x04\0\0"),
       ("unknown", b"\x5e\x04\0\0"), ("timestamp", b"\x44\x0c\x05\0" + bytes(8)),
       ("record_route", b"\x07\x07\x04" + bytes(4) + b"\0"), ("router_alert", b"\x94\x04\0\0"))
def options_do_not_hinder(host, options):
    """Options that are not for hosts are passed over (MUST)."""
    client = host.tcp()
    client.ip_odd = {"options": options}
    client.connect().echo(b"with options")


@cases("RFC 1122 §3.2.1.8", ("length_0", b"\x07\0\x04\0"), ("length_1", b"\x07\1\x04\0"),
       ("beyond_header", b"\x07\x20\x04\0"), ("cut_off", b"\1\1\1\x07"),
       ("pointer_beyond", b"\x07\x07\xff\0\0\0\0\0"), ("timestamp_overflow", b"\x44\x04\xff\xf0"))
def malformed_ip_option_does_no_harm(host, options):
    """Silence, a parameter problem or an answer; and the next packet is served."""
    rest = host.ping(options=options)
    for frame in host.wait_all(0.25):
        need(frame.kind == "icmp" and (frame.type == 12 or frame.rest == rest), wire.describe(frame))
    host.alive()


@cases("RFC 6274 §3.13.2.3, RFC 7126", ("loose", b"\x83\x07\x04\x0a\x4d\x10\x09\0"),
       ("strict", b"\x89\x07\x04\x0a\x4d\x10\x09\0"), ("loose_done", b"\x83\x07\x08\x0a\x4d\x10\x09\0"))
def source_route_is_refused(host, options):
    """Source routes are not followed and not answered by reversing them."""
    client = host.tcp()
    client.ip_odd = {"options": options}
    client.syn()
    client.silent("an answer along a source route", 0.25,
                  lambda frame: frame.kind == "tcp" and bool(frame.ip_options))
    host.alive()


@cases("RFC 9293 §3.9.2.3, MUST-57; RFC 1122 §4.2.3.10", ("net_broadcast", "10.77.255.255"),
       ("all_ones", "255.255.255.255"), ("group", "224.0.0.1"), ("other_group", "239.1.2.3"),
       ("loopback", "127.0.0.1"), ("other_host", "10.77.0.77"), ("zero", "0.0.0.0"))
def syn_for_others_is_dropped(host, to):
    """A SYN for a broadcast, group or foreign address gets nothing."""
    host.hears_all = True
    to = wire.address(to)
    for mac in (None, wire.BROADCAST):
        segment = wire.tcp(host.own, to, (host.free_port(), 7), 1, 0, 2, 65535)
        host.send_ip(wire.TCP, segment, to=to, mac=mac)
    host.silent("an answer to a foreign SYN", lambda frame: frame.kind == "tcp"
                and frame.destination == host.own)
    host.alive()


@check("RFC 1122 §3.3.6, RFC 9293 §3.9.2.3")
def segment_in_broadcast_frame_is_dropped(host):
    """Our address in a frame for everybody: no SYN-ACK, no reset."""
    client = host.tcp()
    client.ip_odd = {"mac": wire.BROADCAST}
    client.syn()
    client.send("A", seq=5)
    client.silent("an answer to a broadcast frame")
    client.ip_odd = {}


@check("IEEE 802.3")
def frame_for_another_address_is_dropped(host):
    """Another Ethernet address: not for us."""
    rest = host.ping(mac=b"\x02\x11\x22\x33\x44\x55")
    host.not_ponged(rest, "an answer to another's frame")


@check("IEEE 802.3")
def odd_frames_do_no_harm(host):
    """Runts, unknown types, lengths in place of types, empty packets."""
    for kind in (0x0000, 0x0040, 0x05DC, 0x0600, 0x88CC, 0x888E, 0x9000, 0xFFFF, 0x8100, 0x88A8):
        for size in (0, 1, 2, 46, 1500):
            host.transmit(kind, bytes(size))
            host.transmit(kind, bytes(size), wire.BROADCAST)
    for size in (0, 1, 19, 20, 21, 27, 28, 39, 40):
        packet = wire.ipv4(host.own, host.peer, wire.TCP, bytes(40))[:size]
        host.transmit(wire.IPV4, packet)
        host.transmit(wire.IPV6, wire.ipv6(host.ip6, host.target.ip6, wire.TCP, bytes(40))[:size])
        host.transmit(wire.ARP, wire.arp(1, host.mac, host.ip4, bytes(6), host.peer)[:size])
    host.alive()


@check("RFC 3514, RFC 791")
def reserved_flag_does_no_harm(host):
    """The reserved bit of the flags."""
    host.ping(flags=6)
    host.wait_all(0.1)
    host.alive()


@check("RFC 2474")
def every_type_of_service_is_served(host):
    """The octet means nothing to us."""
    for tos in (0, 0x10, 0x88, 0xB8, 0xE0, 0xFC):
        host.pong(host.ping(tos=tos))


# --- Fragments ---------------------------------------------------------------------------------

def fragments(host, protocol, payload, cuts, ident=None):
    """The payload in pieces that end at `cuts`: (offset, more, octets)."""
    ident = ident if ident is not None else host.random.randrange(65536)
    ends = [*cuts, len(payload)]
    pieces, begin = [], 0
    for end in ends:
        pieces.append((begin, int(end < len(payload)), payload[begin:end], protocol, ident))
        begin = end
    return pieces


def send_piece(host, piece):
    offset, more, octets, protocol, ident = piece
    host.send_ip(protocol, octets, flags=more, offset=offset, ident=ident)


def echo_request(host, size):
    ident = host.random.randrange(1, 65536)
    data = host.random.randbytes(size)
    return wire.icmp(8, 0, wire.echo_id(ident, 1), data), wire.echo_id(ident, 1), data


@cases("RFC 1122 §3.3.2", ("in_order", [0, 1, 2]), ("reverse", [2, 1, 0]), ("middle_last", [0, 2, 1]),
       ("twice", [0, 1, 1, 2]), ("last_first", [2, 0, 1]))
def fragments_are_put_together(host, order):
    """A ping in three fragments in any order is answered."""
    message, rest, data = echo_request(host, 1000)
    pieces = fragments(host, wire.ICMP, message, (400, 800))
    for at in order:
        send_piece(host, pieces[at])
    need(host.pong(rest).data == data, "other data")


@check("RFC 1122 §3.3.2")
def smallest_fragments_are_put_together(host):
    """Eight octets each."""
    message, rest, data = echo_request(host, 56)
    for piece in fragments(host, wire.ICMP, message, range(8, 64, 8)):
        send_piece(host, piece)
    need(host.pong(rest).data == data, "other data")


@cases("RFC 1122 §3.3.2", ("in_order", False), ("reverse", True))
def segment_in_fragments_is_taken(host, backwards):
    """A TCP segment in two fragments."""
    client = host.tcp().connect()
    text = host.random.randbytes(800)
    segment = wire.tcp(client.own, client.peer, (client.own_port, 7), client.snd, client.rcv, 24,
                       65535, data=text)
    pieces = fragments(host, wire.TCP, segment, (408,))
    for piece in reversed(pieces) if backwards else pieces:
        send_piece(host, piece)
    client.snd += 800
    need(client.read(800) == text, "echo")


@check("RFC 1122 §3.3.2, §3.2.2.6")
def echo_larger_than_the_link_is_answered(host):
    """1800 octets: the reply comes in fragments, or cut to what fits (MUST).

    Linux puts fragments together before a packet socket of DPDK sees them, and cuts off what is then
    longer than 2000 octets.
    """
    message, rest, _ = echo_request(host, 1800)
    for piece in fragments(host, wire.ICMP, message, (1480,)):
        send_piece(host, piece)
    host.wait("a reply in fragments, or cut off", lambda frame: frame.kind == "fragment" or (
        frame.kind == "icmp" and frame.type == 0 and frame.rest == rest))


@check("RFC 791")
def fragments_of_different_packets_do_not_mix(host):
    """Identification, protocol and addresses tell packets apart."""
    one, rest_one, data_one = echo_request(host, 600)
    two, rest_two, data_two = echo_request(host, 600)
    first = fragments(host, wire.ICMP, one, (304,), 100)
    second = fragments(host, wire.ICMP, two, (304,), 101)
    for piece in (first[0], second[0], second[1], first[1]):
        send_piece(host, piece)
    got = {frame.rest: frame.data for frame in host.wait_all(0.3) if frame.kind == "icmp"}
    need(got == {rest_one: data_one, rest_two: data_two}, "not both replies")


@check("RFC 1858, RFC 5722, RFC 815")
def overlapping_fragments_do_no_harm(host):
    """Teardrop: a second fragment inside the first, or across it. Dropped, or consistent."""
    message, rest, data = echo_request(host, 600)
    ident = 4711
    send_piece(host, (0, 1, message[:400], wire.ICMP, ident))
    send_piece(host, (200, 0, b"\xaa" * 100, wire.ICMP, ident))
    send_piece(host, (8, 0, b"\xbb" * 8, wire.ICMP, ident))
    send_piece(host, (392, 0, message[392:], wire.ICMP, ident))
    for frame in host.wait_all(0.2):
        need(frame.kind != "icmp" or frame.rest != rest or frame.data == data, "mixed fragments")
    host.alive()


@check("RFC 791 §3.2, RFC 1122 §3.3.2")
def tiny_fragments_are_put_together(host):
    """Fragments of eight octets that cut the TCP header: a host must put them together."""
    client = host.tcp()
    segment = wire.tcp(client.own, client.peer, (client.own_port, 7), client.iss, 0, 2, 65535)
    for piece in fragments(host, wire.TCP, segment, (8, 16)):
        send_piece(host, piece)
    client.snd = client.iss + 1
    client.take_syn_ack()


@check("CERT CA-1996-26 (ping of death)")
def packet_beyond_64_kib_does_no_harm(host):
    """Fragments that would end beyond octet 65,535."""
    for ident in range(20):
        host.send_ip(wire.ICMP, bytes(1400), flags=1, offset=0, ident=ident)
        host.send_ip(wire.ICMP, bytes(1400), flags=0, offset=65528, ident=ident)
    host.silent("an answer", lambda frame: frame.kind == "icmp" and frame.type == 0, 0.15)
    host.alive()


@cases("RFC 791", ("empty", (b"", 1, 64)), ("odd_length", (bytes(13), 1, 0)),
       ("zero_at_zero", (b"", 1, 0)))
def malformed_fragments_do_no_harm(host, odd):
    """Fragments without octets, or not of a multiple of eight before the last."""
    octets, more, offset = odd
    for ident in range(10):
        host.send_ip(wire.ICMP, octets, flags=more, offset=offset, ident=ident)
    host.silent("an answer", lambda frame: frame.kind == "icmp" and frame.type == 0, 0.15)
    host.alive()


@check("RFC 1122 §3.3.2", alone=True)
def flood_of_fragments_does_no_harm(host):
    """Three thousand packets begun and never finished; then whole packets and fragments serve."""
    for number in range(3000):
        host.send_ip(wire.ICMP, bytes(64), flags=1, offset=8 * (number % 100), ident=number)
    client = host.tcp().connect()
    client.echo(b"still there")
    host.alive()
