"""Closing the loop: repeated drift starts the retraining, seldom enough that it cannot loop."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any

from prefect import get_run_logger, tags
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import DeploymentSort
from prefect.deployments import run_deployment
from pydantic import BaseModel, Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from ..ops.orchestration import session
from ..ops.settings import PACKAGE
from ..ops.tracking import comparisons
from ..ops.tracking.comparisons import Comparison
from ..report.drift import Verdict
from .retraining import FAILED, NOTHING_NEW, failure_noted, outcome, retraining

# The days of the cap.
PERIOD = 30
DRIFTED: Verdict = "drifted"
TOO_FEW: Verdict = "too few rows"
# How the outcome of a retraining begins that is not due, and of one that has not ended or was killed.
REFUSED, ASKED = "No retraining", "Asked for"


class Policy(BaseModel, extra="forbid", title="When drift retrains"):
    """When drift retrains: after `drifted` of the `last` comparisons of a version, but not too often."""

    drifted: PositiveInt = Field(2, description="So many of the last comparisons must have drifted")
    last: PositiveInt = Field(3, le=100, description="How many comparisons that is")
    cooldown_days: NonNegativeFloat = Field(7, description="Days between two retrainings on drift")
    most: NonNegativeInt = Field(5, description=f"Retrainings on drift in {PERIOD} days; 0 switches them off")


DEFAULT = Policy()


def respond(comparison: Comparison, reason: str, policy: Policy, note: Callable[[str], None]) -> str:
    """Start the retraining if it is due after this comparison, which has drifted.

    `note` gets a sentence with what came of it, each time that more is known; the last one is returned.
    """
    history = comparisons.recent(policy.last, comparison.version, without=TOO_FEW)
    attempts = comparisons.drifted(max(PERIOD, policy.cooldown_days))
    result = obstacle(history, attempts, policy, datetime.now(UTC))
    if not result:
        cause = f"drift: {reason} in {drifted(history)} of the last {len(history)} comparisons"
        # Recorded before it starts: if this process is killed, the attempt counts.
        note(f"{ASKED}; it has not ended.")
        with failure_noted(note):
            result = start(cause, [*unanswered(attempts), comparison.run_id])
    note(result)
    return result


def obstacle(history: Sequence[Comparison], attempts: Sequence[Comparison], policy: Policy, now: datetime) -> str:
    """Return why the retraining does not start, empty if it does; the latest comparisons come first."""
    if drifted(history) < policy.drifted:
        return (
            f"{REFUSED}: {drifted(history)} of the last {len(history)} comparison(s) of this version drifted; "
            f"it starts at {policy.drifted} of {policy.last}."
        )
    counting = [attempt for attempt in attempts if not attempt.retraining.startswith((NOTHING_NEW, REFUSED))]
    # One that failed or was killed does not delay the next one.
    finished = [attempt for attempt in counting if not attempt.retraining.startswith((ASKED, FAILED))]
    pause = timedelta(days=policy.cooldown_days)
    if finished and now < (end := max(attempt.when for attempt in finished) + pause):
        return f"{REFUSED} before {end:%Y-%m-%d %H:%M} UTC: the last one on drift was less than {pause} ago."
    recently = [attempt for attempt in counting if attempt.when > now - timedelta(days=PERIOD)]
    if len(recently) >= policy.most:
        return f"{REFUSED}: there were {len(recently)} on drift in {PERIOD} days, and {policy.most} are allowed."
    return ""


def unanswered(attempts: Sequence[Comparison]) -> list[str]:
    """Return the MLflow runs of the attempts since the last finished one that have no outcome, the oldest first."""
    others = (NOTHING_NEW, REFUSED, FAILED)
    counting = [attempt for attempt in attempts if not attempt.retraining.startswith(others)]
    return [each.run_id for each in takewhile(lambda each: each.retraining.startswith(ASKED), counting)][::-1]


def drifted(history: Sequence[Comparison]) -> int:
    """Count the comparisons that have drifted."""
    return sum(past.verdict == DRIFTED for past in history)


def start(cause: str, comparisons: Sequence[str]) -> str:
    """Start the deployment of the retraining, or run the flow where there is none; say in a sentence what was done.

    The last of the comparisons, which are MLflow runs, is this one. The monitors of the others were killed before or
    after they started the deployment. The deployed run records its outcome with the comparison that started it.
    """
    if deployment := find_deployment():
        for comparison in comparisons:
            parameters = {"cause": cause, "comparison": comparison}
            # For a key that it knows, Prefect returns the run instead of starting a second one.
            run: Any = run_deployment(
                deployment.id, parameters=parameters, idempotency_key=comparison, timeout=0, as_subflow=False
            )
            if not (run.state and run.state.is_final()):
                break
        return f"Started the retraining as flow run {run.name}."
    get_run_logger().warning("Retraining, %s", cause)
    with tags(PACKAGE):
        return outcome(retraining(cause))


def find_deployment() -> DeploymentResponse | None:
    """Return this project's deployment of the retraining, if there is a server that stays and has it."""
    if session.ends_with_run():
        return None
    with get_client(sync_client=True) as client:
        # The last that `deploy` registered comes first.
        named = FlowFilter(name={"any_": [retraining.name]})
        found = client.read_deployments(flow_filter=named, sort=DeploymentSort.UPDATED_DESC)
    ours = f"{PACKAGE}.flows.retraining.retraining"
    return next((deployment for deployment in found if deployment.entrypoint == ours), None)
