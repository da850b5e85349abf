"""Loss and congestion: RFC 6298, 5681, 6928, 6675, 2018, 2883, and who abuses them."""

import itertools
import time

import wire
from client import need
from registry import BOTH, cases, check


def copies(client, seq, count, within=4.0):
    """Arrival times of `count` segments that begin at `seq`."""
    return [client.expect(None, within, seq=seq, size=lambda size: size > 0).at
            for _ in range(count)]


def texts(frames):
    return [frame for frame in frames if frame.data]


def first_flight(client, count, **odd):
    """Makes the target owe `count` octets; its first flight, in order of sequence."""
    client.hold(count, **odd)
    first = client.expect(None, 2, size=lambda size: size > 0)
    frames = {frame.seq: frame for frame in [first, *texts(client.collect(0.12))]}
    begin = client.rcv
    return sorted(frames.values(), key=lambda frame: (frame.seq - begin) % wire.MODULUS)


@check("RFC 6298 §2, §5", BOTH)
def unacknowledged_text_is_sent_again(host):
    """After a time-out of 0.15 to 3.5 s, the same octets from the same number."""
    client = host.tcp().connect()
    client.send("PA", b"say again")
    first = client.expect(None, 1, size=9)
    again = client.expect(None, 4, size=9, seq=first.seq)
    need(again.data == first.data, f"{again.data!r}")
    need(0.15 < again.at - first.at < 3.5, f"after {again.at - first.at:.3f} s")


@check("RFC 6298 §5.5", BOTH)
def time_out_backs_off(host):
    """Retransmissions wait about twice as long each time."""
    client = host.tcp().connect()
    client.send("PA", b"again and again")
    first = client.expect(None, 1, size=15)
    times = copies(client, first.seq, 4, 8)
    gaps = [b - a for a, b in itertools.pairwise(times)]
    need(gaps[0] < 1.1 * gaps[1] and 1.5 < gaps[2] / gaps[1] < 2.8, f"gaps {gaps}")


@check("RFC 6298 §5.2", BOTH)
def acknowledged_text_is_not_sent_again(host):
    """The timer stops when all is acknowledged."""
    client = host.tcp().connect()
    client.echo(b"received")
    client.silent("a retransmission", 1.6, lambda frame: bool(frame.data))


@check("RFC 5681 §3.1, RFC 6298 §5.4")
def time_out_closes_the_congestion_window(host):
    """After a time-out one segment is sent, not the whole flight."""
    client = host.tcp().connect()
    flight = first_flight(client, 14_000)
    need(len(flight) >= 4, f"a flight of {len(flight)}")
    again = client.expect(None, 4, seq=flight[0].seq, size=lambda size: size > 0)
    burst = [again, *texts(client.collect(0.1))]
    need(len(burst) <= 2, f"{len(burst)} segments at the time-out")


@check("RFC 5681 §3.2", BOTH)
def three_duplicate_acks_cause_a_fast_retransmission(host):
    """The third duplicate sends the missing segment again, before the time-out."""
    client = host.tcp().connect()
    flight = first_flight(client, 14_000)
    need(len(flight) >= 5, f"a flight of {len(flight)}")
    for _ in range(4):
        client.send("A", ack=flight[0].seq)
    begun = client.sent_at
    again = client.expect(None, 1, seq=flight[0].seq, size=len(flight[0].data))
    need(again.at - begun < 0.15, f"after {again.at - begun:.3f} s")


@check("RFC 6675 §5, RFC 8985", BOTH)
def sack_causes_a_fast_retransmission(host):
    """What SACK shows missing is sent again before the time-out."""
    client = host.tcp().connect(sack=True, stamps=True, scale=7)
    flight = first_flight(client, 14_000)
    need(len(flight) >= 6, f"a flight of {len(flight)}")
    sacked(client, flight, range(1, 6))
    begun = client.sent_at
    again = client.expect(None, 1, seq=flight[0].seq, size=lambda size: size > 0)
    need(again.at - begun < 0.15, f"after {again.at - begun:.3f} s")


def sacked(client, flight, which):
    """Acknowledgments, one for each segment of `which` that arrived while flight[0] is missing."""
    end = lambda frame: frame.seq + len(frame.data)
    blocks = []
    for at in which:
        if blocks and blocks[0][1] == flight[at].seq:
            blocks[0] = (blocks[0][0], end(flight[at]))
        else:
            blocks.insert(0, (flight[at].seq, end(flight[at])))
        option = client.stamp() if client.stamps else b""
        client.send("A", ack=flight[0].seq, options=option + wire.sack_option(*blocks[:3]))


