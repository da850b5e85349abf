"""Echo requests a second: the kernel's epoll server and the appliance, same client, same link.

Every row is one server, pinned to core 0, and one client, pinned to core 1, in namespaces of their
own. On veth both servers sit behind the very same pair. The tap is the appliance's default port and
has no counterpart in the kernel; its row shows what that port costs.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import rig
from appliance import ADDRESS, ECHO, Appliance, remove_all, wait_until
from machine import TARGET, changed_profile, cleaned_up, inside, run
from rig import CLIENT_CORE, SERVER_CORE, give_packets_to, make_client_veth, namespaces

KERNEL_PORT = 7000
MESSAGE_BYTES = 64
NOT_WORK = ("idle", "asleep")
DRIVER = ("receive", "transmit")


def measure(namespace, port, connections, seconds, servers):
    """One run of the client; what it reports, and how much of the machine others took meanwhile."""
    others = rig.Others(servers)
    row = run_client(namespace, port, connections, seconds)
    row["others"] = others.share()
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
        make_client_veth(client, server)
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
    path = pathlib.Path(folder, f"{idle}-tap.toml")
    changed_profile(path, "dev-tap.toml", {"idle": f'"{idle}"'})
    appliance = Appliance(name, 1, profile=path, on_core=CLIENT_CORE)
    try:
        give_packets_to(appliance.namespace, f"tl-{name}", CLIENT_CORE)
        yield from appliance_rows(appliance, appliance.namespace, "tap", idle, options)
    finally:
        appliance.stop()
        appliance.remove()


def veth_rows(name, folder, idle, options):
    """The same veth as the peer's, through a packet socket."""
    client = f"trunkline-{name}c"
    path = pathlib.Path(folder, f"{idle}-veth.toml")
    changed_profile(path, "dev-tap.toml", rig.on_veth(idle=f'"{idle}"'))
    with namespaces(client):
        appliance = Appliance(name, 1, profile=path, on_core=CLIENT_CORE,
                              make_link=lambda server: make_client_veth(client, server))
        try:
            yield from appliance_rows(appliance, client, "veth (af_packet)", idle, options)
        finally:
            appliance.stop()
            appliance.remove()


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

    result = rig.facts("echo", f"--seconds {options.seconds} --connections "
                               + ",".join(map(str, options.connections)))
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
        rig.store(result, f"Echo, {MESSAGE_BYTES}-byte messages", table(result), __file__)
    print(json.dumps(result))


main()
