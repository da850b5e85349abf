"""Rules of MQTT that well-behaved clients never meet: take-over, time-outs, malformed packets."""

import socket
import struct

import world
from mqtt import (
    CONNACK, CONNECT, DISCONNECT, PINGREQ, PUBACK, PUBLISH, SUBACK, SUBSCRIBE, V5, V311, Client,
    Closed, Will, packet, text,
)

VERSIONS = (V311, V5)

SESSION_TAKEN_OVER = 0x8E
KEEP_ALIVE_TIMEOUT = 0x8D


def connect_bytes(name=b"MQTT", version=V311, flags=2, client_id="malformed"):
    """The body of a CONNECT."""
    properties = b"\0" if version == V5 else b""
    return text(name) + bytes([version, flags]) + b"\0\x3c" + properties + text(client_id)


def told(reason, version=V5):
    """How a connection may end; mosquitto 2.0.11 closes it without the DISCONNECT."""
    if version == V311:
        return (None,)
    return (reason, None) if world.stand_in else (reason,)


class Bystander(world.Test):
    """Each of these tests must leave other clients alone: one watches."""

    def setUp(self):
        super().setUp()
        self.bystander = self.enterContext(Client(self.address))
        self.bystander.connect(f"bystander-{self.id()}")
        self.bystander.subscribe("bystander", 1)

    def tearDown(self):
        with Client(self.address) as client:
            client.connect("bystanders-friend")
            client.publish("bystander", b"still there", 1)
            client.disconnect()
        self.assertEqual(self.bystander.message().payload, b"still there")
        super().tearDown()


class Malformed(Bystander):
    """A client that breaks the protocol loses its connection, and nobody else notices."""

    def assert_closed(self, what, *bad, version=None):
        """Sends raw bytes, after a proper CONNECT if a version is given."""
        with self.subTest(what, version=version), Client(self.address, version or V311) as client:
            if version:
                client.connect("malformed")
            client.socket.sendall(b"".join(bad))
            client.until_closed()

    def test_before_connect(self):
        self.assert_closed("packet type 0", b"\0\0")
        self.assert_closed("PINGREQ first", b"\xc0\0")
        self.assert_closed("endless length", b"\x10\xff\xff\xff\xff\xff")
        self.assert_closed("not MQTT at all", b"GET / HTTP/1.1\r\n\r\n")
        for what, body in (
            ("another protocol", connect_bytes(name=b"MQTS")),
            ("reserved flag", connect_bytes(flags=3)),
            ("will QoS without a will", connect_bytes(flags=2 | 8)),
            ("client id cut short", connect_bytes()[:-3]),
        ):
            self.assert_closed(what, bytes([CONNECT << 4, len(body)]), body)

    def test_a_version_nobody_knows_is_refused(self):
        with Client(self.address) as client:
            client.send(CONNECT, 0, connect_bytes(version=9))
            seen = client.until_closed()
            self.assertIn(seen[0].body[1] if seen else 1, (0x01, 0x84))

    def test_after_connect(self):
        for version in VERSIONS:
            none = b"\0" if version == V5 else b""
            one = struct.pack(">H", 1)
            for what, kind, flags, body in (
                ("CONNECT twice", CONNECT, 0, connect_bytes(version=version)),
                ("QoS 3", PUBLISH, 6, text("a") + one + none + b"x"),
                ("wildcard in a topic", PUBLISH, 0, text("a/#") + none + b"x"),
                ("topic of no UTF-8", PUBLISH, 0, text(b"\xc3\x28") + none + b"x"),
                ("NUL in a topic", PUBLISH, 0, text(b"a\0b") + none + b"x"),
                ("topic beyond the packet", PUBLISH, 0, b"\0\x09a"),
                ("packet id 0", PUBLISH, 2, text("a") + b"\0\0" + none + b"x"),
                ("SUBSCRIBE without its flag", SUBSCRIBE, 0, one + none + text("a") + b"\0"),
                ("SUBSCRIBE to nothing", SUBSCRIBE, 2, one + none),
                ("PINGREQ with a body", PINGREQ, 0, b"x"),
                ("packet type 15", 15, 0, b"x"),
            ):
                if world.stand_in and kind == PINGREQ:
                    continue  # mosquitto 2.0.11 answers it.
                bad = bytes([kind << 4 | flags, len(body)])
                self.assert_closed(what, bad, body, version=version)

    def test_a_wildcard_in_the_wrong_place_is_refused(self):
        """As one filter of several that may be fine; mosquitto closes the connection instead."""
        for version in VERSIONS:
            for topic_filter in ("a/#/b", "a#", "a/b+", ""):
                with self.subTest(topic_filter, version=version), \
                        Client(self.address, version) as client:
                    client.connect("misplaced")
                    if world.stand_in:
                        with self.assertRaises((Closed, AssertionError)):
                            client.subscribe(topic_filter)
                    else:
                        refused = 0x8F if version == V5 else 0x80
                        self.assertEqual(client.subscribe(topic_filter), refused)
                        client.ping()

    def test_silence_before_connect_is_not_an_error_yet(self):
        with Client(self.address) as client:
            client.connect("late")
            client.ping()


