"""prefect.yaml as types. `prefect deploy` itself ignores misspelt keys, unset variables and unknown parameters."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Annotated, Any, Self

from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.client.schemas.schedules import construct_schedule
from prefect.exceptions import MissingFlowError
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import validate
from prefect.utilities.templating import PlaceholderType, apply_values, find_placeholders
from pydantic import BaseModel, BeforeValidator, Field, model_validator

from ...errors import ProjectError
from ..addresses import is_secret
from ..settings import PACKAGE, image, load_yaml, parse, read_settings, unknown_key, variables

NAME = "prefect.yaml"


class WorkPool(BaseModel, extra="forbid"):
    """Where the runs of a deployment go."""

    name: str
    work_queue_name: str | None = None
    job_variables: dict[str, Any] = {}


class ConcurrencyLimit(ConcurrencyLimitConfig, extra="forbid"):
    """How many runs of a deployment may run at once, and what happens to the next one."""


class Schedule(BaseModel, extra="forbid"):
    """When a deployment runs: by one of `cron`, `interval` and `rrule`."""

    cron: str | None = None
    interval: timedelta | None = None
    rrule: str | None = None
    timezone: str | None = None
    anchor_date: datetime | None = None
    day_or: bool = True
    active: bool | str = True
    parameters: dict[str, Any] = {}
    slug: str | None = None
    replaces: str | None = None

    @model_validator(mode="after")
    def is_valid(self) -> Self:
        """Let Prefect check the values."""
        construct_schedule(**self.model_dump(include={"cron", "interval", "rrule", "timezone", "anchor_date"}))
        return self


class Steps(BaseModel, extra="forbid"):
    """Steps before `prefect deploy` registers (build, push) and before a run (pull)."""

    build: Any = None
    push: Any = None
    pull: Any = None


class Deployment(Steps):
    """A flow that a Prefect server knows: where, when and with which parameters it runs."""

    name: str
    entrypoint: str
    work_pool: WorkPool
    description: str | None = None
    tags: list[str] | None = None
    parameters: dict[str, Any] = {}
    enforce_parameter_schema: bool = True
    schedules: list[Schedule] | None = None
    paused: bool | None = None
    concurrency_limit: Annotated[
        ConcurrencyLimit | None, BeforeValidator(lambda limit: {"limit": limit} if isinstance(limit, int) else limit)
    ] = None
    version: str | None = None
    version_type: str | None = None
    triggers: list[dict[str, Any]] = []
    sla: list[dict[str, Any]] = []


class Plan(Steps):
    """The whole file; `definitions` holds YAML anchors."""

    deployments: list[dict[str, Any]] = Field(min_length=1)
    name: str | None = None
    prefect_version: str | None = Field(None, alias="prefect-version")
    definitions: Any = None


def read() -> list[Deployment]:
    """Return the deployments with their variables filled in; raise ProjectError naming file, key and what is right."""
    content = load_yaml(NAME)
    os.environ |= variables() | {"IMAGE": image()}  # where Prefect looks for them
    _refuse(_unset_variables(content))
    filled = apply_values(content, dict(os.environ), remove_notset=False)
    _refuse(_secrets(filled))
    plan = parse(filled, NAME, Plan)
    return [
        parse(section, _where(section.get("entrypoint", place)), Deployment)
        for place, section in enumerate(plan.deployments)
    ]


def check(deployments: Iterable[Deployment], template: dict[str, Any]) -> None:
    """Check parameters against the flows and job variables against the work pool's base job template.

    Raises ProjectError with a sentence for each fault.
    """
    deployments = list(deployments)
    _refuse(fault for deployment in deployments for fault in _faults(deployment, template["variables"]))
    names = Counter(map(full_name, deployments))
    repeated = [name for name, count in names.items() if count > 1]
    _refuse(f"{NAME}: more than one deployment is {name}; give each a `name` of its own." for name in repeated)


def full_name(deployment: Deployment) -> str:
    """Return the name of a deployment on a server: flow/deployment."""
    return f"{load_flow_from_entrypoint(deployment.entrypoint).name}/{deployment.name}"


def is_own(entrypoint: str | None) -> bool:
    """Tell whether an entrypoint, a module or a file, is in this project's package."""
    return entrypoint is not None and (entrypoint.startswith(f"{PACKAGE}.") or f"src/{PACKAGE}/" in entrypoint)


def _unset_variables(content: Any) -> Iterator[str]:
    """Name the variables that would silently become empty text, or a file that only this machine has."""
    used = {found.name for found in find_placeholders(content) if found.type is PlaceholderType.ENV_VAR}
    for name in sorted(name.removeprefix("$") for name in used):
        if name == "MLFLOW_TRACKING_URI" and read_settings().mlflow_file:
            yield f"{NAME}: flow runs elsewhere cannot use MLflow's database file; set {name} to a server's address."
        elif not os.environ.get(name):
            yield f"{NAME}: the variable `{name}` is not set; set it in .env or in the environment."


def _secrets(content: Any, key: str = "") -> Iterator[str]:
    """Name the addresses whose secrets the server would store as plain text."""
    if isinstance(content, dict | list):
        for name, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield from _secrets(value, f"{key}.{name}" if key else str(name))
    elif isinstance(content, str) and "://" in content and is_secret(content):
        yield f"{NAME}: `{key}` contains a password or key, which the server would store as plain text; use a secret."


def _where(entrypoint: object) -> str:
    """Name a deployment by its flow: the deployments of a project have one name."""
    return f"{NAME}, deployment of {re.split('[.:]', str(entrypoint))[-1]}"


def _faults(deployment: Deployment, job_variables: dict[str, Any]) -> Iterator[str]:
    where, pool = _where(deployment.entrypoint), deployment.work_pool
    yield from _schema_faults(where, "work_pool.job_variables", pool.job_variables, job_variables)
    try:
        schema = parameter_schema(load_flow_from_entrypoint(deployment.entrypoint)).model_dump_for_openapi()
    except (ImportError, MissingFlowError, AttributeError, ValueError) as error:
        yield f"{where}: `entrypoint` is {deployment.entrypoint!r}; there is no such flow ({error})."
    else:
        yield from _schema_faults(where, "parameters", deployment.parameters, schema)


def _schema_faults(where: str, key: str, values: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    """Check values against a JSON schema; a name that the schema does not have is a fault, too."""
    for name in values.keys() - schema["properties"].keys():
        yield unknown_key(where, f"{key}.{name}", schema["properties"])
    for fault in validate(values, schema):
        yield f"{where}: `{'.'.join([key, *map(str, fault.absolute_path)])}` is wrong; {fault.message}."


def _refuse(faults: Iterable[str]) -> None:
    if sentences := list(faults):
        raise ProjectError(*sentences)
