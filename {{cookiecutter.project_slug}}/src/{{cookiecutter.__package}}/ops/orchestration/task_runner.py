"""Seam: where the tasks that a flow submits run, such as the candidates of a search."""

from typing import Any

import joblib
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner


def task_runner() -> TaskRunner[Any]:
    """Return threads, as many as this process has cores (a container's limit counts): fitting leaves Python's lock."""
    return ThreadPoolTaskRunner(max_workers=joblib.cpu_count())
