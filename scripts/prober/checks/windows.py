"""Segment size and windows: RFC 9293 §3.7.1 and §3.8.6, RFC 7323 §2."""

import time

import wire
from client import need
from registry import BOTH, cases, check


def sizes(client, count=6000, during=0.35, **odd):
    """Sizes of the segments, with their options, that echo `count` octets."""
    client.hold(count, **odd)
    first = client.expect(None, 2, size=lambda size: size > 0)
    return [len(frame.data) + len(frame.option_bytes)
            for frame in [first, *client.collect(during)] if frame.data]


@cases("RFC 9293 §3.7.1, MUST-16", ("100", 100), ("256", 256), ("536", 536), ("1000", 1000),
       ("1220", 1220), ("1400", 1400), families=BOTH)
def mss_of_peer_is_obeyed(host, mss):
    """No segment has more octets of options and text than the MSS offered."""
    client = host.tcp().connect(mss=mss)
    found = sizes(client)
    need(max(found) <= mss, f"sizes {found}")


@cases("RFC 9293 §3.7.1, MUST-16", ("100", 100), ("536", 536), ("1000", 1000), families=BOTH)
def mss_of_peer_is_obeyed_with_timestamps(host, mss):
    """Options count: Eff.snd.MSS is the MSS less their octets."""
    client = host.tcp().connect(mss=mss, stamps=True, scale=7)
    found = sizes(client)
    need(max(found) <= mss, f"sizes {found}")


@check("RFC 9293 §3.7.1, MUST-15", BOTH)
def default_mss_is_assumed(host):
    """Without the option it is 536, 1220 for IPv6."""
    client = host.tcp().connect(mss=None)
    limit = 536 if host.family == 4 else 1220
    found = sizes(client)
    need(max(found) <= limit, f"sizes {found}")


@cases("RFC 9293 §3.7.1", ("1460", 1460), ("9000", 9000), ("65535", 65535), families=BOTH)
def large_mss_does_not_exceed_the_link(host, mss):
    """However large the peer's MSS: no packet is larger than the MTU."""
    client = host.tcp().connect(mss=mss)
    found = sizes(client, size=1400)
    need(max(found) <= (1460 if host.family == 4 else 1440), f"sizes {found}")


@cases("RFC 9293 §3.7.1", ("0", 0), ("1", 1), ("12", 12), ("48", 48), families=BOTH)
def tiny_mss_does_no_harm(host, mss):
    """An absurd MSS neither stops the stream nor makes a segment of every octet."""
    client = host.tcp().connect(mss=mss, stamps=True)
    client.mss = 500
    client.send("PA", b"t" * 500)
    stream, frames, end = 0, 0, time.time() + 6
    while stream < 500 and time.time() < end:
        for frame in client.collect(0.02):
            if frame.data and not wire.after(frame.seq, client.rcv):
                stream += len(frame.data)
                frames += 1
                client.rcv = frame.seq + len(frame.data)
        client.send("A")
    need(stream >= 500, f"{stream} of 500 octets")
    need(frames <= 80, f"{frames} segments for 500 octets")


