"""Seam: where the tasks that a flow submits run, such as the candidates of a search; here in threads."""

from typing import Any

import joblib
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner


def task_runner() -> TaskRunner[Any]:
    """Return a pool with a thread per core, within the limit of a container: fitting releases the GIL."""
    return ThreadPoolTaskRunner(max_workers=joblib.cpu_count())
