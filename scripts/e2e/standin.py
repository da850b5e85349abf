"""Echo, discard, chargen and echo-once on the kernel's TCP: a peer, and a check of the tests."""

import asyncio
import socket
import sys

ECHO, DISCARD, CHARGEN, ECHO_ONCE = 7, 9, 19, 1007

#: RFC 864: 95 lines of 72 characters, each beginning one character later.
PATTERN = b"".join(
    bytes(32 + (line + column) % 95 for column in range(72)) + b"\r\n" for line in range(95)
)


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def discard(reader, _):
    while await reader.read(65536):
        pass


async def chargen(_, writer):
    while True:
        writer.write(10 * PATTERN)
        await writer.drain()


async def echo_once(reader, writer):
    writer.write(await reader.read(65536))
    await writer.drain()


def closing(serve):
    """A handler that ends its connection, however the peer ended its side."""
    async def handle(reader, writer):
        try:
            await serve(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()
    return handle


async def main(address, congestion_control=None):
    """Serves at an address; connections have the kernel's default congestion control or another."""
    for port, serve in ((ECHO, echo), (DISCARD, discard), (CHARGEN, chargen),
                        (ECHO_ONCE, echo_once)):
        listener = socket.create_server((address, port))
        if congestion_control:
            listener.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion_control.encode())
        await asyncio.start_server(closing(serve), sock=listener, backlog=4096)
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
