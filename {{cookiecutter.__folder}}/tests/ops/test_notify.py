"""Notifications: what a webhook receives, and that a failed delivery fails no run."""

import json
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import uuid4

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from prefect.client.schemas.objects import FlowRun
from prefect.server.utilities.user_templates import render_user_template_sync
from prefect.states import Completed, Failed

from penguin_model import cli
from penguin_model.errors import ProjectError
from penguin_model.flows.monitoring import monitoring
from penguin_model.flows.training import training
from penguin_model.ops import markdown
from penguin_model.ops.notify import channel, hooks
from penguin_model.ops.settings import read_settings
from penguin_model.ops.tracking import registry
from penguin_model.ops.tracking.history import new_entry

SCHEMA = Path(__file__).parents[2] / "docs/notification.schema.json"


def fields(body: str) -> dict[str, Any] | None:
    """Check the message of a plain webhook against its schema, and return it; None for other channels."""
    if not SCHEMA.exists():
        return None
    message = json.loads(body)
    Draft202012Validator(json.loads(SCHEMA.read_text()), format_checker=FormatChecker()).validate(message)
    return message


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
    if sent := fields(body):
        assert (sent["event"], sent["flow"], sent["version"]) == ("failure", "monitoring", None)


@pytest.mark.parametrize(("on", "count"), [("", 0), ("drift,success", 1)])
def test_success_is_reported_if_notify_on_names_it(champion, notify, on, count):
    with receiving() as receiver:
        notify(receiver.url, on)
        monitoring()
    assert len(receiver.received) == count


def test_promotion_is_reported(quick, notify):
    before = registry.champion().champion
    with receiving() as receiver:
        notify(receiver.url, "promotion")
        result = training()
    assert len(receiver.received) == (result.alias == "champion")
    assert result.champion_before == before
    deployment = "http://127.0.0.1:8000 serves version 4"
    state = Completed(data=result._replace(alias="champion", champion_before=3, deployment=deployment))
    assert "promotion" in hooks.events_of(state)
    message = hooks.message("training", FlowRun(flow_id=uuid4(), name="x"), state)
    assert (message.event, message.version, message.old_version) == ("promotion", result.version, 3)
    assert message.metrics == result.metrics
    assert message.reason == f"{result.reason}; {deployment}"


@pytest.fixture
def two_versions(champion, monkeypatch):
    """Let version 1 be champion, version 2 exist, and nobody move the alias for real."""
    monkeypatch.setattr(registry, "promote", lambda *_: None)
    monkeypatch.setattr(registry, "get", lambda *_: registry.newest())
    entry = new_entry("rollback", "ann", 3, 2, "it <predicts> nonsense", {"f1_macro": 0.5, "r2": float("nan")})
    monkeypatch.setattr(registry, "rollback", lambda *_: entry)


MOVES = {
    "promotion": ["promote", "2", "--reason", "it <predicts> nonsense"],
    "rollback": ["rollback", "--reason", "it <predicts> nonsense"],
}


@pytest.mark.parametrize("event", MOVES)
def test_move_of_the_champion_by_hand_is_reported(two_versions, notify, monkeypatch, event):
    monkeypatch.setattr("sys.argv", ["verb", *MOVES[event]])
    with receiving() as receiver:
        for on in ("", event, "failure", "success"):
            notify(receiver.url, on)
            with pytest.raises(SystemExit, match="0"):
                cli.main()
    assert len(receiver.received) == 2
    for body in receiver.received:
        assert "version 2 is champion" in body
        assert "nonsense" in body
        if sent := fields(body):
            assert (sent["event"], sent["version"], sent["reason"]) == (event, 2, "it <predicts> nonsense")
            assert sent["old_version"] == (3 if event == "rollback" else registry.champion().champion)
            assert sent["by"]
            assert (event != "rollback") or sent["metrics"] == {"f1_macro": 0.5, "r2": None}


def test_failed_report_of_a_move_is_a_warning_without_the_url(two_versions, notify, monkeypatch, capsys):
    for url in ("http://127.0.0.1:9/secret", "secret", "http://127.0.0.1:99999/secret", "http://[secret"):
        notify(url)
        monkeypatch.setattr("sys.argv", ["verb", *MOVES["rollback"]])
        with pytest.raises(SystemExit, match="0"):
            cli.main()
        shown = capsys.readouterr()
        assert "Version 2 is the champion again" in shown.out
        assert "A notification was not delivered: " in shown.err
        assert "secret" not in shown.out + shown.err


@pytest.mark.parametrize("name", ["waiting", 'say "hi" \\ <!here> %s {1} 🐧'])
def test_message_of_a_killed_run_is_what_the_server_makes_of_it(name):
    template = channel.killed_message("https://example.org/ID/FLOW")
    run = FlowRun(flow_id=uuid4(), name=name)
    event = {"occurred": run.created or datetime.now(UTC)}
    body = render_user_template_sync(template, {"flow": {"name": "waiting"}, "flow_run": run, "event": event})
    assert "waiting: Crashed" in body
    assert f"https://example.org/ID/FLOW/runs/flow-run/{run.id}" in body
    assert json.loads(body)
    if sent := fields(body):
        assert (sent["event"], sent["flow"], sent["flow_run"]) == ("failure", "waiting", name)


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
    sent = channel.payload(hooks.Message("drift", hostile, hostile, facts, time="2026-11-27T21:00:00+00:00"))
    fields(json.dumps(sent))


def test_message_shows_names_and_values_as_they_are():
    hostile = "<!channel> <at>all</at> [x](http://evil) *b* a_b"
    sent = channel.payload(hooks.Message("drift", hostile, hostile, {hostile: hostile, "shift": "-0.5"}))
    if SCHEMA.exists():
        assert (sent["title"], sent["reason"]) == (hostile, hostile)
        return
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
    text = hooks.message("x", FlowRun(flow_id=uuid4(), name="x"), state).reason
    assert text == "ValueError: https://host/t.csv \\x1b[31m"


def test_secret_is_not_shown(monkeypatch):
    monkeypatch.setenv("NOTIFY_WEBHOOK_URL", "https://example.org/secret")
    assert "secret" not in repr(read_settings())
