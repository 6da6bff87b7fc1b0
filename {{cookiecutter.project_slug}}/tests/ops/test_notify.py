"""Notifications: what a webhook receives, and that one that fails takes nothing along."""

import json
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest
from pydantic import SecretStr

from penguin_model.errors import ProjectError
from penguin_model.flows.monitoring import monitoring
from penguin_model.flows.training import training
from penguin_model.ops.notify import channel, hooks, webhook
from penguin_model.ops.settings import read_settings


class Receiver:
    """A webhook on loopback."""

    def __init__(self, status: int = 200) -> None:
        self.received: list[str] = []
        self.hold, receiver = Event(), self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.received.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
                if status == 0:
                    receiver.hold.wait()
                self.send_response(status or 200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/secret-of-the-hook"


@contextmanager
def receiving(status: int = 200) -> Iterator[Receiver]:
    receiver = Receiver(status)
    thread = Thread(target=receiver.server.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.hold.set()
        receiver.server.shutdown()
        thread.join()
        receiver.server.server_close()


@pytest.fixture
def told(monkeypatch):
    """Point the notifications of a test to an address."""
    hooks.WARNED.clear()
    monkeypatch.setattr(channel, "ENABLED", True)

    def told(url: str, on: str = "") -> None:
        monkeypatch.setenv("NOTIFY_WEBHOOK_URL", url)
        monkeypatch.setenv("NOTIFY_ON", on)

    return told


def test_failed_run_is_told_with_its_name_and_reason(trained, told):
    with receiving() as receiver:
        told(receiver.url)
        with pytest.raises(ProjectError):
            monitoring(source="gone.csv")
    [body] = receiver.received
    assert json.loads(body)
    assert "monitoring: Failed" in body
    assert "gone.csv" in body


@pytest.mark.parametrize(("on", "count"), [("", 0), ("drift,success", 1)])
def test_success_is_told_to_those_who_ask(champion, told, on, count):
    with receiving() as receiver:
        told(receiver.url, on)
        monitoring()
    assert len(receiver.received) == count


def test_promotion_is_told_with_its_metrics(quick, told, monkeypatch):
    with receiving() as receiver:
        told(receiver.url, "promotion")
        result = training()
    assert len(receiver.received) == (result.alias == "champion")
    said = hooks.events_of(training_state(result))
    assert ("promotion" in said) == (result.alias == "champion")


def training_state(result):
    from prefect.states import Completed

    return Completed(data=result)


@pytest.mark.parametrize("status", [500, 0, None], ids=["500", "slow", "down"])
def test_webhook_that_fails_is_warned_about_once_and_takes_nothing_along(champion, told, status, caplog):
    caplog.set_level(logging.INFO)
    if status is None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"http://127.0.0.1:{free.getsockname()[1]}/secret-of-the-hook"
        told(address, "success")
        states = [monitoring(return_state=True) for _ in range(2)]
    else:
        with receiving(status) as receiver:
            told(receiver.url, "success")
            began = time.monotonic()
            states = [monitoring(return_state=True) for _ in range(2)]
            # The slow one holds its answer until the end of this block.
            assert time.monotonic() > began
        assert len(receiver.received) == 2
    assert [state.type.value for state in states] == ["COMPLETED"] * 2
    assert sum("A notification was not delivered" in record.getMessage() for record in caplog.records) == 1
    assert "secret-of-the-hook" not in caplog.text


def test_payload_takes_whatever_people_write():
    hostile = "\"'\\ <!channel> & *_`[x](y) 🐧 " * 400
    told = channel.payload(webhook.Message(hostile, hostile, {hostile: hostile, **{str(i): "x" for i in range(40)}}))
    assert json.loads(json.dumps(told))


def test_secret_is_not_shown(monkeypatch):
    monkeypatch.setenv("NOTIFY_WEBHOOK_URL", "https://example.org/secret")
    settings = read_settings()
    assert isinstance(settings.notify_webhook_url, SecretStr)
    assert "secret" not in repr(settings.notify_webhook_url)
