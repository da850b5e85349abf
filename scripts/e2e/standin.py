"""Echo, discard and echo-once on the kernel's TCP, for checking the tests themselves."""

import asyncio
import sys

ECHO, DISCARD, ECHO_ONCE = 7, 9, 1007


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def discard(reader, _):
    while await reader.read(65536):
        pass


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


async def main(address):
    for port, serve in ((ECHO, echo), (DISCARD, discard), (ECHO_ONCE, echo_once)):
        await asyncio.start_server(closing(serve), address, port, backlog=4096)
    await asyncio.Event().wait()


asyncio.run(main(sys.argv[1]))
