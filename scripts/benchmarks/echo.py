"""Echo requests a second: the kernel's epoll server and the appliance, same client, same link.

Every row is one server, pinned to core 0, and one client, pinned to core 1, in namespaces of their
own. On veth both servers sit behind the very same pair. The tap is the appliance's default port and
has no counterpart in the kernel; its row shows what that port costs.
"""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import time

from appliance import (
    ADDRESS, CLIENT_ADDRESS, ECHO, Appliance, remove_all, wait_until,
)
from machine import ROOT, TARGET, cleaned_up, inside, run

SERVER_CORE, CLIENT_CORE = 0, 1
KERNEL_PORT = 7000
MESSAGE_BYTES = 64
NOT_WORK = ("idle", "asleep")
DRIVER = ("receive", "transmit")


def give_packets_to(namespace, device, core):
    """Lets that core do the protocol work for packets that arrive at a device.

    Without it the sender's core does it, for veth and tap alike, and the busy time of the server's
    core would say nothing.
    """
    run("ip", "netns", "exec", namespace, "sh", "-c",
        f"for q in /sys/class/net/{device}/queues/rx-*; do echo {1 << core:x} >$q/rps_cpus; done")


def make_veth(client, server):
    """A pair of interfaces, without IPv6 and without unfinished checksums on the client's end."""
    run("ip", "-n", client, "link", "add", "client", "type", "veth",
        "peer", "name", "server", "netns", server)
    for namespace, device, core in (
        (client, "client", CLIENT_CORE), (server, "server", SERVER_CORE),
    ):
        run("ip", "netns", "exec", namespace, "sysctl", "-qw",
            f"net.ipv6.conf.{device}.disable_ipv6=1")
        run("ip", "netns", "exec", namespace, "ethtool", "-K", device, "tx", "off")
        run("ip", "-n", namespace, "link", "set", device, "up")
        give_packets_to(namespace, device, core)
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


def measure(namespace, port, connections, seconds, servers):
    """One run of the client; what it reports, and how much of the machine others took meanwhile."""
    ours = {os.getpid(), *servers}
    before, begun = processor_seconds(ours), time.monotonic()
    row = run_client(namespace, port, connections, seconds)
    wall, after = time.monotonic() - begun, processor_seconds(ours)
    row["others"] = round(max(after - before, 0) / wall / os.cpu_count(), 3)
    return row


def run_client(namespace, port, connections, seconds):
    """What the client reports."""
    with inside(namespace):
        words = run(
            TARGET / "release/echo-client", "--address", f"{ADDRESS}:{port}",
            "--connections", connections, "--message-bytes", MESSAGE_BYTES,
            "--seconds", seconds, "--core", CLIENT_CORE, "--server-core", SERVER_CORE,
            timeout=seconds + 60,
        )
    return json.loads(words)


def kernel_rows(name, options):
    """The peer: an epoll server on the kernel's TCP behind veth."""
    client, server = f"trunkline-{name}c", f"trunkline-{name}k"
    with namespaces(client, server):
        make_veth(client, server)
        run("ip", "-n", server, "addr", "add", f"{ADDRESS}/24", "dev", "server")
        with inside(server):
            process = subprocess.Popen(
                [TARGET / "release/kernel-echo", "--listen", f"{ADDRESS}:{KERNEL_PORT}",
                 "--core", str(SERVER_CORE)], stdin=subprocess.DEVNULL,
            )
        try:
            wait_until("the kernel's server listens", lambda: ADDRESS in run(
                "ip", "netns", "exec", server, "ss", "-Hltn"))
            for connections in options.connections:
                row = measure(client, KERNEL_PORT, connections, options.seconds, [process.pid])
                yield {"server": "kernel epoll", "link": "veth", "idle_policy": "sleeps", **row}
        finally:
            process.terminate()
            process.wait(10)


def profile(folder, idle, device=None, eal_args=None):
    """The development profile with another idle policy, and maybe another port."""
    lines = []
    for line in (ROOT / "hwconfig/profiles/dev-tap.toml").read_text().splitlines():
        key = line.split("=")[0].strip()
        if key == "idle":
            line = f'idle = "{idle}"'
        elif key == "device" and device:
            line = f'device = "{device}"'
        elif key == "eal_args" and eal_args:
            line = f"eal_args = {json.dumps(eal_args)}"
        lines.append(line)
    path = pathlib.Path(folder, f"{idle}-{device or 'tap'}.toml")
    path.write_text("\n".join(lines) + "\n")
    return path


def appliance_rows(appliance, client, link, idle, options):
    """The appliance on one link with one idle policy."""
    for connections in options.connections:
        before = stage_cycles(appliance)
        servers = [appliance.dataplane(), appliance.control.pid]
        row = measure(client, ECHO, connections, options.seconds, servers)
        row = {"server": "trunkline", "link": link, "idle_policy": idle, **row}
        row["driver_share"] = driver_share(before, stage_cycles(appliance))
        if connections == max(options.connections) and shutil.which("perf"):
            row["samples"] = profile_shard(appliance, client, connections)
        yield row


def stage_cycles(appliance):
    """Stage of the turn → cycles so far."""
    series = appliance.metrics().series
    return {
        dict(labels)["stage"]: value for (name, labels), value in series.items()
        if name == "trunkline_stage_cycles_total"
    }


