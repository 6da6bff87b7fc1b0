"""Bring the flows of prefect.yaml to a Prefect server: the same for a local one, one of your own, and Prefect Cloud."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    DeploymentFilterName,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType, WorkPool
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events.actions import CallWebhook, ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from prefect.workers.utilities import get_default_base_job_template_for_infrastructure_type
from ruamel.yaml import YAML

from ...errors import ProjectError
from ..notify import channel
from ..settings import PACKAGE, project_root, read_settings
from . import deployments, secret_blocks

# Two heartbeats may get lost.
SILENCE = 2.5
# Seconds in which a server's scheduler plans the runs of what is new.
PLANNED = 30
ENDED = ("Completed", "Failed", "Crashed", "Cancelled")
KILLED = "Its heartbeats stopped: it was killed."
# How the message of Prefect's worker begins where the process of a run was killed.
EXITED = "Flow run infrastructure exited with non-zero status code"
# Where the worker has the project's .env, or the cluster its Secret.
HAVE_SECRETS = ("process", "kubernetes")


def deploy(kind: str, job: Path | None = None) -> Iterator[str]:
    """Check prefect.yaml, make the work pool if there is none, register the flows; say what is due, and where to look.

    A work pool that exists is kept as it is, but for the secrets of .env. `job` names a file that is laid over the Job
    of a Kubernetes work pool.
    """
    plan = deployments.read()
    [name, *others] = {deployment["work_pool"].get("name") for deployment in plan}
    if others or not name:
        raise ProjectError(f"{deployments.NAME}: every `work_pool` must have one and the same `name`.")
    if kind != "process" and read_settings().mlflow_tracking_uri.startswith("sqlite:"):
        raise ProjectError(
            "MLFLOW_TRACKING_URI is a file of this machine, which flows that run elsewhere do not see: "
            "name an MLflow server in .env."
        )
    with get_client(sync_client=True) as client:
        pool = _pool(client, name)
        if pool and pool.type != kind:
            raise ProjectError(
                f"The work pool {name} is of type {pool.type}, not {kind}: give it another name in "
                f"{deployments.NAME}, or delete it with `prefect work-pool delete {name}`."
            )
        template = pool.base_job_template if pool else base_job_template(kind, job)
        deployments.check_job_variables(plan, template)
        if not pool:
            client.create_work_pool(WorkPoolCreate(name=name, type=kind, base_job_template=template))
        if kind not in HAVE_SECRETS:
            _give_secrets(client, name, template)
        yield f"Work pool {name} ({kind}): {'kept as it is' if pool else 'made'}."
        _register()
        _watch(client, plan)
        yield from _due(client, plan)
    yield f"Look at {get_current_settings().ui_url}/deployments."


def base_job_template(kind: str, job: Path | None = None) -> dict[str, Any]:
    """Return what a new work pool of a type starts from."""
    template = asyncio.run(get_default_base_job_template_for_infrastructure_type(kind))
    if template is None:
        hint = (
            "only Prefect Cloud has it" if kind.endswith(":managed") else "the package of its worker is not installed"
        )
        raise ProjectError(f"{os.environ['PREFECT_API_URL']} knows no work pool of the type {kind}: {hint}.")
    if job:
        manifest = template["job_configuration"]["job_manifest"]
        template["job_configuration"]["job_manifest"] = overlaid(manifest, YAML(typ="safe").load(project_root() / job))
    return template


def overlaid(below: Any, above: Any) -> Any:
    """Lay a manifest over another, as kustomize would: mappings by key, lists (containers) by position."""
    match below, above:
        case dict(), dict():
            return below | {key: overlaid(below.get(key), value) for key, value in above.items()}
        case list(), list():
            return [overlaid(*pair) for pair in zip(below, above, strict=False)] + below[len(above) :]
    return above


def _pool(client: SyncPrefectClient, name: str) -> WorkPool | None:
    try:
        return client.read_work_pool(name)
    except ObjectNotFound:
        return None


def _give_secrets(client: SyncPrefectClient, pool: str, template: dict[str, Any]) -> None:
    """Let each run of the work pool have the secrets of .env in its environment, beside what prefect.yaml says."""
    template["job_configuration"]["env"] = secret_blocks.environment(pool)
    client.update_work_pool(pool, WorkPoolUpdate(base_job_template=template))


def _register() -> None:
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, cwd=project_root(), capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).strip()
        raise ProjectError(f"`prefect deploy` refused what {deployments.NAME} says:\n{said}")


def _watch(client: SyncPrefectClient, plan: list[dict[str, Any]]) -> None:
    """Let the server mark what has stopped to send heartbeats, because it was killed; a second time, do it anew."""
    silence = SILENCE * (get_current_settings().flows.heartbeat_frequency or 0)
    beat, own = "prefect.flow-run.heartbeat", plan[0]["work_pool"]["name"]
    automation = AutomationCore(
        name=f"{own}: mark killed runs",
        description=f"A flow run that has sent no heartbeat for {silence:.0f} seconds was killed.",
        trigger=EventTrigger(
            after={beat},
            expect={beat, *(f"prefect.flow-run.{state}" for state in ENDED)},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=silence),
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=KILLED)],
    )
    _automate(client, automation)
    payload = channel.killed_message(get_current_settings().ui_url)
    if payload and (webhook := secret_blocks.webhook(own)):
        _automate(client, _telling(own, CallWebhook(block_document_id=webhook, payload=payload)))


def _telling(own: str, call: CallWebhook) -> AutomationCore:
    """Let the server tell of runs of this project that were killed, as they cannot: it, or their worker, marks them."""
    crashed = {"prefect.resource.id": "prefect.flow-run.*", "prefect.state-message": [KILLED, f"{EXITED}*"]}
    tagged = {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{PACKAGE}"}
    return AutomationCore(
        name=f"{own}: tell of killed runs",
        trigger=EventTrigger(
            expect={"prefect.flow-run.Crashed"},
            match=ResourceSpecification(crashed),
            match_related=ResourceSpecification(tagged),
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[call],
    )


def _automate(client: SyncPrefectClient, automation: AutomationCore) -> None:
    """Set an automation up, in the place of an earlier one of that name."""
    if found := client.read_automations_by_name(automation.name):
        client.update_automation(found[0].id, automation)
    else:
        client.create_automation(automation)


def _due(client: SyncPrefectClient, plan: list[dict[str, Any]]) -> Iterator[str]:
    """Say what runs next; the server plans what is new within seconds."""
    found = client.read_deployments(
        deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[one["name"] for one in plan])),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[plan[0]["work_pool"]["name"]])),
    )
    end = time.monotonic() + PLANNED
    for deployment in sorted(found, key=lambda one: one.name):
        scheduled = any(schedule.active for schedule in deployment.schedules) and not deployment.paused
        due = _next(client, deployment.id)
        while scheduled and not due and time.monotonic() < end:
            time.sleep(0.5)
            due = _next(client, deployment.id)
        if scheduled and not due:
            raise ProjectError(
                f"{deployment.name} is deployed, but the server planned no run of it within {PLANNED} seconds: "
                "is its scheduler alive? Its log knows."
            )
        when = f"next on {due.astimezone():%A, %Y-%m-%d at %H:%M %Z}" if due else "by hand"
        yield f"  {deployment.name}: {when}"


def _next(client: SyncPrefectClient, deployment: UUID) -> datetime | None:
    """Return when the next planned run of a deployment is due, None if none is."""
    runs = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment])),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
            expected_start_time=FlowRunFilterExpectedStartTime(after_=datetime.now(UTC)),
        ),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=1,
    )
    return runs[0].expected_start_time if runs else None
