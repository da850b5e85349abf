"""Kernel sockets against the echo, discard and echo-once listeners."""

import hashlib
import random
import resource
import selectors
import socket
import struct
import threading
import time

import world
from appliance import DISCARD, ECHO, ECHO_ONCE, wait_until
from machine import run
from mqtt import PATIENCE_S

MEGABYTE = 1 << 20
PARALLEL_CONNECTIONS = 1000
SEED = random.randrange(1 << 32)


def connect(address, port, patience_s=PATIENCE_S):
    return socket.create_connection((address, port), timeout=patience_s)


def receive_all(peer):
    """Everything up to the other side's FIN."""
    parts = []
    while data := peer.recv(MEGABYTE):
        parts.append(data)
    return b"".join(parts)


def receive_exactly(peer, size):
    data = bytearray()
    while len(data) < size:
        part = peer.recv(size - len(data))
        if not part:
            raise AssertionError(f"closed after {len(data)} of {size} bytes")
        data += part
    return bytes(data)


class Echo(world.Test):
    """RFC 862: what comes in goes out, byte for byte, whatever the size."""

    def echoed_sum(self, size):
        """Sends `size` random bytes, then FIN; returns the sums of what went and what came."""
        block = random.Random(SEED).randbytes(min(size, MEGABYTE))
        sent, received = hashlib.sha256(), hashlib.sha256()
        with connect(self.address, ECHO, 60) as peer:
            def send():
                left = size
                while left:
                    part = block[:left]
                    peer.sendall(part)
                    sent.update(part)
                    left -= len(part)
                peer.shutdown(socket.SHUT_WR)

            sender = threading.Thread(target=send, daemon=True)
            sender.start()
            count = 0
            while data := peer.recv(MEGABYTE):
                received.update(data)
                count += len(data)
            sender.join(60)
        self.assertEqual(count, size, f"seed {SEED}")
        return sent.hexdigest(), received.hexdigest()

    def test_payloads_come_back_unchanged(self):
        for size in (1, 64, 1460, 1461, 65_536, MEGABYTE, 64 * MEGABYTE):
            with self.subTest(size=size, seed=SEED):
                begun = time.monotonic()
                sent, received = self.echoed_sum(size)
                self.assertEqual(sent, received)
                if size >= 64 * MEGABYTE:
                    rate = size / MEGABYTE / (time.monotonic() - begun)
                    print(f"    64 MB echoed at {rate:.0f} MB/s each way")

    def test_single_bytes_come_back_one_by_one(self):
        with connect(self.address, ECHO) as peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in range(256):
                peer.sendall(bytes([byte]))
                self.assertEqual(peer.recv(1), bytes([byte]))

    def test_a_reader_that_pauses_loses_nothing(self):
        """The client fills every buffer before it reads: windows close to zero and open again."""
        size = 32 * MEGABYTE
        data = random.Random(SEED).randbytes(size)
        with connect(self.address, ECHO, 60) as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
            sent = 0
            peer.settimeout(1)
            try:
                while sent < size:
                    sent += peer.send(data[sent:sent + 65_536])
            except TimeoutError:
                pass
            self.assertLess(sent, size, "the echo listener buffers without a bound")
            peer.settimeout(60)
            sender = threading.Thread(target=peer.sendall, args=(data[sent:],), daemon=True)
            sender.start()
            self.assertEqual(receive_exactly(peer, size) == data, True, f"seed {SEED}")
            sender.join(60)

    def test_a_thousand_connections_at_once(self):
        limit = PARALLEL_CONNECTIONS + 200
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(limit, 1024), max(hard, limit)))
        peers = []
        try:
            for number in range(PARALLEL_CONNECTIONS):
                peer = socket.socket()
                peer.setblocking(False)
                peer.connect_ex((self.address, ECHO))
                peers.append((peer, random.Random(SEED + number).randbytes(4000)))
            self.exchange_all(peers)
        finally:
            for peer, _ in peers:
                peer.close()

    def exchange_all(self, peers):
        """All connections are open together, then all send, then all must get their own back."""
        with selectors.DefaultSelector() as selector:
            for peer, data in peers:
                selector.register(peer, selectors.EVENT_WRITE, data)
            connected = 0
            while connected < len(peers):
                ready = selector.select(PATIENCE_S)
                self.assertTrue(ready, f"{connected} of {len(peers)} connected")
                for key, _ in ready:
                    error = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    self.assertEqual(error, 0)
                    connected += 1
                    selector.unregister(key.fileobj)
            for peer, data in peers:
                self.assertEqual(peer.send(data), len(data))
            for peer, data in peers:
                peer.settimeout(PATIENCE_S)
                self.assertEqual(receive_exactly(peer, len(data)), data, f"seed {SEED}")


