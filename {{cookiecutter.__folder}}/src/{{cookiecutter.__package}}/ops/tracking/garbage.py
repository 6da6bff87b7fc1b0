"""Deleted runs and models in MLflow's database: removed for good, with their artifacts."""

from contextlib import redirect_stdout
from datetime import UTC, datetime
from io import StringIO
from typing import Any

from mlflow.cli import _gc_tracking_resources
from mlflow.tracking import _get_store
from sqlalchemy import text

from ...errors import ProjectError
from ..addresses import redacted
from .connection import connect, store_errors
from .store import REVISION, SqlStore

# A version's source is `models:/ID`; a model that was logged by MLflow 2 has none, but is an artifact of its run.
OF_VERSIONS = """
    SELECT run_id, source FROM model_versions WHERE current_stage != 'Deleted_Internal' OR current_stage IS NULL
"""
OF_RUNS = "SELECT model_id, source_run_id FROM logged_models"


def collect(before: datetime, *, dry_run: bool, database: str | None = None) -> tuple[int, int, int]:
    """Remove runs and models that were deleted before a time, except those of registered versions.

    Returns how many runs and how many models were removed, and how many stay because a registered version needs them.
    `database` is that of an MLflow server, which removes the artifacts. `mlflow gc` itself removes the runs and files
    of registered versions, too, and leaves the models of the runs.
    """
    if database:
        _check(database)
    client = connect()
    if database:
        store: Any = _get_store(database)  # type: ignore[no-untyped-call]
    else:
        store = client._tracking_client.store  # noqa: SLF001 - there is no other way
    age = int((datetime.now(UTC) - before).total_seconds() * 1000)
    with store_errors():
        with store.engine.connect() as connection:
            versions = connection.execute(text(OF_VERSIONS)).tuples().all()
            run_of = dict(connection.execute(text(OF_RUNS)).tuples().all())
        needed_models = {source.removeprefix("models:/") for _, source in versions if source}
        needed_runs = {run for run, _ in versions} | {run_of.get(model) for model in needed_models}
        deleted = set(store._get_deleted_runs(older_than=age))  # noqa: SLF001
        runs = deleted - needed_runs
        marked = set(store._get_deleted_logged_models(older_than=age))  # noqa: SLF001
        of_runs = {model for model, run in run_of.items() if run in runs}
        models = (marked | of_runs) - needed_models
        if not dry_run:
            for model in models - marked:
                store.delete_logged_model(model)
            with redirect_stdout(StringIO()):  # a line for each
                _gc_tracking_resources(store, sorted(runs), None, sorted(models), None, 0, True, False)  # noqa: FBT003
    return len(runs), len(models), len(deleted - runs) + len(marked - models)


def _check(database: str) -> None:
    """Raise ProjectError if this is not MLflow's database; MLflow would create its tables there."""
    try:
        known = SqlStore(database).revision == REVISION
    except ProjectError as error:
        raise ProjectError(f"{redacted(database)} cannot be used: {str(error).partition(': ')[2]}") from None
    if not known:
        raise ProjectError(f"{redacted(database)} is not the database of an MLflow server of the project's version.")