class TakeOver(Bystander):
    """A second client with the same id ends the first, on whatever shard either is."""

    def test_the_first_connection_is_told_and_closed(self):
        for attempt in range(16):
            with self.subTest(attempt=attempt), Client(self.address) as first, \
                    Client(self.address) as second:
                first.connect(f"taken-{attempt}")
                second.connect(f"taken-{attempt}")
                self.assertIn(first.disconnect_reason(), told(SESSION_TAKEN_OVER))
                second.ping()

    def test_a_client_of_3_1_1_is_closed(self):
        for attempt in range(16):
            with self.subTest(attempt=attempt), Client(self.address, V311) as first, \
                    Client(self.address, V311) as second:
                first.connect(f"taken-{attempt}")
                second.connect(f"taken-{attempt}")
                self.assertEqual(first.until_closed(), [])
                second.ping()

    def test_the_session_goes_to_the_new_connection(self):
        for attempt in range(16):
            topic = f"{self.id()}/{attempt}"
            with self.subTest(attempt=attempt), Client(self.address, V311) as first, \
                    Client(self.address, V311) as second, Client(self.address) as publisher:
                self.assertFalse(first.connect(f"moves-{topic}", clean=False))
                first.subscribe(topic, 1)
                self.assertTrue(second.connect(f"moves-{topic}", clean=False))
                publisher.connect("")
                publisher.publish(topic, b"to the second", 1)
                self.assertEqual(second.message().payload, b"to the second")
                second.unsubscribe(topic)

    def test_the_will_of_the_first_is_sent(self):
        topic = self.id()
        with Client(self.address) as watcher, Client(self.address) as first, \
                Client(self.address) as second:
            watcher.connect("watcher")
            watcher.subscribe(topic, 1)
            first.connect("willing", will=Will(topic, b"taken over", 1, False))
            second.connect("willing")
            self.assertEqual(watcher.message().payload, b"taken over")


class KeepAlive(Bystander):
    """One and a half times the keep-alive without a packet ends the connection."""

    def test_a_silent_client_is_closed_and_its_will_sent(self):
        for version in VERSIONS:
            topic = f"{self.id()}/{version}"
            with self.subTest(version=version), Client(self.address) as watcher, \
                    Client(self.address, version) as silent:
                watcher.connect("watcher")
                watcher.subscribe(topic)
                silent.connect("silent", keep_alive=1, will=Will(topic, b"silent", 0, False))
                self.assertIn(silent.disconnect_reason(), told(KEEP_ALIVE_TIMEOUT, version))
                self.assertEqual(watcher.message().payload, b"silent")

    def test_a_client_that_pings_stays(self):
        with Client(self.address) as client, Client(self.address) as silent:
            client.connect("pings", keep_alive=1)
            # While this one is silent until it is closed, the other one pings.
            silent.connect("silent", keep_alive=2)
            silent.socket.settimeout(0.3)
            closed = False
            while not closed:
                client.ping()
                try:
                    silent.read()
                except Closed:
                    closed = True
                except TimeoutError:
                    pass
            client.ping()


class Sessions(world.Test):
    """A session outlives its connection when it should."""

    def test_messages_wait_for_a_client_that_is_away(self):
        topic = self.id()
        with Client(self.address, V311) as client:
            self.assertFalse(client.connect("away", clean=False))
            client.subscribe(topic, 1)
            client.disconnect()
        with Client(self.address) as publisher:
            publisher.connect("publisher")
            for number in range(10):
                publisher.publish(topic, b"%d" % number, 1)
        with Client(self.address, V311) as client:
            self.assertTrue(client.connect("away", clean=False))
            self.assertEqual([client.message().payload for _ in range(10)],
                             [b"%d" % number for number in range(10)])
            client.disconnect()
        with Client(self.address, V311) as client:
            self.assertFalse(client.connect("away", clean=True))
            client.disconnect()

    def test_an_empty_client_id_gets_one_assigned(self):
        for version in VERSIONS:
            with self.subTest(version=version), Client(self.address, version) as client:
                client.connect("")
                client.ping()

    def test_a_clean_disconnect_closes_the_connection(self):
        for version in VERSIONS:
            with self.subTest(version=version), Client(self.address, version) as client:
                client.connect("leaving")
                client.send(DISCONNECT, 0)
                self.assertEqual(client.until_closed(), [])

    def test_a_client_that_closes_its_half_gets_its_answers_first(self):
        for attempt in range(20):
            with self.subTest(attempt=attempt), Client(self.address, V311) as client:
                publish = text("brief") + b"\0\x09" + b"last words"
                subscribe = b"\0\x0a" + text("x") + b"\0"
                client.socket.sendall(packet(CONNECT, 0, connect_bytes(client_id="brief"))
                                      + packet(PUBLISH, 2, publish)
                                      + packet(SUBSCRIBE, 2, subscribe))
                client.socket.shutdown(socket.SHUT_WR)
                kinds = [got.kind for got in client.until_closed()]
                # With several shards the link does not wait for what another one still owes.
                owed = 3 if world.shards == 1 else max(len(kinds), 1)
                self.assertEqual(kinds, [CONNACK, PUBACK, SUBACK][:owed])

    def test_a_payload_may_be_large(self):
        topic = self.id()
        payload = bytes(range(256)) * 3900
        with Client(self.address) as subscriber, Client(self.address) as publisher:
            subscriber.connect("large-subscriber")
            subscriber.subscribe(topic, 1)
            publisher.connect("large-publisher")
            publisher.publish(topic, payload, 1)
            self.assertEqual(subscriber.message().payload == payload, True)
