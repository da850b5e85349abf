"""What the tests talk to: the appliance, or the kernel's servers in its place."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import metrics
from machine import ROOT, TARGET, Instance, inside, run

#: The other end of the tap, and this end.
ADDRESS, CLIENT_ADDRESS = "10.77.0.1", "10.77.0.2"
ADDRESS_IPV6, CLIENT_ADDRESS_IPV6 = "fd54:4c::1", "fd54:4c::2"
MQTT, ECHO, DISCARD, CHARGEN, ECHO_ONCE = 1883, 7, 9, 19, 1007


#: What exists now and has to be removed when the run is interrupted.
LIVE = set()


def remove_all():
    """Removes what an interrupted run left."""
    for thing in list(LIVE):
        thing.remove()


def wait_until(what, condition, seconds=30):
    """Polls until the condition holds and returns what it gave."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


class Appliance:
    """Both processes of one instance."""

    is_real = True

    def __init__(self, name, shards, profile=None, on_core=None, make_link=None):
        """`make_link` makes the port's interface in the instance's namespace, if it is no tap."""
        self.shards = shards
        self._on_core = ["taskset", "-c", str(on_core)] if on_core is not None else []
        self.instance = Instance(name)
        self.namespace = self.instance.namespace
        self.control = None
        self.log_path = TARGET / f"e2e-{name}.log"
        self.log_path.write_bytes(b"")
        LIVE.add(self)
        try:
            self.instance.make(shards, profile)
            if make_link:
                make_link(self.namespace)
            self.start_control()
        except BaseException:
            print(self.logs())
            self.remove()
            raise

    def start_control(self):
        """Starts `trunkline run`, which starts a dataplane or attaches to the live one."""
        self.control = self.spawn_control()
        wait_until("readyz", self._is_ready_or_dead, 60)
        if self.control.poll() is not None:
            raise AssertionError(f"trunkline run ended with {self.control.returncode}")

    def spawn_control(self):
        """A process `trunkline run` for this instance, not waited for."""
        with inside(None), open(self.log_path, "ab") as log:
            return subprocess.Popen(
                [*self._on_core, TARGET / "release/trunkline", "run",
                 "--profile", self.instance.profile, "--instance", self.instance.name],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )

    def _is_ready_or_dead(self):
        return self.control.poll() is not None or self.get("/readyz")[0] == 200

    def get(self, path):
        """Status and text of a page of the control process; status 0 while nobody listens."""
        listen = next(
            line.split('"')[1] for line in self.instance.profile.read_text().splitlines()
            if line.startswith("metrics_listen")
        )
        with inside(None):
            try:
                return metrics.fetch(f"http://{listen}{path}")
            except OSError:
                return 0, ""

    def metrics(self):
        status, text = self.get("/metrics")
        if status != 200:
            raise AssertionError(f"/metrics answers {status}")
        return metrics.Scrape(text)

    def dataplane(self):
        """The process number of the dataplane; None when there is none."""
        if not pathlib.Path("/run/netns", self.namespace).exists():
            return None
        for pid in run("ip", "netns", "pids", self.namespace).split():
            try:
                name = pathlib.Path("/proc", pid, "comm").read_text(encoding="ascii")
            except OSError:
                continue
            if name.startswith("trunkline-datap"):
                return int(pid)
        return None

    def kill_control(self):
        """kill -9: no chance to say anything."""
        self.control.kill()
        self.control.wait(10)

    def detach_control(self):
        """SIGTERM: the control process leaves, the dataplane stays."""
        self.control.terminate()
        return self.control.wait(20)

    def stop(self):
        """Ctrl-C on `trunkline run`: both processes end. Returns the exit code."""
        if self.control.poll() is None:
            self.control.send_signal(signal.SIGINT)
        code = self.control.wait(60)
        wait_until("the dataplane ended", lambda: self.dataplane() is None)
        return code

    def remove(self):
        """Ends what still runs and gives the machine back what it gave."""
        if self.control and self.control.poll() is None:
            self.control.send_signal(signal.SIGINT)
            try:
                self.control.wait(60)
            except subprocess.TimeoutExpired:
                self.kill_control()
        self.instance.remove()
        LIVE.discard(self)

    def logs(self):
        """The last words of both processes, for a failed run."""
        parts = [self.log_path.read_text(errors="replace")[-4000:]]
        log = self.instance.directory / "dataplane.log"
        if log.exists():
            parts.append(log.read_text(errors="replace")[-4000:])
        return "\n--\n".join(parts)


class StandIn:
    """Linux TCP and mosquitto where the appliance would be.

    Shows that a test passes against servers everybody trusts, so that its failure means something.
    """

    is_real = False

    def __init__(self, name):
        self.namespace, self._server = f"trunkline-{name}", f"trunkline-{name}s"
        self._processes = []
        self._config = TARGET / f"e2e-{name}.mosquitto"
        LIVE.add(self)
        for namespace in (self.namespace, self._server):
            run("ip", "netns", "add", namespace)
            run("ip", "-n", namespace, "link", "set", "lo", "up")
        run("ip", "-n", self.namespace, "link", "add", f"tl-{name}", "type", "veth",
            "peer", "name", "server", "netns", self._server)
        for namespace, device, address in (
            (self.namespace, f"tl-{name}", CLIENT_ADDRESS), (self._server, "server", ADDRESS),
        ):
            run("ip", "-n", namespace, "addr", "add", f"{address}/24", "dev", device)
            run("ip", "-n", namespace, "link", "set", device, "up")
        self._config.write_text(f"listener {MQTT} {ADDRESS}\nallow_anonymous true\n")
        self._spawn("mosquitto", "-c", self._config)
        self._spawn(sys.executable, ROOT / "scripts/e2e/standin.py", ADDRESS)
        wait_until("servers", lambda: run(
            "ip", "netns", "exec", self._server, "ss", "-Hltn").count(ADDRESS) == 5)

    def _spawn(self, *command):
        with inside(self._server):
            self._processes.append(subprocess.Popen(
                list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            ))

    def remove(self):
        for process in self._processes:
            process.terminate()
            process.wait(10)
        for namespace in (self.namespace, self._server):
            run("ip", "netns", "del", namespace, check=False)
        self._config.unlink(missing_ok=True)
        LIVE.discard(self)

    def logs(self):
        return ""
