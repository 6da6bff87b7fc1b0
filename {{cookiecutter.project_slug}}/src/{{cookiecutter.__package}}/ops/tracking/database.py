"""MLflow's database in a file, created or brought up to date by MLflow's migrations."""

import logging
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from alembic.util import CommandError
from mlflow.exceptions import MlflowException
from mlflow.store.db.utils import _initialize_tables, _verify_schema
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from ...errors import ProjectError
from ..settings import PACKAGE, read_settings, state_dir

# Where the database keeps addresses of artifacts.
ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def migrate() -> None:
    """Bring the database to the newest schema; raise ProjectError if that fails.

    MLflow's migrations are not transactions, so they run on a copy, which SQLite writes back in one transaction.
    """
    for chatty in ("alembic", "mlflow"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    engine = create_engine(read_settings().mlflow_tracking_uri)
    (file,), options = engine.dialect.create_connect_args(engine.url)
    try:
        if _is_current(engine):
            return
        with closing(sqlite3.connect(file, **options)) as database, closing(sqlite3.connect(":memory:")) as copy:
            # Nobody else may write until the copy is migrated.
            database.execute("BEGIN IMMEDIATE")
            with closing(sqlite3.connect(file)) as source:
                source.backup(copy)
            _upgrade(copy)
            database.rollback()
            copy.backup(database)
    except (CommandError, MlflowException, SQLAlchemyError, sqlite3.Error) as error:
        said = str(error).partition("\n")[0]
        raise ProjectError(f"MLflow's database {file} cannot be brought up to date: {said}") from None


def relocate() -> None:
    """Let the database of a project that was moved, renamed or copied name the artifacts that came along.

    MLflow keeps their absolute addresses. Only a file of the project's own is changed, and only where the folder of the
    artifacts is there under its old name.
    """
    settings = read_settings()
    file = Path(settings.mlflow_tracking_uri.removeprefix("sqlite:///").partition("?")[0])
    here = settings.mlflow_artifact_root
    own = state_dir()
    if not (file.is_file() and file.is_relative_to(own) and here.startswith(own.as_uri()) and _folder(here).is_dir()):
        return
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(file, timeout=60)) as database:
        found = database.execute("SELECT artifact_location FROM experiments WHERE name = ?", [PACKAGE]).fetchone()
        if found is None or found[0] == here or not found[0].startswith("file:"):
            return
        if _folder(found[0]).name == _folder(here).name:
            with database:
                for table, column in ADDRESSES:
                    moved = f"UPDATE {table} SET {column} = ?1 || substr({column}, length(?2) + 1)"  # noqa: S608 - ours
                    database.execute(f"{moved} WHERE substr({column}, 1, length(?2)) = ?2", [here, found[0]])


def _folder(uri: str) -> Path:
    return Path(url2pathname(urlsplit(uri).path))


def _is_current(engine: Engine) -> bool:
    try:
        _verify_schema(engine)  # type: ignore[no-untyped-call]
    except MlflowException:
        return False
    return True


def _upgrade(database: sqlite3.Connection) -> None:
    engine = create_engine("sqlite://", creator=lambda: database, poolclass=StaticPool)
    _initialize_tables(engine)  # type: ignore[no-untyped-call]
