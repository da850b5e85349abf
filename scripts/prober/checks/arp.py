"""ARP: RFC 826, RFC 1122 §2.3.2, RFC 5227."""

import struct

import wire
from client import need
from registry import cases, check


def answer(host, within=1.0):
    return host.wait("an ARP reply", lambda frame: frame.kind == "arp" and frame.operation == 2,
                     within)


def no_answer(host, what):
    host.silent(what, lambda frame: frame.kind == "arp" and frame.operation == 2)


@check("RFC 826")
def request_is_answered(host):
    """The reply has the target's addresses as sender, ours as target, and is sent to us alone."""
    host.send_arp(1)
    frame = answer(host)
    mac = host.target.mac
    need((frame.sender_mac, frame.sender_ip) == (mac, host.target.ip4), "sender")
    need((frame.target_mac, frame.target_ip) == (host.mac, host.ip4), "target")
    need(frame.destination_mac == host.mac and frame.source_mac == mac, "Ethernet header")
    need((frame.hardware, frame.protocol) == (1, wire.IPV4), "types")


@check("RFC 826, RFC 1122 §2.3.2.1")
def unicast_request_is_answered(host):
    """A poll of a neighbour."""
    host.send_arp(1, host.target.mac)
    answer(host)


@check("RFC 5227 §2.1.1")
def probe_is_answered(host):
    """A request from 0.0.0.0 for the target's address is answered: it is in use."""
    host.send_arp(1, sender_ip=bytes(4))
    need(answer(host).sender_ip == host.target.ip4, "sender")


@cases("RFC 826", ("other_host", "10.77.0.99"), ("broadcast", "10.77.255.255"), ("zero", "0.0.0.0"),
       ("loopback", "127.0.0.1"), ("other_network", "192.0.2.1"))
def request_for_others_is_not_answered(host, target):
    """Another's address."""
    host.send_arp(1, target_ip=wire.address(target))
    no_answer(host, "an answer for another")


@cases("RFC 826", ("hardware", {"hardware": 15}), ("protocol", {"protocol": 0x86DD}),
       ("hardware_len", {"hardware_len": 8}), ("protocol_len", {"protocol_len": 16}))
def request_of_other_kind_is_not_answered(host, odd):
    """Not Ethernet, or not IPv4."""
    host.send_arp(1, **odd)
    no_answer(host, "an answer to another kind of ARP")


@cases("RFC 826", ("0", 0), ("3", 3), ("8", 8), ("65535", 65535))
def other_operation_is_not_answered(host, operation):
    """Neither request nor reply."""
    host.send_arp(operation, wire.BROADCAST)
    no_answer(host, "an answer to another operation")


@check("RFC 826")
def cut_off_request_is_not_answered(host):
    """Less than 28 octets."""
    whole = wire.arp(1, host.mac, host.ip4, bytes(6), host.target.ip4)
    for size in (0, 8, 20, 27):
        host.transmit(wire.ARP, whole[:size], wire.BROADCAST)
    no_answer(host, "an answer to a cut-off request")


@check("RFC 5227 §2.4, RFC 826")
def claim_of_the_targets_address_is_not_believed(host):
    """Somebody says that he has the target's address: it goes on serving."""
    host.send_arp(1, sender_ip=host.target.ip4, target_ip=host.target.ip4)
    host.send_arp(2, sender_ip=host.target.ip4, target_ip=host.target.ip4,
                  destination=wire.BROADCAST)
    host.alive()
    host.tcp().connect().echo()


@check("RFC 5227 §2.4")
def reply_is_no_question(host):
    """A reply nobody asked for is not answered."""
    host.send_arp(2, target_ip=host.target.ip4, target_mac=host.target.mac)
    no_answer(host, "an answer to a reply")


