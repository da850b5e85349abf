"""Opening a connection: RFC 9293 §3.5 and §3.10.7.2, and the options of a SYN."""

import itertools

import wire
from client import need
from link import Failure
from registry import BOTH, cases, check

SUBSETS = [subset for size in range(4)
           for subset in itertools.combinations(("scale", "stamps", "sack"), size)]


def expected_mss(host):
    return 1460 if host.family == 4 else 1440


@check("RFC 9293 §3.5", BOTH)
def syn_is_answered_by_syn_ack(host):
    """A SYN gets <SEQ=ISS><ACK=RCV.NXT><CTL=SYN,ACK>, without text, with an open window."""
    client = host.tcp()
    client.syn()
    segment = client.reply("SA", 2, ack=client.iss + 1, size=0, urgent=0)
    need(segment.window > 0, "the SYN-ACK offers no window")
    need(segment.flags == "SA", f"flags {segment.flags}")


@check("RFC 9293 §3.7.1", BOTH)
def syn_ack_has_mss(host):
    """The SYN-ACK says the largest segment: the link's MTU less 40 octets, 60 for IPv6."""
    client = host.tcp()
    client.syn()
    segment = client.take_syn_ack()
    need(segment.options.get("mss") == expected_mss(host), f"options {segment.options}")


def register_subsets():
    for subset in SUBSETS:
        label = "_".join(subset) or "nothing"

        def run(host, subset=subset):
            """Window scale, timestamps and SACK are in the SYN-ACK exactly when the SYN has them."""
            client = host.tcp()
            options = {"scale": 7 if "scale" in subset else None,
                       "stamps": "stamps" in subset, "sack": "sack" in subset}
            client.connect(**options)
            got = client.syn_ack.options
            for mine, theirs in (("scale", "scale"), ("stamps", "timestamp"),
                                 ("sack", "sack_permitted")):
                need((mine in subset) == (theirs in got), f"offered {subset}, answered {got}")
            client.echo(b"with " + label_of(subset))

        run.__name__ = f"syn_offering_{label}_gets_just_that"
        check("RFC 7323 §1.3, RFC 2018 §2, RFC 9293 §3.2", BOTH)(run)


def label_of(subset):
    return "_".join(subset).encode()


register_subsets()


@check("RFC 7323 §3.2", BOTH)
def syn_ack_echoes_timestamp(host):
    """TSecr of the SYN-ACK is TSval of the SYN."""
    client = host.tcp()
    client.syn(options=wire.mss_option(1460) + client.stamp(0x12345678, 0))
    got = client.take_syn_ack().options.get("timestamp")
    need(got and got[1] == 0x12345678, f"timestamp {got}")


@check("RFC 7323 §3.2")
def syn_with_nonzero_tsecr_is_taken(host):
    """TSecr of a SYN means nothing."""
    client = host.tcp()
    client.syn(options=wire.mss_option(1460) + client.stamp(echo=0xDEADBEEF))
    need("timestamp" in client.take_syn_ack().options, "no timestamp")
    client.stamps = True
    client.send("A")
    client.echo()


@cases("RFC 9293 §3.1, MUST-6", ("kind_253", b"\xfd\x04\x12\x34"), ("kind_200", b"\xc8\x02"),
       ("kind_30_mptcp", b"\x1e\x0c\x00\x81" + bytes(8)), ("fast_open_request", b"\x22\x02"),
       ("kind_9_long", b"\x09\x18" + bytes(22)), families=BOTH)
def unknown_option_is_skipped(host, option):
    """An option that is not known is skipped by its length; what follows it counts."""
    client = host.tcp()
    client.syn(options=option + wire.mss_option(700))
    client.take_syn_ack()
    client.send("A")
    client.hold(2000)
    sizes = [len(frame.data) for frame in client.collect(0.3)]
    need(sizes and 0 < max(sizes) <= 700, f"the MSS behind the option was missed: {sizes}")


