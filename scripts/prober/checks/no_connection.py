"""Segments for which there is no connection: RFC 9293 §3.10.7.1 (CLOSED) and §3.10.7.2 (LISTEN)."""

import wire
from client import need
from registry import BOTH, cases, check

CLOSED = 4242


@cases("RFC 9293 §3.10.7.1", ("syn", "S", b"", 1), ("fin", "F", b"", 1), ("syn_fin", "SF", b"", 2),
       ("null", "", b"", 0), ("xmas", "FPU", b"", 1), ("push", "P", b"", 0),
       ("text", "P", b"text", 4), ("syn_with_text", "S", b"text", 5), families=BOTH)
def closed_port_without_ack_is_reset(host, flags, data, length):
    """Without ACK: <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>."""
    client = host.tcp(CLOSED)
    client.send(flags, data, seq=client.iss)
    client.reply("RA", seq=0, ack=client.iss + length, size=0)


@cases("RFC 9293 §3.10.7.1", ("ack", "A", b""), ("syn_ack", "SA", b""), ("fin_ack", "FA", b""),
       ("text", "PA", b"text"), ("urgent", "UA", b"x"), families=BOTH)
def closed_port_with_ack_is_reset(host, flags, data):
    """With ACK: <SEQ=SEG.ACK><CTL=RST>, without ACK."""
    client = host.tcp(CLOSED)
    client.send(flags, data, seq=client.iss, ack=0xCAFE0000)
    answer = client.reply("R", seq=0xCAFE0000, size=0)
    need(answer.flags == "R", f"flags {answer.flags}")


@cases("RFC 9293 §3.10.7.1", ("reset", "R", CLOSED), ("reset_ack", "RA", CLOSED),
       ("syn_reset", "SR", CLOSED), ("reset_to_listener", "R", 7),
       ("reset_ack_to_listener", "RA", 7), ("syn_reset_to_listener", "SR", 7),
       ("syn_ack_reset_to_listener", "SRA", 7), ("all_flags_to_listener", "FSRPAU", 7),
       families=BOTH)
def reset_is_never_answered(host, flags, port):
    """A segment with RST gets no answer, in CLOSED and in LISTEN."""
    client = host.tcp(port)
    client.send(flags, seq=client.iss, ack=12345)
    client.silent("an answer to a reset")


@cases("RFC 9293 §3.10.7.2, step 2", ("ack", "A", b""), ("syn_ack", "SA", b""),
       ("fin_ack", "FA", b""), ("text", "PA", b"text"), families=BOTH)
def listener_resets_ack(host, flags, data):
    """An ACK in LISTEN gets <SEQ=SEG.ACK><CTL=RST>."""
    client = host.tcp()
    client.send(flags, data, seq=client.iss, ack=0x12345678)
    answer = client.reply("R", seq=0x12345678, size=0)
    need(answer.flags == "R", f"flags {answer.flags}")


@cases("RFC 9293 §3.10.7.2, step 4", ("null", "", b""), ("fin", "F", b""), ("xmas", "FPU", b""),
       ("push", "P", b""), ("text", "P", b"text"), ("urgent", "U", b""), families=BOTH)
def listener_drops_what_is_nothing(host, flags, data):
    """Neither RST nor ACK nor SYN: dropped without an answer."""
    client = host.tcp()
    client.send(flags, data, seq=client.iss)
    client.silent("an answer")


@check("RFC 9293 §3.10.7.1")
def reset_of_wrapped_sequence_number(host):
    """SEG.SEQ+SEG.LEN is taken modulo 2^32."""
    client = host.tcp(CLOSED)
    client.send("S", b"text", seq=wire.MODULUS - 2)
    client.reply("RA", seq=0, ack=3)


@check("RFC 9293 §3.10.7.1")
def bad_checksum_to_closed_port_is_dropped(host):
    """What is not verified is not answered."""
    client = host.tcp(CLOSED)
    client.send("S", seq=client.iss, checksum=0xBEEF)
    client.silent("a reset of nobody's segment")


@check("RFC 9293 §3.10.7.1", BOTH)
def port_0_is_closed(host):
    """Nobody listens on port 0."""
    client = host.tcp(0)
    client.send("S", seq=client.iss)
    for frame in client.collect(0.25):
        need(frame.flags == "RA", f"answered by {wire.describe(frame)}")
