"""Limits how many uploads are in memory at once; the others wait before a byte of them is read.

Reflex holds an upload in memory several times while it receives it, and once more until its event handler ends, which
may take minutes.
"""

import asyncio
import os

from starlette.responses import PlainTextResponse

from .requests import Middleware

WORKERS = int(os.environ.get("WORKERS", "1"))
MAX_RECEIVING = max(1, 3 // WORKERS)
"""How many uploads a worker receives at once."""
MAX_HELD_BYTES = 96_000_000 // WORKERS
"""How large all uploads of a worker together are, from their first byte until their handlers end."""
WAIT_SECONDS = 60


class Uploads(Middleware):
    """Lets an upload begin when there is room for it."""

    def __init__(self, app) -> None:
        """Wrap an ASGI app."""
        super().__init__(app)
        self.receiving = self.held = 0
        self.changed = asyncio.Condition()

    async def __call__(self, scope, receive, send) -> None:
        """Answer a request: with 503 if there was no room for an upload within `WAIT_SECONDS`."""
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].endswith("/_upload"):
            await self.app(scope, receive, send)
            return
        size = int(dict(scope["headers"]).get(b"content-length", 0))  # Caddy rejects an upload without it
        try:
            async with asyncio.timeout(WAIT_SECONDS), self.changed:
                await self.changed.wait_for(lambda: self.has_room(size))
                self.receiving += 1
                self.held += size
        except TimeoutError:
            await PlainTextResponse("Too many uploads at once. Try again later.", 503)(scope, receive, send)
            return
        received = False

        async def receive_noted() -> dict:
            nonlocal received
            message = await receive()
            if not (received or message.get("more_body")):
                received = True
                await self.release(1, 0)
            return message

        try:
            await self.app(scope, receive_noted, send)
        finally:
            await self.release(0 if received else 1, size)

    def has_room(self, size: int) -> bool:
        """Return whether an upload of `size` bytes may begin; a single one always may."""
        return self.receiving < MAX_RECEIVING and (not self.held or self.held + size <= MAX_HELD_BYTES)

    async def release(self, receiving: int, size: int) -> None:
        """Make room for the uploads that wait."""
        self.receiving -= receiving
        self.held -= size
        async with self.changed:
            self.changed.notify_all()
