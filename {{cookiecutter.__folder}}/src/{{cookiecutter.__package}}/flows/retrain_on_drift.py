"""Closing the loop: repeated drift starts the retraining, seldom enough that it cannot loop."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.responses import DeploymentResponse
from prefect.deployments import run_deployment
from pydantic import BaseModel, Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from ..ops.orchestration import session
from ..ops.settings import PACKAGE, read_params
from ..ops.tracking import comparisons
from ..ops.tracking.comparisons import Comparison
from ..report.drift import Verdict
from .retraining import retraining

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

# The days of the cap.
PERIOD = 30
DRIFTED: Verdict = "drifted"
TOO_FEW: Verdict = "too few rows"
# What a comparison records of a retraining that is about to start, that failed, and that had nothing to train on.
ASKED, FAILED, NOTHING_NEW = "Asked for", "Failed", "Nothing new"


class Policy(BaseModel, extra="forbid", title="When drift retrains"):
    """When drift retrains: after `drifted` of the `last` comparisons of a version, but not too often."""

    drifted: PositiveInt = Field(2, description="So many of the last comparisons must have drifted")
    last: PositiveInt = Field(3, le=100, description="How many comparisons that is")
    cooldown_days: NonNegativeFloat = Field(7, description="Days between two retrainings on drift")
    most: NonNegativeInt = Field(5, description=f"Retrainings on drift in {PERIOD} days; 0 switches them off")


DEFAULT = Policy()


def respond(comparison: Comparison, reason: str, policy: Policy) -> str:
    """Start the retraining if it is due after this comparison, which has drifted; say in a sentence what was done."""
    history = comparisons.recent(policy.last, comparison.version, without=TOO_FEW)
    attempts = comparisons.asked(max(PERIOD, policy.cooldown_days))
    if refusal := obstacle(history, attempts, policy, datetime.now(UTC)):
        return refusal
    cause = f"drift: {reason} in {drifted(history)} of the last {len(history)} comparisons"
    # Recorded before it starts: if this process is killed, the attempt counts.
    comparisons.note(comparison.run_id, ASKED)
    try:
        outcome = start(cause)
    except BaseException as error:
        comparisons.note(comparison.run_id, f"{FAILED}: {type(error).__name__}")
        raise
    comparisons.note(comparison.run_id, outcome)
    return outcome


def obstacle(history: Sequence[Comparison], attempts: Sequence[Comparison], policy: Policy, now: datetime) -> str:
    """Return why the retraining does not start, empty if it does; the latest comparisons come first."""
    if drifted(history) < policy.drifted:
        return (
            f"Drifted in {drifted(history)} of the last {len(history)} comparison(s) of this version; "
            f"the retraining starts at {policy.drifted} of {policy.last}."
        )
    counting = [attempt for attempt in attempts if not attempt.retraining.startswith(NOTHING_NEW)]
    # One that failed or was killed does not delay the next one.
    finished = [attempt for attempt in counting if not attempt.retraining.startswith((ASKED, FAILED))]
    pause = timedelta(days=policy.cooldown_days)
    if finished and now < (end := max(attempt.when for attempt in finished) + pause):
        return f"No retraining before {end:%Y-%m-%d %H:%M} UTC: the last one on drift was less than {pause} ago."
    recently = [attempt for attempt in counting if attempt.when > now - timedelta(days=PERIOD)]
    if len(recently) >= policy.most:
        return f"No retraining: there were {len(recently)} on drift in {PERIOD} days, and {policy.most} are allowed."
    return ""


def drifted(history: Sequence[Comparison]) -> int:
    """Count the comparisons that have drifted."""
    return sum(past.verdict == DRIFTED for past in history)


def start(cause: str) -> str:
    """Start the deployment of the retraining, or run the flow where there is none; say in a sentence what was done."""
    if deployment := find_deployment():
        started = run_deployment(deployment.id, parameters={"cause": cause}, timeout=0, as_subflow=False)
        return f"Started the retraining as flow run {cast('FlowRun', started).name}."
    get_run_logger().warning("Retraining, %s", cause)
    result = retraining(cause)
    if result:
        return f"The retraining made version {result.version} {result.alias}: {result.reason}."
    data = read_params().data
    hint = (
        "its origin has no other rows"
        if data.origin
        else "data.origin in params.yaml is not set, so none can be fetched"
    )
    return f"{NOTHING_NEW} to train on: {data.source} is the table that the last training had, and {hint}."


def find_deployment() -> DeploymentResponse | None:
    """Return this project's deployment of the retraining, if there is a server that stays and has it."""
    if session.ends_with_run():
        return None
    with get_client(sync_client=True) as client:
        found = client.read_deployments(flow_filter=FlowFilter(name=FlowFilterName(any_=[retraining.name])))
    ours = f"{PACKAGE}.flows.retraining.retraining"
    return next((deployment for deployment in found if deployment.entrypoint == ours), None)
