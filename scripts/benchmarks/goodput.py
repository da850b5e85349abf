"""Goodput and round trips over a bad link: kernel and appliance, beside kernel and kernel.

Both links are a veth, an impaired link of the appliance's own code, and what is behind it: the
appliance's stack, or a second veth to a second kernel. The client is the same kernel in both.
"""

import argparse
import contextlib
import json
import os
import pathlib
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

import rig
from appliance import (
    ADDRESS, CHARGEN, CLIENT_ADDRESS, DISCARD, ECHO, Appliance, remove_all, wait_until,
)
from machine import ROOT, TARGET, changed_profile, cleaned_up, inside, run

CONGESTION_CONTROL = "cubic"
MESSAGE_BYTES = 64
#: struct tcp_info of Linux: where tcpi_bytes_acked stands, and the length up to its end.
BYTES_ACKED_AT, TCP_INFO_BYTES = 120, 128
#: Rings of the packet sockets, so large that a busy machine loses no frames in them.
RING = "framecnt=4096,blocksz=65536"
SECONDS_OF_ROUND_TRIPS = 5

DELAY = {"delay_us": 25_000, "rate_kbps": 100_000, "queue_bytes": 625_000}
CONDITIONS = {
    "0": ("no loss, no delay", {}),
    "0-50": ("no loss, 50 ms", DELAY),
    "1-50": ("1 % loss, 50 ms", {**DELAY, "loss_ppm": 10_000}),
    "5-50": ("5 % loss, 50 ms", {**DELAY, "loss_ppm": 50_000}),
    "r-50": ("10 % overtaken, 50 ms", {**DELAY, "reorder_ppm": 100_000, "reorder_us": 5_000}),
}
KEYS = ("seed", "loss_ppm", "reorder_ppm", "reorder_us", "delay_us", "rate_kbps", "queue_bytes")


def prepare_kernel(namespace, *devices):
    """The same TCP for every kernel end: no memory of earlier runs, large buffers, packets no larger
    than the MTU. Congestion control is chosen for each socket: a namespace may not choose any."""
    run("ip", "netns", "exec", namespace, "sysctl", "-qw",
        "net.ipv4.tcp_no_metrics_save=1",
        "net.ipv4.tcp_rmem=4096 131072 33554432", "net.ipv4.tcp_wmem=4096 131072 33554432")
    for device in devices:
        run("ip", "netns", "exec", namespace, "ethtool", "-K", device,
            "tso", "off", "gso", "off", "gro", "off")


def connect(namespace, port):
    """A connection from that namespace; nothing of an earlier one is remembered."""
    run("ip", "-n", namespace, "tcp_metrics", "flush", check=False)
    with inside(namespace):
        peer = socket.socket()
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, CONGESTION_CONTROL.encode())
    peer.settimeout(60)
    peer.connect((ADDRESS, port))
    return peer


def discard_now(peer):
    """Ends a connection at once, so that what is under way does not reach into the next run."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def bits_to(namespace, seconds):
    """Goodput from the client: what the other side acknowledged."""
    peer, data = connect(namespace, DISCARD), bytes(1 << 18)
    begun = time.monotonic()
    while (left := begun + seconds - time.monotonic()) > 0:
        peer.settimeout(left)
        with contextlib.suppress(TimeoutError):
            peer.send(data)
    info = peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
    elapsed = time.monotonic() - begun
    discard_now(peer)
    return 8 * struct.unpack_from("Q", info, BYTES_ACKED_AT)[0] / elapsed


def bits_from(namespace, seconds):
    """Goodput to the client: what it read."""
    peer, buffer, count = connect(namespace, CHARGEN), bytearray(1 << 20), 0
    begun = time.monotonic()
    while (left := begun + seconds - time.monotonic()) > 0:
        peer.settimeout(left)
        with contextlib.suppress(TimeoutError):
            count += peer.recv_into(buffer)
    elapsed = time.monotonic() - begun
    discard_now(peer)
    return 8 * count / elapsed


def round_trips(namespace, _):
    """Requests and answers one after the other: the time of each, in seconds."""
    peer, message, times = connect(namespace, ECHO), bytes(MESSAGE_BYTES), []
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    end = time.monotonic() + SECONDS_OF_ROUND_TRIPS
    while (begun := time.monotonic()) < end:
        peer.sendall(message)
        left = MESSAGE_BYTES
        while left:
            part = peer.recv(left)
            if not part:
                raise AssertionError("the echo server closed")
            left -= len(part)
        times.append(time.monotonic() - begun)
    discard_now(peer)
    return times


MEASUREMENTS = {"to": bits_to, "from": bits_from, "echo": round_trips}


class Ours:
    """The appliance behind a veth."""

    def __init__(self, name, folder, values, stack):
        self.client = f"trunkline-{name}c"
        stack.enter_context(rig.namespaces(self.client))
        eal_args = json.dumps([f"--vdev=net_af_packet0,iface=server,{RING}"])
        values = rig.on_veth(**{**values, "eal_args": eal_args})
        path = pathlib.Path(folder, "goodput.toml")
        changed_profile(path, "impaired-tap.toml", values)
        self.appliance = Appliance(
            name, 1, profile=path, on_core=rig.CLIENT_CORE,
            make_link=lambda server: rig.make_client_veth(self.client, server))
        stack.callback(self.appliance.remove)
        prepare_kernel(self.client, "client")
        self.processes = [self.appliance.dataplane(), self.appliance.control.pid]
        rig.prefer(self.processes[0])

    def stack(self):
        """What the appliance's TCP counted: retransmissions, time-outs, recoveries and their like."""
        return {
            name.removeprefix("trunkline_tcpstack_").removesuffix("_total"): int(value)
            for (name, _), value in self.appliance.metrics().series.items()
            if name.startswith("trunkline_tcpstack_tcp_") and value
        }

    def lanes(self):
        """What the link did, by lane: the appliance's own counters."""
        lanes = {}
        for (name, labels), value in self.appliance.metrics().series.items():
            if name.startswith("trunkline_impairment_"):
                labels = dict(labels)
                what = name.removeprefix("trunkline_impairment_").removesuffix("_frames_total")
                what = f"drop_{labels['reason']}" if "reason" in labels else what
                lanes.setdefault(labels["direction"], {})[what] = int(value)
        return lanes


