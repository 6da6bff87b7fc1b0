"""Create MLflow's database file, or bring it up to date, by MLflow's migrations."""

import logging
import sqlite3
from contextlib import closing, suppress

from alembic.util import CommandError
from mlflow.exceptions import MlflowException
from mlflow.store.db.utils import _initialize_tables, _verify_schema
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from ...errors import ProjectError
from ..settings import read_settings
from .store import check_not_lost, is_damaged, unusable


def migrate() -> None:
    """Bring the database to the newest schema; raise ProjectError if that fails.

    MLflow's migrations are not transactions, so they run on a copy, which SQLite writes back in one transaction.
    """
    check_not_lost()
    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.ERROR)
    engine = create_engine(read_settings().mlflow_tracking_uri)
    (file,), options = engine.dialect.create_connect_args(engine.url)
    try:
        with suppress(MlflowException):
            _verify_schema(engine)  # type: ignore[no-untyped-call]
            return
        with closing(sqlite3.connect(file, **options)) as database, closing(sqlite3.connect(":memory:")) as copy:
            # Blocks other writers until the copy is migrated.
            database.execute("BEGIN IMMEDIATE")
            with closing(sqlite3.connect(file)) as source:
                source.backup(copy)
            _initialize_tables(create_engine("sqlite://", creator=lambda: copy, poolclass=StaticPool))  # type: ignore[no-untyped-call]
            database.rollback()
            copy.backup(database)
    except (CommandError, MlflowException, SQLAlchemyError, sqlite3.Error) as error:
        cause = str(error).partition("\n")[0]
        if is_damaged(cause):
            raise unusable(error) from None
        if isinstance(error, CommandError):
            cause += ". Another version of MLflow has written it: use that, or another database"
        raise ProjectError(f"MLflow's database {file} cannot be brought up to date: {cause}") from None
