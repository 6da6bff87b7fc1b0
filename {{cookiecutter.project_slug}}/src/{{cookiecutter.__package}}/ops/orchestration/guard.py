"""Who may use the servers that the project starts on this machine: their own pages, and whoever has the password."""

import base64
import hmac
import os

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ..settings import PACKAGE

# The page that `ui` prints the address of. What follows its `#`, the password, a browser sends nowhere.
OPEN = "/open"
HEALTH = "/health"
# The names of this machine, the last one for containers on it.
NAMES = {"127.0.0.1", "localhost", "host.docker.internal"}
# The script of that page keeps the password where Prefect's own login form keeps it.
PREFECT = 'localStorage.setItem("prefect-password", btoa(location.hash.slice(1))); location.replace("/")'
# MLflow's pages know of no password. The browser remembers this one as if it had asked for it.
MLFLOW = """
const ask = new XMLHttpRequest()
ask.open("GET", "/version", true, "ui", location.hash.slice(1))
ask.onload = () => location.replace("/")
ask.send()
"""


class Guard:
    """An ASGI application that only its own pages and those who have the password can use."""

    def __init__(self, app: ASGIApp, enter: str, password: str | None = None) -> None:
        """Guard an application; `enter` is the script of OPEN. No password: the application checks one itself."""
        self.app = app
        self.entrance = HTMLResponse(f"<!doctype html><title>{PACKAGE}</title><script>{enter}</script>")
        self.expected = password and b"Basic " + base64.b64encode(f"ui:{password}".encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse an HTTP request or a websocket, or pass it on."""
        answer = None if scope["type"] == "lifespan" else self.answer(scope["path"], Headers(scope=scope))
        await (answer or self.app)(scope, receive, send)

    def answer(self, path: str, headers: Headers) -> Response | None:
        """Return the answer to a request that is not passed on, else None."""
        host = headers.get("host", "")
        # A page whose own name was made to point to this machine ("DNS rebinding").
        if host.partition(":")[0] not in NAMES:
            return PlainTextResponse("Unknown host name.", 400)
        if headers.get("origin", f"http://{host}") != f"http://{host}":
            return PlainTextResponse("Requests of other sites are refused.", 403)
        if path == OPEN:
            return self.entrance
        given = headers.get("authorization", "")
        if self.expected and path != HEALTH and not hmac.compare_digest(given.encode(), self.expected):
            asked = {"WWW-Authenticate": f'Basic realm="{PACKAGE}"'}
            return PlainTextResponse("Open the address that `ui` printed: it carries the password.", 401, asked)
        return None


def mlflow() -> Guard:
    """Return MLflow's own application, guarded; `mlflow server` finds it by its name in pyproject.toml."""
    from mlflow.server.fastapi_app import app  # noqa: PLC0415 - Prefect's server has no use for it

    return Guard(app, MLFLOW, os.environ["PAGES_PASSWORD"])