class Kernel:
    """A second kernel, at the end of a bridge."""

    def __init__(self, name, values, stack):
        self.client = f"trunkline-{name}d"
        bridge, server = f"trunkline-{name}b", f"trunkline-{name}k"
        stack.enter_context(rig.namespaces(self.client, bridge, server))
        rig.make_veth((self.client, "client", rig.CLIENT_CORE), (bridge, "left", rig.SERVER_CORE))
        rig.make_veth((server, "server", rig.CLIENT_CORE), (bridge, "right", rig.SERVER_CORE))
        run("ip", "-n", self.client, "addr", "add", f"{CLIENT_ADDRESS}/24", "dev", "client")
        run("ip", "-n", server, "addr", "add", f"{ADDRESS}/24", "dev", "server")
        prepare_kernel(self.client, "client")
        prepare_kernel(server, "server")
        self._reports = tempfile.TemporaryFile("w+")
        self._bridge = self._spawn_bridge(bridge, f"tl-{name}b", values, stack)
        with inside(server):
            serving = subprocess.Popen(
                ["taskset", "-c", str(rig.CLIENT_CORE), sys.executable,
                 ROOT / "scripts/e2e/standin.py", ADDRESS, CONGESTION_CONTROL], stdin=subprocess.DEVNULL)
        stack.callback(end, serving)
        wait_until("servers", lambda: run(
            "ip", "netns", "exec", server, "ss", "-Hltn").count(ADDRESS) == 4)
        self.processes = [self._bridge.pid, serving.pid]

    def _spawn_bridge(self, namespace, prefix, values, stack):
        eal = ["-l", str(rig.SERVER_CORE), "--no-huge", "--no-shconf", "-m", "96",
               "--file-prefix", prefix, "--iova-mode=va", "--no-telemetry", "--no-pci",
               f"--vdev=net_af_packet0,iface=left,{RING}",
               f"--vdev=net_af_packet1,iface=right,{RING}"]
        command = [TARGET / "release/impaired-bridge", "--core", str(rig.SERVER_CORE)]
        command += [f"--eal={word}" for word in eal]
        command += [f"--{key.replace('_', '-')}={value}" for key, value in values.items()]
        with inside(namespace):
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=self._reports, text=True,
                start_new_session=True)
        stack.callback(end, process)
        rig.prefer(process.pid)
        wait_until("the bridge", lambda: self._lines() or process.poll() is not None)
        if process.poll() is not None:
            raise AssertionError(f"the bridge ended with {process.returncode}")
        return process

    def _lines(self):
        self._reports.seek(0)
        return self._reports.read().splitlines()

    def lanes(self):
        """What the link did, by lane. The bridge says so at its end."""
        end(self._bridge)
        return json.loads(self._lines()[-1])