@cases("RFC 9293 §3.1, MUST-7", ("length_0", b"\xfd\x00"), ("length_1", b"\xfd\x01"),
       ("beyond_header", b"\xfd\x28"), ("mss_length_3", b"\x02\x03\x05\x00"),
       ("mss_cut_off", b"\x01\x01\x01\x02"), ("scale_length_2", b"\x03\x02\x01\x01"),
       ("scale_length_0", b"\x03\x00\x07\x01"), ("timestamp_length_4", b"\x08\x04\x00\x00"),
       ("sack_permitted_length_3", b"\x04\x03\x00\x01"), ("sack_in_syn", b"\x05\x0a" + bytes(8)))
def malformed_option_does_no_harm(host, option):
    """Illegal lengths are survived: the SYN is taken or dropped, and the next one is taken."""
    client = host.tcp()
    client.syn(options=option)
    for frame in client.collect(0.3):
        need(frame.flags in ("SA", "RA"), f"answered by {wire.describe(frame)}")
        need("scale" not in frame.options and "timestamp" not in frame.options
             and "sack_permitted" not in frame.options, f"answered by {wire.describe(frame)}")
    host.tcp().connect().echo()


@check("RFC 9293 §3.1")
def options_behind_end_of_list_do_not_count(host):
    """After kind 0 comes padding, whatever it looks like."""
    client = host.tcp()
    client.syn(options=b"\0" + b"\3\3\7" + wire.mss_option(100))
    need("scale" not in client.take_syn_ack().options, "window scale behind the end was taken")
    client.send("A")
    client.hold(1500, size=500)
    sizes = [len(frame.data) for frame in client.collect(0.3)]
    need(sizes and max(sizes) > 100, f"the MSS behind the end was taken: {sizes}")


@check("RFC 9293 §3.1", BOTH)
def forty_octets_of_options_are_read(host):
    """A header may be 60 octets long."""
    client = host.tcp()
    client.syn(options=b"\1" * 24 + wire.mss_option(1000) + wire.timestamp_option(5, 0))
    segment = client.take_syn_ack()
    need(segment.options.get("timestamp", (0, 0))[1] == 5, f"options {segment.options}")


@check("RFC 9293 §3.2")
def options_need_no_alignment(host):
    """Options may begin on any octet (MUST-64)."""
    client = host.tcp()
    client.syn(options=b"\3\3\7" + b"\x08\x0a\0\0\0\x09\0\0\0\0" + b"\2\4\5\xb4" + b"\4\2")
    options = client.take_syn_ack().options
    need(options.get("scale") is not None and options.get("timestamp", (0, 0))[1] == 9,
         f"options {options}")


@check("RFC 9293 §3.1", BOTH)
def reserved_bits_are_ignored(host):
    """Reserved bits of the header must be ignored by receivers."""
    client = host.tcp()
    client.syn(reserved=0x0E)
    client.take_syn_ack()
    client.send("A", reserved=0x0E)
    client.send("PA", b"reserved", reserved=0x0E)
    need(client.read(8) == b"reserved", "echo")


@cases("RFC 9293 §3.1", ("offset_0", {"offset": 0}), ("offset_4", {"offset": 4}),
       ("offset_beyond_segment", {"offset": 15, "options": b""}),
       ("bad_checksum", {"checksum": 0x1234}), ("zero_checksum", {"checksum": 0}), families=BOTH)
def malformed_header_is_dropped(host, odd):
    """What is no TCP header gets no answer."""
    client = host.tcp()
    client.syn(**odd)
    client.silent("an answer to a malformed segment")


@check("RFC 9293 §3.10.7.2, SHLD-31", BOTH)
def text_of_syn_is_delivered_once(host):
    """Text that comes with the SYN is kept or not acknowledged; the stream has it once."""
    client = host.tcp()
    client.send("S", b"early", seq=client.iss, options=wire.mss_option(1460))
    segment = client.expect("SA", 2)
    kept = (segment.ack - client.iss - 1) % wire.MODULUS
    need(kept in (0, 5), f"acknowledges {kept} octets of five")
    client.rcv, client.snd = segment.seq + 1, client.iss + 1 + kept
    client.send("PA", b"early"[kept:] + b" bird")
    got = client.read(10)
    need(got == b"early bird", f"stream {got!r}")


