"""Seam: where the tasks that a flow submits run, such as the candidates of a search."""

import os
from typing import Any, Self

import joblib
from prefect.task_runners import TaskRunner
from prefect_ray import RayTaskRunner

from ...errors import ProjectError
from ..settings import read_settings

DEFAULTS = {
    # Nobody is told about what runs here.
    "RAY_USAGE_STATS_ENABLED": "0",
    # Below `uv run`, Ray would copy the project to each worker and install it there again.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}


def task_runner() -> TaskRunner[Any]:
    """Return Ray: the cluster that .env names, or processes here, as many as this process has cores."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    # What the tasks say, Prefect collects.
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if address := read_settings().ray_address:
        return Ray(address, quiet)
    return Ray(init_kwargs=quiet | {"num_cpus": joblib.cpu_count(), "include_dashboard": False})


class Ray(RayTaskRunner[Any]):  # type: ignore[misc] # prefect_ray does not say its types
    """Prefect's, which the first task starts, and which says in a sentence that no cluster answers."""

    def __enter__(self) -> Self:
        """Start nothing yet: a flow that submits no task would wait for it in vain."""
        return TaskRunner.__enter__(self)

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        """Start, or connect, if this is the first."""
        if self._ray_context is None:
            self._started = False
            try:
                super().__enter__()
            except (ConnectionError, RuntimeError) as error:
                raise ProjectError(
                    f"No Ray cluster answers at {self.address} ({error}): start one with `ray start --head`, "
                    "or run on this machine by removing RAY_ADDRESS from .env."
                ) from None
        return super().submit(*args, **kwargs)
