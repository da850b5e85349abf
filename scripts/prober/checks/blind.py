"""Blind attacks: RFC 5961, and RFC 5927 where ICMP is the weapon."""

import wire
from client import need
from registry import BOTH, cases, check


@check("RFC 5961 §3.2, case 1", BOTH)
def exact_reset_closes(host):
    """SEG.SEQ = RCV.NXT: the connection is reset."""
    client = host.tcp().connect()
    client.echo()
    client.send("R")
    client.silent("an answer to the reset", 0.2)
    client.gone()


@check("RFC 5961 §3.2, case 1", BOTH)
def exact_reset_with_ack_closes(host):
    """As above with the ACK bit."""
    client = host.tcp().connect()
    client.echo()
    client.send("RA")
    client.gone()


@cases("RFC 5961 §3.2, case 2", ("next", 1), ("near", 100), ("middle", 20_000), families=BOTH)
def reset_in_window_is_challenged(host, offset):
    """In the window but not at RCV.NXT: a challenge ACK, and nothing else."""
    client = host.tcp().connect()
    client.echo()
    client.drain(0.1)
    client.send("R", seq=client.snd + offset)
    client.reply("A", 0.6, seq=client.rcv, ack=client.snd, size=0)
    client.alive()


@cases("RFC 5961 §3.2, case 3", ("before", -1), ("long_before", -50_000), ("far", 1 << 30),
       ("opposite", 1 << 31), families=BOTH)
def reset_outside_window_is_dropped(host, offset):
    """Outside of the window: dropped without a word."""
    client = host.tcp().connect()
    client.echo()
    client.drain(0.1)
    client.send("R", seq=client.snd + offset)
    client.silent("an answer to a reset outside the window")
    client.alive()


@check("RFC 5961 §3.2")
def challenged_peer_can_reset(host):
    """The answer to the challenge, <SEQ=SEG.ACK><CTL=RST>, closes."""
    client = host.tcp().connect()
    client.echo()
    client.drain(0.1)
    client.send("S", seq=client.snd + 70_000)
    answer = client.expect("A", 0.6)
    client.send("R", seq=answer.ack)
    client.gone()


@cases("RFC 5961 §4.2", ("at_next", 0), ("in_window", 1000), ("before", -1000),
       ("outside", 1 << 30), ("at_initial", None), families=BOTH)
def syn_is_challenged_wherever_it_is(host, offset):
    """In synchronized states a SYN gets a challenge ACK, irrespective of its sequence number."""
    client = host.tcp().connect()
    client.echo()
    client.drain(0.1)
    client.send("S", seq=client.iss if offset is None else client.snd + offset)
    client.reply("A", 0.6, seq=client.rcv, ack=client.snd, size=0)
    client.alive()


@cases("RFC 5961 §4.2", ("none", None), ("old", 5), families=BOTH)
def syn_is_challenged_whatever_its_timestamp(host, value):
    """A peer that lost its memory has a new clock, or no timestamps any more."""
    client = host.tcp().connect(stamps=True)
    client.echo()
    client.drain(0.1)
    option = b"" if value is None else wire.timestamp_option(value, 0)
    client.send("S", seq=client.snd + 7000, options=option)
    client.reply("A", 0.6, seq=client.rcv, ack=client.snd, size=0)
    client.alive()


@cases("RFC 5961 §4.2", ("at_next", 0), ("at_initial", None))
def syn_ack_is_challenged(host, offset):
    """A SYN-ACK for an established connection too."""
    client = host.tcp().connect()
    client.echo()
    client.drain(0.1)
    client.send("SA", seq=client.iss if offset is None else client.snd + offset)
    client.reply("A", 0.6, seq=client.rcv, ack=client.snd, size=0)
    client.alive()


@check("RFC 5961 §4.2")
def syn_with_text_is_not_delivered(host):
    """The text of such a SYN is not taken."""
    client = host.tcp().connect()
    client.send("SPA", b"inject", seq=client.snd)
    client.silent("an echo", 0.25, lambda frame: bool(frame.data))
    client.alive()


@check("RFC 5961 §5.2", BOTH)
def text_with_ancient_ack_is_not_taken(host):
    """SEG.ACK < SND.UNA - MAX.SND.WND: an ACK, and the text is dropped."""
    client = host.tcp().connect()
    client.echo()
    client.drain(0.1)
    client.send("PA", b"inject", seq=client.snd, ack=client.rcv - (1 << 30))
    client.reply("A", 0.6, ack=client.snd, size=0)
    client.silent("an echo", 0.2, lambda frame: bool(frame.data))
    client.alive()