@check("RFC 9293 §3.10.7.2")
def syn_fin_to_listener_does_no_harm(host):
    """SYN,FIN begins no half-closed connection: it is dropped, or its FIN is not taken."""
    client = host.tcp()
    client.syn(flags="SF")
    for frame in client.collect(0.3):
        need(frame.flags == "SA" and frame.ack == (client.iss + 1) % wire.MODULUS,
             f"answered by {wire.describe(frame)}")
    host.tcp().connect().echo()


@check("RFC 9293 §3.8.1", BOTH)
def repeated_syn_gets_same_syn_ack(host):
    """A SYN sent again gets the SYN-ACK again, with the same sequence number."""
    client = host.tcp()
    client.syn()
    first = client.take_syn_ack()
    client.syn()
    again = client.take_syn_ack()
    need(first.seq == again.seq and first.options == again.options,
         f"then {wire.describe(first)}, now {wire.describe(again)}")
    client.send("A")
    client.echo()


@check("RFC 6298 §2.1, §5.5", BOTH)
def syn_ack_is_sent_again_with_backoff(host):
    """Unanswered SYN-ACKs come again after about 1 s, then after twice as long."""
    client = host.tcp()
    client.syn()
    frames = [client.take_syn_ack() for _ in range(1)]
    frames += [client.expect("SA", wait, seq=frames[0].seq) for wait in (4, 7)]
    gaps = [b.at - a.at for a, b in itertools.pairwise(frames)]
    need(0.7 < gaps[0] < 3.5 and 1.5 < gaps[1] / gaps[0] < 2.8, f"gaps {gaps}")


@check("RFC 9293 §3.10.7.4, SYN-RECEIVED", BOTH)
def reset_in_syn_received_returns_to_listen(host):
    """A reset at RCV.NXT ends the passive open; the same ports may try again."""
    client = host.tcp()
    client.syn()
    client.take_syn_ack()
    client.send("R", seq=client.iss + 1)
    client.silent("a SYN-ACK after the reset", 1.6)
    client.iss = (client.iss + 100000) % wire.MODULUS
    client.connect().echo()


@cases("RFC 5961 §3.2", ("before_window", -1000), ("inside_window", 1000),
       ("far_outside", 1 << 30))
def blind_reset_in_syn_received_is_ignored(host, offset):
    """A reset that is not at RCV.NXT does not end a passive open."""
    client = host.tcp()
    client.syn()
    client.take_syn_ack()
    client.send("R", seq=client.iss + 1 + offset)
    client.collect(0.1)
    client.send("A")
    client.echo()


@cases("RFC 9293 §3.10.7.4, step 5", ("old", -1), ("future", 5), ("far", 1 << 30), families=BOTH)
def wrong_ack_in_syn_received_is_reset(host, offset):
    """An ACK that is not of our SYN gets <SEQ=SEG.ACK><CTL=RST>, and the open goes on."""
    client = host.tcp()
    client.syn()
    client.take_syn_ack()
    wrong = client.rcv + offset
    client.send("A", ack=wrong)
    client.expect("R", seq=wrong)
    client.send("A")
    client.echo()


@check("RFC 9293 §3.5, figure 8", BOTH)
def old_duplicate_syn_is_recovered_from(host):
    """An old SYN is answered, reset by its supposed sender, and then the real one gets through."""
    client = host.tcp()
    old, client.iss = client.iss, (client.iss + 5000) % wire.MODULUS
    client.send("S", seq=old)
    answer = client.expect("SA", 2, ack=old + 1)
    client.send("R", seq=answer.ack)
    client.connect().echo()


@check("RFC 9293 §3.10.7.4, step 4")
def new_syn_in_syn_received_is_no_dead_end(host):
    """A SYN with another sequence number for a half-open connection: an ACK, a new SYN-ACK, or
    nothing, never a reset; a client that resets and tries again gets in."""
    client = host.tcp()
    client.syn()
    client.take_syn_ack()
    client.send("S", seq=client.iss + 70000)
    for frame in client.collect(0.2):
        need("R" not in frame.flags, f"answered by {wire.describe(frame)}")
    client.reset()
    client.iss = (client.iss + 200000) % wire.MODULUS
    client.connect().echo()


