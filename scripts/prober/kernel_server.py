"""Echo, discard and echo-once on the kernel's TCP: what the checks are tried on."""

import selectors
import socket

ECHO, DISCARD, ECHO_ONCE = 7, 9, 1007
#: Octets of echo that wait for a slow reader before no more is read from it.
WAITING_MAX = 1 << 20


class Connection:
    """Reads, writes the same, and closes when the peer has closed and all is written."""

    def __init__(self, selector, connection, port):
        self.selector, self.socket, self.port = selector, connection, port
        self.waiting, self.ended = bytearray(), False
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ, self)

    def turn(self, events):
        try:
            if events & selectors.EVENT_READ:
                self._read()
            if self.waiting:
                del self.waiting[:self.socket.send(self.waiting)]
        except BlockingIOError:
            pass
        except OSError:
            self.ended, self.waiting = True, b""
        wanted = selectors.EVENT_WRITE if self.waiting else 0
        if not self.ended and len(self.waiting) < WAITING_MAX:
            wanted |= selectors.EVENT_READ
        if wanted:
            self.selector.modify(self.socket, wanted, self)
        else:
            self.selector.unregister(self.socket)
            self.socket.close()

    def _read(self):
        data = self.socket.recv(65536)
        if self.port != DISCARD:
            self.waiting += data
        self.ended = not data or self.port == ECHO_ONCE


class Listener:
    """A listening socket for both families."""

    def __init__(self, selector, port):
        self.selector, self.port = selector, port
        self.socket = socket.create_server(("::", port), family=socket.AF_INET6, backlog=4096,
                                           dualstack_ipv6=True)
        self.socket.setblocking(False)
        selector.register(self.socket, selectors.EVENT_READ, self)

    def turn(self, _):
        try:
            while True:
                Connection(self.selector, self.socket.accept()[0], self.port)
        except OSError:
            pass


def main():
    selector = selectors.DefaultSelector()
    for port in (ECHO, DISCARD, ECHO_ONCE):
        Listener(selector, port)
    print("ready", flush=True)
    while True:
        for key, events in selector.select():
            key.data.turn(events)


main()