@check("RFC 2018 §5, RFC 6675 §5", BOTH)
def sacked_text_is_not_sent_again(host):
    """With two holes just the holes are filled."""
    client = host.tcp().connect(sack=True)
    flight = first_flight(client, 14_000)
    need(len(flight) >= 8, f"a flight of {len(flight)}")
    sacked(client, flight, [1, 2, 4, 5, 6, 7])
    again = {frame.seq for frame in texts(client.collect(0.16))}
    need(flight[0].seq in again, "the first hole was not filled")
    for at in (1, 2, 4, 5, 6, 7):
        need(flight[at].seq not in again, f"segment {at} was acknowledged, and sent again")


@check("RFC 6675 §5")
def second_hole_is_filled_without_time_out(host):
    """After the first hole the second is sent again too."""
    client = host.tcp().connect(sack=True)
    flight = first_flight(client, 14_000)
    need(len(flight) >= 8, f"a flight of {len(flight)}")
    sacked(client, flight, [1, 2, 4, 5, 6, 7])
    again = {frame.seq for frame in texts(client.collect(0.1))}
    if flight[3].seq not in again:
        client.send("A", ack=flight[3].seq, options=wire.sack_option(
            (flight[4].seq, flight[7].seq + len(flight[7].data))))
        client.expect(None, 0.3, seq=flight[3].seq, size=lambda size: size > 0)


@check("RFC 2018 §8", BOTH)
def reneging_receiver_still_gets_everything(host):
    """SACKed octets may be dropped by their receiver: after the time-out they are sent again."""
    client = host.tcp().connect(sack=True)
    data = client.hold(6000)
    flight = sorted(texts(client.collect(0.1)), key=lambda one: (one.seq - client.rcv) % wire.MODULUS)
    sacked(client, flight, range(1, len(flight)))
    client.drain(0.05)
    need(client.read(6000, 12) == data, "echo")


@check("RFC 2018 §4", BOTH)
def out_of_order_text_is_reported_by_sack(host):
    """An ACK of a gap has a block with just what was received."""
    client = host.tcp().connect(window=0, sack=True)
    client.send("PA", b"later", seq=client.snd + 100)
    answer = client.expect("A", 0.5, ack=client.snd)
    want = ((client.snd + 100) % wire.MODULUS, (client.snd + 105) % wire.MODULUS)
    need(answer.options.get("sack") == [want], f"{answer.options}, expected {want}")


@check("RFC 2018 §4", BOTH)
def first_sack_block_is_the_latest(host):
    """The block of the segment that caused the ACK stands first, older ones follow."""
    client = host.tcp().connect(window=0, sack=True)
    begin = client.snd
    for at in (300, 100, 500):
        client.send("PA", b"12345", seq=begin + at)
        answer = client.expect("A", 0.5, ack=begin)
        first = answer.options.get("sack", [(0, 0)])[0]
        need(first == ((begin + at) % wire.MODULUS, (begin + at + 5) % wire.MODULUS),
             f"{answer.options} after octet {at}")
    need(len(answer.options["sack"]) == 3, f"{answer.options}")


@check("RFC 2018 §3, RFC 7323")
def sack_blocks_fit_beside_timestamps(host):
    """At most three with timestamps; all of different ranges."""
    client = host.tcp().connect(window=0, sack=True, stamps=True)
    begin = client.snd
    for at in range(100, 700, 100):
        client.send("PA", b"12345", seq=begin + at)
        answer = client.expect("A", 0.5, ack=begin)
    blocks = answer.options.get("sack", [])
    need(1 <= len({*blocks}) == len(blocks) <= 3, f"{answer.options}")


@check("RFC 2018 §4")
def sack_blocks_merge(host):
    """Adjacent ranges are one block."""
    client = host.tcp().connect(window=0, sack=True)
    begin = client.snd
    for at in (10, 20, 15):
        client.send("PA", b"12345", seq=begin + at)
        answer = client.expect("A", 0.5, ack=begin)
    want = [((begin + 10) % wire.MODULUS, (begin + 25) % wire.MODULUS)]
    need(answer.options.get("sack") == want, f"{answer.options}")


@check("RFC 2018 §4")
def sack_ends_with_the_gap(host):
    """When nothing is missing no block is reported."""
    client = host.tcp().connect(window=0, sack=True)
    begin = client.snd
    client.send("PA", b"world", seq=begin + 5)
    client.expect("A", 0.5, ack=begin)
    client.send("PA", b"hello", seq=begin)
    answer = client.expect("A", 0.5, ack=begin + 10)
    need("sack" not in answer.options, f"{answer.options}")