@check("RFC 826, RFC 1122 §2.3.2.1")
def changed_address_of_a_peer_is_learnt(host):
    """After a gratuitous ARP the target sends to the new Ethernet address."""
    client = host.tcp().connect()
    client.echo()
    moved = b"\x02\x50\x52\x01" + struct.pack("!H", host.number)
    host.link.hosts[moved] = host
    host.mac = moved
    host.send_arp(1, target_ip=host.ip4)
    client.drain(0.1)
    client.send("PA", b"moved")
    frame = client.expect(None, 4, size=5)
    if frame.destination_mac != moved:
        frame = client.expect(None, 8, size=5, destination_mac=moved)
    client.rcv = frame.seq + 5


@check("RFC 826")
def changed_address_in_a_request_is_learnt(host):
    """So it does after a request from there."""
    host.alive()
    moved = b"\x02\x50\x52\x01" + struct.pack("!H", host.number)
    host.link.hosts[moved] = host
    host.mac = moved
    host.send_arp(1)
    answer(host)
    need(host.alive().destination_mac == moved, "the reply went to the old address")


@check("RFC 1122 §2.3.2.2")
def first_packet_to_a_neighbour_is_not_lost(host):
    """The reply to the first packet from a stranger waits for ARP."""
    host.answers = False
    rest = host.ping()
    host.wait("an ARP request", lambda frame: frame.kind == "arp" and frame.operation == 1
              and frame.target_ip == host.ip4)
    host.answers = True
    host.send_arp(2, target_mac=host.target.mac)
    host.pong(rest, 0.8)


@check("RFC 1122 §2.3.2.1")
def unanswered_requests_are_limited(host):
    """A neighbour that does not answer is asked about once a second."""
    host.answers = False
    for _ in range(60):
        host.ping()
        host.wait_all(0.03)
    asked = [frame for _, arrow, frame in host.story if arrow == "◀" and frame.kind == "arp"]
    need(1 <= len(asked) <= 8, f"{len(asked)} requests within 2 s")


@check("RFC 826")
def requests_have_the_right_form(host):
    """The target's own requests: broadcast, our address asked for, own addresses as sender."""
    host.answers = False
    host.ping()
    frame = host.wait("an ARP request", lambda frame: frame.kind == "arp" and frame.operation == 1)
    need((frame.sender_mac, frame.sender_ip) == (host.target.mac, host.target.ip4), "sender")
    need(frame.destination_mac == wire.BROADCAST, "not broadcast")
    need(frame.target_mac in (bytes(6), wire.BROADCAST), "target hardware address")


@cases("RFC 826", ("broadcast", b"\xff" * 6), ("group", b"\x01\0\x5e\0\0\1"),
       linux="Linux believes any Ethernet address")
def group_address_is_not_learnt(host, mac):
    """A neighbour's Ethernet address is no group: what is for it is not sent to everybody."""
    host.hears_all = True
    host.alive()
    host.send_arp(1, host.target.mac, sender_mac=mac)
    host.wait_all(0.1)
    rest = host.ping()
    frame = host.wait("an echo reply", lambda frame: frame.kind == "icmp" and frame.rest == rest)
    need(frame.destination_mac == host.mac, "sent to a group address")


@check("RFC 1122 §2.3.2 (cache flooding)", alone=True)
def flood_of_neighbours_does_no_harm(host):
    """Four thousand strangers introduce themselves; those who talk are still reached."""
    client = host.tcp().connect()
    for number in range(4000):
        host.send_arp(1, sender_ip=bytes([10, 77, 200 + number // 250, 1 + number % 250]),
                      sender_mac=b"\x02\xaa\0\0" + struct.pack("!H", number))
    host.wait_all(0.3)
    client.echo(b"after the flood")
    host.alive()


@check("RFC 1122 §2.3.2 (cache flooding)", alone=True,
       linux="Linux has room for 1024 neighbours, and the check before took it")
def flood_of_unreachable_strangers_does_no_harm(host):
    """Pings from a hundred addresses where nobody is, then one from somebody new."""
    for number in range(100):
        source = bytes([10, 77, 210, 1 + number])
        host.ping(source=source)
    host.wait_all(0.3)
    host.alive()
    host.tcp().connect().echo()
