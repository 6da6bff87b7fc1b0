"""What prefect.yaml says, held against what Prefect knows: `prefect deploy` itself passes over a misspelt key."""

import os
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any

from dotenv import dotenv_values
from prefect.cli.deploy._models import (
    ConcurrencyLimitSpec,
    DeploymentConfig,
    PrefectYamlModel,
    RawScheduleConfig,
    WorkPoolConfig,
)
from prefect.client.schemas.objects import ConcurrencyOptions
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import MissingFlowError
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import validate
from prefect.utilities.templating import PlaceholderType, apply_values, find_placeholders
from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from ...errors import ProjectError
from ..settings import project_root, state_dir

NAME = "prefect.yaml"
# Where Prefect's documentation puts what YAML's anchors share.
SHARED = "definitions"
# The sections that have keys of their own, below a deployment.
SECTIONS = {"work_pool": WorkPoolConfig, "concurrency_limit": ConcurrencyLimitSpec}

Section = dict[str, Any]


def read() -> list[Section]:
    """Return the deployments, their variables filled in; raise ProjectError with a sentence for each fault."""
    try:
        content = YAML(typ="safe").load(project_root() / NAME)
    except FileNotFoundError:
        raise ProjectError(f"{NAME} is missing in {project_root()}.") from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise ProjectError(f"{NAME}, line {line}: not valid YAML ({error.problem}).") from None
    if not isinstance(content, dict):
        raise ProjectError(f"{NAME} must be a mapping with the key `deployments`.")
    for name, value in dotenv_values(state_dir() / ".env").items():
        os.environ.setdefault(name, value or "")
    _refuse(_unset(content))
    filled: Any = apply_values(content, dict(os.environ), remove_notset=False)
    _refuse(faults(filled))
    deployments: list[Section] = filled.get("deployments") or []
    if not deployments:
        raise ProjectError(f"{NAME}: `deployments` is empty, so there is nothing to deploy.")
    return deployments


def check_job_variables(deployments: Iterable[Section], template: Section) -> None:
    """Hold the job variables against the base job template of their work pool; raise ProjectError for each fault."""
    _refuse(fault for deployment in deployments for fault in _job_variable_faults(deployment, template["variables"]))


def faults(content: Section) -> Iterator[str]:
    """Say in a sentence each what Prefect would not understand."""
    yield from _unknown({key: value for key, value in content.items() if key != SHARED}, PrefectYamlModel, "")
    deployments = content.get("deployments") or []
    if not isinstance(deployments, list) or not all(isinstance(one, dict) for one in deployments):
        yield f"{NAME}: `deployments` must be a list of mappings."
        return
    for place, deployment in enumerate(deployments):
        where = f"deployments.{deployment.get('name', place)}"
        yield from _unknown(deployment, DeploymentConfig, where)
        for key in {"name", "entrypoint", "work_pool"} - deployment.keys():
            yield f"{NAME}: `{where}.{key}` is missing."
        for key, section in SECTIONS.items():
            if isinstance(deployment.get(key), dict):
                yield from _unknown(deployment[key], section, f"{where}.{key}")
        yield from _wrong(deployment.keys() - {"schedules"}, deployment, DeploymentConfig, where)
        if isinstance(limit := deployment.get("concurrency_limit"), dict):
            yield from _wrong({"collision_strategy"}, limit, ConcurrencyOptions, f"{where}.concurrency_limit")
        yield from _flow_faults(deployment, where)
        for number, schedule in enumerate(deployment.get("schedules") or []):
            yield from _schedule_faults(schedule, f"{where}.schedules.{number}")


def _flow_faults(deployment: Section, where: str) -> Iterator[str]:
    entrypoint, given = str(deployment.get("entrypoint")), deployment.get("parameters") or {}
    try:
        schema = parameter_schema(load_flow_from_entrypoint(entrypoint)).model_dump_for_openapi()
    except (ImportError, MissingFlowError, AttributeError, ValueError) as error:
        yield f"{NAME}: `{where}.entrypoint` is {entrypoint!r}; there is no such flow ({error})."
        return
    for key in given.keys() - schema["properties"].keys():
        yield f"{NAME}: `{where}.parameters.{key}` is not a parameter of {entrypoint}."
    for fault in validate(given, schema):
        yield f"{NAME}: `{where}.parameters` are wrong; {fault.message}."


def _schedule_faults(schedule: Any, where: str) -> Iterator[str]:
    if not isinstance(schedule, dict):
        yield f"{NAME}: `{where}` is {schedule!r}; a mapping with `cron` would be right."
        return
    unknown = list(_unknown(schedule, RawScheduleConfig, where))
    yield from unknown or _wrong(schedule.keys() | {""}, schedule, RawScheduleConfig, where)
    if "cron" in schedule and not unknown:
        yield from _wrong({"cron", "timezone"}, schedule, CronSchedule, where)


def _unknown(section: Section, model: type[BaseModel], where: str) -> Iterator[str]:
    """Name the keys that Prefect would pass over."""
    allowed = [field.alias or name for name, field in model.model_fields.items()]
    for key in section.keys() - set(allowed):
        yield _not_a_key(f"{where}.{key}".lstrip("."), str(key), allowed)


def _wrong(keys: Iterable[str], section: Section, model: type[BaseModel], where: str) -> Iterator[str]:
    """Say which of the keys have a value that is refused; the empty key stands for the section as a whole."""
    chosen = {key: value for key, value in section.items() if key in keys}
    try:
        model.model_validate(chosen)
    except ValidationError as error:
        # A value that may be of several types fails once for each of them.
        for fault in {str(fault["loc"][:1]): fault for fault in error.errors()}.values():
            key = ".".join([where, *map(str, fault["loc"][:1])])
            reason = fault["msg"].removeprefix("Value error, ")
            yield f"{NAME}: `{key}` is {fault['input']!r}; {reason[0].lower()}{reason[1:]}."


def _job_variable_faults(deployment: Section, variables: Section) -> Iterator[str]:
    given = deployment["work_pool"].get("job_variables") or {}
    where = f"deployments.{deployment['name']}.work_pool.job_variables"
    allowed = list(variables["properties"])
    for key in given.keys() - set(allowed):
        yield _not_a_key(f"{where}.{key}", key, allowed)
    for fault in validate(given, variables):
        key = ".".join([where, *map(str, fault.absolute_path)])
        yield f"{NAME}: `{key}` is wrong; {fault.message}."


def _not_a_key(path: str, key: str, allowed: list[str]) -> str:
    near = get_close_matches(key, allowed, n=1)
    hint = f"`{near[0]}` is meant" if near else f"allowed are {', '.join(sorted(allowed))}"
    return f"{NAME}: `{path}` is not a key that Prefect knows; {hint}."


def _unset(content: Section) -> Iterator[str]:
    """Name the variables of the environment that would silently become empty text."""
    used = {one.name for one in find_placeholders(content) if one.type is PlaceholderType.ENV_VAR}
    for name in sorted(name.removeprefix("$") for name in used):
        if not os.environ.get(name):
            yield f"{NAME}: `{name}` is not set, though it is used; name it in .env or in the environment."


def _refuse(sentences: Iterable[str]) -> None:
    if said := "\n".join(sentences):
        raise ProjectError(said)
