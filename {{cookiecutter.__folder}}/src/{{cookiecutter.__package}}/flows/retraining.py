"""The retraining flow: pull → fetch → the training flow → push."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prefect import flow, get_run_logger, tags, task

from ..ops import faults
from ..ops.addresses import shown
from ..ops.files import File
from ..ops.notify.channel import NOTIFIED
from ..ops.orchestration.policies import STEP
from ..ops.orchestration.results import TrainingResult
from ..ops.paths import CONTRACT, PARAMS
from ..ops.settings import PACKAGE, read_params
from ..ops.tracking import comparisons, registry
from ..ops.versioning import dvc, git
from ..ops.versioning.provenance import Provenance, digests
from .fetching import fetching
from .training import training

# How the outcome of a retraining begins that failed, and of one that had nothing to train on.
FAILED, NOTHING_NEW = "Failed", "Nothing new"


@flow(name="retraining", **NOTIFIED)
def retraining(cause: str = "", comparison: str = "") -> TrainingResult | None:
    """Train on the newest data if data, code or parameters have changed, and push the results.

    `cause` is what started it, for the model's lineage. After drift, too, a table that has not changed is not trained
    on again: the result would be the same model. `comparison` is the MLflow run that gets the outcome.
    """

    def note(outcome: str) -> None:
        if comparison:
            comparisons.note(comparison, outcome)

    # A deployment's tags are those of its own run alone; flows that this one calls are the project's, too.
    with failure_noted(note), tags(PACKAGE):
        result = retrain(cause)
    note(outcome(result))
    return result


def retrain(cause: str) -> TrainingResult | None:
    """Run the steps in order."""
    data = read_params().data
    pull_data(Path(data.source))
    if data.origin:
        fetching()
    result = None
    if not dvc.changed():
        get_run_logger().info("Nothing has changed since the last training")
    elif cause and trained_already(Path(data.source)):
        get_run_logger().info("The newest version was trained on this table by this code")
    else:
        result = training(record=True, cause=cause)
    push_all()
    return result


@contextmanager
def failure_noted(note: Callable[[str], None]) -> Iterator[None]:
    """Note why the block failed, if it fails; the error goes on."""
    try:
        yield
    except BaseException as error:
        with suppress(Exception):
            note(f"{FAILED}: {shown(faults.sentence(error) or type(error).__name__)}")
        raise


def outcome(result: TrainingResult | None) -> str:
    """Say in a sentence what came of the retraining."""
    if result:
        return f"The retraining made version {result.version} {result.alias}: {result.reason}."
    data = read_params().data
    hint = (
        "its origin has no other rows"
        if data.origin
        else "data.origin in params.yaml is not set, so none can be fetched"
    )
    return f"{NOTHING_NEW} to train on: {data.source} is the table that the last training had, and {hint}."


@task(name="pull", **STEP)
def pull_data(source: Path) -> None:
    """Pull the version of the source table that git tracks."""
    dvc.pull(source)


def trained_already(source: Path) -> bool:
    """Tell whether the newest version had this table, configuration and commit; an image has an old dvc.lock."""
    newest = registry.newest()
    if newest is None:
        return False
    origin = Provenance.read(newest.tags)
    inputs = digests([File.at(path) for path in (source, CONTRACT, PARAMS)])
    return origin.commit == origin.code == str(git.code()) and origin.inputs == inputs


@task(name="push", **STEP)
def push_all() -> None:
    """Push data and model to the remote; if that fails, warn, and leave it to the next run."""
    if reason := dvc.push():
        get_run_logger().warning("Push failed; the next run tries again: %s", reason)
