"""How tasks behave: what is tried again, and what is reused."""

import errno
import hashlib
import json
from collections.abc import Callable
from typing import Any, ParamSpec

from mlflow.exceptions import MlflowException
from prefect import Task
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.tasks import exponential_backoff
from pydantic_core import to_jsonable_python
from sqlalchemy.exc import OperationalError

from ...errors import ProjectError
from ..files import File
from ..versioning.content import digest_of_code

P = ParamSpec("P")
# Faults of input and output may pass; these may not, though Python counts them among the former.
LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def is_transient(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Tell whether to try again: after faults of input and output, never after a wrong schema or faulty code."""
    fault = state.result(raise_on_failure=False)
    if isinstance(fault, MlflowException):
        # A database that is locked, a server that does not answer.
        return fault.error_code in {"TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR"}
    if isinstance(fault, OSError) and fault.errno in FULL:
        return False
    return isinstance(fault, OSError | OperationalError) and not isinstance(fault, LASTING)


def cache_key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """Name a task run by all that its result depends on: task, code, the content of its files, its other parameters."""
    plain = {
        name: value.md5 if isinstance(value, File) else to_jsonable_python(value) for name, value in parameters.items()
    }
    # A kept result names the class File by its module: one by another name could not be read.
    known_by = json.dumps([File.__module__, context.task.name, digest_of_code(), plain], sort_keys=True)
    return hashlib.sha256(known_by.encode()).hexdigest()


RETRY: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(2),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": is_transient,
}
CACHED: dict[str, Any] = {
    "cache_policy": CacheKeyFnPolicy(cache_key_fn=cache_key),
    "persist_result": True,
    "result_serializer": "json",
}


def reuse(task: Task[P, list[File]]) -> Callable[P, list[File]]:
    """Call a cached task, and call it afresh if the files that it once wrote are no longer as it wrote them.

    Raises ProjectError if they are not even now: something else writes to the project.
    """

    def call(*args: P.args, **kwargs: P.kwargs) -> list[File]:
        for again in (task, task.with_options(refresh_cache=True)):
            files = again(*args, **kwargs)
            changed = [str(file.path) for file in files if not file.intact()]
            if not changed:
                return files
        raise ProjectError(
            f"{', '.join(changed)}: not what the step {task.name} has read and written; something else changes the "
            "files of this project. Run the same again when it has ended."
        )

    return call
