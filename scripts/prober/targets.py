"""What is probed: the appliance, or Linux in its place."""

import os
import pathlib
import subprocess
import sys
import time

import wire
from appliance import Appliance
from link import Failure, Link
from machine import ROOT, TARGET, inside, run

ADDRESS4, ADDRESS6, BITS4, BITS6 = "10.77.0.1", "fd77::1", 16, 64


class Target:
    """The addresses of both sides. `patience` stretches what must happen within a time."""

    def __init__(self, name):
        self.name, self.namespace, self.interface = name, f"trunkline-{name}", f"tl-{name}"
        self.ip4, self.ip6 = wire.address(ADDRESS4), wire.address(ADDRESS6)
        self.mac, self.link_local, self.patience = None, None, 1.5

    @staticmethod
    def network4(number):
        return bytes([10, 77, 16 + number // 250, 2 + number % 250])

    @staticmethod
    def network6(number):
        return wire.address("fd77::5052:0")[:14] + number.to_bytes(2, "big")

    def link(self):
        """The prober's end, with the target's Ethernet address found by ARP and NDP."""
        with inside(self.namespace):
            link = Link(self.interface, self)
        self.mac = self._learn(link, "ARP", lambda host: host.send_arp(1),
                               lambda frame: frame.kind == "arp" and frame.operation == 2)
        self.link_local = link_local_of(self.mac)
        # Its IPv6 addresses are its own after duplicate address detection only.
        self._learn(link, "NDP", lambda host: host.send_solicitation(self.ip6),
                    lambda frame: frame.kind == "icmpv6" and frame.type == 136)
        return link

    def _learn(self, link, what, ask, wanted):
        host = link.host()
        deliver = link._deliver
        found = []
        link._deliver = lambda frame: found.append(frame) if (
            frame.destination_mac == host.mac and wanted(frame)) else None
        try:
            for _ in range(100):
                ask(host)
                time.sleep(0.1)
                if found:
                    return found[0].source_mac
        finally:
            link._deliver = deliver
        raise Failure(f"the target does not answer to {what}")


def link_local_of(mac):
    """RFC 4291, appendix A."""
    return wire.address("fe80::")[:8] + bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:]


class Linux(Target):
    """The kernel's TCP in a namespace of its own, behind a veth."""

    kind = "linux"

    def __init__(self, name):
        super().__init__(name)
        self._there, self._process = f"trunkline-{name}s", None

    def start(self):
        for namespace in (self.namespace, self._there):
            run("ip", "netns", "add", namespace)
        run("ip", "-n", self.namespace, "link", "add", self.interface, "type", "veth",
            "peer", "name", "server", "netns", self._there)
        with inside(self.namespace):
            run("sysctl", "-qw", f"net.ipv6.conf.{self.interface}.disable_ipv6=1")
        for namespace, device in ((self.namespace, self.interface), (self._there, "server")):
            with inside(namespace):
                run("ethtool", "-K", device, "tx", "off", "rx", "off", "tso", "off", "gso", "off",
                    "gro", "off", check=False)
        run("ip", "-n", self._there, "link", "set", "lo", "up")
        run("ip", "-n", self._there, "addr", "add", f"{ADDRESS4}/{BITS4}", "brd", "+",
            "dev", "server")
        run("ip", "-n", self._there, "addr", "add", f"{ADDRESS6}/{BITS6}", "dev", "server", "nodad")
        run("ip", "-n", self._there, "link", "set", "server", "up")
        run("ip", "-n", self.namespace, "link", "set", self.interface, "up")
        with inside(self._there):
            self._process = subprocess.Popen(
                [sys.executable, pathlib.Path(__file__).parent / "kernel_server.py"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
        self._process.stdout.readline()
        # Duplicate address detection of the link-local address.
        time.sleep(2)

    def stop(self):
        if self._process:
            self._process.terminate()
            self._process.wait(10)
        for namespace in (self.namespace, self._there):
            run("ip", "netns", "del", namespace, check=False)

    def logs(self):
        return ""


class Trunkline(Target):
    """The built appliance with echo at port 7, on a tap or on a packet socket behind a veth."""

    kind = "trunkline"

    def __init__(self, name, shards, on_veth):
        super().__init__(name)
        self._shards, self._on_veth, self._appliance = shards, on_veth, None
        self._profile = TARGET / f"prober-{name}.toml"
        text = (ROOT / "hwconfig/profiles/dev-tap.toml").read_text(encoding="utf-8")
        old = 'addresses = ["10.77.0.1/24"'
        if old not in text:
            raise Failure("dev-tap.toml has another address than the prober knows")
        new = f'addresses = ["{ADDRESS4}/{BITS4}", "{ADDRESS6}/{BITS6}"'
        text = text.replace(old, new)
        if on_veth:
            text = text.replace('"net_tap0"', '"net_af_packet0"').replace(
                "--vdev=net_tap0,iface=tl-{instance},mac=02:54:4c:00:00:02",
                "--vdev=net_af_packet0,iface=server")
        self._profile.write_text(text, encoding="utf-8")

    def start(self):
        self._appliance = Appliance(self.name, self._shards, self._profile,
                                    make_link=self._make_veth if self._on_veth else None)

    def _make_veth(self, namespace):
        """The appliance's end has another Ethernet address than the appliance, like a tap."""
        run("ip", "-n", namespace, "link", "add", self.interface, "type", "veth",
            "peer", "name", "server")
        for device in (self.interface, "server"):
            run("ip", "-n", namespace, "link", "set", device, "promisc", "on", "up")

    def stop(self):
        if self._appliance:
            self._appliance.remove()
        self._profile.unlink(missing_ok=True)

    def logs(self):
        return self._appliance.logs() if self._appliance else ""
