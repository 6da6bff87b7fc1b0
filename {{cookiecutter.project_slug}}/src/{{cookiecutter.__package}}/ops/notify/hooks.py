"""Who is told what a flow run came to: hooks for its end, which never delay or fail it."""

from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.logging.loggers import flow_run_logger
from prefect.settings import PREFECT_UI_URL

from ...steps import evaluate
from ..orchestration.results import TrainingResult
from ..settings import read_settings
from . import channel, webhook
from .webhook import Message

# What has been warned about in this process: once is enough.
WARNED: set[str] = set()


def send(flow: Flow[..., Any], run: FlowRun, state: State[Any]) -> None:
    """Send what a run came to, if somebody wants to know; a subflow is its parent's business."""
    if not channel.ENABLED or run.parent_task_run_id is not None:
        return
    settings = read_settings()
    if settings.notify_webhook_url is None:
        return
    events = {"failure"} if not state.is_completed() else events_of(state)
    if events & {"failure", *settings.notify_on}:
        told = channel.payload(message(flow.name, run, state))
        lost = webhook.send(settings.notify_webhook_url.get_secret_value(), told)
        if lost and lost not in WARNED:
            WARNED.add(lost)
            flow_run_logger(run, flow).warning("A notification was not delivered: %s", lost)


def events_of(state: State[Any]) -> set[str]:
    """Return what a completed run has brought: success, perhaps a promotion or a drift."""
    result = state.result(raise_on_failure=False)
    promoted = isinstance(result, TrainingResult) and result.alias == "champion"
    drifted = isinstance(result, dict) and bool(result)
    return {"success"} | ({"promotion"} if promoted else set()) | ({"drift"} if drifted else set())


def message(name: str, run: FlowRun, state: State[Any]) -> Message:
    """Say what a run came to: flow, run, reason, and what it measured."""
    facts = {"flow": name, "run": run.name}
    result = state.result(raise_on_failure=False) if state.is_completed() else None
    title, text = f"{name}: {state.name}", ""
    if isinstance(result, TrainingResult):
        title = f"{name}: version {result.version} is {result.alias}"
        text = result.reason
        facts |= dict(said.split(" ", 1) for said in evaluate.compared(result.metrics))
    elif isinstance(result, dict) and result:
        title = f"{name}: {len(result)} column(s) have drifted"
        facts |= {f"drift of {column}": f"{value:.2f}" for column, value in result.items()}
    elif not state.is_completed():
        text = state.message or ""
    pages = PREFECT_UI_URL.value()
    return Message(title, text, facts, f"{pages}/runs/flow-run/{run.id}" if pages else None)


NOTIFIED: dict[str, Any] = {"on_failure": [send], "on_crashed": [send], "on_completion": [send]}
