"""Each request has an id (in its answer, the header X-Request-ID and the prediction log), is counted and timed."""

import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .metrics import LATENCY, REQUESTS

HEADER = "X-Request-ID"
# What is safe in logs and headers; others, such as AWS and OpenTelemetry, use these characters.
SANE = re.compile(r"[A-Za-z0-9._:=+/@-]{1,128}")


class Observed:
    """Wraps an application, whose routes find the id in `request.state.id`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with the id that its client sends, if that is sane, else a new one; measure it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        request_id = given if SANE.fullmatch(given) else str(uuid.uuid4())
        scope.setdefault("state", {})["id"] = request_id
        start, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            # Unknown paths share one label, so that nobody can make the metrics grow.
            route = getattr(scope.get("route"), "path", "other")
            REQUESTS.labels(route, status).inc()
            LATENCY.labels(route).observe(time.perf_counter() - start)
