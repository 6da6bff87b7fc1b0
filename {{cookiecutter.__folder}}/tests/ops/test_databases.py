"""`prepare` creates the databases that Prefect and MLflow would, and completes earlier and unfinished ones."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest
from mlflow import MlflowClient
from mlflow.store.tracking.dbmodels.initial_models import Base
from sqlalchemy import create_engine

from penguin_model.errors import ProjectError
from penguin_model.ops import databases
from penguin_model.ops.tracking import database


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Return an empty folder for both databases."""
    monkeypatch.setenv("PROJECT_ROOT", str(tmp_path))
    # Override what an earlier test has configured.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / ".prefect"))
    (tmp_path / ".prefect").mkdir()
    return tmp_path


@pytest.mark.parametrize("name", ["50%", "why?", "{x}", "[1]", "a*", 'a "quotation"', "back\\slash"])
def test_path_in_which_tools_fail_is_refused_before_anything_is_written(name, home, monkeypatch):
    folder = home / name
    folder.mkdir()
    monkeypatch.setenv("PROJECT_ROOT", str(folder))
    with pytest.raises(ProjectError, match=r"fail in a path with .+: rename or move"):
        databases.prepare()
    assert not list(folder.iterdir())


def query(file, sql) -> list[tuple]:
    """Run SQL on a database and commit it."""
    with closing(sqlite3.connect(file, timeout=60)) as database, database:
        return database.execute(sql).fetchall()


def schema(file) -> list:
    """Return the schema of a database without the order of constraints, which varies between processes."""
    statements = [sql for (sql,) in query(file, "SELECT sql FROM sqlite_master") if sql]
    revision = query(file, "SELECT version_num FROM alembic_version")
    return [revision, *sorted(sorted(line.strip("\t ,") for line in sql.splitlines()) for sql in statements)]


def migrate_prefect() -> subprocess.Popen[bytes]:
    """Start the process that `prepare` starts."""
    return subprocess.Popen([sys.executable, "-m", databases.__name__, "prefect"])


def test_prefects_schema_is_that_of_prefect_even_after_a_kill(home):
    file, tables = home / ".prefect/prefect.db", "SELECT count(*) FROM sqlite_master WHERE type = 'table'"
    killed = migrate_prefect()
    while killed.poll() is None:
        time.sleep(0.01)
        if file.exists() and query(file, tables) > [(20,)]:
            killed.kill()
            killed.wait()
    assert killed.returncode == -signal.SIGKILL
    query(file, "INSERT INTO flow (name) VALUES ('of before')")
    assert migrate_prefect().wait() == 0
    assert query(file, "SELECT name FROM flow") == [("of before",)]

    reference = home / "reference"
    command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
    subprocess.run(command, env=os.environ | {"PREFECT_HOME": str(reference)}, check=True)
    assert schema(file) == schema(reference / "prefect.db")


def test_mlflows_schema_is_that_of_mlflow(home):
    database.migrate()
    MlflowClient(f"sqlite:///{home}/reference.db").search_experiments()
    assert schema(home / "mlflow.db") == schema(home / "reference.db")
    workspaces = "SELECT * FROM workspaces"
    assert query(home / "mlflow.db", workspaces) == query(home / "reference.db", workspaces)


def test_earlier_database_of_mlflow_keeps_its_rows(home):
    file = home / "mlflow.db"
    Base.metadata.create_all(create_engine(f"sqlite:///{file}"))
    query(file, "INSERT INTO experiments (experiment_id, name, lifecycle_stage) VALUES (7, 'of before', 'active')")
    database.migrate()
    assert MlflowClient(f"sqlite:///{file}").get_experiment("7").name == "of before"


def test_locked_database_is_reported_in_one_sentence_and_not_changed(home, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db?timeout=0.1")
    with closing(sqlite3.connect(home / "mlflow.db")) as other:
        other.execute("CREATE TABLE another (id)")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ProjectError, match=r"mlflow\.db cannot be brought up to date: database is locked$"):
            database.migrate()
    assert query(home / "mlflow.db", "SELECT name FROM sqlite_master") == [("another",)]
