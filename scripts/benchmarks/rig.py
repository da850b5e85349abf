"""What the benchmarks share: links, namespaces, profiles, facts about the machine, results."""

import contextlib
import datetime
import json
import os
import pathlib
import platform
import time

from appliance import CLIENT_ADDRESS
from machine import ROOT, run

SERVER_CORE, CLIENT_CORE = 0, 1


def give_packets_to(namespace, device, core):
    """Lets that core do the protocol work for packets that arrive at a device.

    Without it the sender's core does it, for veth and tap alike, and the busy time of the server's
    core would say nothing.
    """
    run("ip", "netns", "exec", namespace, "sh", "-c",
        f"for q in /sys/class/net/{device}/queues/rx-*; do echo {1 << core:x} >$q/rps_cpus; done")


def make_veth(one, other):
    """A pair of interfaces, without IPv6 and without unfinished checksums.

    Each end is given as namespace, device and core.
    """
    (namespace, device, _), (there, peer, _) = one, other
    run("ip", "-n", namespace, "link", "add", device, "type", "veth",
        "peer", "name", peer, "netns", there)
    for namespace, device, core in (one, other):
        run("ip", "netns", "exec", namespace, "sysctl", "-qw",
            f"net.ipv6.conf.{device}.disable_ipv6=1")
        run("ip", "netns", "exec", namespace, "ethtool", "-K", device, "tx", "off")
        run("ip", "-n", namespace, "link", "set", device, "up")
        give_packets_to(namespace, device, core)


def make_client_veth(client, server):
    """The usual link: `client` with its address on one end, `server` on the other."""
    make_veth((client, "client", CLIENT_CORE), (server, "server", SERVER_CORE))
    run("ip", "-n", client, "addr", "add", f"{CLIENT_ADDRESS}/24", "dev", "client")


@contextlib.contextmanager
def namespaces(*names):
    """Namespaces that exist as long as the block runs."""
    try:
        for name in names:
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        yield
    finally:
        for name in names:
            run("ip", "netns", "del", name, check=False)


@contextlib.contextmanager
def patient_kernel():
    """While the block runs the kernel drops no packets that a busy core has not come to yet."""
    backlog = pathlib.Path("/proc/sys/net/core/netdev_max_backlog")
    before = backlog.read_text()
    try:
        backlog.write_text("30000")
        yield
    finally:
        backlog.write_text(before)


def prefer(pid):
    """Lets a process that leads a session go before others on a busy machine.

    Kernels with autogroups divide time between sessions; what `nice` says counts within one only. One
    that mostly sleeps may then wait for seconds while others compile something.
    """
    group = pathlib.Path(f"/proc/{pid}/autogroup")
    if group.exists():
        group.write_text("-20")


def processor_seconds(ours):
    """Processor time so far of all programs but ours, with that of children that have ended."""
    ticks = 0
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in ours:
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rsplit(") ", 1)[1].split()
                is_kernel_thread = int(fields[6]) & 0x0020_0000
                ticks += 0 if is_kernel_thread else sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


class Others:
    """The part of the machine that programs other than ours take from now on."""

    def __init__(self, ours):
        self._ours = {os.getpid(), *ours}
        self._before, self._begun = processor_seconds(self._ours), time.monotonic()

    def share(self):
        wall = time.monotonic() - self._begun
        taken = processor_seconds(self._ours) - self._before
        return round(max(taken, 0) / wall / os.cpu_count(), 3)


def on_veth(**values):
    """Values of a profile whose port is a packet socket on `server`."""
    return {
        "device": '"net_af_packet0"',
        "eal_args": json.dumps(["--vdev=net_af_packet0,iface=server"]),
        **values,
    }


def facts(benchmark, command):
    """What one has to know to repeat it."""
    cpus = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    model = next(line.split(":")[1].strip() for line in cpus if line.startswith("model name"))
    return {
        "benchmark": benchmark,
        "date": datetime.date.today().isoformat(),
        "commit": run("git", "-C", ROOT, "rev-parse", "--short", "HEAD").strip(),
        "machine": f"{os.cpu_count()} cores, {model}, virtual",
        "kernel": platform.release(),
        "dpdk": run("pkg-config", "--modversion", "libdpdk").strip(),
        "load_average_before": os.getloadavg()[0],
        "command": f"scripts/bench {benchmark} {command}",
    }


def store(result, title, table, script):
    """One file for people and one for programs."""
    stem = ROOT / f"benches/results/{result['date']}-{result['benchmark']}"
    about = "".join(f"- {key}: {result[key]}\n" for key in (
        "date", "commit", "machine", "kernel", "dpdk", "load_average_before", "command"))
    notes = pathlib.Path(script).with_suffix(".md").read_text()
    stem.with_suffix(".md").write_text(f"# {title}\n\n{about}\n{table}\n\n{notes}")
    stem.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
