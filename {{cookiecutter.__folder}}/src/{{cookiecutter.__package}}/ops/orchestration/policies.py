"""How tasks behave: when they are tried again, and when their results are reused."""

import hashlib
import json
from collections.abc import Callable
from typing import Any, ParamSpec

from mlflow.exceptions import MlflowException
from prefect import Task
from prefect.cache_policies import NO_CACHE, CacheKeyFnPolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.tasks import exponential_backoff
from pydantic_core import to_jsonable_python
from sqlalchemy.exc import OperationalError

from ...errors import ProjectError
from .. import faults
from ..files import File
from ..versioning.content import digest_of_code

P = ParamSpec("P")
# An OSError is often transient; these are not.
PERMANENT = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)


def is_transient(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Tell whether to try again: after failed input or output, never after a wrong schema or a bug."""
    error = state.result(raise_on_failure=False)
    if faults.is_full(error):
        return False
    if isinstance(error, MlflowException):
        # The database is locked, or the server does not answer.
        return error.error_code in {"TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR"}
    return isinstance(error, OSError | OperationalError) and not isinstance(error, PERMANENT)


def cache_key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """Hash all that a result depends on: the task, the code, the content of its files, its other parameters."""
    values = {
        name: value.md5 if isinstance(value, File) else to_jsonable_python(value) for name, value in parameters.items()
    }
    # A cached result names the module of File, so it cannot be read after File has moved.
    key = json.dumps([File.__module__, context.task.name, digest_of_code(), values], sort_keys=True)
    return hashlib.sha256(key.encode()).hexdigest()


RETRY: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(2),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": is_transient,
}
# Of a task that acts, so that its result is never reused.
STEP: dict[str, Any] = {"timeout_seconds": 3600, "cache_policy": NO_CACHE, **RETRY}
CACHED: dict[str, Any] = {
    "cache_policy": CacheKeyFnPolicy(cache_key_fn=cache_key),
    "persist_result": True,
    "result_serializer": "json",
}


def reuse(task: Task[P, list[File]]) -> Callable[P, list[File]]:
    """Wrap a cached task: it runs again if the files that it wrote have changed since.

    Raises ProjectError if they change even while it runs.
    """

    def call(*args: P.args, **kwargs: P.kwargs) -> list[File]:
        for attempt in (task, task.with_options(refresh_cache=True)):
            files = attempt(*args, **kwargs)
            changed = [str(file.path) for file in files if not file.intact()]
            if not changed:
                return files
        raise ProjectError(
            f"Something else changed {', '.join(changed)} during the step {task.name}. Run this again when no other "
            "program writes to the project's files."
        )

    return call
