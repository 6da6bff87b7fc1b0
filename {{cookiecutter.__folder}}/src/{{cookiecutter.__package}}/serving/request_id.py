"""The id of a request: in its answer, in the header X-Request-ID and in the prediction log."""

import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "X-Request-ID"
# What is safe in logs and headers; others, such as AWS and OpenTelemetry, use these characters.
SANE = re.compile(r"[A-Za-z0-9._:=+/@-]{1,128}")


class RequestId:
    """Give each request the id that its client sends, if that is sane, else a new one; each answer has it."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application, whose routes find the id in `request.state.id`."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its id."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        request_id = given if SANE.fullmatch(given) else str(uuid.uuid4())
        scope.setdefault("state", {})["id"] = request_id

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        await self.app(scope, receive, named)
