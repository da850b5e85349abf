"""Explicit congestion notification: RFC 3168."""

import wire
from client import need
from link import Skip
from registry import BOTH, cases, check

NOT_ECT, ECT1, ECT0, CE = 0, 1, 2, 3


def connected(host, **options):
    """A connection with ECN; skipped when the target does not agree."""
    client = host.tcp()
    client.syn(flags="SEC", **options)
    segment = client.take_syn_ack()
    if "E" not in segment.flags:
        raise Skip("the target agrees to no ECN")
    client.stamps = bool(options.get("stamps")) and "timestamp" in segment.options
    client.send("A")
    return client


@check("RFC 3168 §6.1.1", BOTH)
def ecn_setup_syn_is_answered(host):
    """An ECN-setup SYN gets a SYN-ACK with ECE and without CWR, or one with neither."""
    client = host.tcp()
    client.syn(flags="SEC")
    segment = client.take_syn_ack()
    need("C" not in segment.flags, f"flags {segment.flags}")
    need(segment.tos & 3 == NOT_ECT, "a SYN-ACK must not be ECN-capable")
    client.send("A")
    client.echo()


@cases("RFC 3168 §6.1.1", ("plain", "S"), ("only_ece", "SE"), ("only_cwr", "SC"), families=BOTH)
def other_syn_gets_no_ecn(host, flags):
    """A SYN that is no ECN-setup SYN gets a SYN-ACK without ECE and CWR, and no ECT."""
    client = host.tcp()
    client.syn(flags=flags)
    segment = client.take_syn_ack()
    need(not {*segment.flags} & {*"EC"}, f"flags {segment.flags}")
    client.send("A")
    client.send("PA", b"plain")
    frame = client.expect(None, 1, size=5)
    need(frame.tos & 3 == NOT_ECT, f"tos {frame.tos}")


@check("RFC 3168 §6.1.2", BOTH)
def text_is_ecn_capable(host):
    """New text is sent with ECT."""
    client = connected(host)
    client.send("PA", b"capable")
    frame = client.expect(None, 1, size=7)
    need(frame.tos & 3 in (ECT0, ECT1), f"tos {frame.tos}")


@check("RFC 3168 §6.1.4")
def pure_ack_is_not_ecn_capable(host):
    """ACKs without text have no ECT."""
    client = connected(host)
    client.window = 0
    client.send("PA", b"quiet")
    frame = client.expect("A", 1, ack=client.snd, size=0)
    need(frame.tos & 3 == NOT_ECT, f"tos {frame.tos}")


@check("RFC 3168 §6.1.5")
def retransmission_is_not_ecn_capable(host):
    """Retransmitted text has no ECT."""
    client = connected(host)
    client.send("PA", b"again")
    first = client.expect(None, 1, size=5)
    again = client.expect(None, 4, size=5, seq=first.seq)
    need(again.tos & 3 == NOT_ECT, f"tos {again.tos}")


@check("RFC 3168 §6.1.3", BOTH)
def congestion_experienced_is_echoed_until_cwr(host):
    """CE on text sets ECE in all ACKs until CWR comes."""
    client = connected(host)
    client.window = 0
    client.send("PA", b"marked", ip={"tos": CE})
    need("E" in client.expect(None, 1, ack=client.snd, any_ecn=True).flags, "no ECE")
    client.send("PA", b"more", ip={"tos": ECT0})
    need("E" in client.expect(None, 1, ack=client.snd, any_ecn=True).flags, "ECE ended early")
    client.send("PAC", b"reduced", ip={"tos": ECT0})
    client.expect(None, 1, ack=client.snd, any_ecn=True)
    client.send("PA", b"calm", ip={"tos": ECT0})
    need("E" not in client.expect(None, 1, ack=client.snd, any_ecn=True).flags, "ECE goes on")


@check("RFC 3168 §6.1.2", BOTH)
def echoed_congestion_is_answered_by_cwr(host):
    """ECE reduces the window, and CWR stands on the next new text, once."""
    client = connected(host)
    client.send("PA", b"first")
    frame = client.expect(None, 1, size=5)
    client.rcv = frame.seq + 5
    client.send("AE")
    client.drain(0.05)
    client.send("PA", b"second")
    frame = client.expect(None, 1, size=6, any_ecn=True)
    need("C" in frame.flags, f"flags {frame.flags}")
    client.rcv = frame.seq + 6
    client.send("PA", b"third!!")
    frame = client.expect(None, 1, size=7, any_ecn=True)
    need("C" not in frame.flags, "CWR again")


@check("RFC 3168 §6.1.2")
def ece_without_agreement_is_ignored(host):
    """Without ECN neither ECE nor CWR nor CE means anything."""
    client = host.tcp().connect()
    client.send("PAE", b"one", ip={"tos": CE})
    frame = client.expect(None, 1, size=3, any_ecn=True)
    need(not {*frame.flags} & {*"EC"}, f"flags {frame.flags}")
    client.rcv = frame.seq + 3
    client.send("PAC", b"two")
    frame = client.expect(None, 1, size=3, any_ecn=True)
    need(not {*frame.flags} & {*"EC"}, f"flags {frame.flags}")


@check("RFC 3168 §6.1.2")
def ece_is_no_loss(host):
    """ECE lets out no more than an ACK without it would, and causes no retransmission."""
    client = connected(host, scale=7)
    client.hold(50_000)
    frames = [frame for frame in client.collect(0.12) if frame.data]
    before = sum(len(frame.data) for frame in frames)
    ends = max(((frame.seq + len(frame.data)) for frame in frames),
               key=lambda end: (end - client.rcv) % wire.MODULUS)
    client.rcv = ends
    client.send("AE")
    frames = [frame for frame in client.collect(0.12) if frame.data]
    after = sum(len(frame.data) for frame in frames)
    need(after <= 21 * client.mss, f"{before} octets, then {after}")
    need(all(frame.seq == ends % wire.MODULUS or wire.after(frame.seq, ends) for frame in frames),
         "something was sent again")


@check("RFC 3168 §6.1.1")
def marked_syn_is_taken(host):
    """Code points of the IP header do not keep a SYN out (RFC 8311 §4.3)."""
    client = host.tcp()
    client.ip_odd = {"tos": CE}
    client.syn()
    client.take_syn_ack()
