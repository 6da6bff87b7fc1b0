"""Is the new champion served? The service that .env names may answer anything, or nothing."""

import json
import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from penguin_model.errors import ProjectError
from penguin_model.ops import service
from penguin_model.ops.settings import PACKAGE, read_settings

OLD, NEW = ({"model": PACKAGE, "model_version": version} for version in (1, 2))


@contextmanager
def answering(*answers):
    """Answer requests with these statuses and bodies in turn, and the last one from then on; yield URL and keys."""
    left, keys = list(answers), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            keys.append(self.headers.get("Authorization"))
            status, body = left.pop(0) if len(left) > 1 else left[0]
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", keys
    server.shutdown()
    server.server_close()


class Clock:
    """A clock on which only pauses take time, so that a slow machine changes nothing."""

    now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(service, "time", clock)
    monkeypatch.setattr(service, "PAUSE", 10)
    return clock


@pytest.fixture
def named(edited, clock):
    """Name a service in the settings; return what `deployed` says about version 2."""

    def ask(url, timeout, **settings):
        variables = {"SERVICE_URL": url, "SERVICE_TIMEOUT": timeout, **settings}
        (edited / ".env").write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
        return service.deployed(2, lambda _: None)

    return ask


def test_service_that_follows_is_waited_for(named):
    starting = {"detail": "Not ready: no model has been loaded yet"}
    with answering((503, starting), (200, OLD), (200, NEW), (200, OLD), (200, NEW)) as (url, keys):
        assert named(url, 60) == (f"{url} serves version 2", True)
    assert keys == [None] * len(keys)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ((200, OLD), "it serves version 1"),
        ((200, OLD | {"problem": "Version 2 is\x1b[2J broken"}), r"it serves version 1 (Version 2 is\x1b[2J broken)"),
        ((503, {"detail": "Not ready: locked"}), "Not ready: locked (HTTP status 503)"),
        ((502, b"<html>Bad gateway"), "another program answers there (HTTP status 502)"),
        ((200, b"\xff"), "another program answers there (HTTP status 200)"),
        ((200, [1]), "another program answers there (HTTP status 200)"),
        ((404, {"detail": "Not Found"}), "Not Found (HTTP status 404)"),
        ((401, {}), "it refuses the request; SERVE_API_KEY in .env must be its key"),
        ((200, NEW | {"model": "other"}), "it serves another model, other"),
        ((200, NEW | {"model_version": None}), "it serves the folder SERVE_MODEL, whatever the champion is"),
    ],
)
def test_service_that_does_not_follow_is_named_with_the_reason(named, answer, problem):
    with answering(answer) as (url, _):
        assert named(f"{url}/", 10) == (f"{url} does not serve version 2: {problem}", False)


@pytest.mark.parametrize("answer", [(401, {}), (404, {}), (200, NEW | {"model": "other"})])
def test_nothing_is_waited_for_that_waiting_does_not_change(named, clock, answer):
    with answering(answer) as (url, _):
        assert not named(url, 60).followed
    assert clock.now == 0


def test_service_gets_its_key(named):
    with answering((200, NEW)) as (url, keys):
        assert named(url, 10, SERVE_API_KEY="secret").followed
    assert set(keys) == {"Bearer secret"}


def test_service_that_is_gone_is_named(named):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        assert named(url, 10) == (f"{url} does not serve version 2: it does not answer (ConnectError)", False)


def test_service_that_never_ends_its_answer_is_left_in_time(named):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        start = time.monotonic()
        text, followed = named(url, 0.3)
    assert (text.startswith(f"{url} does not serve version 2: it does not answer"), followed) == (True, False)
    assert time.monotonic() - start < 20


def test_without_a_service_it_says_what_would_serve_the_version(edited, monkeypatch):
    said = []
    monkeypatch.setattr(service, "find_spec", lambda name: name == f"{PACKAGE}.serving")
    assert "`make serve` serves version 2" in service.deployed(2, said.append).text
    monkeypatch.setattr(service, "find_spec", lambda _: None)
    text, followed = service.deployed(2, said.append)
    assert (f"models:/{PACKAGE}@champion" in text, "make" in text, followed, said) == (True, False, True, [])


@pytest.mark.parametrize("url", ["http://user:password@host", "localhost:8000", "ftp://host"])
def test_address_that_is_none_or_has_a_password_is_refused(edited, url):
    (edited / ".env").write_text(f"SERVICE_URL={url}\n")
    with pytest.raises(ProjectError, match="SERVICE_URL"):
        read_settings()
