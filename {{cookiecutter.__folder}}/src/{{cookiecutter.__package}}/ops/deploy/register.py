"""Register the flows of prefect.yaml with a Prefect server: that of `ui`, another one, or Prefect Cloud."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter, WorkPoolFilter
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import DeploymentSort, FlowRunSort
from prefect.events.actions import CallWebhook, ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from prefect.workers.utilities import get_default_base_job_template_for_infrastructure_type

from ...errors import ProjectError
from ..addresses import without_secrets
from ..notify import channel
from ..settings import PACKAGE, load_yaml, project_root, read_settings
from . import deployments, secret_blocks
from .deployments import Deployment

# A run without a heartbeat for this many intervals was killed; two heartbeats may get lost.
SILENT_INTERVALS = 2.5
# The scheduler of a server plans the runs of a new deployment within this many seconds.
PLANNING_TIME = 30
PAGE = 200  # deployments in an answer of the server
ENDED = ("Completed", "Failed", "Crashed", "Cancelled")
KILLED = "Its heartbeats stopped: it was killed."
# The message of Prefect's worker about a killed run begins like this.
EXITED = "Flow run infrastructure exited with non-zero status code"
# Other projects on the server have runs, and an interval of heartbeats, of their own.
OWN_RUNS = ResourceSpecification({"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{PACKAGE}"})
# Flow runs in these work pools have the project's .env, or a Secret of the cluster.
HAVE_SECRETS = ("process", "kubernetes")


def deploy(kind: str, job: Path | None = None, *, prune: bool = False) -> Iterator[str]:
    """Check prefect.yaml, create the work pool if it is missing, register the flows; yield what to tell the user.

    In a work pool that exists only the secrets of .env change. `job` is a file that patches the Job of a new
    Kubernetes work pool. `prune` deletes the project's deployments that have left prefect.yaml.
    """
    plan = deployments.read()
    [name, *others] = {deployment.work_pool.name for deployment in plan}
    if others:
        raise ProjectError(f"{deployments.NAME}: every `work_pool` must have one and the same `name`.")
    if kind != "process" and read_settings().mlflow_tracking_uri.startswith("sqlite:"):
        raise ProjectError(
            "MLFLOW_TRACKING_URI is a file on this machine, which flows that run elsewhere cannot see: "
            "set it to an MLflow server in .env."
        )
    with get_client(sync_client=True) as client:
        pools = client.read_work_pools(work_pool_filter=WorkPoolFilter(name={"any_": [name]}))
        pool = pools[0] if pools else None
        if pool and pool.type != kind:
            raise ProjectError(
                f"The work pool {name} is of type {pool.type}, not {kind}: give it another name in "
                f"{deployments.NAME}, or delete it with `prefect work-pool delete {name}`."
            )
        template = pool.base_job_template if pool else base_job_template(kind, job)
        deployments.check(plan, template)
        _refuse_to_replace(client, plan)
        if kind not in HAVE_SECRETS:
            secret_blocks.add_to(template, name)
        if not pool:
            client.create_work_pool(WorkPoolCreate(name=name, type=kind, base_job_template=template))
        elif kind not in HAVE_SECRETS:
            client.update_work_pool(name, WorkPoolUpdate(base_job_template=template))
        yield f"Work pool {name} ({kind}): {'unchanged' if pool else 'created'}."
        _register()
        _watch(client, plan)
        own = registered(client)
        yield from _due(client, plan, own)
        yield from _left(client, plan, own, prune=prune)
    yield f"See {get_current_settings().ui_url}/deployments."


def base_job_template(kind: str, job: Path | None = None) -> dict[str, Any]:
    """Return the base job template of a new work pool."""
    template = asyncio.run(get_default_base_job_template_for_infrastructure_type(kind))
    if template is None:
        hint = "only Prefect Cloud has it" if kind.endswith(":managed") else "its worker's package is not installed"
        raise ProjectError(f"{os.environ['PREFECT_API_URL']} has no work pools of type {kind}: {hint}.")
    if job:
        manifest = template["job_configuration"]["job_manifest"]
        template["job_configuration"]["job_manifest"] = overlaid(manifest, load_yaml(str(job)))
    return template


def overlaid(below: Any, above: Any) -> Any:
    """Merge a manifest over another, as kustomize would: mappings by key, lists (of containers) by position."""
    match below, above:
        case dict(), dict():
            return below | {key: overlaid(below.get(key), value) for key, value in above.items()}
        case list(), list():
            return [overlaid(*pair) for pair in zip(below, above, strict=False)] + below[len(above) :]
    return above


def _refuse_to_replace(client: SyncPrefectClient, plan: list[Deployment]) -> None:
    """Raise ProjectError if another project has a deployment of the same name, which `prefect deploy` would replace."""
    for name in map(deployments.full_name, plan):
        with suppress(ObjectNotFound):
            other = client.read_deployment_by_name(name).entrypoint
            if not deployments.is_own(other):
                raise ProjectError(
                    f"The server has a deployment {name} of another project ({other}): give that of this project "
                    f"another `name` in {deployments.NAME}."
                )


def registered(client: SyncPrefectClient) -> dict[str, DeploymentResponse]:
    """Return the project's deployments on the server by their full names."""
    own: dict[str, DeploymentResponse] = {}
    for offset in count(0, PAGE):
        page = client.read_deployments(limit=PAGE, offset=offset, sort=DeploymentSort.NAME_ASC)
        for deployment in page:
            if deployments.is_own(deployment.entrypoint):
                own[f"{client.read_flow(deployment.flow_id).name}/{deployment.name}"] = deployment
        if len(page) < PAGE:
            return own
    raise AssertionError


