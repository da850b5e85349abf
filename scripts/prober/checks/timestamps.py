"""Timestamps and PAWS: RFC 7323 §3 to §5."""

import time

import wire
from client import need
from registry import BOTH, cases, check


def connected(host, base=1_000_000, **options):
    """A connection with a timestamp clock moved by hand: TSval is what the check says."""
    client = host.tcp()
    client.tick = base
    client.syn(options=wire.mss_option(1460) + wire.timestamp_option(base, 0), **options)
    segment = client.take_syn_ack()
    need("timestamp" in segment.options, "no timestamps")
    client.stamps = True
    client.stamp = lambda value=None, echo=None: wire.timestamp_option(
        client.tick if value is None else value, client.heard if echo is None else echo)
    client.send("A")
    return client


def at(client, value):
    return {"options": wire.timestamp_option(value, client.heard)}


@check("RFC 7323 §3.2", BOTH)
def every_segment_has_a_timestamp(host):
    """Once agreed it is in every segment but resets."""
    client = host.tcp().connect(stamps=True)
    client.echo(b"x" * 5000)
    client.send("FA")
    client.expect("FA", 2)
    for _, arrow, frame in list(host.story):
        if arrow == "◀" and frame.kind == "tcp" and "R" not in frame.flags:
            need("timestamp" in frame.options, f"without: {wire.describe(frame)}")


@check("RFC 7323 §3.2", BOTH)
def no_timestamp_unless_agreed(host):
    """Not agreed: in no segment."""
    client = host.tcp().connect()
    client.echo(b"x" * 5000)
    for _, arrow, frame in list(host.story):
        if arrow == "◀" and frame.kind == "tcp":
            need("timestamp" not in frame.options, f"with: {wire.describe(frame)}")


@check("RFC 7323 §4.3", BOTH)
def timestamp_of_last_segment_is_echoed(host):
    """TSecr is TSval of the segment that moved the window."""
    client = connected(host)
    for value in (1_000_100, 1_000_250, 1_000_251):
        client.tick = value
        client.send("PA", b"t")
        answer = client.expect(None, 1, ack=client.snd)
        need(answer.options["timestamp"][1] == value, f"{answer.options} for {value}")
        client.drain(0.05)
        client.rcv = answer.seq + len(answer.data) if answer.data else client.rcv
        client.rcv = max(client.rcv, client.iss * 0 + client.rcv)


@check("RFC 7323 §4.3, (2)")
def timestamp_of_gap_is_not_echoed(host):
    """What is out of order is acknowledged with the timestamp of the last in order."""
    client = connected(host)
    client.tick = 1_000_100
    client.send("PA", b"first", window=0)
    client.expect("A", 1, ack=client.snd)
    client.drain(0.1)
    client.send("PA", b"third", seq=client.snd + 6, window=0, **at(client, 1_000_200))
    answer = client.expect("A", 0.6, ack=client.snd)
    need(answer.options["timestamp"][1] == 1_000_100, f"{answer.options}")
    client.tick = 1_000_300
    client.send("PA", b"second", window=0)
    answer = client.expect("A", 0.6, ack=client.snd + 5)
    need(answer.options["timestamp"][1] == 1_000_300, f"{answer.options}")


@check("RFC 7323 §4.3")
def delayed_ack_echoes_the_earliest(host):
    """One ACK for two segments echoes the timestamp of the first."""
    client = connected(host)
    client.drain(0.05)
    client.window = 0
    # Past the time in which every segment is acknowledged at once.
    for _ in range(20):
        client.tick += 1
        client.send("PA", b"warm")
        client.expect("A", 1, ack=client.snd)
    client.drain(0.2)
    for _ in range(5):
        client.tick += 100
        first = client.tick
        client.send("PA", b"one")
        client.tick += 100
        client.send("PA", b"two")
        answers = client.collect(0.7)
        final = [frame for frame in answers if frame.ack == client.snd % wire.MODULUS]
        need(final, "no ACK")
        if len(answers) == 1:
            need(final[0].options["timestamp"][1] == first, f"{final[0].options}, first {first}")
            return


@check("RFC 7323 §5.3, R1", BOTH)
def old_timestamp_is_refused(host):
    """PAWS: SEG.TSval < TS.Recent gets an ACK, and the text is dropped."""
    client = connected(host)
    client.tick = 1_005_000
    client.echo(b"recent")
    client.drain(0.1)
    client.send("PA", b"oldie", seq=client.snd, **at(client, 1_000_500))
    client.reply("A", 0.6, ack=client.snd, size=0)
    client.silent("an echo", 0.2, lambda frame: bool(frame.data))
    client.alive()


