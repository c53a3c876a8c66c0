"""What both Python peers need: the schema, and the way from a WebSocket to pycapnp's byte stream.

pycapnp speaks RPC over a stream of bytes only, so a socket pair stands between: what comes out of pycapnp
is cut at message boundaries, one Cap'n Proto message for one binary WebSocket frame.
"""

import asyncio
import contextlib
import os
import socket
import struct

import capnp
from websockets.exceptions import ConnectionClosed

capnp.remove_import_hook()

SCHEMA = os.path.normpath(os.path.join(os.path.dirname(__file__), "..", "..", "..", "schema"))
# Without this import path pycapnp ends the whole process at the first `-> stream`.
SITE_PACKAGES = os.path.dirname(os.path.dirname(capnp.__file__))
cap = capnp.load(os.path.join(SCHEMA, "capability.capnp"), imports=[SITE_PACKAGES])

MESSAGE_BYTES = 64 * 1024 * 1024
SEGMENTS = 512
WEBSOCKET_OPTIONS = {"max_size": MESSAGE_BYTES, "compression": None}


async def read_message(reader):
    """One message with its segment table, or None at the end of the stream."""
    try:
        head = await reader.readexactly(4)
    except asyncio.IncompleteReadError:
        return None
    segments = struct.unpack("<I", head)[0] + 1
    if segments > SEGMENTS:
        raise ValueError(f"a message of {segments} segments")
    sizes_bytes = 4 * (segments + (segments + 1) % 2)
    sizes = await reader.readexactly(sizes_bytes)
    words = sum(struct.unpack_from(f"<{segments}I", sizes))
    return head + sizes + await reader.readexactly(8 * words)


async def _to_websocket(reader, websocket):
    while (message := await read_message(reader)) is not None:
        await websocket.send(message)


async def _from_websocket(websocket, writer):
    async for frame in websocket:
        if isinstance(frame, str):
            raise ValueError("a text frame: Cap'n Proto messages are binary")
        writer.write(frame)
        await writer.drain()


async def _pump(websocket, reader, writer):
    directions = [
        asyncio.create_task(_to_websocket(reader, websocket)),
        asyncio.create_task(_from_websocket(websocket, writer)),
    ]
    try:
        await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
    finally:
        # pycapnp learns of a lost line only from the end of its stream.
        writer.close()
        for direction in directions:
            direction.cancel()
        for outcome in await asyncio.gather(*directions, return_exceptions=True):
            lost = (asyncio.CancelledError, ConnectionClosed, ConnectionError, type(None))
            if not isinstance(outcome, lost):
                print(f"bridge: {outcome!r}", flush=True)


@contextlib.asynccontextmanager
async def bridge(websocket):
    """pycapnp's end of a byte stream whose other end is the WebSocket."""
    near, far = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=far, limit=MESSAGE_BYTES)
    pump = asyncio.create_task(_pump(websocket, reader, writer))
    try:
        yield await capnp.AsyncIoStream.create_connection(sock=near)
    finally:
        pump.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await pump
