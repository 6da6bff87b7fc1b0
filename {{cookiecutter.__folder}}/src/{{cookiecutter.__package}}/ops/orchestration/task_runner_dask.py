"""Seam: where the tasks that a flow submits run, such as the candidates of a search; here on Dask."""

import logging
from typing import Any

import joblib
from prefect.task_runners import TaskRunner
from prefect_dask.client import PrefectDaskClient
from prefect_dask.task_runners import DaskTaskRunner

from ...errors import ProjectError
from ..addresses import redacted, without_secrets
from ..settings import read_settings


def task_runner() -> TaskRunner[Any]:
    """Return a runner on the cluster that .env names, or on local processes, one per core.

    It starts or connects with the first task; a flow that submits no task does not wait for it.
    """
    # Workers that join and leave are visible in Dask's dashboard.
    logging.getLogger("distributed").setLevel(logging.ERROR)
    if address := read_settings().dask_scheduler_address:
        return Dask(address=address, client_kwargs={"timeout": 5})
    # One thread per process, so that the number of processes is the number of models that are fitted at once.
    local = {"n_workers": joblib.cpu_count(), "threads_per_worker": 1, "dashboard_address": None}
    return Dask(cluster_kwargs=local)


class Dask(DaskTaskRunner):
    """Prefect's runner, with one sentence where no scheduler answers."""

    @property
    def client(self) -> PrefectDaskClient:
        """Connect on first use."""
        try:
            return super().client
        except OSError as error:
            given = str(self.address)
            address, reason = redacted(given), without_secrets(str(error), given)
            raise ProjectError(
                f"No Dask scheduler answers at {address} ({reason}): start one with `dask scheduler`, "
                "or remove DASK_SCHEDULER_ADDRESS from .env to run on this machine."
            ) from None
