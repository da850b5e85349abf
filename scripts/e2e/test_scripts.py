"""scripts/run as a person uses it, and what it leaves behind."""

import os
import signal
import subprocess
import threading

import world
from appliance import LIVE
from machine import ROOT, TARGET, inside, leftovers, unowned_hugepages


class Script(subprocess.Popen):
    """A running scripts/run, which an interrupted test run ends too."""

    def __init__(self, *options):
        super().__init__(
            [ROOT / "scripts/run", *options],
            env={**os.environ, "CARGO_TARGET_DIR": str(TARGET)}, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        LIVE.add(self)
        # Whoever waits for its output shall not wait for ever.
        self._limit = threading.Timer(300, self.terminate)
        self._limit.start()

    def remove(self):
        """Ends it with SIGTERM if it still runs."""
        self._limit.cancel()
        if self.poll() is None:
            self.terminate()
            self.communicate(timeout=60)
        LIVE.discard(self)


class Run(world.RealTest):
    """Whenever it ends, nothing remains."""

    def setUp(self):
        super().setUp()
        self.name = world.prefix + "r"
        self.hugepages = unowned_hugepages()
        self.enterContext(inside(None))

    def tearDown(self):
        self.assertEqual(leftovers(self.name), [])
        self.assertEqual(unowned_hugepages(), self.hugepages)
        super().tearDown()

    def start(self, *options):
        script = Script("--instance", self.name, *options)
        self.addCleanup(script.remove)
        return script

    def test_once_shows_a_message_and_ends(self):
        process = self.start("--once")
        output, _ = process.communicate(timeout=300)
        self.assertEqual(process.returncode, 0, output)
        self.assertIn(f"mosquitto_sub received: hello from {self.name}", output)
        self.assertIn("trunkline_port_packets_per_second", output)

    def test_a_signal_at_any_time_ends_it_without_a_trace(self):
        marks = ("building", "making namespace", "starting instance", "mosquitto_sub -h",
                 "running;")
        for mark in marks:
            for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
                with self.subTest(mark, signal=number.name):
                    process = self.start()
                    output = ""
                    for line in process.stdout:
                        output += line
                        if mark in line:
                            break
                    # Ctrl-C reaches the whole foreground group of a terminal, kill one process.
                    if number == signal.SIGINT:
                        os.killpg(process.pid, number)
                    else:
                        process.send_signal(number)
                    output += process.stdout.read()
                    # bash 5.2 reads a trap that strikes while it reads `$(...)` as part of that.
                    codes = (code, 2) if "looking for matching `)'" in output else (code,)
                    self.assertIn(process.wait(60), codes, output)
                    process.stdout.close()
                    self.assertEqual(leftovers(self.name), [])