def _register() -> None:
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, cwd=project_root(), capture_output=True, text=True, check=False)
    if done.returncode:
        output = without_secrets(done.stdout + done.stderr).strip().splitlines()
        raise ProjectError(f"`prefect deploy` refused {deployments.NAME}:", *output)


def _watch(client: SyncPrefectClient, plan: list[Deployment]) -> None:
    """Let the server mark runs that stop sending heartbeats as crashed, and report them to the channel."""
    silence = SILENT_INTERVALS * (get_current_settings().flows.heartbeat_frequency or 0)
    beat, pool = "prefect.flow-run.heartbeat", plan[0].work_pool.name
    automation = AutomationCore(
        name=f"{pool}: mark killed runs",
        description=f"A flow run that has sent no heartbeat for {silence:.0f} seconds was killed.",
        trigger=EventTrigger(
            after={beat},
            expect={beat, *(f"prefect.flow-run.{state}" for state in ENDED)},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            match_related=OWN_RUNS,
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=silence),
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=KILLED)],
    )
    _automate(client, automation)
    payload = channel.killed_message(get_current_settings().ui_url)
    if payload and (webhook := secret_blocks.webhook(pool)):
        _automate(client, _report(pool, CallWebhook(block_document_id=webhook, payload=payload)))


def _report(pool: str, call: CallWebhook) -> AutomationCore:
    """Return the automation that reports killed runs of this project, whether server or worker marked them."""
    crashed = {"prefect.resource.id": "prefect.flow-run.*", "prefect.state-message": [KILLED, f"{EXITED}*"]}
    return AutomationCore(
        name=f"{pool}: tell of killed runs",
        trigger=EventTrigger(
            expect={"prefect.flow-run.Crashed"},
            match=ResourceSpecification(crashed),
            match_related=OWN_RUNS,
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[call],
    )


def _automate(client: SyncPrefectClient, automation: AutomationCore) -> None:
    if existing := client.read_automations_by_name(automation.name):
        client.update_automation(existing[0].id, automation)
    else:
        client.create_automation(automation)


def _due(
    client: SyncPrefectClient, plan: list[Deployment], registered: Mapping[str, DeploymentResponse]
) -> Iterator[str]:
    """Say when each deployment runs next; the server plans the runs of a new one within seconds.

    The server keeps schedules that have left prefect.yaml: they are removed here.
    """
    end = time.monotonic() + PLANNING_TIME
    for name, source in sorted({deployments.full_name(each): each for each in plan}.items()):
        deployment = registered[name]
        if deployment.schedules and not source.schedules and "schedules" in source.model_fields_set:
            # `prefect deploy` replaces schedules, but an empty list changes nothing.
            client.update_deployment(deployment.id, DeploymentUpdate(schedules=[]))
            deployment.schedules = []
        scheduled = any(schedule.active for schedule in deployment.schedules) and not deployment.paused
        due = _next(client, deployment.id)
        while scheduled and not due and time.monotonic() < end:
            time.sleep(0.5)
            due = _next(client, deployment.id)
        if scheduled and not due:
            raise ProjectError(
                f"{name} is deployed, but the server planned no run of it within {PLANNING_TIME} seconds: "
                "its scheduler seems to be dead; read its log."
            )
        when = f"next on {due.astimezone():%A, %Y-%m-%d at %H:%M %Z}" if due else "by hand"
        yield f"  {name}: {when}"


def _left(
    client: SyncPrefectClient, plan: list[Deployment], registered: Mapping[str, DeploymentResponse], *, prune: bool
) -> Iterator[str]:
    """Name the project's deployments that are not in prefect.yaml; delete those in its work pool if told to."""
    pool = plan[0].work_pool.name
    for name in sorted(registered.keys() - set(map(deployments.full_name, plan))):
        left = registered[name]
        if left.work_pool_name != pool:
            yield (
                f"  {name}: not in {deployments.NAME}, but on the server in {left.work_pool_name or 'no work pool'}; "
                f"if nobody else needs it, delete it with `prefect deployment delete {name}`"
            )
        elif prune:
            client.delete_deployment(left.id)
            yield f"  {name}: deleted, as it is not in {deployments.NAME}"
        else:
            runs = ", which starts its runs" if any(schedule.active for schedule in left.schedules) else ""
            yield f"  {name}: not in {deployments.NAME}, but on the server{runs}; `make deploy PRUNE=1` deletes it"


def _next(client: SyncPrefectClient, deployment: UUID) -> datetime | None:
    """Return when the next planned run of a deployment is due, or None."""
    runs = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id={"any_": [deployment]}),
        flow_run_filter=FlowRunFilter(
            state={"type": {"any_": [StateType.SCHEDULED]}}, expected_start_time={"after_": datetime.now(UTC)}
        ),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=1,
    )
    return runs[0].expected_start_time if runs else None
