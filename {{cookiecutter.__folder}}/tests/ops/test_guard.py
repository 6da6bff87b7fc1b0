"""Which requests the servers of this project answer."""

import asyncio
import base64

import httpx
import pytest
from starlette.responses import PlainTextResponse

from penguin_model.ops.orchestration.guard import (
    HEALTH,
    MLFLOW,
    OPEN,
    POLICY,
    Guard,
)

SITE = "http://127.0.0.1:5000"
# Path, changed headers and status of each request.
ASKED = {
    "page": ("/", {}, 200),
    "localhost": ("/", {"host": "localhost:5000", "origin": "http://localhost:5000"}, 200),
    "other name": ("/", {"host": "example.org:5000"}, 400),
    "other name that resembles": (OPEN, {"host": "127.0.0.1.example.org:5000"}, 400),
    "other page": ("/", {"origin": "http://example.org"}, 403),
    "page at another port": (OPEN, {"origin": "http://127.0.0.1:5001"}, 403),
    "page without an origin": ("/", {"origin": "null"}, 403),
    "no password": ("/", {"authorization": ""}, 401),
    "other password": ("/", {"authorization": "Basic dWk6Z3Vlc3NlZA=="}, 401),
    "entrance": (OPEN, {"authorization": ""}, 200),
    "health": (HEALTH, {"authorization": ""}, 200),
    "path like it": (f"/api{HEALTH}", {"authorization": ""}, 401),
}


@pytest.mark.parametrize(("path", "headers", "status"), ASKED.values(), ids=ASKED)
def test_only_own_pages_with_the_password_are_answered(path, headers, status):
    valid = {"origin": SITE, "authorization": f"Basic {base64.b64encode(b'ui:secret').decode()}"}
    server = httpx.ASGITransport(Guard(PlainTextResponse("in"), MLFLOW, "secret"))

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=server, base_url=SITE) as client:
            return await client.get(path, headers=valid | headers)

    answer = asyncio.run(ask())
    assert answer.status_code == status
    assert answer.headers["content-security-policy"] == POLICY
    assert (answer.text == "in") == (status == 200 and path != OPEN)