@check("RFC 9293 §3.5", BOTH)
def third_segment_may_have_text(host):
    """The ACK of the SYN-ACK may bring text."""
    client = host.tcp()
    client.syn()
    client.take_syn_ack()
    client.send("PA", b"at once")
    need(client.read(7) == b"at once", "echo")


@check("RFC 9293 §3.10.7.4")
def lost_third_segment_is_made_up_for(host):
    """Text in a second segment opens the connection when the bare ACK got lost."""
    client = host.tcp()
    client.syn()
    client.take_syn_ack()
    client.send("PA", b"second", seq=client.iss + 6)
    client.collect(0.05)
    client.send("PA", b"first")
    need(client.read(11) == b"firstsecond", "echo")


@check("RFC 9293 §3.10.7.4", BOTH)
def third_segment_may_have_fin(host):
    """ACK,FIN opens and half-closes: text is echoed, then the FIN is answered by a FIN."""
    client = host.tcp()
    client.syn()
    client.take_syn_ack()
    client.send("FPA", b"bye")
    need(client.read(3) == b"bye", "echo")
    client.expect("FA", 2, ack=client.snd)


@check("RFC 9293 §3.4.1, RFC 6528", BOTH)
def initial_sequence_numbers_differ_by_flow(host):
    """Numbers of other flows tell nothing: twenty connections have twenty unrelated numbers."""
    numbers = []
    for _ in range(20):
        client = host.tcp()
        client.syn()
        numbers.append(client.take_syn_ack().seq)
        client.reset()
    gaps = [(b - a) % wire.MODULUS for a, b in itertools.pairwise(numbers)]
    near = sum(1 for gap in gaps if gap < 1 << 24 or gap > wire.MODULUS - (1 << 24))
    need(len({*numbers}) == 20 and near <= 3, f"gaps {gaps}")


@check("RFC 9293 §3.4.1", BOTH)
def initial_sequence_number_of_a_flow_grows(host):
    """The clock moves the number of the same flow forward: a new one is later than an old one."""
    numbers, port = [], host.free_port()
    for _ in range(5):
        client = host.tcp(own_port=port)
        client.syn()
        numbers.append(client.take_syn_ack().seq)
        client.send("R", seq=client.snd)
        client.collect(0.05)
    need(all(wire.after(b, a) for a, b in itertools.pairwise(numbers)), f"numbers {numbers}")


@check("RFC 9293 §3.5")
def many_connections_of_a_host(host):
    """A hundred connections at a time, each with its own echo."""
    clients = [host.tcp(own_port=20000 + number) for number in range(100)]
    for client in clients:
        client.syn()
    for client in clients:
        client.take_syn_ack(4)
        client.send("A")
    for number, client in enumerate(clients):
        client.send("PA", b"%03d" % number)
    for number, client in enumerate(clients):
        need(client.read(3) == b"%03d" % number, f"echo {number}")


@cases("RFC 9293 §3.1", ("1", 1), ("7", 7), ("65535", 65535), families=BOTH)
def any_source_port_is_served(host, port):
    """A connection may come from any port."""
    host.tcp(own_port=port).connect().echo()


@check("RFC 9293 §3.5, §3.10.7.1")
def connection_may_be_opened_again_after_reset(host):
    """The same ports serve again at once after a reset."""
    port = host.free_port()
    for _ in range(3):
        client = host.tcp(own_port=port).connect()
        client.echo()
        client.reset()


@check("RFC 9293 §3.8.2")
def half_open_connections_do_not_hinder(host):
    """Fifty peers that never finish their handshake do not keep out the one that does."""
    for number in range(50):
        host.tcp(own_port=30000 + number).syn()
    try:
        host.tcp(own_port=40000).connect().echo()
    except Failure as reason:
        raise Failure(f"beside 50 half-open connections: {reason}") from reason
