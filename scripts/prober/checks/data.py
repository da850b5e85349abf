"""The stream: RFC 9293 §3.10.7.4, steps 6 and 7, and reassembly."""

import itertools
import time

import wire
from client import need
from registry import BOTH, cases, check


@cases("RFC 9293 §3.10.7.4, step 7", ("1", 1), ("2", 2), ("536", 536), ("1460", 1460), ("1461", 1461),
       ("4096", 4096), ("16384", 16384), ("65536", 65536), ("200000", 200_000), families=BOTH)
def octets_are_echoed(host, count):
    """The stream comes back whole."""
    client = host.tcp().connect(scale=7, stamps=True)
    data = host.random.randbytes(count)
    for at in range(0, count, 8000):
        part = data[at:at + 8000]
        for start in range(0, len(part), client.mss - 12):
            client.send("PA", part[start:start + client.mss - 12])
        need(client.read(len(part), 5) == part, f"the echo differs behind octet {at}")


@cases("RFC 9293 §3.10.7.4", *[("".join(map(str, order)), order)
                               for order in itertools.permutations(range(3))], families=BOTH)
def segments_in_any_order_make_the_stream(host, order):
    """Three segments in every order."""
    client = host.tcp().connect()
    begin = client.snd
    parts = [b"one, ", b"two, ", b"three"]
    starts = [0, 5, 10]
    for at in order:
        client.send("PA", parts[at], seq=begin + starts[at])
    client.snd = (begin + 15) % wire.MODULUS
    need(client.read(15) == b"".join(parts), "echo")
    client.alive()


@check("RFC 9293 §3.10.7.4", BOTH)
def twenty_segments_backwards(host):
    """The worst order."""
    client = host.tcp().connect()
    begin = client.snd
    for at in reversed(range(20)):
        client.send("PA", b"%03d" % at, seq=begin + 3 * at)
    client.snd = begin + 60
    need(client.read(60) == b"".join(b"%03d" % at for at in range(20)), "echo")


@check("RFC 9293 §3.10.7.4", BOTH)
def octet_by_octet_with_every_second_first(host):
    """Many holes at a time."""
    client = host.tcp().connect()
    begin, data = client.snd, bytes(range(64))
    for at in [*range(1, 64, 2), *range(0, 64, 2)]:
        client.send("PA", data[at:at + 1], seq=begin + at)
    client.snd = begin + 64
    need(client.read(64) == data, "echo")


@check("RFC 5681 §4.2, RFC 9293 §3.8.6.3", BOTH)
def out_of_order_segment_is_acknowledged_at_once(host):
    """A gap gets an immediate duplicate ACK, its filling an immediate new one."""
    client = host.tcp().connect(window=0)
    begin = client.snd
    client.send("PA", b"later", seq=begin + 5)
    got = client.reply("A", 0.3, ack=begin)
    need(got.at - client.sent_at < 0.15, "the duplicate ACK was delayed")
    client.send("PA", b"first", seq=begin)
    got = client.expect("A", 0.3, ack=begin + 10)
    need(got.at - client.sent_at < 0.15, "the ACK of the filled gap was delayed")
    client.snd = begin + 10


@check("RFC 5681 §4.2, RFC 9293 §3.8.6.3", BOTH)
def every_out_of_order_segment_is_acknowledged(host):
    """Five segments behind a gap get five duplicate ACKs: the peer counts them."""
    client = host.tcp().connect(window=0)
    begin = client.snd
    for at in range(1, 6):
        client.send("PA", b"d" * 100, seq=begin + at * 100)
    got = [frame for frame in client.collect(0.3) if frame.ack == begin % wire.MODULUS]
    need(len(got) >= 5, f"{len(got)} duplicate ACKs for 5 segments")


@check("RFC 9293 §3.10.7.4, step 1", BOTH)
def duplicate_is_acknowledged_and_not_delivered(host):
    """What was received already is answered by an ACK and dropped."""
    client = host.tcp().connect()
    begin = client.snd
    client.echo(b"once only")
    client.drain(0.1)
    client.send("PA", b"once only", seq=begin)
    client.expect("A", 0.6, ack=client.snd)
    client.silent("an echo of the duplicate", 0.2, lambda frame: bool(frame.data))
    client.alive()


@check("RFC 9293 §3.10.7.4, step 7", BOTH)
def new_part_of_partly_old_segment_is_taken(host):
    """A segment that begins before RCV.NXT is cut at its beginning."""
    client = host.tcp().connect()
    begin = client.snd
    client.echo(b"old")
    client.send("PA", b"old and new", seq=begin)
    client.snd = begin + 11
    need(client.read(8) == b" and new", "echo")


