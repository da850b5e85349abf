"""Ends: RFC 9293 §3.6 and §3.10.7.4, FIN and RST in every state."""

import wire
from client import ECHO_ONCE, need
from registry import BOTH, cases, check


def end_of(client, within=2.0):
    """The target's FIN, acknowledged."""
    frame = client.expect("FA", within)
    client.rcv = (frame.seq + len(frame.data) + 1) % wire.MODULUS
    client.send("A")
    return frame


@check("RFC 9293 §3.6, case 2", BOTH)
def fin_is_acknowledged_and_answered(host):
    """We close: ACK of our FIN, then the FIN of the target; after our ACK it knows us no more."""
    client = host.tcp().connect()
    client.echo()
    client.send("FA")
    frame = end_of(client)
    need(frame.ack == client.snd % wire.MODULUS, "the FIN was not acknowledged")
    client.drain(0.05)
    client.gone()


@check("RFC 9293 §3.6", BOTH)
def fin_with_text_is_taken(host):
    """Text and FIN in one segment: the text is echoed first."""
    client = host.tcp().connect()
    client.send("FPA", b"last words")
    need(client.read(10) == b"last words", "echo")


@check("RFC 9293 §3.6", BOTH)
def half_closed_connection_still_delivers(host):
    """After our FIN the target sends all that it owes, then its own FIN."""
    client = host.tcp().connect(window=4000)
    data = client.hold(30_000, window=4000)
    client.send("FA")
    need(client.read(30_000, 8) == data, "echo")
    if not any("F" in frame.flags for _, arrow, frame in host.story[-6:] if arrow == "◀"):
        end_of(client, 3)


@check("RFC 9293 §3.10.7.4, step 8", BOTH)
def fin_out_of_order_waits_for_the_text(host):
    """A FIN behind a gap counts when the gap is filled."""
    client = host.tcp().connect()
    begin = client.snd
    client.send("FA", b"", seq=begin + 5)
    answer = client.expect("A", 0.6)
    need(answer.ack == begin, "the FIN was taken before the text")
    client.silent("a FIN", 0.15, lambda frame: "F" in frame.flags)
    client.send("PA", b"hello", seq=begin)
    client.snd = begin + 6
    need(client.read(5) == b"hello", "echo")
    end = [frame for _, arrow, frame in list(host.story) if arrow == "◀" and frame.kind == "tcp"]
    if not any("F" in frame.flags for frame in end):
        client.expect("FA", 2, ack=client.snd)


@check("RFC 9293 §3.10.7.4, step 8", BOTH)
def repeated_fin_is_acknowledged_again(host):
    """In CLOSE-WAIT and LAST-ACK a FIN sent again gets an ACK."""
    client = host.tcp().connect()
    client.send("FA")
    client.expect("FA", 2, ack=client.snd)
    client.drain(0.05)
    client.send("FA", seq=client.snd - 1)
    client.expect(None, 1, ack=client.snd)


@check("RFC 9293 §3.8.1, §3.6", BOTH)
def unanswered_fin_is_sent_again(host):
    """The FIN of the target is retransmitted with back-off until it is acknowledged."""
    client = host.tcp().connect()
    client.send("FA")
    first = client.expect("FA", 2)
    frames = [client.expect("FA", 4, seq=first.seq) for _ in range(3)]
    gaps = [b.at - a.at for a, b in zip(frames, frames[1:])]
    need(gaps[1] > 1.2 * gaps[0], f"gaps {gaps}")
    client.rcv = first.seq + 1
    client.send("A")
    client.drain(0.1)
    client.gone()


@check("RFC 9293 §3.10.7.4, step 7")
def text_behind_our_fin_is_not_delivered(host):
    """After our FIN nothing may follow: it is not echoed."""
    client = host.tcp().connect()
    client.send("FA")
    client.expect("FA", 2, ack=client.snd)
    client.send("PA", b"ghost")
    client.silent("an echo", 0.25, lambda frame: b"ghost" in frame.data)


@check("RFC 9293 §3.10.7.1", BOTH)
def text_after_the_end_is_reset(host):
    """Text for a connection that has ended gets <SEQ=SEG.ACK><CTL=RST>."""
    client = host.tcp().connect()
    client.send("FA")
    end_of(client)
    client.drain(0.1)
    client.send("PA", b"too late")
    client.expect("R", seq=client.rcv)


@cases("RFC 9293 §3.10.7.4, step 2", ("established", 0), ("with_text_waiting", 1), ("last_ack", 2),
       families=BOTH)
def reset_ends_the_connection(host, where):
    """A reset at RCV.NXT ends it in every state, without an answer."""
    client = host.tcp().connect()
    if where == 1:
        client.hold(4000, window=0)
    if where == 2:
        client.send("FA")
        client.rcv = client.expect("FA", 2).seq
    client.drain(0.1)
    client.send("R")
    client.silent("an answer to the reset", 0.5)
    client.gone()


@check("RFC 9293 §3.10.7.4, step 2")
def reset_with_text_ends_the_connection(host):
    """A reset may carry text that explains it (RFC 1122 §4.2.2.12)."""
    client = host.tcp().connect()
    client.send("RA", b"because")
    client.silent("an answer", 0.2)
    client.snd = client.snd - 7
    client.gone()


@check("RFC 9293 §3.6")
def last_ack_needs_the_right_ack(host):
    """An old ACK in LAST-ACK does not end the connection: the FIN comes again."""
    client = host.tcp().connect()
    client.send("FA")
    fin = client.expect("FA", 2)
    client.send("A", ack=fin.seq)
    client.expect("FA", 4, seq=fin.seq)