def end(process):
    """Asks a process to end and waits for that."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    process.wait(20)


def measure(peers, what, seconds, at_once):
    """One measurement of every peer, at the same time or one after the other."""
    results = {}

    def one(who):
        results[who] = MEASUREMENTS[what](peers[who].client, seconds)

    threads = [threading.Thread(target=one, args=(who,)) for who in peers]
    for thread in threads:
        thread.start()
        if not at_once:
            thread.join()
    for thread in threads:
        thread.join()
    return results


def captures(peers, folder, condition, stack):
    """Records what both clients see, for finding out why a figure is what it is."""
    for who, peer in peers.items():
        path = pathlib.Path(folder, f"{condition}-{who}.pcap")
        with inside(peer.client):
            process = subprocess.Popen(
                ["tcpdump", "-q", "-n", "-s", "120", "-B", "16384", "-i", "client", "-w", path],
                stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.callback(end, process)


def measure_condition(name, folder, condition, options):
    """Both peers under one condition: what each measurement gave, run by run."""
    values = {**dict.fromkeys(KEYS, 0), "queue_bytes": 1_048_576, "seed": options.seed}
    values.update(CONDITIONS[condition][1])
    # Loss and delay leave the machine idle; without them each needs it for itself.
    at_once = values["loss_ppm"] + values["reorder_ppm"] > 0
    with contextlib.ExitStack() as stack:
        peers = {"us": Ours(name, folder, values, stack), "kernel": Kernel(name, values, stack)}
        if options.capture:
            captures(peers, options.capture, condition, stack)
        others = rig.Others([pid for peer in peers.values() for pid in peer.processes])
        runs = {what: {who: [] for who in peers} for what in options.measurements}
        for number in range(options.runs):
            for what in options.measurements:
                for who, value in measure(peers, what, options.seconds, at_once).items():
                    runs[what][who].append(value)
            done = {what: {who: brief(what, values[-1:]) for who, values in by.items()}
                    for what, by in runs.items()}
            print(f"{CONDITIONS[condition][0]}, run {number + 1}: {done}", file=sys.stderr)
        share = others.share()
        lanes = {who: peer.lanes() for who, peer in peers.items()}
        counted = peers["us"].stack()
    return {"condition": CONDITIONS[condition][0], "impairment": values, "at_once": at_once,
            "others": share, "lanes": lanes, "stack": counted, "runs": runs}


def brief(what, values):
    """The median of runs: Mbit/s, or round trips."""
    if what != "echo":
        return {"mbps": round(statistics.median(values) / 1e6, 3)}
    return {
        "per_second": round(statistics.median(len(times) for times in values)
                            / SECONDS_OF_ROUND_TRIPS, 1),
        **{name: round(1e3 * statistics.median(
            sorted(times)[int(part * (len(times) - 1))] for times in values), 3)
           for name, part in (("p50_ms", 0.5), ("p99_ms", 0.99))},
    }


def summary(row):
    """Medians, and ours as a part of the kernel's."""
    row["medians"] = {what: {who: brief(what, values) for who, values in by.items()}
                      for what, by in row["runs"].items()}
    row["ratios"] = {}
    for what, by in row["medians"].items():
        key = "per_second" if what == "echo" else "mbps"
        row["ratios"][what] = round(by["us"][key] / by["kernel"][key], 3)
    if "echo" in row["runs"]:
        # Thousands of times of single round trips say no more than these.
        row["runs"]["echo"] = {who: [brief("echo", [times]) for times in values]
                               for who, values in row["runs"]["echo"].items()}
    return row


def table(result):
    """The rows for people."""
    lines = [
        "| condition | measured | Trunkline and kernel | kernel and kernel | ratio | others |",
        "|---|---|--:|--:|--:|--:|",
    ]
    names = {"to": "kernel → server, Mbit/s", "from": "server → kernel, Mbit/s",
             "echo": "64-byte round trips/s (p50, p99 ms)"}
    for row in result["rows"]:
        for what, by in row["medians"].items():
            cells = [
                f"{m['mbps']:.2f}" if "mbps" in m else
                f"{m['per_second']:,.1f} ({m['p50_ms']:.2f}, {m['p99_ms']:.2f})"
                for m in (by["us"], by["kernel"])
            ]
            lines.append(f"| {row['condition']} | {names[what]} | {cells[0]} | {cells[1]} "
                         f"| {row['ratios'][what]:.2f} | {row['others']:.0%} |")
    return "\n".join(lines)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    arguments.add_argument("--runs", type=int, default=10)
    arguments.add_argument("--seconds", type=float, default=20)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument(
        "--conditions", type=lambda text: text.split(","), default=list(CONDITIONS))
    arguments.add_argument(
        "--measurements", type=lambda text: text.split(","), default=list(MEASUREMENTS))
    arguments.add_argument("--capture", metavar="FOLDER")
    arguments.add_argument("--store", action="store_true")
    options = arguments.parse_args()

    result = rig.facts("goodput", f"--runs {options.runs} --seconds {options.seconds:g} "
                                  f"--conditions {','.join(options.conditions)} "
                                  f"--seed {options.seed}")
    result["congestion_control_of_kernels"] = CONGESTION_CONTROL
    result["rows"] = []
    with cleaned_up() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        stack.callback(remove_all)
        stack.enter_context(rig.patient_kernel())
        for condition in options.conditions:
            row = measure_condition(f"g{os.getpid()}", folder, condition, options)
            result["rows"].append(summary(row))
    print(table(result))
    if options.store:
        rig.store(result, "Goodput and round trips over a bad link", table(result), __file__)
    print(json.dumps(result))


main()
