"""Seam: where the tasks that a flow submits run, such as the candidates of a search; here on Ray."""

import os
from typing import Any, Self

import joblib
from prefect.task_runners import TaskRunner
from prefect_ray import RayTaskRunner

from ...errors import ProjectError
from ..addresses import redacted, without_secrets
from ..settings import read_settings

DEFAULTS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Under `uv run`, Ray would copy the project to each worker and install it there again.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}


def task_runner() -> TaskRunner[Any]:
    """Return a runner on the cluster that .env names, or on local processes, one per core."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    # Prefect collects the logs of the tasks.
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if address := read_settings().ray_address:
        return Ray(address, quiet)
    return Ray(init_kwargs=quiet | {"num_cpus": joblib.cpu_count(), "include_dashboard": False})


class Ray(RayTaskRunner[Any]):  # type: ignore[misc] # prefect_ray has no types
    """Prefect's runner, which starts with the first task, and with one sentence where no cluster answers."""

    def __enter__(self) -> Self:
        """Start nothing yet: a flow that submits no task would wait for nothing."""
        return TaskRunner.__enter__(self)

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        """Start or connect before the first task."""
        if self._ray_context is None:
            self._started = False
            try:
                super().__enter__()
            except (ConnectionError, RuntimeError) as error:
                address, reason = redacted(self.address), without_secrets(str(error), self.address)
                raise ProjectError(
                    f"No Ray cluster answers at {address} ({reason}): start one with `ray start --head`, "
                    "or remove RAY_ADDRESS from .env to run on this machine."
                ) from None
        return super().submit(*args, **kwargs)