def driver_share(before, after):
    """Which part of the turns that had work went to the port's driver, with its system calls."""
    spent = {stage: after[stage] - before[stage] for stage in after}
    work = sum(cycles for stage, cycles in spent.items() if stage not in NOT_WORK)
    return round(sum(spent[stage] for stage in DRIVER) / work, 3)


def profile_shard(appliance, client, connections):
    """Where a sampling profiler finds the shard's thread under the same load: part by part."""
    tasks = pathlib.Path(f"/proc/{appliance.dataplane()}/task").iterdir()
    busiest = max(tasks, key=lambda task: sum(map(int, (
        task / "stat").read_text().rsplit(") ", 1)[1].split()[11:13])))
    with tempfile.NamedTemporaryFile(suffix=".perf") as samples:
        with inside(None):
            perf = subprocess.Popen(
                ["perf", "record", "-q", "-e", "cpu-clock", "-F", "997", "-t", busiest.name,
                 "-o", samples.name, "--", "sleep", "5"], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
        run_client(client, ECHO, connections, 4)
        perf.wait(30)
        words = run("perf", "report", "-i", samples.name, "--stdio", "--sort", "dso",
                    "--percent-limit", "0.5", "-q")
    parts = {}
    for line in words.splitlines():
        fields = line.split()
        if len(fields) >= 2 and fields[0].endswith("%"):
            parts[fields[1]] = round(float(fields[0].rstrip("%")) / 100, 3)
    return parts


def tap_rows(name, folder, idle, options):
    """The default port."""
    appliance = Appliance(name, 1, profile=profile(folder, idle), on_core=CLIENT_CORE)
    try:
        give_packets_to(appliance.namespace, f"tl-{name}", CLIENT_CORE)
        yield from appliance_rows(appliance, appliance.namespace, "tap", idle, options)
    finally:
        appliance.stop()
        appliance.remove()


def veth_rows(name, folder, idle, options):
    """The same veth as the peer's, through a packet socket."""
    client = f"trunkline-{name}c"
    path = profile(folder, idle, "net_af_packet0", ["--vdev=net_af_packet0,iface=server"])
    with namespaces(client):
        appliance = Appliance(name, 1, profile=path, on_core=CLIENT_CORE,
                              make_link=lambda server: make_veth(client, server))
        try:
            yield from appliance_rows(appliance, client, "veth (af_packet)", idle, options)
        finally:
            appliance.stop()
            appliance.remove()


def facts(options):
    """What one has to know to repeat it."""
    cpus = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    model = next(line.split(":")[1].strip() for line in cpus if line.startswith("model name"))
    return {
        "benchmark": "echo",
        "date": datetime.date.today().isoformat(),
        "commit": run("git", "-C", ROOT, "rev-parse", "--short", "HEAD").strip(),
        "machine": f"{os.cpu_count()} cores, {model}, virtual",
        "kernel": platform.release(),
        "dpdk": run("pkg-config", "--modversion", "libdpdk").strip(),
        "load_average_before": os.getloadavg()[0],
        "command": f"scripts/bench echo --seconds {options.seconds} --connections "
                   + ",".join(map(str, options.connections)),
    }


def table(result):
    """The rows for people."""
    lines = [
        "| server | link | idle policy | connections | requests/s | p50 µs | p99 µs | p99.9 µs "
        "| server core busy | of it interrupts | requests/s per busy core | driver's share "
        "| others |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in result["rows"]:
        core, latency = row["server_core"], row["latency_us"]
        share = f"{row['driver_share']:.0%}" if "driver_share" in row else "–"
        lines.append(
            f"| {row['server']} | {row['link']} | {row['idle_policy']} | {row['connections']} "
            f"| {row['requests_per_second']:,.0f} | {latency['p50']} | {latency['p99']} "
            f"| {latency['p99.9']} | {core['busy']:.0%} | {core['interrupts']:.0%} "
            f"| {row['requests_per_second'] / core['busy']:,.0f} | {share} | {row['others']:.0%} |"
        )
    return "\n".join(lines)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    arguments.add_argument("--seconds", type=int, default=10)
    arguments.add_argument(
        "--connections", type=lambda text: [int(n) for n in text.split(",")], default=[1, 16, 256])
    arguments.add_argument("--store", action="store_true")
    options = arguments.parse_args()

    result = facts(options)
    result["rows"] = rows = []
    name = f"b{os.getpid()}"
    with cleaned_up() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        stack.callback(remove_all)
        sources = [kernel_rows(name, options)]
        for idle in ("adaptive", "poll"):
            sources.append(veth_rows(name, folder, idle, options))
            sources.append(tap_rows(name, folder, idle, options))
        for source in sources:
            for row in source:
                rows.append(row)
                print(f"{row['server']}, {row['link']}, {row['idle_policy']}, "
                      f"{row['connections']} connections: {row['requests_per_second']:,.0f}/s",
                      file=sys.stderr)
    print(table(result))
    if options.store:
        store(result)
    print(json.dumps(result))


def store(result):
    """One file for people and one for programs."""
    stem = ROOT / f"benches/results/{result['date']}-echo"
    about = "".join(f"- {key}: {result[key]}\n" for key in (
        "date", "commit", "machine", "kernel", "dpdk", "load_average_before", "command"))
    notes = pathlib.Path(__file__).with_suffix(".md").read_text()
    stem.with_suffix(".md").write_text(
        f"# Echo, {MESSAGE_BYTES}-byte messages\n\n{about}\n{table(result)}\n\n{notes}")
    stem.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")


main()
