"""Floods and exhaustion: RFC 4987, and what is left afterwards. Each runs alone."""

import struct
import time

import wire
from client import need
from registry import BOTH, check


def spoofed(host, number):
    """An address of the network where nobody is. Few, since Linux has room for 1024 neighbours."""
    if host.family == 4:
        return bytes([10, 77, 210, 1 + number % 150])
    return wire.address("fd77::f00d:0")[:14] + struct.pack("!H", number % 150)


def flood(host, count, flags=2, port=7, **odd):
    """Segments from forged addresses."""
    for number in range(count):
        source = spoofed(host, number)
        segment = wire.tcp(source, host.peer, (1024 + number % 60000, port),
                           host.random.randrange(1 << 32), host.random.randrange(1 << 32), flags,
                           65535, **odd)
        host.send_ip(wire.TCP, segment, source=source)
    # The link holds a thousand frames; what is sent behind them may be lost.
    host.alive()


@check("RFC 4987 §3.6", BOTH, alone=True)
def legitimate_client_connects_during_a_syn_flood(host):
    """Eight thousand forged SYNs; clients with and without options connect and are served."""
    host.alive()
    flood(host, 4000, options=wire.mss_option(1460))
    first = host.tcp().connect(scale=7, stamps=True, sack=True)
    flood(host, 4000, options=wire.mss_option(1460))
    second = host.tcp().connect()
    first.echo(b"a" * 5000)
    second.echo(b"b" * 5000)


@check("RFC 4987 §3.6, RFC 7323", alone=True)
def options_survive_a_syn_flood(host):
    """With timestamps the scale agreed during a flood is used afterwards."""
    host.alive()
    flood(host, 9000)
    client = host.tcp()
    client.window = 20
    client.connect(scale=7, stamps=True, sack=True)
    if "scale" not in client.syn_ack.options:
        return
    client.hold(5000, window=20)
    octets = max(((frame.seq + len(frame.data) - client.rcv) % wire.MODULUS
                  for frame in client.collect(0.15) if frame.data), default=0)
    need(1000 < octets <= 20 << 7, f"{octets} octets in a window of {20 << 7}")


@check("RFC 4987 §3.6", alone=True)
def syn_flood_from_one_host_does_not_keep_it_out(host):
    """Thousands of half-open connections of one address."""
    host.alive()
    for number in range(5000):
        segment = wire.tcp(host.own, host.peer, (1024 + number, 7), number, 0, 2, 65535)
        host.send_ip(wire.TCP, segment)
    host.tcp(own_port=64000).connect().echo()


@check("RFC 9293 §3.10.7.1", BOTH, alone=True)
def flood_of_acks_does_no_harm(host):
    """Five thousand ACKs of nothing; a client is served."""
    host.alive()
    client = host.tcp().connect()
    flood(host, 5000, flags=16)
    client.echo(b"c" * 3000)
    host.tcp().connect().echo()


@check("RFC 9293 §3.10.7.1", alone=True)
def flood_of_garbage_does_no_harm(host):
    """Every combination of flags, with and without text, to open and closed ports."""
    for flags in range(256):
        for port in (7, 4242):
            segment = wire.tcp(host.own, host.peer, (50_000 + flags, port), flags, 99, flags, 10,
                               data=b"x" * (flags % 3), options=b"\3\3\x0f\2\2\0\0\0" * (flags % 2))
            host.send_ip(wire.TCP, segment)
    time.sleep(0.1)
    host.alive()
    host.tcp().connect().echo()


@check("RFC 9293 §3.8", alone=True)
def two_thousand_connections_are_served_and_end(host):
    """Opened, used and reset, twice: what they took comes back."""
    host.alive()
    for round_ in range(2):
        clients = [host.tcp(own_port=2000 + number) for number in range(1000)]
        for begin in range(0, 1000, 100):
            batch = clients[begin:begin + 100]
            for client in batch:
                client.syn()
            for client in batch:
                client.take_syn_ack(4)
                client.send("PA", b"%04d" % (client.own_port % 10_000))
            for client in batch:
                need(client.read(4, 4) == b"%04d" % (client.own_port % 10_000), f"{round_}")
        for client in clients:
            client.send("R")


@check("RFC 9293 §3.8.6 (slow readers)", alone=True)
def slow_readers_do_not_starve_others(host):
    """Two hundred peers that take nothing of what they asked for; the next one is served."""
    for number in range(200):
        client = host.tcp(own_port=3000 + number)
        client.connect(window=0)
        client.hold(4000, window=0)
    other = host.tcp().connect()
    other.echo(b"d" * 5000)


@check("RFC 9293 §3.10.7.4 (reassembly)", alone=True)
def holes_do_not_starve_others(host):
    """Two hundred peers that leave a gap before much text; the next one is served."""
    for number in range(200):
        client = host.tcp(own_port=4000 + number).connect()
        for at in range(1, 20, 2):
            client.send("PA", b"h" * 500, seq=client.snd + at * 500)
    other = host.tcp().connect()
    other.echo(b"e" * 5000)


@check("RFC 5961, RFC 9293", alone=True)
def half_closed_peers_do_not_starve_others(host):
    """Five hundred peers that send their FIN and vanish."""
    for number in range(500):
        client = host.tcp(own_port=5000 + number).connect()
        client.send("FA")
    host.tcp(own_port=64001).connect().echo()