class Close(world.Test):
    """Every order in which two sides can close, and that the next client is served after it."""

    def tearDown(self):
        with connect(self.address, ECHO) as peer:
            peer.sendall(b"still there")
            self.assertEqual(receive_exactly(peer, 11), b"still there")
        super().tearDown()

    def test_client_closes_first_and_reads_to_the_end(self):
        with connect(self.address, ECHO) as peer:
            peer.sendall(b"x" * 100_000)
            peer.shutdown(socket.SHUT_WR)
            self.assertEqual(len(receive_all(peer)), 100_000)

    def test_server_closes_first(self):
        with connect(self.address, ECHO_ONCE) as peer:
            peer.sendall(b"once")
            self.assertEqual(receive_all(peer), b"once")

    def test_server_closes_first_and_the_client_stays_half_open(self):
        with connect(self.address, ECHO_ONCE) as peer:
            peer.sendall(b"once")
            self.assertEqual(receive_all(peer), b"once")
            peer.shutdown(socket.SHUT_WR)

    def test_both_close_at_once(self):
        for _ in range(50):
            with connect(self.address, ECHO_ONCE) as peer:
                peer.sendall(b"once")
                peer.shutdown(socket.SHUT_WR)
                self.assertEqual(receive_all(peer), b"once")

    def test_client_resets(self):
        with connect(self.address, ECHO) as peer:
            peer.sendall(b"x" * 1000)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def test_client_closes_with_unread_data_on_its_way(self):
        for _ in range(20):
            with connect(self.address, ECHO) as peer:
                peer.sendall(b"x" * 100_000)

    def test_client_connects_and_closes_without_a_byte(self):
        for port in (ECHO, DISCARD, ECHO_ONCE):
            with connect(self.address, port) as peer:
                peer.shutdown(socket.SHUT_WR)
                self.assertEqual(receive_all(peer), b"")

    def test_discard_takes_everything_and_says_nothing(self):
        with connect(self.address, DISCARD, 60) as peer:
            peer.sendall(bytes(16 * MEGABYTE))
            peer.shutdown(socket.SHUT_WR)
            self.assertEqual(receive_all(peer), b"")

    def test_a_port_without_listener_refuses(self):
        with self.assertRaises(ConnectionRefusedError):
            connect(self.address, 4444)


class Connections(world.RealTest):
    """What remains of a connection inside the appliance when it is over."""

    def test_closed_connections_are_given_back(self):
        def established():
            return self.appliance.metrics().total(
                "trunkline_tcpstack_connections", state="established")

        peers = [connect(self.address, ECHO) for _ in range(50)]
        wait_until("50 connections are counted", lambda: established() >= 50)
        for peer in peers:
            peer.close()
        wait_until("no connection is left", lambda: established() == 0)


class Ping(world.Test):
    """ICMP echo."""

    def test_every_ping_is_answered(self):
        for size in (0, 56, 1472):
            with self.subTest(size=size):
                words = run("ping", "-q", "-c", "20", "-i", "0.02", "-s", size, self.address)
                self.assertIn(" 0% packet loss", words)
