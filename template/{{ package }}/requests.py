"""What each request brings that the app and its log entries need."""

import contextvars
from collections.abc import Mapping

headers: contextvars.ContextVar[Mapping[str, str]] = contextvars.ContextVar("headers")
"""The headers of the request that is answered, by their names in lower case."""
SECURE = {"http": "https", "ws": "wss"}


class Middleware:
    """ASGI middleware through which `request.url_for` finds the app's routes: it searches them in each mounted app."""

    def __init__(self, app) -> None:
        """Wrap an ASGI app."""
        self.app = app

    @property
    def routes(self) -> list:
        """The app's routes."""
        return getattr(self.app, "routes", None) or []


class Requests(Middleware):
    """Keeps the headers of a request, and gives the app the scheme that the visitor used.

    Caddy takes plain HTTP from Cloud Run and names the visitor's scheme in X-Forwarded-Proto. Not every server uses it:
    `request.url_for` would return addresses with http.
    """

    async def __call__(self, scope, receive, send) -> None:
        """Answer a request."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        given = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if given.get("x-forwarded-proto") == "https":
            scope["scheme"] = SECURE.get(scope["scheme"], scope["scheme"])
        before = headers.set(given)
        try:
            await self.app(scope, receive, send)
        finally:
            headers.reset(before)
