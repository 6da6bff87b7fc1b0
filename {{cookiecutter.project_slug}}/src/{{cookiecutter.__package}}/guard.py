"""Who may ask the servers of this project on loopback: their own pages, and whoever knows the password."""

import base64
import hmac
import os

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

# The page that `ui` prints the address of. What follows its `#`, the password, a browser sends nowhere.
OPEN = "/open"
HEALTH = "/health"
LOCAL = {"127.0.0.1", "localhost"}
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
    """An ASGI application behind a door: for requests by its own name, from its own pages, and with a password."""

    def __init__(self, app: ASGIApp, enter: str, password: str | None = None) -> None:
        """Guard an application; `enter` is the script of its entrance. No password: it asks for one itself."""
        self.app = app
        self.entrance = HTMLResponse(f"<!doctype html><title>{__package__}</title><script>{enter}</script>")
        self.expected = password and b"Basic " + base64.b64encode(f"ui:{password}".encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request of HTTP or the opening of a websocket, or let it through."""
        answer = None if scope["type"] == "lifespan" else self.answer(scope["path"], Headers(scope=scope))
        await (answer or self.app)(scope, receive, send)

    def answer(self, path: str, headers: Headers) -> Response | None:
        """Return what is answered at the door, None if the request is let through."""
        host = headers.get("host", "")
        # A page of another name whose address was changed to that of this machine ("DNS rebinding").
        if host.partition(":")[0] not in LOCAL:
            return PlainTextResponse("This server is not asked by that name.", 400)
        if headers.get("origin", f"http://{host}") != f"http://{host}":
            return PlainTextResponse("Other pages must not ask this server.", 403)
        if path == OPEN:
            return self.entrance
        given = headers.get("authorization", "")
        if self.expected and path != HEALTH and not hmac.compare_digest(given.encode(), self.expected):
            asked = {"WWW-Authenticate": f'Basic realm="{__package__}"'}
            return PlainTextResponse("`ui` prints the address that has the password.", 401, asked)
        return None


def mlflow() -> Guard:
    """Return MLflow's own application behind the door; `mlflow server` finds it by its name in pyproject.toml."""
    from mlflow.server.fastapi_app import app  # noqa: PLC0415 - Prefect's server has no use for it

    return Guard(app, MLFLOW, os.environ["PAGES_PASSWORD"])
