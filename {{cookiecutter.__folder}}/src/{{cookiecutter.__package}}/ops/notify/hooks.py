"""Messages about flow runs: what they contain, and how they are sent without delaying or failing a run."""

import json
import logging
from collections.abc import Callable, Mapping
from threading import Thread
from typing import Any, NamedTuple

import httpx
from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.logging.loggers import flow_run_logger
from prefect.settings import PREFECT_UI_URL

from ...errors import printable
from ...steps import evaluate
from ..addresses import shown
from ..orchestration.results import MonitoringResult, TrainingResult
from ..settings import read_settings

TIMEOUT = 5  # seconds
# Reasons for lost messages that this process has logged: once is enough.
LOGGED: set[str] = set()


class Message(NamedTuple):
    """A message, whatever the channel."""

    title: str
    text: str = ""
    facts: Mapping[str, str] = {}
    link: str | None = None


Payload = Callable[[Message], dict[str, object]]


def hooks_for(payload: Payload) -> dict[str, Any]:
    """Return the options of `@flow` that send a message when a run ends; `payload` formats it for the channel."""

    def notify(flow: Flow[..., Any], run: FlowRun, state: State[Any]) -> None:
        settings = read_settings()
        # The parent of a subflow sends the message.
        if settings.notify_webhook_url is None or run.parent_task_run_id is not None:
            return
        if events_of(state) & {"failure", *settings.notify_on}:
            reason = post(settings.notify_webhook_url.get_secret_value(), payload(message(flow.name, run, state)))
            if reason and reason not in LOGGED:
                LOGGED.add(reason)
                flow_run_logger(run, flow).warning("A notification was not delivered: %s", reason)

    return {end: [notify] for end in ("on_failure", "on_crashed", "on_completion")}


def killed_run_message(payload: Payload, pages: str | None) -> str:
    """Return the message about a killed run as a template that Prefect's server fills in and sends."""
    link = f"{pages}/runs/flow-run/ID" if pages else None
    facts = {"flow": "FLOW", "run": "RUN"}
    text = json.dumps(payload(Message("FLOW: Crashed", "The process was killed.", facts, link)))
    # Filled in last: `payload` would escape the braces.
    for word, name in {"FLOW": "flow.name", "RUN": "flow_run.name", "ID": "flow_run.id"}.items():
        text = text.replace(word, "{" * 2 + f" {name} " + "}" * 2)
    return text


def events_of(state: State[Any]) -> set[str]:
    """Return the events of a run: failure, or success and perhaps promotion or drift."""
    if not state.is_completed():
        return {"failure"}
    result = state.result(raise_on_failure=False)
    promoted = isinstance(result, TrainingResult) and result.alias == "champion"
    drifted = isinstance(result, MonitoringResult) and result.verdict == "drifted"
    return {"success"} | ({"promotion"} if promoted else set()) | ({"drift"} if drifted else set())


def message(name: str, run: FlowRun, state: State[Any]) -> Message:
    """Describe how a run ended: flow, run, reason and metrics."""
    facts = {"flow": name, "run": run.name}
    result = state.result(raise_on_failure=False) if state.is_completed() else None
    title, text = f"{name}: {state.name}", ""
    if isinstance(result, TrainingResult):
        title = f"{name}: version {result.version} is {result.alias}"
        text = shown("; ".join(filter(None, [result.cause, result.reason])))
        facts |= dict(metric.split(" ", 1) for metric in evaluate.compared(result.metrics))
    elif isinstance(result, MonitoringResult):
        title = f"{name}: {result.verdict}, compared with version {result.version}"
        text = shown(" ".join(filter(None, [*result.reasons, result.retraining])))
        facts |= {f"PSI of {printable(column)}": f"{value:.2f}" for column, value in result.drifted.items()}
    elif not state.is_completed():
        text = shown(state.message or "")
    pages = PREFECT_UI_URL.value()
    return Message(title, text, facts, f"{pages}/runs/flow-run/{run.id}" if pages else None)


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
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            reasons.append(type(error).__name__)

    # A thread, because the timeout of httpx is per read and does not cover DNS.
    thread = Thread(target=send, daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    return f"no answer within {TIMEOUT} seconds" if thread.is_alive() else "".join(reasons) or None


def cut(text: str, length: int) -> str:
    """Shorten a text to `length` characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
