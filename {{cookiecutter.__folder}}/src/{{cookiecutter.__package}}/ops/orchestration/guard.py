"""Access to the servers that the project starts on this machine: only by their own pages, and with the password."""

import base64
import hmac
import os

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..settings import PACKAGE

# The page that `ui` prints the address of. Browsers never send the part after `#`, which is the password.
OPEN = "/open"
HEALTH = "/health"
# The names of this machine; the last one is for containers that run on it.
NAMES = {"127.0.0.1", "localhost", "host.docker.internal"}
# Prefect's pages ask a service that counts users how to report, even where this is turned off.
POLICY = "connect-src 'self'"
# The script of the page OPEN: it stores the password where Prefect's own login form does.
PREFECT = 'localStorage.setItem("prefect-password", btoa(location.hash.slice(1))); location.replace("/")'
# MLflow's pages have no login. The browser remembers this password as if it had asked the user for it.
MLFLOW = """
const request = new XMLHttpRequest()
request.open("GET", "/version", true, "ui", location.hash.slice(1))
request.onload = () => location.replace("/")
request.send()
"""


class Guard:
    """An ASGI application that answers only its own pages and clients that have the password."""

    def __init__(self, app: ASGIApp, script: str, password: str | None = None) -> None:
        """Guard an application; `script` is that of the page OPEN. No password: the application checks its own."""
        self.app = app
        self.open = HTMLResponse(f"<!doctype html><title>{PACKAGE}</title><script>{script}</script>")
        self.expected = password and b"Basic " + base64.b64encode(f"ui:{password}".encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse an HTTP request or a websocket, or pass it on."""
        answer = None if scope["type"] == "lifespan" else self.answer(scope["path"], Headers(scope=scope))

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).append("Content-Security-Policy", POLICY)
            await send(message)

        await (answer or self.app)(scope, receive, send_with_policy)

    def answer(self, path: str, headers: Headers) -> Response | None:
        """Return the answer to a request, or None to pass it on."""
        host = headers.get("host", "")
        # DNS rebinding: a site lets its own name point to this machine.
        if host.partition(":")[0] not in NAMES:
            return PlainTextResponse("Unknown host name.", 400)
        if headers.get("origin", f"http://{host}") != f"http://{host}":
            return PlainTextResponse("Requests from other sites are refused.", 403)
        if path == OPEN:
            return self.open
        given = headers.get("authorization", "")
        if self.expected and path != HEALTH and not hmac.compare_digest(given.encode(), self.expected):
            challenge = {"WWW-Authenticate": f'Basic realm="{PACKAGE}"'}
            return PlainTextResponse("Open the address that `ui` printed: it contains the password.", 401, challenge)
        return None


def mlflow() -> Guard:
    """Return MLflow's own application, guarded; `mlflow server` finds it by its name in pyproject.toml."""
    from mlflow.server.fastapi_app import app  # noqa: PLC0415 - Prefect's server does not need it

    return Guard(app, MLFLOW, os.environ["PAGES_PASSWORD"])
