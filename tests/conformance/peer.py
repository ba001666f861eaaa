"""The server that the differential run compares with: echoes by the package `websockets`."""

import asyncio
import logging

from websockets.asyncio.server import serve

MESSAGE_BYTES_MAX = 32 << 20


async def echo(connection):
    async for message in connection:
        await connection.send(message)


async def main():
    # It reports what clients do wrong, which here is the idea.
    logging.disable(logging.CRITICAL)
    options = {"compression": None, "max_size": MESSAGE_BYTES_MAX, "ping_interval": None}
    async with serve(echo, "127.0.0.1", 0, **options) as server:
        host, port = server.sockets[0].getsockname()
        print(f"listening on {host}:{port}", flush=True)
        await server.serve_forever()


asyncio.run(main())
