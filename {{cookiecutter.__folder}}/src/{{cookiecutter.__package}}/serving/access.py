"""Who may ask what: the API key, the hosts, the size of a request."""

import asyncio
import base64
import hmac

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")
OPEN = ("/health/live", "/health/ready")  # probes have no key


class TooLargeError(Exception):
    """A body that exceeds the limit."""


class Access:
    """Refuse requests without the key, and bodies that are too large, before anything reads them."""

    def __init__(self, app: ASGIApp, key: str | None, max_bytes: int) -> None:
        """Wrap an application; without a key all may ask."""
        self.app, self.max_bytes = app, max_bytes
        self.key = key.encode() if key else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 or 413, or let the request pass."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if self.key and scope["path"] not in OPEN and not self._knows_key(headers.get("authorization", "")):
            # Browsers ask for a password, which is the key; programs send it as a bearer token.
            response = JSONResponse(
                {"detail": "This service needs its API key: Authorization: Bearer KEY."},
                401,
                {"WWW-Authenticate": 'Basic realm="API key as password", Bearer'},
            )
            await response(scope, receive, send)
            return
        await self._bounded(scope, receive, send)

    def _knows_key(self, authorization: str) -> bool:
        kind, _, value = authorization.partition(" ")
        given = value.encode()
        if kind.lower() == "basic":
            try:
                given = base64.b64decode(value, validate=True).partition(b":")[2]
            except ValueError:
                return False
        return kind.lower() in {"basic", "bearer"} and hmac.compare_digest(given, self.key or b"")

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self.max_bytes:
                raise TooLargeError
            return message

        try:
            await self.app(scope, counted, send)
        except TooLargeError:
            detail = f"The body is larger than {self.max_bytes} bytes; send fewer rows."
            await JSONResponse({"detail": detail}, 413, {"Connection": "close"})(scope, receive, send)
        except asyncio.CancelledError:  # the service stops, and the rest of the request has not come in time
            headers = {"Connection": "close", "Retry-After": "1"}
            await JSONResponse({"detail": "The service stops; ask again."}, 503, headers)(scope, receive, send)