@check("RFC 2018 §2", BOTH)
def no_sack_unless_agreed(host):
    """Without SACK-permitted no block is sent."""
    client = host.tcp().connect(window=0)
    client.send("PA", b"later", seq=client.snd + 100)
    answer = client.expect("A", 0.5, ack=client.snd)
    need("sack" not in answer.options, f"{answer.options}")


@check("RFC 2883 §4.1", BOTH)
def duplicate_is_reported_by_dsack(host):
    """A duplicate segment is the first block of the ACK, though it is below the ACK."""
    client = host.tcp().connect(window=0, sack=True)
    begin = client.snd
    client.send("PA", b"twice")
    client.expect("A", 0.6, ack=client.snd)
    client.send("PA", b"twice", seq=begin)
    answer = client.expect("A", 0.6, ack=client.snd, size=0)
    want = (begin, (begin + 5) % wire.MODULUS)
    need(answer.options.get("sack", [None])[0] == want, f"{answer.options}, expected {want}")


@check("RFC 2883 §4.2")
def duplicate_beyond_the_gap_is_reported_by_dsack(host):
    """A duplicate out of order: D-SACK first, then the block that has it."""
    client = host.tcp().connect(window=0, sack=True)
    begin = client.snd
    client.send("PA", b"0123456789", seq=begin + 50)
    client.expect("A", 0.6, ack=begin)
    client.send("PA", b"0123456789", seq=begin + 50)
    answer = client.expect("A", 0.6, ack=begin)
    blocks = answer.options.get("sack", [])
    want = ((begin + 50) % wire.MODULUS, (begin + 60) % wire.MODULUS)
    need(blocks[:1] == [want], f"{answer.options}")


@check("RFC 6928 §2", BOTH)
def initial_window_is_ten_segments(host):
    """At most ten segments (14,600 octets) before the first acknowledgment."""
    client = host.tcp().connect(scale=7)
    flight = first_flight(client, 30_000)
    octets = sum(len(frame.data) for frame in flight)
    need(2 <= len(flight), f"{len(flight)} segments")
    need(octets <= 10 * client.mss, f"{octets} octets in {len(flight)} segments")


@check("RFC 5681 §3.1")
def slow_start_at_most_doubles(host):
    """The acknowledgment of a flight lets at most twice as much out."""
    client = host.tcp().connect(scale=7)
    client.hold(50_000)
    allowed = 10 * client.mss
    for _ in range(3):
        frames = texts(client.collect(0.08))
        octets = sum(len(frame.data) for frame in frames)
        need(octets <= allowed + client.mss, f"{octets} octets, {allowed} allowed")
        if not frames:
            break
        allowed = 2 * allowed
        client.rcv = max(((frame.seq + len(frame.data)) for frame in frames),
                         key=lambda end: (end - client.rcv) % wire.MODULUS)
        client.send("A")