@cases("RFC 9293 §3.10.7.4", ("ahead", 10, 0), ("behind", 0, 10), ("inside", 5, 0), families=BOTH)
def overlapping_segments_agree(host, first, second):
    """Where segments with different content overlap one of them counts, octet by octet."""
    client = host.tcp().connect()
    begin = client.snd
    client.send("PA", b"A" * 20, seq=begin + 1 + first)
    client.send("PA", b"B" * 20, seq=begin + 1 + second)
    client.send("PA", b"C" * 41, seq=begin)
    end = max(begin + 41, client.snd)
    client.snd = end
    got = client.read(41)
    need(got[:1] == b"C" and {*got} <= {*b"ABC"}, f"echo {got!r}")
    client.alive()


@check("RFC 9293 §3.10.7.4")
def retransmission_with_other_content_changes_nothing(host):
    """What was acknowledged is not delivered again with another content."""
    client = host.tcp().connect()
    begin = client.snd
    client.echo(b"GET /good")
    client.send("PA", b"GET /evil!", seq=begin)
    client.snd = begin + 10
    need(client.read(1) == b"!", "the old part was delivered again")


@check("RFC 9293 §3.10.7.4, step 5")
def segment_without_ack_is_dropped(host):
    """In ESTABLISHED a segment without ACK is dropped."""
    client = host.tcp().connect()
    client.send("P", b"no ack", seq=client.snd)
    client.silent("an echo", 0.25, lambda frame: bool(frame.data))
    client.send("F", b"", seq=client.snd)
    client.silent("a FIN", 0.2, lambda frame: "F" in frame.flags)
    client.alive()


@check("RFC 9293 §3.1", BOTH)
def corrupt_segment_is_not_delivered(host):
    """A bad checksum drops the segment: no ACK, no echo; the good copy is echoed."""
    client = host.tcp().connect()
    client.send("PA", b"corrupt", seq=client.snd, checksum=0x4242)
    client.silent("an answer to a corrupt segment")
    client.send("PA", b"correct")
    need(client.read(7) == b"correct", "echo")


@check("RFC 9293 §3.10.7.4, step 1", BOTH)
def text_beyond_window_is_answered_by_ack(host):
    """Outside of the window: dropped, and answered by <SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>."""
    client = host.tcp().connect(scale=7)
    begin = client.snd
    client.send("PA", b"beyond", seq=begin + (1 << 30))
    client.reply("A", 0.6, ack=begin, seq=client.rcv, size=0)
    client.alive()


@check("RFC 9293 §3.10.7.4, step 1")
def text_far_before_window_is_answered_by_ack(host):
    """So is what lies long before the window."""
    client = host.tcp().connect()
    client.send("PA", b"ancient", seq=client.snd - 100_000)
    client.reply("A", 0.6, ack=client.snd, size=0)
    client.alive()


@check("RFC 9293 §3.10.7.4, step 7")
def text_across_window_edge_is_not_acknowledged_beyond_it(host):
    """A segment that reaches beyond the window is cut there, or refused with an ACK."""
    client = host.tcp().connect()
    edge = client.syn_ack.window
    client.send("PA", b"z" * 1000, seq=client.snd + edge - 500)
    answer = client.reply("A", 0.6, ack=client.snd)
    for _, right in answer.options.get("sack", []):
        need(not wire.after(right, client.snd + edge), "octets beyond the window were taken")
    client.alive()


@cases("RFC 9293 §3.8.5, RFC 6093", ("at_end", 5), ("inside", 2), ("zero", 0), ("beyond", 65535))
def urgent_pointer_does_no_harm(host, pointer):
    """Text with URG is delivered in line (RFC 6093 §3.1); systems that keep the urgent octet out of
    the stream deliver the others. Wild pointers change nothing else."""
    client = host.tcp().connect()
    client.send("PUA", b"hello", urgent=pointer)
    got = client.read(4)
    client.send("PA", b"|")
    while not got.endswith(b"|"):
        got += client.read(1)
    whole = b"hello|"
    allowed = [whole] + [whole[:at] + whole[at + 1:] for at in range(5)]
    need(got in allowed, f"echo {got!r}")


@check("RFC 9293 §3.8.5")
def urgent_without_text_does_no_harm(host):
    """An urgent pointer on an empty segment points beyond what has come."""
    client = host.tcp().connect()
    client.send("UA", urgent=1000)
    client.send("UA", urgent=1)
    client.send("PA", b"x" * 1000)
    need(client.read(999)[:999] == b"x" * 999, "echo")


@check("RFC 9293 §3.9.1.2", BOTH)
def push_is_not_needed(host):
    """Text without PSH is delivered too."""
    client = host.tcp().connect()
    client.send("A", b"no push")
    need(client.read(7, 1.5) == b"no push", "echo")


@check("RFC 9293 §3.9.1.2, SHLD-28")
def last_segment_of_echo_has_push(host):
    """When all is sent the last segment has PSH."""
    client = host.tcp().connect()
    client.send("PA", b"push me")
    need("P" in client.expect(None, 1, size=7).flags, "no PSH")


@check("RFC 9293 §3.10.7.4, step 7")
def empty_push_is_nothing(host):
    """An empty segment at RCV.NXT needs no answer and does no harm."""
    client = host.tcp().connect()
    client.send("PA")
    client.silent("an answer to an empty segment", 0.2, lambda frame: frame.flags != "A")
    client.alive()


