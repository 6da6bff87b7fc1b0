"""The retraining flow: pull → fetch → the training flow → push."""

from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from ..ops.notify.hooks import NOTIFIED
from ..ops.orchestration.policies import RETRY
from ..ops.orchestration.results import TrainingResult
from ..ops.settings import read_params
from ..ops.versioning import dvc
from .fetching import fetching
from .training import training


@task(name="pull", timeout_seconds=3600, cache_policy=NO_CACHE, **RETRY)
def pull_data(source: Path) -> None:
    """Bring the raw table here, as git has it."""
    dvc.pull(source)


@task(name="push", timeout_seconds=3600, cache_policy=NO_CACHE, **RETRY)
def push_all() -> None:
    """Send data and model to the remote; what cannot be sent now is due, and no reason to fail."""
    if reason := dvc.push():
        get_run_logger().warning("Not pushed, and so still due: %s", reason)


@flow(name="retraining", **NOTIFIED)
def retraining() -> TrainingResult | None:
    """Train on the newest data, if data, code or parameters have changed, and share what that made."""
    data = read_params().data
    pull_data(Path(data.source))
    if data.origin:
        fetching()
    trained = None
    if dvc.changed():
        trained = training(record=True)
    else:
        get_run_logger().info("Nothing has changed since the last training")
    push_all()
    return trained
