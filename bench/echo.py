"""A server that answers each event at once: what the client could do at most. `python echo.py PORT`."""

import asyncio
import sys

from websockets.asyncio.server import ServerConnection, serve


async def tab(socket: ServerConnection) -> None:
    """Answer as Reflex would, without any of its work."""
    async for message in socket:
        await socket.send('"is_hydrated_rx_state_":true' if message[:2] == "40" else '"count_rx_state_"')


async def main() -> None:
    """Serve until somebody ends it."""
    async with serve(tab, "localhost", int(sys.argv[1]), compression=None):
        await asyncio.Future()


asyncio.run(main())