@check("RFC 9293 §3.8.6, §3.6")
def closed_window_holds_back_text_not_the_ack_of_fin(host):
    """Our FIN is acknowledged though our window is closed; text and FIN follow when it opens."""
    client = host.tcp().connect(window=0)
    client.send("PA", b"hold this")
    client.send("FA")
    client.expect("A", 1, ack=client.snd)
    client.window = 5000
    client.send("A")
    need(client.read(9, 3) == b"hold this", "echo")


# --- The target closes first: echo-once -------------------------------------------------------

def closed_by_target(host):
    """A connection in FIN-WAIT-1 at the target: its text and FIN are not acknowledged yet."""
    client = host.tcp(ECHO_ONCE).connect()
    client.send("PA", b"once")
    need(client.read(4, acknowledge=False) == b"once", "echo")
    fin = [frame for _, arrow, frame in list(host.story)
           if arrow == "◀" and frame.kind == "tcp" and "F" in frame.flags]
    if not fin:
        client.expect("FA", 2)
    return client


def time_wait(host):
    """A connection in TIME-WAIT at the target."""
    client = closed_by_target(host)
    client.rcv = (client.rcv + 1) % wire.MODULUS
    client.send("FA")
    client.expect("A", 1, ack=client.snd)
    return client


@check("RFC 9293 §3.6, case 1", BOTH)
def target_closes_first(host):
    """FIN-WAIT-1, FIN-WAIT-2, TIME-WAIT: our FIN is acknowledged."""
    client = closed_by_target(host)
    client.rcv = client.rcv + 1
    client.send("A")
    client.drain(0.1)
    client.send("FA")
    client.reply("A", 1, seq=client.rcv, ack=client.snd, size=0)


@check("RFC 9293 §3.6, case 3", BOTH)
def both_close_at_once(host):
    """CLOSING: our FIN does not acknowledge theirs; it is acknowledged, then TIME-WAIT."""
    client = closed_by_target(host)
    client.send("FA")
    client.expect(None, 1, ack=client.snd)
    client.rcv = client.rcv + 1
    client.send("A")
    client.drain(0.1)
    client.send("FA", seq=client.snd - 1)
    client.expect("A", 1, ack=client.snd)


@check("RFC 9293 §3.10.7.4, TIME-WAIT", BOTH)
def fin_in_time_wait_is_acknowledged(host):
    """A FIN sent again in TIME-WAIT is acknowledged again."""
    client = time_wait(host)
    for _ in range(2):
        client.drain(0.6)
        client.send("FA", seq=client.snd - 1)
        client.expect("A", 1, ack=client.snd, seq=client.rcv)


@check("RFC 9293 §3.6.1, MAY-2", BOTH)
def new_syn_reopens_time_wait(host):
    """A SYN beyond the old sequence space opens anew, with a later initial number."""
    client = time_wait(host)
    client.drain(0.1)
    client.iss = (client.snd + 100_000) % wire.MODULUS
    before = client.rcv
    client.syn()
    segment = client.take_syn_ack()
    need(wire.after(segment.seq, before), "the new sequence number is not later")
    client.send("A")
    client.send("PA", b"again")
    need(client.read(5) == b"again", "echo")


@check("RFC 6191, RFC 7323 §5.5")
def later_timestamp_reopens_time_wait(host):
    """With timestamps a SYN with a later one opens anew."""
    client = host.tcp(ECHO_ONCE).connect(stamps=True)
    client.send("PA", b"once")
    client.read(4, acknowledge=False)
    client.drain(0.1)
    client.rcv = client.rcv + 1
    client.send("FA")
    client.drain(0.1)
    client.clock += 5000
    client.iss = (client.snd + 100_000) % wire.MODULUS
    client.syn(stamps=True)
    client.take_syn_ack()


@check("RFC 9293 §3.10.7.4, TIME-WAIT; RFC 1337")
def old_text_in_time_wait_is_acknowledged(host):
    """Old duplicates get an ACK and no reset."""
    client = time_wait(host)
    client.drain(0.6)
    client.send("PA", b"once", seq=client.iss + 1)
    client.expect("A", 1, ack=client.snd)


@check("RFC 9293 §3.10.7.4, TIME-WAIT; RFC 5961 §4.2")
def old_syn_in_time_wait_is_not_taken(host):
    """A SYN that is not beyond the old sequence space gets an ACK, no SYN-ACK."""
    client = time_wait(host)
    client.drain(0.6)
    client.send("S", seq=client.iss)
    for frame in client.collect(0.3):
        need(frame.flags == "A", f"answered by {wire.describe(frame)}")


@check("RFC 9293 §3.6.1, MUST-12/SHLD-3", BOTH)
def text_nobody_will_read_is_reset(host):
    """Text after the target has closed for good gets a reset."""
    client = closed_by_target(host)
    client.rcv = client.rcv + 1
    client.send("A")
    client.drain(0.1)
    client.send("PA", b"unread")
    host.wait("a reset", lambda frame: "R" in frame.flags, 1, client.inbox)


@check("RFC 5961 §3.2", linux="Linux keeps no window in FIN-WAIT-2 after close(), and ends it")
def blind_reset_in_fin_wait_ends_nothing(host):
    """Also after the target has closed a reset beside RCV.NXT ends nothing."""
    client = closed_by_target(host)
    client.rcv = client.rcv + 1
    client.send("A")
    client.drain(0.1)
    client.send("R", seq=client.snd + 100)
    client.drain(0.1)
    client.send("FA")
    client.expect("A", 1, ack=client.snd)
