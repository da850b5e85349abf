"""Neighbour discovery: RFC 4861, and duplicate address detection: RFC 4862."""

import struct

import wire
from client import need
from registry import SIX, cases, check

SOLICITED, OVERRIDE = 0x40000000, 0x20000000
ALL_NODES = wire.address("ff02::1")


def is_advertisement(frame):
    return frame.kind == "icmpv6" and frame.type == 136


def answer(host, within=1.0):
    return host.wait("a neighbour advertisement", is_advertisement, within)


def check_advertisement(host, frame, of):
    """RFC 4861 §7.2.4."""
    need(frame.ttl == 255, f"hop limit {frame.ttl}")
    need(frame.data[:16] == of, f"target {wire.name(frame.data[:16])}")
    need(frame.code == 0 and not frame.rest & 0x80000000, "a router's")
    option = frame.data[16:24]
    need(not option or option == b"\2\1" + host.target.mac, f"options {frame.data[16:].hex()}")


@check("RFC 4861 §7.2.4", SIX)
def solicitation_to_the_group_is_answered(host):
    """Solicited, with the target's Ethernet address, to the asker alone."""
    host.send_solicitation(host.target.ip6)
    frame = answer(host)
    check_advertisement(host, frame, host.target.ip6)
    need(frame.rest & SOLICITED and frame.destination == host.ip6, "not to the asker")
    need(len(frame.data) >= 24, "no target link-layer address")


@check("RFC 4861 §7.2.4", SIX)
def unicast_solicitation_is_answered(host):
    """A poll of reachability."""
    host.send_solicitation(host.target.ip6, to=host.target.ip6)
    frame = answer(host)
    check_advertisement(host, frame, host.target.ip6)
    need(frame.rest & SOLICITED, "not solicited")


@check("RFC 4861 §7.2.3", SIX)
def unicast_solicitation_without_option_is_answered(host):
    """The source link-layer option may be missing then."""
    host.alive()
    host.send_solicitation(host.target.ip6, to=host.target.ip6, option=None)
    check_advertisement(host, answer(host), host.target.ip6)


@check("RFC 4861 §7.2.4", SIX)
def link_local_address_is_advertised(host):
    """It has a solicited-node group of its own."""
    host.send_solicitation(host.target.link_local, source=host.link_local)
    frame = answer(host)
    check_advertisement(host, frame, host.target.link_local)


@check("RFC 4861 §7.2.4, RFC 4862 §5.4.3", SIX, alone=True)
def duplicate_address_detection_is_answered(host):
    """A solicitation from :: for the target's address: an advertisement to all nodes, not
    solicited."""
    host.hears_all = True
    host.send_solicitation(host.target.ip6, source=bytes(16), option=None)
    frame = host.wait("a neighbour advertisement", lambda frame: is_advertisement(frame)
                      and frame.destination == ALL_NODES)
    check_advertisement(host, frame, host.target.ip6)
    need(not frame.rest & SOLICITED, "solicited")
    need(frame.destination_mac == b"\x33\x33\0\0\0\1", "Ethernet address")


@cases("RFC 4861 §7.1.1", ("hop_limit", {"hops": 254}), ("hop_limit_1", {"hops": 1}),
       ("checksum", {"value": 0x1234}), ("option_length_0", {"option": b"\1\0" + bytes(6)}),
       ("option_cut_off", {"option": b"\1\2" + bytes(6)}), families=SIX)
def invalid_solicitation_is_dropped(host, odd):
    """Hop limit below 255, bad checksum, bad options: silently discarded (MUST)."""
    host.send_solicitation(host.target.ip6, **odd)
    host.silent("an answer to an invalid solicitation", is_advertisement)


@cases("RFC 4861 §7.1.1", ("with_option", True, False), ("to_unicast", None, True), families=SIX,
       alone=True)
def invalid_solicitation_from_nobody_is_dropped(host, option, to_unicast):
    """From :: there is no link-layer option, and the destination is a solicited-node group."""
    host.hears_all = True
    host.send_solicitation(host.target.ip6, source=bytes(16), option=option,
                           to=host.target.ip6 if to_unicast else None)
    host.silent("an answer", lambda frame: is_advertisement(frame)
                and frame.data[:16] == host.target.ip6 and frame.destination == ALL_NODES)


@check("RFC 4861 §7.1.1", SIX)
def solicitation_with_code_is_dropped(host):
    """ICMP code must be 0."""
    group = wire.address("ff02::1:ff00:0")[:13] + host.target.ip6[13:]
    host.send_icmpv6(135, 1, 0, host.target.ip6 + b"\1\1" + host.mac, to=group, hops=255,
                     mac=b"\x33\x33" + group[12:])
    host.silent("an answer", is_advertisement)


@check("RFC 4861 §7.1.1", SIX)
def short_solicitation_is_dropped(host):
    """Less than 24 octets."""
    for size in (0, 4, 15):
        host.send_icmpv6(135, 0, 0, host.target.ip6[:size], hops=255)
    host.silent("an answer", is_advertisement)
    host.alive()


@check("RFC 4861 §7.1.1", SIX)
def solicitation_of_a_group_is_dropped(host):
    """The target must not be a group."""
    host.send_solicitation(wire.address("ff02::1"), to=host.target.ip6)
    host.silent("an answer", is_advertisement)


@cases("RFC 4861 §7.2.3", ("other_host", "fd77::99"), ("loopback", "::1"), ("zero", "::"),
       families=SIX)
def solicitation_for_others_is_not_answered(host, of):
    """Not the target's address."""
    host.send_solicitation(wire.address(of), to=host.target.ip6)
    host.silent("an answer for another", is_advertisement)