@check("RFC 3465 §2.3, RFC 5681 §3.1 (ACK division)")
def divided_acks_do_not_inflate(host):
    """A hundred ACKs of one segment, octet by octet, let out hardly more than one ACK does."""
    client = host.tcp().connect(scale=7)
    flight = first_flight(client, 50_000)
    before = sum(len(frame.data) for frame in flight)
    for octet in range(1, 101):
        client.send("A", ack=client.rcv + octet * (len(flight[0].data) // 100))
    after = sum(len(frame.data) for frame in texts(client.collect(0.1)))
    need(after <= 5 * client.mss, f"{after} octets for {client.mss} acknowledged, {before} before")


@check("RFC 5681 §3.2, Savage et al. (duplicate ACK spoofing)")
def forged_duplicate_acks_do_not_flood(host):
    """Each duplicate may let out one new segment, and no more."""
    client = host.tcp().connect(scale=7)
    flight = first_flight(client, 190_000)
    client.drain()
    for _ in range(20):
        client.send("A", ack=flight[0].seq)
    after = sum(len(frame.data) for frame in texts(client.collect(0.1)))
    need(after <= 22 * client.mss, f"{after} octets for 20 duplicates")


@check("RFC 9293 §3.10.7.4, step 5 (optimistic ACK)", BOTH)
def ack_of_unsent_is_answered_and_dropped(host):
    """An ACK beyond SND.NXT is answered by an ACK and moves nothing."""
    client = host.tcp().connect()
    client.send("PA", b"not yet")
    first = client.expect(None, 1, size=7)
    client.send("A", ack=first.seq + 100_000)
    answer = client.expect("A", 0.6, ack=client.snd, size=0)
    need(answer.seq == (first.seq + 7) % wire.MODULUS, "the challenge is not at SND.NXT")
    client.expect(None, 4, seq=first.seq, size=7)


@cases("RFC 2018 §5, RFC 6675", ("beyond", 100_000, 101_000), ("backwards", 3000, 1500),
       ("before", -5000, -3000), ("all", 0, 14_600), ("half_the_space", 0, 1 << 31))
def absurd_sack_does_no_harm(host, left, right):
    """Blocks of what was never sent, or that end before they begin."""
    client = host.tcp().connect(sack=True)
    data = client.hold(6000)
    client.collect(0.05)
    for _ in range(5):
        client.send("A", options=wire.sack_option(
            (client.rcv + left, client.rcv + right), (client.rcv + right, client.rcv + left)))
    need(client.read(6000, 12) == data, "echo")


@check("RFC 2018 §5 (SACK abuse)")
def thousands_of_sack_blocks_do_no_harm(host):
    """Many tiny blocks cost the target little: the stream goes on."""
    client = host.tcp().connect(sack=True)
    data = client.hold(12_000)
    client.collect(0.05)
    for at in range(1500):
        begin = client.rcv + 1 + (at * 8) % 9000
        client.send("A", options=wire.sack_option(
            (begin, begin + 1), (begin + 2, begin + 3), (begin + 4, begin + 5)))
    client.drain(0.1)
    need(client.read(12_000, 15) == data, "echo")


@check("RFC 6298 §3 (Karn)")
def retransmission_gives_no_wrong_estimate(host):
    """After a retransmission that was acknowledged late the next time-out is no shorter."""
    client = host.tcp().connect()
    client.send("PA", b"karn")
    first = client.expect(None, 1, size=4)
    again = client.expect(None, 4, seq=first.seq, size=4)
    client.rcv = first.seq + 4
    client.send("A")
    client.send("PA", b"next")
    sent = client.expect(None, 1, size=4, seq=client.rcv)
    later = client.expect(None, 5, size=4, seq=client.rcv)
    need(later.at - sent.at > 0.15, f"time-out of {later.at - sent.at:.3f} s")
    need(again.at > first.at, "order")


@check("RFC 9293 §3.8.1")
def retransmission_acknowledges_what_came_meanwhile(host):
    """A retransmission carries the newest ACK."""
    client = host.tcp().connect()
    client.send("PA", b"old")
    first = client.expect(None, 1, size=3)
    client.send("PA", b"new")
    client.collect(0.05)
    again = client.expect(None, 4, seq=first.seq)
    need(again.ack == client.snd % wire.MODULUS, "an old acknowledgment number")


@check("RFC 5681 §3.2", BOTH)
def recovery_delivers_the_stream(host):
    """The third, sixth and ninth segment are lost once; the stream comes whole in little time."""
    client = host.tcp().connect(sack=True, stamps=True, scale=7)
    data = client.hold(30_000)
    lost, pieces, stream, deadline = set(), {}, b"", time.time() + 10
    count = 0
    while len(stream) < 30_000:
        need(time.time() < deadline, f"{len(stream)} of 30000 octets")
        for frame in texts(client.collect(0.005)):
            count += 1
            if count in (3, 6, 9) and frame.seq not in lost:
                lost.add(frame.seq)
                continue
            pieces[frame.seq] = frame.data
            latest = frame
            while client.rcv in pieces:
                piece = pieces.pop(client.rcv)
                stream += piece
                client.rcv = (client.rcv + len(piece)) % wire.MODULUS
            option = client.stamp()
            if pieces:
                option += wire.sack_option((latest.seq, latest.seq + len(latest.data)))
            client.send("A", options=option)
    need(stream == data, "echo")


@check("RFC 3042, RFC 5681 §3.2")
def limited_transmit_is_limited(host):
    """The first two duplicates let out at most one new segment each."""
    client = host.tcp().connect(scale=7)
    flight = first_flight(client, 40_000)
    client.drain()
    for _ in range(2):
        client.send("A", ack=flight[0].seq)
    new = [frame for frame in texts(client.collect(0.08))
           if wire.after(frame.seq, flight[-1].seq)]
    need(len(new) <= 2, f"{len(new)} new segments for two duplicates")