@check("RFC 9293 §3.4", BOTH)
def sequence_numbers_wrap(host):
    """The stream crosses sequence number 2^32."""
    client = host.tcp()
    client.iss = client.snd = wire.MODULUS - 1000
    client.connect()
    client.echo(bytes(range(256)) * 12)


@check("RFC 9293 §3.4")
def sequence_numbers_wrap_out_of_order(host):
    """So does reassembly."""
    client = host.tcp()
    client.iss = client.snd = wire.MODULUS - 5
    client.connect()
    begin = client.snd
    client.send("PA", b"fghij", seq=begin + 5)
    client.send("PA", b"klmno", seq=begin + 10)
    client.send("PA", b"abcde", seq=begin)
    client.snd = begin + 15
    need(client.read(15) == b"abcdefghijklmno", "echo")


@check("RFC 9293 §3.8.6.3, MUST-59")
def ack_is_delayed_less_than_half_a_second(host):
    """A single small segment is acknowledged within 0.5 s, though no text can go back."""
    client = host.tcp().connect(window=0)
    client.send("PA", b"slow?")
    answer = client.expect("A", 0.6, ack=client.snd)
    need(answer.at - client.sent_at < 0.55, f"{answer.at - client.sent_at:.3f} s")


@check("RFC 9293 §3.8.6.3, SHLD-18", BOTH)
def every_second_full_segment_is_acknowledged(host):
    """Twelve full segments, one after the other, get at least five ACKs at once."""
    client = host.tcp().connect(window=0)
    for _ in range(12):
        client.send("PA", b"f" * client.mss)
        time.sleep(0.004)
    frames = client.collect(0.1)
    acks = {frame.ack for frame in frames}
    need(len(acks) >= 5, f"{len(acks)} different ACKs for 12 segments")
    need((client.snd % wire.MODULUS) in acks or len(acks) > 5, "the last ones were not acknowledged")


@check("RFC 9293 §3.8.6.3, SHLD-18", BOTH)
def burst_is_acknowledged_by_pairs(host):
    """Ten full segments back to back get at least five different ACKs."""
    client = host.tcp().connect(window=0)
    for _ in range(10):
        client.send("PA", b"b" * client.mss)
    acks = {frame.ack for frame in client.collect(0.3)}
    need(len(acks) >= 5, f"{len(acks)} different ACKs for 10 segments")
    need(client.snd in acks, "the last one was not acknowledged")


@check("RFC 9293 §3.8.6.3")
def two_full_segments_at_once_are_acknowledged_at_once(host):
    """Back to back: the ACK of the second does not wait for the delay."""
    client = host.tcp().connect(window=0)
    client.send("PA", b"1" * client.mss)
    client.send("PA", b"2" * client.mss)
    answer = client.expect("A", 0.5, ack=client.snd)
    need(answer.at - client.sent_at < 0.2, f"{answer.at - client.sent_at:.3f} s")


@check("RFC 9293 §3.8.6.2.2", BOTH)
def window_does_not_shrink(host):
    """The right edge of the window offered never moves left (SHLD-14)."""
    client = host.tcp().connect(scale=7)
    scale, edge = client.syn_ack.options["scale"], None
    for _ in range(30):
        client.send("PA", b"w" * 1000)
        for frame in client.collect(0.01):
            now = frame.ack + (frame.window << scale)
            # A window is rounded down to its scale.
            slack = 1 << scale
            need(edge is None or not wire.after(edge, now + slack), "the window shrank")
            edge = now if edge is None or wire.after(now, edge) else edge
            client.rcv = frame.seq + len(frame.data)


@check("RFC 9293 §3.8.4", BOTH)
def keep_alive_probe_is_answered(host):
    """<SEQ=SND.NXT-1> without text gets an ACK (MUST-30 of the peer)."""
    client = host.tcp().connect()
    client.echo()
    client.drain(0.1)
    client.send("A", seq=client.snd - 1)
    client.reply("A", 0.6, seq=client.rcv, ack=client.snd, size=0)
    client.alive()


@check("RFC 9293 §3.8.4")
def keep_alive_probe_with_octet_is_answered(host):
    """With one octet of garbage too; the octet is not delivered."""
    client = host.tcp().connect()
    client.echo()
    client.drain(0.1)
    client.send("A", b"\xee", seq=client.snd - 1)
    client.reply("A", 0.6, seq=client.rcv, ack=client.snd, size=0)
    client.silent("an echo of the garbage", 0.2, lambda frame: bool(frame.data))
    client.alive()


@check("RFC 9293 §3.8.4")
def keep_alive_probe_before_any_text_is_answered(host):
    """At once after the handshake."""
    client = host.tcp().connect()
    client.send("A", seq=client.snd - 1)
    client.reply("A", 0.6, ack=client.snd, size=0)
