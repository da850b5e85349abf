"""Kernel sockets against the appliance over a link that delays, loses, repeats and reorders frames."""

import hashlib
import itertools
import pathlib
import random
import socket
import tempfile
import threading
import time

import world
from appliance import ADDRESS, CHARGEN, ECHO, Appliance
from machine import changed_profile, inside
from test_sockets import MEGABYTE, connect, receive_exactly

SEED = random.randrange(1 << 32)
PATIENCE_S = 60
REQUESTS = 20
ADDRESS_IPV6 = "fd54:4c::1"

#: RFC 864: 95 lines of 72 characters, each beginning one character later.
PATTERN = b"".join(
    bytes(32 + (line + column) % 95 for column in range(72)) + b"\r\n" for line in range(95)
)

#: Over a round trip of 50 ms and at most 100 Mbit/s each way, as the profile has it.
CONDITIONS = {
    "delay": (8 * MEGABYTE, {}),
    "loss": (MEGABYTE, {"loss_ppm": 10_000}),
    "heavy_loss": (MEGABYTE // 8, {"loss_ppm": 50_000}),
    "overtaking": (2 * MEGABYTE, {"reorder_ppm": 100_000}),
    "repetition": (4 * MEGABYTE, {"duplicate_ppm": 100_000, "reorder_ppm": 10_000}),
}


class Impaired(world.RealTest):
    """Whatever the link does, what comes out is what went in, and nothing comes before its time."""

    def exchange(self, condition):
        """One appliance with that link: bulk both ways, then requests one by one."""
        size, values = CONDITIONS[condition]
        values = {
            "addresses": f'["{ADDRESS}/24", "{ADDRESS_IPV6}/64"]', "loss_ppm": 0, **values,
            "seed": SEED,
        }
        name = f"{world.prefix}i"
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "impaired.toml")
            changed_profile(path, "impaired-tap.toml", values)
            appliance = Appliance(name, world.shards, profile=path)
        self.addCleanup(appliance.remove)
        self.enterContext(inside(appliance.namespace))
        with self.subTest(condition=condition, seed=SEED):
            begun = time.monotonic()
            self.echo_in_bulk(ADDRESS, size)
            rate = 8 * size / 1e6 / (time.monotonic() - begun)
            print(f"    {condition}: {rate:.1f} Mbit/s each way")
            self.echo_in_bulk(ADDRESS_IPV6, size)
            self.read_pattern(size)
            self.requests()
            self.counters_agree(appliance, values)
        appliance.stop()

    def echo_in_bulk(self, address, size):
        data = random.Random(SEED).randbytes(size)
        with connect(address, ECHO, PATIENCE_S) as peer:
            sender = threading.Thread(target=peer.sendall, args=(data,), daemon=True)
            sender.start()
            received = receive_exactly(peer, size)
            sender.join(PATIENCE_S)
        self.assertEqual(hashlib.sha256(received).digest(), hashlib.sha256(data).digest())

    def read_pattern(self, size):
        with connect(ADDRESS, CHARGEN, PATIENCE_S) as peer:
            received = receive_exactly(peer, size)
        expected = itertools.islice(itertools.cycle(PATTERN), size)
        self.assertEqual(received == bytes(expected), True)

    def requests(self):
        with connect(ADDRESS, ECHO, PATIENCE_S) as peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for number in range(REQUESTS):
                request, begun = number.to_bytes(64), time.monotonic()
                peer.sendall(request)
                self.assertEqual(receive_exactly(peer, 64), request)
                self.assertGreater(time.monotonic() - begun, 0.05, "faster than the delay")

    def counters_agree(self, appliance, values):
        """What was asked for happened, in both directions."""
        metrics = appliance.metrics()
        for direction in ("inbound", "outbound"):
            def count(what, direction=direction):
                return metrics.total(
                    f"trunkline_impairment_{what}_frames_total", direction=direction)
            for what, key in (("lost", "loss_ppm"), ("reordered", "reorder_ppm"),
                              ("duplicated", "duplicate_ppm")):
                self.assertEqual(count(what) > 0, values.get(key, 0) > 0, f"{direction} {what}")
            self.assertGreater(count("delivered"), 2 * REQUESTS)

    def test_delay(self):
        self.exchange("delay")

    def test_loss(self):
        self.exchange("loss")

    def test_heavy_loss(self):
        self.exchange("heavy_loss")

    def test_overtaking(self):
        self.exchange("overtaking")

    def test_repetition(self):
        self.exchange("repetition")
