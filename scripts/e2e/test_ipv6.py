"""The appliance over IPv6: the kernel of the client network resolves, pings, connects, subscribes."""

import random
import socket
import subprocess

import world
from appliance import ADDRESS_IPV6, CLIENT_ADDRESS_IPV6, ECHO, wait_until
from machine import run
from test_mosquitto import VERSIONS, Subscriber
from test_sockets import connect, receive_exactly

SEED = random.randrange(1 << 32)
#: Nobody listens there.
CLOSED = 4


class Ipv6(world.RealTest):
    """RFC 4443, RFC 4861, and TCP over IPv6, against the Linux kernel."""

    def setUp(self):
        super().setUp()
        # An address is used when nobody has claimed it for a second.
        wait_until("the address is in use", lambda: self.ping(ADDRESS_IPV6, 1, 56).returncode == 0)

    def ping(self, address, count, size):
        return subprocess.run(
            ["ping", "-6", "-q", "-i", "0.01", "-W", "1", "-c", str(count), "-s", str(size), address],
            capture_output=True, text=True, timeout=60, check=False)

    def test_pings_of_all_sizes_are_answered(self):
        for size in (0, 1, 8, 56, 1231, 1232, 1233, 1451, 1452):
            with self.subTest(size=size):
                done = self.ping(ADDRESS_IPV6, 5, size)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_link_local_address_and_all_nodes_are_answered(self):
        device = f"tl-{self.appliance.instance.name}"
        for address in ("fe80::54:4cff:fe00:1", "ff02::1"):
            done = self.ping(f"{address}%{device}", 3, 56)
            self.assertEqual(done.returncode, 0, f"{address}: {done.stdout}{done.stderr}")

    def test_neighbour_is_reachable_after_resolution(self):
        device = f"tl-{self.appliance.instance.name}"
        run("ip", "-6", "neigh", "flush", "dev", device)
        self.assertEqual(self.ping(ADDRESS_IPV6, 2, 56).returncode, 0)
        entry = run("ip", "-6", "neigh", "show", ADDRESS_IPV6, "dev", device)
        self.assertIn("02:54:4c:00:00:01", entry)
        self.assertRegex(entry, "REACHABLE|DELAY|STALE")

    def test_payloads_come_back_unchanged(self):
        block = random.Random(SEED).randbytes(1 << 20)
        with connect(ADDRESS_IPV6, ECHO) as peer:
            self.assertEqual(peer.getsockname()[0], CLIENT_ADDRESS_IPV6)
            peer.settimeout(30)
            for start in range(0, len(block), 16_384):
                part = block[start:start + 16_384]
                peer.sendall(part)
                self.assertEqual(receive_exactly(peer, len(part)), part, f"seed {SEED}")

    def test_closed_ports_refuse(self):
        with self.assertRaises(ConnectionRefusedError):
            connect(ADDRESS_IPV6, CLOSED)
        for family, address in ((socket.AF_INET6, ADDRESS_IPV6), (socket.AF_INET, self.address)):
            with socket.socket(family, socket.SOCK_DGRAM) as peer:
                peer.connect((address, CLOSED))
                peer.settimeout(5)
                peer.send(b"anybody?")
                with self.assertRaises(ConnectionRefusedError, msg=address):
                    peer.recv(1)

    def test_mosquitto_subscribes_and_publishes(self):
        topic = self.id()
        for version in VERSIONS:
            with Subscriber(ADDRESS_IPV6, version, "-t", topic, "-q", "1", "-C", "1") as client:
                run("mosquitto_pub", "-h", ADDRESS_IPV6, "-V", version, "-t", topic, "-q", "1",
                    "-m", "hello")
                self.assertEqual(client.messages(), [(topic, "1", "0", "hello")])
