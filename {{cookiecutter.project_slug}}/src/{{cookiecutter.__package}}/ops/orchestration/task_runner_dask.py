"""Seam: where the tasks that a flow submits run, such as the candidates of a search."""

import logging
from typing import Any

import joblib
from prefect.task_runners import TaskRunner
from prefect_dask.client import PrefectDaskClient
from prefect_dask.task_runners import DaskTaskRunner

from ...errors import ProjectError
from ..settings import read_settings


def task_runner() -> TaskRunner[Any]:
    """Return Dask: the cluster that .env names, or processes here, as many as this process has cores.

    Either is there from the first task that is submitted; a flow that submits none does not wait for it.
    """
    # Who came and went is the dashboard's to tell.
    logging.getLogger("distributed").setLevel(logging.ERROR)
    if address := read_settings().dask_scheduler_address:
        return Dask(address=address, client_kwargs={"timeout": 5})
    # One task a process: how often a model is fitted at once is then the number of processes.
    here = {"n_workers": joblib.cpu_count(), "threads_per_worker": 1, "dashboard_address": None}
    return Dask(cluster_kwargs=here)


class Dask(DaskTaskRunner):
    """Prefect's, which says in a sentence that no scheduler answers."""

    @property
    def client(self) -> PrefectDaskClient:
        """Connect when first asked."""
        try:
            return super().client
        except OSError as error:
            raise ProjectError(
                f"No Dask scheduler answers at {self.address} ({error}): start one with `dask scheduler`, "
                "or run on this machine by removing DASK_SCHEDULER_ADDRESS from .env."
            ) from None