@check("RFC 5961 §5.2, RFC 9293 §3.10.7.4, step 5", BOTH)
def text_with_ack_of_unsent_is_not_taken(host):
    """SEG.ACK > SND.NXT: an ACK, and the text is dropped."""
    client = host.tcp().connect()
    client.echo()
    client.drain(0.1)
    client.send("PA", b"inject", seq=client.snd, ack=client.rcv + 10_000)
    client.reply("A", 0.6, seq=client.rcv, ack=client.snd, size=0)
    client.silent("an echo", 0.2, lambda frame: bool(frame.data))
    client.alive()


@check("RFC 5961 §5.2")
def text_with_acceptable_old_ack_is_taken(host):
    """SND.UNA - MAX.SND.WND ≤ SEG.ACK: old, but the text counts."""
    client = host.tcp().connect()
    client.echo(b"x" * 2000)
    client.drain(0.1)
    client.send("PA", b"fine", ack=client.rcv - 1000)
    need(client.read(4) == b"fine", "echo")


@check("RFC 5961 §7, RFC 9293 §3.10.7.4")
def challenges_are_limited(host):
    """Four hundred resets in the window get far fewer challenges."""
    client = host.tcp().connect()
    client.echo()
    client.drain(0.1)
    for number in range(400):
        client.send("R", seq=client.snd + 1 + number)
    got = client.collect(0.5)
    need(1 <= len(got) <= 200, f"{len(got)} challenge ACKs for 400 resets")
    client.alive()


@check("RFC 9293 §3.10.7.4, RFC 5961")
def acks_of_unsent_are_answered_within_limits(host):
    """A flood of ACKs of what was not sent is no amplifier."""
    client = host.tcp().connect()
    client.echo()
    client.drain(0.1)
    for number in range(400):
        client.send("A", ack=client.rcv + 1000 + number)
    got = client.collect(0.5)
    need(len(got) <= 300, f"{len(got)} answers for 400 ACKs")
    client.alive()


@check("RFC 5961 §4.2")
def crashed_peer_that_opens_again_gets_in(host):
    """A peer that lost its memory: SYN, challenge ACK, reset, SYN, SYN-ACK."""
    client = host.tcp().connect()
    client.echo()
    client.drain(0.1)
    client.iss = (client.iss + 1_000_000) % wire.MODULUS
    client.syn()
    answer = client.expect("A", 0.6)
    client.send("R", seq=answer.ack)
    client.connect().echo()


@check("RFC 9293 §3.10.7.4, step 4")
def syn_after_close_wait_is_challenged(host):
    """Also in CLOSE-WAIT and LAST-ACK."""
    client = host.tcp().connect()
    client.send("FA")
    fin = client.expect("FA", 2)
    client.drain(0.6)
    client.send("S", seq=client.snd + 5000)
    answer = client.expect("A", 0.6, ack=client.snd)
    need(answer.seq == (fin.seq + 1) % wire.MODULUS, "seq")


@check("RFC 793 (land attack), RFC 1122 §3.2.1.3", BOTH)
def segment_from_the_targets_own_address_is_dropped(host):
    """A SYN that claims to come from the target itself makes no storm."""
    host.hears_all = True
    peer = host.peer
    segment = wire.tcp(peer, peer, (7, 7), 1000, 0, 2, 65535)
    host.send_ip(wire.TCP, segment, source=peer, to=peer)
    host.silent("an answer to itself", lambda frame: frame.kind == "tcp")
    host.alive()


@check("RFC 9293 §3.10.7.4")
def fin_outside_window_is_not_taken(host):
    """A blind FIN does not half-close."""
    client = host.tcp().connect()
    client.send("FA", seq=client.snd + (1 << 30))
    client.silent("a FIN", 0.2, lambda frame: "F" in frame.flags)
    client.alive()


@check("RFC 9293 §3.10.7.4")
def flags_without_sense_do_no_harm(host):
    """All combinations of flags but those that end or move the connection leave it alive."""
    client = host.tcp().connect()
    client.echo()
    for flags in ("", "P", "U", "SF", "SFPU", "FPU", "SP", "SU", "FS", "E", "C", "EC", "SE", "SC"):
        client.send(flags, seq=client.snd + (1 << 30))
        client.send(flags, seq=client.snd)
    client.drain(0.6)
    client.alive()