@cases("RFC 7323 §2.3", ("0", 0), ("1", 1), ("4", 4), ("7", 7), ("14", 14))
def window_of_peer_is_scaled(host, shift):
    """Our window counts shifted: no more is in flight, and that much may be."""
    client = host.tcp()
    client.window = 3000 >> shift or 1
    allowed = client.window << shift
    client.connect(scale=shift)
    found = flight(client, 9000, window=client.window)
    need(found <= allowed, f"{found} octets in flight, the window is {allowed}")
    need(found >= min(allowed, 9000) // 2, f"only {found} octets in flight, window {allowed}")


def flight(client, count, **odd):
    """Octets in flight when the target owes `count` and gets no acknowledgment."""
    client.hold(count, **odd)
    begin = client.rcv
    first = client.expect(None, 2, size=lambda size: size > 0)
    ends = [(frame.seq + len(frame.data) - begin) % wire.MODULUS
            for frame in [first, *client.collect(0.15)] if frame.data]
    return max(ends)


@check("RFC 7323 §2.3")
def shift_beyond_14_is_14(host):
    """A shift count above 14 is taken as 14."""
    client = host.tcp()
    client.window = 1
    client.connect(scale=20)
    need(flight(client, 9000, window=1) >= 1460, "a window of 16384 was not used")
    client.alive_after = None
    begin = client.rcv
    client.rcv = begin + 9000
    client.send("A", window=1)
    client.collect(0.05)
    # Opened wide by acknowledgments, the flight never exceeds 1 << 14.
    owed = 9000
    for _ in range(6):
        client.hold(8000, window=1)
        owed += 8000
        ends = [(frame.seq + len(frame.data) - client.rcv) % wire.MODULUS
                for frame in client.collect(0.06) if frame.data]
        need(max(ends, default=0) <= 1 << 14, f"{max(ends, default=0)} octets in flight")
        client.rcv = client.rcv + min(max(ends, default=0), 8000)
        client.send("A", window=1)


@check("RFC 7323 §2.2", BOTH)
def window_is_not_scaled_unless_agreed(host):
    """Without our option neither side scales."""
    client = host.tcp(  )
    client.window = 2000
    client.connect()
    found = flight(client, 9000, window=2000)
    need(found <= 2000, f"{found} octets in flight, the window is 2000")


@check("RFC 7323 §2.2")
def window_of_syn_ack_is_not_scaled(host):
    """The window of a SYN-ACK is as it stands; the next ones are shifted."""
    client = host.tcp().connect(scale=7)
    shift = client.syn_ack.options["scale"]
    need(shift <= 14, f"shift {shift}")
    client.send("PA", b"x")
    later = client.expect(None, 1, ack=client.snd).window << shift
    need(later * 2 >= client.syn_ack.window, f"{client.syn_ack.window}, then {later}")


@check("RFC 9293 §3.8.6", BOTH)
def closed_window_is_obeyed(host):
    """With a window of zero no text is sent but a probe of one octet."""
    client = host.tcp().connect(window=0)
    client.send("PA", b"x" * 500)
    begin = client.rcv
    for frame in client.collect(0.6):
        beyond = (frame.seq + len(frame.data) - begin) % wire.MODULUS
        need(beyond <= 1 or beyond > 1 << 31, f"text in a closed window: {wire.describe(frame)}")


@check("RFC 9293 §3.8.6", BOTH)
def opened_window_is_used_at_once(host):
    """A window update sets the text going without waiting for a probe."""
    client = host.tcp().connect(window=0)
    data = client.hold(3000, window=0)
    client.collect(0.3)
    client.send("A", window=20000)
    client.window = 20000
    begun = time.time()
    need(client.read(3000) == data, "echo")
    need(time.time() - begun < 1.0, f"took {time.time() - begun:.2f} s")


@check("RFC 9293 §3.8.6.1, MUST-36, SHLD-29", BOTH)
def closed_window_is_probed_with_backoff(host):
    """Zero-window probes come, each later than the one before it, as far apart as a time-out."""
    client = host.tcp().connect(window=0)
    client.hold(2000, window=0)
    client.collect(0.05)
    times, end = [], time.time() + 7
    while len(times) < 4 and time.time() < end:
        frame = client.expect(None, 5)
        times.append(frame.at)
        client.send("A", window=0)
    gaps = [b - a for a, b in zip(times, times[1:])]
    need(len(gaps) >= 3, f"only {len(times)} probes")
    need(gaps[1] > 1.3 * gaps[0] and gaps[2] > 1.3 * gaps[1], f"gaps {gaps}")


@check("RFC 9293 §3.8.6.1, MUST-37", BOTH)
def probe_octet_is_taken_back_into_the_stream(host):
    """Whatever the probes carried: after the window opens the stream is whole."""
    client = host.tcp().connect(window=0)
    data = client.hold(2500, window=0)
    client.collect(1.2)
    client.window = 30000
    client.send("A")
    need(client.read(2500, 5) == data, "echo")


@check("RFC 9293 §3.8.6.1, MUST-35")
def probe_of_our_closed_window_is_answered(host):
    """Our own probes are answered, whatever we probe with."""
    client = host.tcp().connect()
    client.echo()
    client.drain(0.1)
    client.send("A", b"", seq=client.snd - 1)
    client.reply("A", 0.6, ack=client.snd)


@check("RFC 9293 §3.8.6.2.1, SHLD-30")
def sender_does_not_send_slivers(host):
    """Ten octets of window do not make a segment of ten octets at once, when much more waits."""
    client = host.tcp().connect()
    client.hold(4000, window=0)
    client.collect(0.1)
    client.send("A", window=10)
    for frame in client.collect(0.1):
        need(not 1 < len(frame.data) <= 10, f"a sliver: {wire.describe(frame)}")
    client.window = 10000
    client.send("A")
    client.read(4000, 4)


@check("RFC 9293 §3.8.6.2.1", BOTH)
def small_window_is_survived(host):
    """A peer with a window of 100 octets gets the whole stream."""
    client = host.tcp().connect(window=100)
    data = client.hold(700, window=100)
    need(client.read(700, 10) == data, "echo")


@check("RFC 9293 §3.8.6, SHLD-14")
def shrunk_window_is_survived(host):
    """A window that moves left (SHOULD NOT, but MUST be survived): the stream goes on later."""
    client = host.tcp().connect()
    data = client.hold(8000)
    client.collect(0.05)
    client.rcv = client.rcv + 0
    client.send("A", window=100)
    client.collect(0.4)
    client.window = 60000
    client.send("A")
    need(client.read(8000, 5) == data, "echo")


@check("RFC 9293 §3.8.6, §3.10.7.4, step 5")
def old_window_is_not_taken(host):
    """An old segment does not bring back an old window (SND.WL1, SND.WL2)."""
    client = host.tcp().connect()
    client.echo(b"one")
    client.drain(0.1)
    # Newer: closes the window.
    client.send("PA", b"two", window=0)
    client.expect("A", 1, ack=client.snd)
    # Older, with a wide window: not acceptable, so it opens nothing.
    client.send("A", seq=client.iss + 1, window=60000)
    for frame in client.collect(0.15):
        need(len(frame.data) <= 1, f"text in a closed window: {wire.describe(frame)}")
    client.send("A", window=60000)
    need(client.read(3) == b"two", "echo")


@check("RFC 9293 §3.8.6.1")
def connection_with_closed_window_lives(host):
    """Answered probes keep the connection alive: nothing is reset."""
    client = host.tcp().connect(window=0)
    client.send("PA", b"patience")
    end = time.time() + 4
    while time.time() < end:
        for frame in client.collect(0.05):
            need("R" not in frame.flags and "F" not in frame.flags, wire.describe(frame))
            client.send("A", window=0)
    client.window = 1000
    client.send("A")
    need(client.read(8, 8) == b"patience", "echo")
