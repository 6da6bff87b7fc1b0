"""The connection to MLflow: its client, pointed to the project's store, and the errors of that store."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from ...errors import ProjectError
from ..private import protect
from ..settings import PACKAGE, read_settings, state_dir
from .store import check_not_lost, unusable

# Part of MLflow's long message where a server does not answer.
UNREACHABLE = "Max retries exceeded"
# Where the database keeps addresses of artifacts.
ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def connect() -> MlflowClient:
    """Point MLflow to the project's store, and create its database if it does not exist.

    Raises ProjectError if the store cannot be used, for example because it stays locked.
    """
    for name in ("alembic", "mlflow", "mlflow.utils.environment"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Logs a traceback of each error that it raises.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    check_not_lost()
    protect(create=["mlflow"])
    mlflow.set_tracking_uri(read_settings().mlflow_tracking_uri)
    _relocate()
    with store_errors():
        client = MlflowClient()
        client.get_experiment_by_name(PACKAGE)
    return client


@contextmanager
def store_errors() -> Iterator[None]:
    """Raise errors of the store in the block as ProjectError."""
    try:
        yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error, ImportError) as error:
        if UNREACHABLE in str(error).partition("\n")[0]:
            raise ProjectError(
                f"No MLflow server answers at {mlflow.get_tracking_uri()}: start it, or remove "
                "MLFLOW_TRACKING_URI from .env to keep runs and models in the project."
            ) from None
        raise unusable(error) from None


def _relocate() -> None:
    """Update the addresses of artifacts in the database of a project that was moved, renamed or copied.

    MLflow keeps absolute addresses. Only a database in the project's own folder is changed, and only if the folder of
    artifacts is there under the same name.
    """
    settings = read_settings()
    file, new, own = settings.mlflow_file, settings.mlflow_artifact_root, state_dir()
    if file is None or not (file.is_file() and file.is_relative_to(own)):
        return
    if not (new.startswith(own.as_uri()) and _folder(new).is_dir()):
        return
    with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(file, timeout=60)) as database:
        query = "SELECT artifact_location FROM experiments WHERE name = ?"
        for (old,) in database.execute(query, [PACKAGE]).fetchall():
            if old != new and old.startswith("file:") and _folder(old).name == _folder(new).name:
                with database:
                    for table, column in ADDRESSES:
                        moved = f"UPDATE {table} SET {column} = ?1 || substr({column}, length(?2) + 1)"  # noqa: S608 - ours
                        database.execute(f"{moved} WHERE substr({column}, 1, length(?2)) = ?2", [new, old])


def _folder(uri: str) -> Path:
    return Path(url2pathname(urlsplit(uri).path))
