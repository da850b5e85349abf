"""/metrics, /healthz and /readyz of the control process."""

import re

import world
from appliance import ECHO, wait_until
from machine import run
from mqtt import Client
from test_sockets import MEGABYTE, connect, receive_exactly

ACCEPTED = "trunkline_tcpstack_tcp_accepted_connections_total"
PUBLISHED_IN = "trunkline_broker_publish_in_qos1_messages_total"
PUBLISHED_OUT = "trunkline_broker_publish_out_qos0_messages_total"

CONNECTIONS = 37
MESSAGES = 25


class Metrics(world.RealTest):
    """What is shown is what happened."""

    def settled(self, name, expected, **labels):
        """Waits until a series has a value, and shows the last one when it never does."""
        seen = []

        def reached():
            seen[:] = [self.appliance.metrics().total(name, **labels)]
            return seen[0] == expected
        try:
            wait_until(name, reached, 10)
        except AssertionError:
            self.assertEqual(seen[0], expected, name)

    def test_the_process_is_healthy_and_ready(self):
        self.assertEqual(self.appliance.get("/healthz")[0], 200)
        self.assertEqual(self.appliance.get("/readyz")[0], 200)
        self.assertEqual(self.appliance.get("/nothing-here")[0], 404)

    def test_every_family_follows_the_conventions(self):
        scrape = self.appliance.metrics()
        families = {name for name, _ in scrape.series}
        for suffix in ("_bucket", "_sum", "_count"):
            families = {
                name.removesuffix(suffix) if name.removesuffix(suffix) in scrape.types else name
                for name in families
            }
        self.assertGreater(len(families), 20)
        for family in families:
            with self.subTest(family):
                self.assertRegex(family, re.compile(r"^(trunkline|process)_[a-z0-9_]+$"))
                self.assertTrue(scrape.helps.get(family), "no HELP")
                self.assertIn(scrape.types.get(family), ("counter", "gauge", "histogram"))
                if scrape.types[family] == "counter":
                    self.assertTrue(family.endswith("_total"), "a counter ends in _total")

    def test_accepts_are_the_connections_made(self):
        before = self.appliance.metrics().total(ACCEPTED)
        peers = [connect(self.address, ECHO) for _ in range(CONNECTIONS)]
        for peer in peers:
            peer.sendall(b"x")
            receive_exactly(peer, 1)
            peer.close()
        self.settled(ACCEPTED, before + CONNECTIONS)

    def test_messages_are_counted_in_and_out(self):
        into = self.appliance.metrics().total(PUBLISHED_IN)
        out = self.appliance.metrics().total(PUBLISHED_OUT)
        with Client(self.address) as client:
            client.connect("counted")
            client.subscribe(self.id())
            for number in range(MESSAGES):
                client.publish(self.id(), b"%d" % number, 1)
                client.message()
        self.settled(PUBLISHED_IN, into + MESSAGES)
        self.settled(PUBLISHED_OUT, out + MESSAGES)

    def test_packets_per_second_follow_the_traffic(self):
        name = "trunkline_port_packets_per_second"

        def rate_under_load():
            run("ping", "-q", "-c", "100", "-i", "0.01", self.address)
            return self.appliance.metrics().total(name, direction="rx")

        wait_until("a rate", lambda: rate_under_load() > 0)

    def test_bytes_are_at_least_the_payload(self):
        name = "trunkline_port_bytes_total"
        before = self.appliance.metrics()
        with connect(self.address, ECHO, 60) as peer:
            for _ in range(16):
                peer.sendall(bytes(65_536))
                receive_exactly(peer, 65_536)
        for direction in ("rx", "tx"):
            least = before.total(name, direction=direction) + MEGABYTE
            # The shards publish every millisecond, or when they get a core again.
            wait_until(f"{direction} bytes", lambda least=least, direction=direction:
                       self.appliance.metrics().total(name, direction=direction) >= least)
        self.assertEqual(self.appliance.metrics().went_back(before), [])

    def test_every_shard_works(self):
        """Enough connections that each shard gets some, whatever the hash."""
        peers = [connect(self.address, ECHO) for _ in range(64)]
        for peer in peers:
            peer.sendall(b"x")
            receive_exactly(peer, 1)
            peer.close()
        scrape = self.appliance.metrics()
        for shard in range(self.appliance.shards):
            accepts = scrape.total(ACCEPTED, shard=str(shard))
            self.assertGreater(accepts, 0, f"shard {shard}")