@check("RFC 4861 §4.6", SIX)
def unknown_option_is_passed_over(host):
    """Options that are not known are ignored, and those behind count."""
    option = b"\xfd\1" + bytes(6) + b"\1\1" + host.mac
    host.send_solicitation(host.target.ip6, option=option)
    check_advertisement(host, answer(host), host.target.ip6)


@check("RFC 4861 §7.2.2", SIX)
def own_solicitations_have_the_right_form(host):
    """To the solicited-node group, hop limit 255, with the source's link-layer address."""
    host.answers = False
    host.ping()
    frame = host.wait("a solicitation", lambda frame: frame.kind == "icmpv6" and frame.type == 135
                      and frame.data[:16] == host.ip6)
    group = wire.address("ff02::1:ff00:0")[:13] + host.ip6[13:]
    need(frame.ttl == 255 and frame.destination == group, "hop limit or group")
    need(frame.destination_mac == b"\x33\x33" + group[12:], "Ethernet address")
    need(frame.data[16:24] == b"\1\1" + host.target.mac, f"options {frame.data[16:].hex()}")


@check("RFC 4861 §7.2.2", SIX)
def first_packet_to_a_neighbour_is_not_lost(host):
    """A packet that waits for the neighbour's address is sent when it comes (MUST)."""
    host.answers = False
    rest = host.ping()
    host.wait("a solicitation", lambda frame: frame.kind == "icmpv6" and frame.type == 135
              and frame.data[:16] == host.ip6)
    host.answers = True
    host.send_advertisement(host.ip6, host.target.ip6)
    host.pong(rest, 0.8)


def move(host):
    moved = b"\x02\x50\x52\x01" + struct.pack("!H", host.number)
    host.link.hosts[moved] = host
    return moved


@check("RFC 4861 §7.2.5", SIX)
def overriding_advertisement_changes_the_address(host):
    """Override: the cached Ethernet address is replaced."""
    host.alive()
    moved = move(host)
    host.send_advertisement(host.ip6, host.target.ip6, SOLICITED | OVERRIDE, moved)
    host.wait_all(0.1)
    host.mac = moved
    rest = host.ping()
    need(host.pong(rest).destination_mac == moved, "the reply went to the old address")


@check("RFC 4861 §7.2.5", SIX)
def advertisement_without_override_does_not(host):
    """Without Override a different address does not replace the cached one."""
    host.alive()
    moved = move(host)
    host.send_advertisement(host.ip6, host.target.ip6, SOLICITED, moved)
    host.wait_all(0.1)
    rest = host.ping()
    old = host.mac
    need(host.pong(rest).destination_mac == old, "the reply went to the new address")


@check("RFC 4861 §7.2.5", SIX)
def unsolicited_advertisement_makes_no_entry(host):
    """Of a neighbour that is not in the cache it is dropped: the first packet asks."""
    host.answers = False
    host.send_advertisement(host.ip6, ALL_NODES, OVERRIDE, mac=host.mac)
    host.ping()
    host.wait("a solicitation", lambda frame: frame.kind == "icmpv6" and frame.type == 135
              and frame.data[:16] == host.ip6)


@cases("RFC 4861 §7.1.2", ("hop_limit", {"hops": 64}), ("checksum", {"value": 7}), families=SIX)
def invalid_advertisement_is_dropped(host, odd):
    """Invalid advertisements change nothing."""
    host.alive()
    moved = move(host)
    host.send_advertisement(host.ip6, host.target.ip6, SOLICITED | OVERRIDE, moved, **odd)
    host.wait_all(0.1)
    need(host.pong(host.ping()).destination_mac == host.mac, "the reply went to the new address")


@check("RFC 4861 §7.1.2", SIX)
def solicited_advertisement_to_a_group_is_dropped(host):
    """If the destination is a group the S flag must be zero."""
    host.alive()
    moved = move(host)
    host.send_advertisement(host.ip6, ALL_NODES, SOLICITED | OVERRIDE, mac=moved)
    host.send_icmpv6(136, 0, SOLICITED | OVERRIDE, host.ip6 + b"\2\1" + moved, to=ALL_NODES,
                     mac=None, hops=255)
    host.wait_all(0.1)
    need(host.pong(host.ping()).destination_mac == host.mac, "the reply went to the new address")


@check("RFC 4861 §7.2.3", SIX)
def solicitation_from_a_new_address_is_learnt(host):
    """The source link-layer option of a solicitation replaces the cached address."""
    host.alive()
    host.mac = move(host)
    host.send_solicitation(host.target.ip6)
    frame = answer(host)
    need(frame.destination_mac == host.mac, "the answer went to the old address")


@check("RFC 4861 §6.1, §8.1", SIX)
def router_messages_do_no_harm(host):
    """Router solicitations, advertisements and redirects from a host."""
    host.send_icmpv6(133, 0, 0, b"\1\1" + host.mac, to=wire.address("ff02::2"), hops=255)
    host.send_icmpv6(137, 0, 0, host.ip6 + host.target.ip6, hops=255)
    host.send_icmpv6(134, 0, 0x40000000, bytes(8) + b"\3\0" + bytes(30), source=host.link_local,
                     to=ALL_NODES, hops=255)
    host.wait_all(0.1)
    host.alive()


@check("RFC 4861 §7.2.3, RFC 6583", SIX, alone=True)
def flood_of_solicitations_does_no_harm(host):
    """Three thousand neighbours introduce themselves; those who talk are still reached."""
    client = host.tcp().connect()
    for number in range(3000):
        source = wire.address("fd77::aa:0")[:14] + struct.pack("!H", number)
        mac = b"\x02\xbb\0\0" + struct.pack("!H", number)
        host.send_solicitation(host.target.ip6, source=source, to=host.target.ip6,
                               option=b"\1\1" + mac)
    host.wait_all(0.3)
    client.echo(b"after the flood")
    host.alive()
