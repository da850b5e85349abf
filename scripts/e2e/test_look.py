"""`trunkline connections` and `trunkline trace`: looking into the running appliance."""

import re

import world
from appliance import DISCARD, ECHO, wait_until
from machine import TARGET, inside, run
from test_sockets import connect, receive_exactly

CONNECTIONS = 20


class Look(world.RealTest):
    """What is shown is what the kernel at the other end knows too."""

    def look(self, *words):
        with inside(None):
            output = run(TARGET / "release/trunkline", *words,
                         "--profile", self.appliance.instance.profile,
                         "--instance", self.appliance.instance.name)
        return output.splitlines()

    def test_connections_are_shown_with_every_variable(self):
        peers = [connect(self.address, DISCARD) for _ in range(CONNECTIONS)]
        for peer in peers:
            peer.sendall(b"x" * 1000)
        wait_until("all are shown", lambda: len(
            self.look("connections", "--port", str(DISCARD), "--state", "established"))
            == CONNECTIONS)
        address, port = peers[7].getsockname()[:2]
        [line] = self.look("connections", "--peer", address, "--port", str(port), "--all")
        shown = dict(word.split("=", 1) for word in line.split())
        self.assertEqual(shown["remote"], f"{address}:{port}")
        self.assertEqual(shown["state"], "ESTABLISHED")
        self.assertEqual(shown["SND.UNA"], shown["SND.NXT"])
        for name in ("SND.WND", "RCV.NXT", "RCV.WND", "SRTT", "RTO", "Eff.snd.MSS", "TS.Recent"):
            self.assertRegex(shown[name], r"^[1-9][0-9]*(us|ms)?$", name)
        self.assertEqual(len(self.look("connections", "--limit", "5")), 5)
        for peer in peers:
            peer.close()

    def test_trace_tells_the_life_of_a_connection_and_what_was_dropped(self):
        with connect(self.address, ECHO) as peer:
            address, port = peer.getsockname()[:2]
            peer.sendall(b"hello")
            receive_exactly(peer, 5)
        flow = f"{address}:{port} > {self.address}:{ECHO} "

        def changes():
            # Other connections of this run may have had the port before, to other listeners too.
            lines = [line.split(flow)[1] for line in self.look("trace", "--port", str(port))
                     if flow in line]
            return [line.split(",")[0] for line in lines if " -> " in line][-5:]
        wait_until("the end is in the trace", lambda: changes() and "CLOSED" in changes()[-1])
        self.assertEqual(changes(), [
            "CLOSED -> SYN-RECEIVED", "SYN-RECEIVED -> ESTABLISHED", "ESTABLISHED -> CLOSE-WAIT",
            "CLOSE-WAIT -> LAST-ACK", "LAST-ACK -> CLOSED"])
        with self.assertRaises(OSError):
            connect(self.address, 2)
        drops = [line for line in self.look("trace", "--port", "2") if "drop_" in line]
        self.assertTrue(any(re.search(r"drop_tcp_no_connection: \[SYN", line) for line in drops),
                        drops)

    def test_a_shard_that_is_not_there_is_named(self):
        with self.assertRaisesRegex(Exception, "returned non-zero|there is no shard 99"):
            self.look("trace", "--shard", "99")
