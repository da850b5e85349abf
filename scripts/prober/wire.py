"""Frames as bytes: Ethernet, ARP, IPv4, IPv6, ICMP and TCP, right by default and wrong on request."""

import dataclasses
import socket
import struct

ARP, IPV4, IPV6, VLAN = 0x0806, 0x0800, 0x86DD, 0x8100
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
HOP_BY_HOP, ROUTING, FRAGMENT, NO_NEXT, DESTINATION = 0, 43, 44, 59, 60
BROADCAST = b"\xff" * 6

FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32, "E": 64, "C": 128}
MODULUS = 1 << 32


def address(text):
    """The bytes of an IPv4, IPv6 or Ethernet address."""
    if text.count(":") == 5 and len(text) == 17:
        return bytes.fromhex(text.replace(":", ""))
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def name(raw):
    """An address in words."""
    if len(raw) == 6:
        return raw.hex(":")
    return socket.inet_ntop(socket.AF_INET6 if len(raw) == 16 else socket.AF_INET, raw)


def checksum(data):
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def after(a, b):
    """Whether sequence number `a` is later than `b`."""
    return 0 < (a - b) % MODULUS < 1 << 31


def ethernet(destination, source, kind, payload):
    return destination + source + struct.pack("!H", kind) + payload


def arp(operation, sender_mac, sender_ip, target_mac, target_ip, **odd):
    """`odd`: hardware, protocol, hardware_len, protocol_len."""
    head = struct.pack("!HHBBH", odd.get("hardware", 1), odd.get("protocol", IPV4),
                       odd.get("hardware_len", 6), odd.get("protocol_len", 4), operation)
    return head + sender_mac + sender_ip + target_mac + target_ip