@check("RFC 7323 §5.3, R1", BOTH)
def reset_is_exempt_from_paws(host):
    """A reset counts whatever its timestamp."""
    client = connected(host)
    client.tick = 1_005_000
    client.echo(b"recent")
    client.send("R", **at(client, 1_000))
    client.drain(0.1)
    client.gone()


@check("RFC 7323 §3.2")
def reset_without_timestamp_counts(host):
    """And a reset needs none."""
    client = connected(host)
    client.echo(b"recent")
    client.send("R", options=b"")
    client.drain(0.1)
    client.gone()


@check("RFC 7323 §3.2, SHOULD")
def segment_without_timestamp_does_no_harm(host):
    """Dropped without a word, or taken as it is: never a reset."""
    client = connected(host)
    client.send("PA", b"bare", seq=client.snd, options=b"")
    for frame in client.collect(0.3):
        need("R" not in frame.flags, wire.describe(frame))
    client.send("PA", b"bare and more")
    need(client.read(13).endswith(b"bare and more"[4:]), "echo")


@check("RFC 7323 §5.4", BOTH)
def timestamp_clock_of_target_grows(host):
    """TSval never falls, and ticks between once a millisecond and once a second."""
    client = host.tcp().connect(stamps=True)
    values = []
    for _ in range(6):
        client.echo(b"tick")
        values.append((time.time(), client.heard))
        time.sleep(0.25)
    gaps = [(b - a) % wire.MODULUS for (_, a), (_, b) in zip(values, values[1:])]
    need(all(gap < 1 << 31 for gap in gaps), f"values {values}")
    seconds = values[-1][0] - values[0][0]
    rate = ((values[-1][1] - values[0][1]) % wire.MODULUS) / seconds
    need(0.5 < rate < 1500, f"{rate:.0f} ticks a second")


@check("RFC 7323 §5.2")
def timestamps_wrap(host):
    """Our clock crosses 2^32."""
    client = connected(host, wire.MODULUS - 50)
    for _ in range(10):
        client.tick = (client.tick + 10) % wire.MODULUS
        client.echo(b"wrap")


@check("RFC 7323 §4.3, (2)")
def timestamp_outside_window_is_not_remembered(host):
    """A blind segment with a late timestamp does not poison TS.Recent."""
    client = connected(host)
    client.echo(b"before")
    client.drain(0.1)
    client.send("PA", b"poison", seq=client.snd + (1 << 30), **at(client, 1_000_000 + (1 << 30)))
    client.drain(0.3)
    client.tick += 10
    client.alive()


@cases("RFC 7323 §3.2", ("9", b"\x01\x01\x01\x08\x09" + bytes(7)), ("2", b"\x08\x02\x01\x01"),
       ("0", b"\x08\x00\x01\x01"))
def malformed_timestamp_does_no_harm(host, option):
    """A timestamp of wrong length on an established connection."""
    client = connected(host)
    client.send("PA", b"odd", seq=client.snd, options=option)
    for frame in client.collect(0.2):
        need("R" not in frame.flags, wire.describe(frame))
    client.send("PA", b"odd!!!")
    client.read(3)


@check("RFC 7323 §4.1")
def retransmission_has_a_timestamp_of_its_own(host):
    """TSval is the time of sending: later in a retransmission."""
    client = host.tcp().connect(stamps=True)
    client.send("PA", b"again")
    first = client.expect(None, 1, size=5)
    again = client.expect(None, 3, size=5, seq=first.seq)
    need(wire.after(again.options["timestamp"][0], first.options["timestamp"][0]),
         f"{first.options}, then {again.options}")


@check("RFC 7323 §5.3")
def old_timestamp_of_pure_ack_is_refused_quietly(host):
    """An old pure ACK opens nothing and is answered at most by an ACK."""
    client = connected(host)
    client.tick = 1_005_000
    client.echo(b"recent")
    client.drain(0.1)
    client.send("A", seq=client.snd, **at(client, 1_000_100))
    for frame in client.collect(0.2):
        need(frame.flags == "A" and not frame.data, wire.describe(frame))
    client.alive()
