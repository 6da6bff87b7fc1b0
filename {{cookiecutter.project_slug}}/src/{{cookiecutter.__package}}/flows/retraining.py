"""The retraining flow: pull → fetch → the training flow → push."""

from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from .. import storage
from ..params import read_params
from .fetching import fetching
from .notified import NOTIFIED
from .policies import RETRIED
from .results import Trained
from .training import training


@task(name="pull", timeout_seconds=3600, cache_policy=NO_CACHE, **RETRIED)
def pull_data(source: Path) -> None:
    """Bring the raw table here, as git has it."""
    storage.pull(source)


@task(name="push", timeout_seconds=3600, cache_policy=NO_CACHE, **RETRIED)
def push_all() -> None:
    """Send data and model to the remote; what cannot be sent now is due, and no reason to fail."""
    if reason := storage.push():
        get_run_logger().warning("Not pushed, and so still due: %s", reason)


@flow(name="retraining", **NOTIFIED)
def retraining() -> Trained | None:
    """Train on the newest data, if data, code or parameters have changed, and share what that made."""
    data = read_params().data
    pull_data(Path(data.source))
    if data.origin:
        fetching()
    trained = None
    if storage.changed():
        trained = training(record=True)
    else:
        get_run_logger().info("Nothing has changed since the last training")
    push_all()
    return trained