def ipv4(source, destination, protocol, payload, **odd):
    """`odd`: ttl, tos, ident, flags (DF=2, MF=1), offset, options, version, ihl, total, checksum."""
    options = odd.get("options", b"")
    options += b"\0" * (-len(options) % 4)
    ihl = odd.get("ihl", 5 + len(options) // 4)
    total = odd.get("total", 20 + len(options) + len(payload))
    head = struct.pack(
        "!BBHHHBBH4s4s", odd.get("version", 4) << 4 | ihl, odd.get("tos", 0), total,
        odd.get("ident", 1), odd.get("flags", 2) << 13 | odd.get("offset", 0) // 8,
        odd.get("ttl", 64), protocol, 0, source, destination) + options
    value = odd.get("checksum", checksum(head))
    return head[:10] + struct.pack("!H", value) + head[12:] + payload


def ipv6(source, destination, following, payload, **odd):
    """`odd`: hops, tos, flow, length, version."""
    first = odd.get("version", 6) << 28 | odd.get("tos", 0) << 20 | odd.get("flow", 0)
    return struct.pack("!IHBB", first, odd.get("length", len(payload)), following,
                       odd.get("hops", 64)) + source + destination + payload


def pseudo(source, destination, protocol, length):
    if len(source) == 4:
        return source + destination + struct.pack("!BBH", 0, protocol, length)
    return source + destination + struct.pack("!IHBB", length, 0, 0, protocol)


def tcp(source, destination, ports, seq, ack, flags, window, **odd):
    """`odd`: options, data, urgent, offset, reserved, checksum."""
    options = odd.get("options", b"")
    options += b"\0" * (-len(options) % 4)
    data = odd.get("data", b"")
    offset = odd.get("offset", 5 + len(options) // 4)
    head = struct.pack(
        "!HHIIBBHHH", *ports, seq % MODULUS, ack % MODULUS, offset << 4 | odd.get("reserved", 0),
        flags, window, 0, odd.get("urgent", 0)) + options
    total = len(head) + len(data)
    value = odd.get("checksum", checksum(pseudo(source, destination, TCP, total) + head + data))
    return head[:16] + struct.pack("!H", value) + head[18:] + data


def udp(source, destination, ports, data):
    head = struct.pack("!HHHH", *ports, 8 + len(data), 0)
    value = checksum(pseudo(source, destination, UDP, len(head + data)) + head + data) or 0xFFFF
    return head[:6] + struct.pack("!H", value) + data


def icmp(kind, code, rest, data=b"", value=None):
    head = struct.pack("!BBHI", kind, code, 0, rest)
    value = checksum(head + data) if value is None else value
    return head[:2] + struct.pack("!H", value) + head[4:] + data


def icmpv6(source, destination, kind, code, rest, data=b"", value=None):
    head = struct.pack("!BBHI", kind, code, 0, rest)
    if value is None:
        value = checksum(pseudo(source, destination, ICMPV6, len(head + data)) + head + data)
    return head[:2] + struct.pack("!H", value) + head[4:] + data


def echo_id(ident, seq):
    return ident << 16 | seq


def extension(following, data):
    """An IPv6 extension header around TLV options or the like; `data` must make it whole."""
    data += b"\1" + bytes([(-len(data) - 4) % 8]) + b"\0" * ((-len(data) - 4) % 8) \
        if (len(data) + 2) % 8 else b""
    return bytes([following, (len(data) + 2) // 8 - 1]) + data


def fragment_header(following, offset, more, ident):
    return struct.pack("!BBHI", following, 0, offset | more, ident)


# --- TCP options -----------------------------------------------------------------------------

def mss_option(value):
    return struct.pack("!BBH", 2, 4, value)


def scale_option(shift):
    return struct.pack("!BBBB", 1, 3, 3, shift)


def sack_permitted_option():
    return b"\1\1\4\2"


def timestamp_option(value, echo):
    return struct.pack("!BBBBII", 1, 1, 8, 10, value % MODULUS, echo % MODULUS)


def sack_option(*blocks):
    body = b"".join(struct.pack("!II", a % MODULUS, b % MODULUS) for a, b in blocks)
    return b"\1\1" + bytes([5, 2 + len(body)]) + body


# --- Reading ---------------------------------------------------------------------------------

@dataclasses.dataclass
class Frame:
    """A frame of the target, read. What a layer has not is None."""

    at: float
    raw: bytes
    kind: str = "other"
    destination_mac: bytes = b""
    source_mac: bytes = b""
    source: bytes = b""
    destination: bytes = b""
    #: IPv4 header or IPv6 header, without options and extensions.
    ip: dict = dataclasses.field(default_factory=dict)
    #: The fields of the uppermost layer read.
    body: dict = dataclasses.field(default_factory=dict)
    faults: list = dataclasses.field(default_factory=list)

    def __getattr__(self, key):
        for fields in (self.__dict__["body"], self.__dict__["ip"]):
            if key in fields:
                return fields[key]
        raise AttributeError(key)


def read(raw, at=0.0):
    """A frame from its bytes. What is wrong with it is in `faults`."""
    frame = Frame(at, raw, destination_mac=raw[:6], source_mac=raw[6:12])
    kind = struct.unpack("!H", raw[12:14])[0]
    try:
        if kind == ARP:
            _read_arp(frame, raw[14:])
        elif kind == IPV4:
            _read_ipv4(frame, raw[14:])
        elif kind == IPV6:
            _read_ipv6(frame, raw[14:])
    except (struct.error, IndexError) as error:
        frame.faults.append(f"does not parse: {error}")
    return frame


def _read_arp(frame, data):
    fields = struct.unpack("!HHBBH6s4s6s4s", data[:28])
    frame.kind = "arp"
    frame.body = dict(zip(("hardware", "protocol", "hardware_len", "protocol_len", "operation",
                           "sender_mac", "sender_ip", "target_mac", "target_ip"), fields))


def _read_ipv4(frame, data):
    first, tos, total, ident, bits, ttl, protocol, _, source, destination = struct.unpack(
        "!BBHHHBBH4s4s", data[:20])
    length = (first & 15) * 4
    frame.source, frame.destination = source, destination
    frame.ip = {"version": 4, "tos": tos, "total": total, "ident": ident, "ttl": ttl,
                "dont_fragment": bool(bits & 0x4000), "more": bool(bits & 0x2000),
                "offset": (bits & 0x1FFF) * 8, "ip_options": data[20:length]}
    if first >> 4 != 4 or checksum(data[:length]):
        frame.faults.append("bad IPv4 header")
    if total > len(data):
        frame.faults.append("IPv4 total length beyond the frame")
    payload = data[length:total]
    if frame.ip["more"] or frame.ip["offset"]:
        frame.kind, frame.body = "fragment", {"protocol": protocol, "data": payload}
        return
    _read_upper(frame, protocol, payload)


def _read_ipv6(frame, data):
    first, length, following, hops, source, destination = struct.unpack("!IHBB16s16s", data[:40])
    frame.source, frame.destination = source, destination
    frame.ip = {"version": 6, "tos": first >> 20 & 255, "flow": first & 0xFFFFF, "ttl": hops,
                "total": 40 + length}
    payload = data[40:40 + length]
    if len(payload) < length:
        frame.faults.append("IPv6 payload length beyond the frame")
    while following in (HOP_BY_HOP, ROUTING, DESTINATION, FRAGMENT):
        if following == FRAGMENT:
            bits = struct.unpack("!H", payload[2:4])[0]
            if bits & ~6:
                frame.kind, frame.body = "fragment", {
                    "protocol": payload[0], "more": bits & 1, "offset": bits & ~7,
                    "data": payload[8:]}
                return
            following, payload = payload[0], payload[8:]
        else:
            following, payload = payload[0], payload[payload[1] * 8 + 8:]
    _read_upper(frame, following, payload)


def _read_upper(frame, protocol, data):
    if protocol == TCP:
        _read_tcp(frame, data)
    elif protocol in (ICMP, ICMPV6):
        kind, code, _, rest = struct.unpack("!BBHI", data[:8])
        covered = data if protocol == ICMP else pseudo(
            frame.source, frame.destination, ICMPV6, len(data)) + data
        if checksum(covered):
            frame.faults.append("bad ICMP checksum")
        frame.kind = "icmp" if protocol == ICMP else "icmpv6"
        frame.body = {"type": kind, "code": code, "rest": rest, "data": data[8:]}
    elif protocol == UDP:
        frame.kind, frame.body = "udp", {"data": data[8:]}
    else:
        frame.body = {"protocol": protocol, "data": data}


def _read_tcp(frame, data):
    source_port, port, seq, ack, offset, flags, window, _, urgent = struct.unpack(
        "!HHIIBBHHH", data[:20])
    length = (offset >> 4) * 4
    frame.kind = "tcp"
    if checksum(pseudo(frame.source, frame.destination, TCP, len(data)) + data):
        frame.faults.append("bad TCP checksum")
    if offset & 0x0E:
        frame.faults.append("reserved bits set")
    frame.body = {"source_port": source_port, "port": port, "seq": seq, "ack": ack, "bits": flags,
                  "window": window, "urgent": urgent, "option_bytes": data[20:length],
                  "data": data[length:]}
    frame.body["flags"] = "".join(
        letter for letter, bit in FLAGS.items() if flags & bit)
    frame.body["options"] = _read_options(frame, data[20:length])


def _read_options(frame, data):
    """Option kind → value; SACK blocks as pairs."""
    found = {}
    while data and data[0] != 0:
        if data[0] == 1:
            data = data[1:]
            continue
        length = data[1]
        if length < 2 or length > len(data):
            frame.faults.append("bad TCP option length")
            break
        body = data[2:length]
        if data[0] == 2:
            found["mss"] = struct.unpack("!H", body)[0]
        elif data[0] == 3:
            found["scale"] = body[0]
        elif data[0] == 4:
            found["sack_permitted"] = True
        elif data[0] == 5:
            numbers = struct.unpack(f"!{len(body) // 4}I", body)
            found["sack"] = list(zip(numbers[::2], numbers[1::2]))
        elif data[0] == 8:
            found["timestamp"] = struct.unpack("!II", body)
        else:
            found[data[0]] = body
        data = data[length:]
    return found


def describe(frame):
    """One line, as tcpdump would."""
    if frame.kind == "arp":
        what = {1: "request", 2: "reply"}.get(frame.operation, frame.operation)
        return (f"ARP {what} {name(frame.sender_ip)} ({name(frame.sender_mac)}) → "
                f"{name(frame.target_ip)} at {name(frame.destination_mac)}")
    if not frame.source:
        return f"frame {frame.raw[:64].hex()}"
    line = f"{name(frame.source)} → {name(frame.destination)} "
    if frame.kind == "tcp":
        length = len(frame.data)
        return line + (
            f"TCP {frame.source_port}→{frame.port} [{frame.flags}] seq {frame.seq} ack {frame.ack} "
            f"win {frame.window} len {length} {frame.body.get('options') or ''} "
            f"{frame.data[:16]!r}{'…' if length > 16 else ''}" + (f" tos {frame.tos}" * bool(frame.tos)))
    if frame.kind.startswith("icmp"):
        return line + (f"{frame.kind} type {frame.type} code {frame.code} rest {frame.rest:#x} "
                       f"len {len(frame.data)}")
    return line + f"{frame.kind} {frame.body if len(frame.raw) < 200 else ''}"
