"""The retraining flow: pull → fetch → the training flow → push."""

from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from ..ops.notify.channel import NOTIFIED
from ..ops.orchestration.policies import RETRY
from ..ops.orchestration.results import TrainingResult
from ..ops.settings import read_params
from ..ops.versioning import dvc
from .fetching import fetching
from .training import training


@flow(name="retraining", **NOTIFIED)
def retraining() -> TrainingResult | None:
    """Train on the newest data if data, code or parameters have changed, and push the results."""
    data = read_params().data
    pull_data(Path(data.source))
    if data.origin:
        fetching()
    result = None
    if dvc.changed():
        result = training(record=True)
    else:
        get_run_logger().info("Nothing has changed since the last training")
    push_all()
    return result


@task(name="pull", timeout_seconds=3600, cache_policy=NO_CACHE, **RETRY)
def pull_data(source: Path) -> None:
    """Pull the version of the source table that git tracks."""
    dvc.pull(source)


@task(name="push", timeout_seconds=3600, cache_policy=NO_CACHE, **RETRY)
def push_all() -> None:
    """Push data and model to the remote; if that fails, warn, and leave it to the next run."""
    if reason := dvc.push():
        get_run_logger().warning("Push failed; the next run tries again: %s", reason)
