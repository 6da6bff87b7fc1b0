"""Notifications: what a webhook receives, and that a failed delivery fails no run."""

import json
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Completed, Failed
from pydantic import SecretStr

from penguin_model.errors import ProjectError
from penguin_model.flows.monitoring import monitoring
from penguin_model.flows.training import training
from penguin_model.ops import markdown
from penguin_model.ops.notify import channel, hooks
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
def notify(monkeypatch):
    """Return a function that sends the notifications of a test to a URL."""
    hooks.LOGGED.clear()

    def notify(url: str, on: str = "") -> None:
        monkeypatch.setenv("NOTIFY_WEBHOOK_URL", url)
        monkeypatch.setenv("NOTIFY_ON", on)

    return notify


def test_failed_run_is_reported_with_its_name_and_reason(trained, notify):
    with receiving() as receiver:
        notify(receiver.url)
        with pytest.raises(ProjectError):
            monitoring(source="gone.csv")
    [body] = receiver.received
    assert json.loads(body)
    assert "monitoring: Failed" in body
    assert "gone.csv" in body


@pytest.mark.parametrize(("on", "count"), [("", 0), ("drift,success", 1)])
def test_success_is_reported_if_notify_on_names_it(champion, notify, on, count):
    with receiving() as receiver:
        notify(receiver.url, on)
        monitoring()
    assert len(receiver.received) == count


def test_promotion_is_reported(quick, notify):
    with receiving() as receiver:
        notify(receiver.url, "promotion")
        result = training()
    assert len(receiver.received) == (result.alias == "champion")
    assert ("promotion" in hooks.events_of(Completed(data=result))) == (result.alias == "champion")


@pytest.mark.parametrize("status", [500, 0, None], ids=["500", "slow", "down"])
def test_webhook_that_fails_is_logged_once_and_fails_no_run(champion, notify, status, caplog):
    caplog.set_level(logging.INFO)
    if status is None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"http://127.0.0.1:{free.getsockname()[1]}/secret-of-the-hook"
        notify(address, "success")
        states = [monitoring(return_state=True) for _ in range(2)]
    else:
        with receiving(status) as receiver:
            notify(receiver.url, "success")
            # The slow one answers at the end of this block, so these return although it has not.
            states = [monitoring(return_state=True) for _ in range(2)]
        assert len(receiver.received) == 2
    assert [state.type.value for state in states] == ["COMPLETED"] * 2
    assert sum("A notification was not delivered" in record.getMessage() for record in caplog.records) == 1
    assert "secret-of-the-hook" not in caplog.text


def test_payload_is_json_whatever_people_write():
    hostile = "\"'\\ <!channel> & *_`[x](y) 🐧 " * 400
    facts = {hostile: hostile, **{str(i): "x" for i in range(40)}}
    assert json.loads(json.dumps(channel.payload(hooks.Message(hostile, hostile, facts))))


def test_message_shows_names_and_values_as_they_are():
    hostile = "<!channel> <at>all</at> [x](http://evil) *b* a_b"
    sent = channel.payload(hooks.Message(hostile, hostile, {hostile: hostile, "shift": "-0.5"}))
    shown = json.dumps(sent)
    if "attachments" in sent:
        # Teams shows a character after a backslash as it is.
        assert shown.count(json.dumps(markdown.escape(hostile))) == 4
        assert hostile not in shown
    else:
        assert shown.count(hostile) == shown.count(f'"plain_text", "text": "{hostile}') + 1 == 4
        assert "&lt;!channel&gt;" in str(sent["text"])
    assert "-0.5" in shown


def test_secret_of_an_error_is_not_sent():
    state = Failed(message="ValueError: https://user:s3cret@host/t.csv?sig=s3cret \x1b[31m")
    text = hooks.message("x", FlowRun(flow_id=uuid4(), name="x"), state).text
    assert text == "ValueError: https://host/t.csv \\x1b[31m"


def test_secret_is_not_shown(monkeypatch):
    monkeypatch.setenv("NOTIFY_WEBHOOK_URL", "https://example.org/secret")
    settings = read_settings()
    assert isinstance(settings.notify_webhook_url, SecretStr)
    assert "secret" not in repr(settings.notify_webhook_url)
