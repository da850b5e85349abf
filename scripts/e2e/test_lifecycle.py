"""Starting, dying and stopping, while clients are connected."""

import os
import pathlib
import signal
import threading

import world
from appliance import ECHO, Appliance, wait_until
from machine import inside
from mqtt import PATIENCE_S, V5, V311, Client
from test_sockets import connect, receive_all, receive_exactly

EXCHANGING_CLIENTS = 100
SERVER_SHUTTING_DOWN = 0x8B


class Exchange:
    """Clients in a ring: each publishes to the next and waits for what the one before sent."""

    def __init__(self, address):
        self.rounds = [0] * EXCHANGING_CLIENTS
        self.noticed = []
        self._stop = threading.Event()
        self._clients = []
        for number in range(EXCHANGING_CLIENTS):
            client = Client(address, (V5, V311)[number % 2])
            client.connect(f"ring-{number}")
            client.subscribe(f"ring/{number}", 1)
            self._clients.append(client)
        self._threads = [
            threading.Thread(target=self._run, args=(number,), daemon=True)
            for number in range(EXCHANGING_CLIENTS)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, number):
        client = self._clients[number]
        try:
            while not self._stop.is_set():
                payload = b"%d" % self.rounds[number]
                client.publish(f"ring/{(number + 1) % EXCHANGING_CLIENTS}", payload, 1)
                got = client.message().payload
                assert got == payload, f"got {got} in round {payload}"
                self.rounds[number] += 1
        except Exception as error:  # Whatever it is, this client has noticed something.
            self.noticed.append(f"client {number}: {error!r}")

    def go_on(self, rounds):
        """Waits until every client has made so many more rounds."""
        goals = [done + rounds for done in self.rounds]
        wait_until("all clients go on", lambda: self.noticed or all(
            done >= goal for done, goal in zip(self.rounds, goals, strict=True)), 60)

    def end(self):
        """Some clients wait for a message that no longer comes: they give up soon."""
        self._stop.set()
        for client in self._clients:
            client.socket.settimeout(1)
        for thread in self._threads:
            thread.join(PATIENCE_S)
        for client in self._clients:
            client.close()


class ControlDies(world.RealTest):
    """kill -9 of the control process is no event for a client."""

    def test_no_client_notices_and_no_counter_goes_back(self):
        exchange = Exchange(self.address)
        try:
            exchange.go_on(3)
            dataplane = self.appliance.dataplane()
            before = self.appliance.metrics()
            self.appliance.kill_control()
            exchange.go_on(10)
            self.assertEqual(self.appliance.dataplane(), dataplane)
            self.appliance.start_control()
            attached = self.appliance.metrics()
            exchange.go_on(10)
            after = self.appliance.metrics()
            noticed = list(exchange.noticed)
        finally:
            exchange.end()
        self.assertEqual(noticed, [])
        self.assertEqual(self.appliance.dataplane(), dataplane, "another dataplane serves")
        self.assertEqual(attached.went_back(before), [])
        self.assertEqual(after.went_back(attached), [])
        received = "trunkline_broker_publish_in_qos1_messages_total"
        unseen = attached.total(received) - before.total(received)
        self.assertGreaterEqual(unseen, 10 * EXCHANGING_CLIENTS, "counted while nobody looked")

    def test_a_detached_dataplane_serves_on(self):
        with connect(self.address, ECHO) as peer:
            dataplane = self.appliance.dataplane()
            self.assertEqual(self.appliance.detach_control(), 0)
            peer.sendall(b"alone")
            self.assertEqual(receive_exactly(peer, 5), b"alone")
            self.appliance.start_control()
            self.assertEqual(self.appliance.dataplane(), dataplane)
            peer.sendall(b"again")
            self.assertEqual(receive_exactly(peer, 5), b"again")

    def test_a_second_control_process_is_refused(self):
        second = self.appliance.spawn_control()
        try:
            self.assertNotEqual(second.wait(20), 0)
        finally:
            second.kill()
        self.assertIsNone(self.appliance.control.poll(), "the first control process is gone")
        self.assertEqual(self.appliance.get("/readyz")[0], 200)


class Stop(world.RealTest):
    """Instances of their own, since they end."""

    def start(self, letter):
        appliance = Appliance(world.prefix + letter, world.shards)
        self.addCleanup(appliance.remove)
        return appliance

    def test_a_clean_stop_tells_every_client(self):
        used_before = hugepages_in_use()
        appliance = self.start("s")
        with inside(appliance.namespace):
            clients = [Client(self.address, version) for version in (V5, V311) * 30]
            echoes = [connect(self.address, ECHO) for _ in range(60)]
        for number, client in enumerate(clients):
            client.connect(f"stopped-{number}")
        self.assertEqual(appliance.detach_control(), 0)
        dataplane = appliance.dataplane()
        os.kill(dataplane, signal.SIGTERM)
        for client in clients:
            reason = SERVER_SHUTTING_DOWN if client.version == V5 else None
            self.assertEqual(client.disconnect_reason(), reason, f"version {client.version}")
            client.close()
        for peer in echoes:
            try:
                self.assertEqual(receive_all(peer), b"")
            except ConnectionResetError:
                pass
            peer.close()
        wait_until("the dataplane ended", lambda: appliance.dataplane() is None)
        wait_until("hugepages are free", lambda: hugepages_in_use() == used_before)

    def test_ctrl_c_on_the_control_process_stops_both(self):
        appliance = self.start("c")
        with inside(appliance.namespace), Client(self.address) as client:
            client.connect("stopped")
            self.assertEqual(appliance.stop(), 0)
            self.assertEqual(client.disconnect_reason(), SERVER_SHUTTING_DOWN)
        self.assertEqual(appliance.instance.directory.joinpath("dataplane.sock").exists(), False)

    def test_a_dataplane_that_dies_is_started_again(self):
        appliance = self.start("d")
        first = appliance.dataplane()
        os.kill(first, signal.SIGKILL)
        wait_until("another dataplane", lambda: appliance.dataplane() not in (None, first), 60)
        wait_until("it serves", lambda: appliance.get("/readyz")[0] == 200, 60)
        with inside(appliance.namespace), connect(self.address, ECHO) as peer:
            peer.sendall(b"back")
            self.assertEqual(receive_exactly(peer, 4), b"back")
        self.assertEqual(appliance.stop(), 0)

    def test_a_second_instance_runs_beside_the_first(self):
        with connect(self.address, ECHO) as first:
            beside = self.start("b")
            self.assertNotEqual(beside.dataplane(), self.appliance.dataplane())
            with inside(beside.namespace), connect(self.address, ECHO) as second:
                for peer in (first, second):
                    peer.sendall(b"both")
                    self.assertEqual(receive_exactly(peer, 4), b"both")
            self.assertEqual(beside.stop(), 0)
            beside.instance.remove()
            first.sendall(b"one")
            self.assertEqual(receive_exactly(first, 3), b"one")


def hugepages_in_use():
    """Hugepages of the machine that some process holds."""
    facts = {}
    for line in pathlib.Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        name, value = line.split(":")
        facts[name] = int(value.split()[0])
    return facts["HugePages_Total"] - facts["HugePages_Free"]
