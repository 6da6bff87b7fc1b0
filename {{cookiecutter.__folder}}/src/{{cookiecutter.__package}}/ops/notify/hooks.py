"""Messages about flow runs and the champion: what they contain, and how they are sent without failing anything."""

import json
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from threading import Thread
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import httpx

from ...errors import printable
from ..addresses import shown
from ..orchestration.results import MonitoringResult, TrainingResult
from ..settings import PACKAGE, read_settings
from ..tracking.history import Entry, version_label

if TYPE_CHECKING:  # To import Prefect takes seconds, and `promote` does not need it.
    from prefect import Flow
    from prefect.client.schemas.objects import FlowRun, State

Event = Literal["failure", "success", "promotion", "rollback", "drift"]

TIMEOUT = 5  # seconds
# Reasons for lost messages that this process has logged: once is enough.
LOGGED: set[str] = set()
# Words that Prefect's server replaces by the name of a killed run and so on; no channel escapes letters.
KILLED_RUN = {
    "FLOWNAME": "(flow.name | tojson)[1:-1]",
    "RUNNAME": "(flow_run.name | tojson)[1:-1]",
    "RUNID": "flow_run.id",
    "OCCURRED": "event.occurred.isoformat()",
}


class Message(NamedTuple):
    """What happened: `title`, `reason` and `facts` are for people, the other fields for programs."""

    event: Event
    title: str
    reason: str = ""
    facts: Mapping[str, str] = {}
    url: str | None = None
    flow: str | None = None
    flow_run: str | None = None
    by: str | None = None
    version: int | None = None
    old_version: int | None = None
    metrics: Mapping[str, float] = {}
    time: str | None = None


Payload = Callable[[Message], dict[str, object]]


def hooks_for(payload: Payload) -> dict[str, Any]:
    """Return the options of `@flow` that send a message when a run ends; `payload` formats it for the channel."""

    def notify(flow: "Flow[..., Any]", run: "FlowRun", state: "State[Any]") -> None:
        from prefect.logging.loggers import flow_run_logger  # noqa: PLC0415 - see above

        # The parent of a subflow sends the message.
        if run.parent_task_run_id is not None:
            return
        reason = _send(payload, message(flow.name, run, state), events_of(state))
        if reason and reason not in LOGGED:
            LOGGED.add(reason)
            flow_run_logger(run, flow).warning("A notification was not delivered: %s", reason)

    return {end: [notify] for end in ("on_failure", "on_crashed", "on_completion")}


def report_move(payload: Payload, move: Entry) -> str | None:
    """Report that a person has moved the alias `champion`; return why the message was not delivered."""
    event: Event = "rollback" if move.how == "rollback" else "promotion"
    again = " again" if event == "rollback" else ""
    title = f"{PACKAGE}: version {move.new} is champion{again}, instead of {version_label(move.old)}"
    by = printable(move.by)
    message = Message(event, title, shown(move.reason), {"by": by}, by=by, version=move.new, old_version=move.old)
    return _send(payload, message._replace(metrics=move.metrics), {event})


def killed_run_message(payload: Payload, pages: str | None) -> str:
    """Return the message about a killed run as a template that Prefect's server fills in and sends."""
    url = f"{pages}/runs/flow-run/RUNID" if pages else None
    flow, run, time = "FLOWNAME", "RUNNAME", "OCCURRED"
    facts, reason = {"flow": flow, "run": run}, "The process was killed."
    text = json.dumps(payload(Message("failure", f"{flow}: Crashed", reason, facts, url, flow, run, time=time)))
    # Filled in last: `payload` would escape the braces.
    for word, expression in KILLED_RUN.items():
        text = text.replace(word, "{" * 2 + f" {expression} " + "}" * 2)
    return text


def events_of(state: "State[Any]") -> set[Event]:
    """Return the events of a run: failure, or success and perhaps promotion or drift."""
    if not state.is_completed():
        return {"failure"}
    result = state.result(raise_on_failure=False)
    if isinstance(result, TrainingResult) and result.alias == "champion":
        return {"success", "promotion"}
    drifted = isinstance(result, MonitoringResult) and result.verdict == "drifted"
    return {"success", "drift"} if drifted else {"success"}


def message(name: str, run: "FlowRun", state: "State[Any]") -> Message:
    """Describe how a run ended: flow, run, reason and metrics."""
    from prefect.settings import PREFECT_UI_URL  # noqa: PLC0415 - see above

    from ...steps import evaluate  # noqa: PLC0415 - so does scikit-learn

    facts = {"flow": name, "run": run.name}
    pages = PREFECT_UI_URL.value()
    fields: dict[str, Any] = {"flow": name, "flow_run": run.name}
    fields["url"] = f"{pages}/runs/flow-run/{run.id}" if pages else None
    # The other event beside success says more.
    event: Event = min(events_of(state), key=lambda event: event == "success")
    result = state.result(raise_on_failure=False) if state.is_completed() else None
    if isinstance(result, TrainingResult):
        title = f"{name}: version {result.version} is {result.alias}"
        facts |= dict(metric.split(" ", 1) for metric in evaluate.compared(result.metrics))
        fields |= {"version": result.version, "old_version": result.champion_before, "metrics": result.metrics}
        reason = shown("; ".join(filter(None, [result.cause, result.reason, result.deployment])))
        return Message(event, title, reason, facts, **fields)
    if isinstance(result, MonitoringResult):
        title = f"{name}: {result.verdict}, compared with version {result.version}"
        facts |= {f"PSI of {printable(column)}": f"{value:.2f}" for column, value in result.drifted.items()}
        reason = shown(" ".join(filter(None, [*result.reasons, result.retraining])))
        return Message(event, title, reason, facts, version=result.version, metrics=result.drifted, **fields)
    reason = "" if state.is_completed() else shown(state.message or "")
    return Message(event, f"{name}: {state.name}", reason, facts, **fields)


def _send(payload: Payload, message: Message, events: set[Event]) -> str | None:
    """Send the message if .env asks for one of its events; return why it was not delivered."""
    settings = read_settings()
    if settings.notify_webhook_url is None or not events & {"failure", *settings.notify_on}:
        return None
    dated = message._replace(time=datetime.now(UTC).isoformat())
    return post(settings.notify_webhook_url, payload(dated))


def post(url: str, payload: Mapping[str, object]) -> str | None:
    """Post a message; return why it was not delivered within TIMEOUT. The reason leaves out the URL, a secret."""
    reasons: list[str] = []

    def send() -> None:
        # httpx would log the URL.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        try:
            response = httpx.post(url, json=dict(payload), timeout=TIMEOUT)
            if not response.is_success:
                reasons.append(f"the webhook answered {response.status_code}")
        except Exception as error:  # noqa: BLE001 - a thread that fails would print the URL
            reasons.append(type(error).__name__)

    # A thread, because the timeout of httpx is per read and does not cover DNS.
    thread = Thread(target=send, daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    return f"no answer within {TIMEOUT} seconds" if thread.is_alive() else "".join(reasons) or None


def cut(text: str, length: int) -> str:
    """Shorten a text to `length` characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
