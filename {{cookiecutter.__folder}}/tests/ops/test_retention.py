"""Housekeeping: what `gc` deletes, and what it never touches."""

import os
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import mlflow
import pytest
from conftest import COPY
from prefect.settings.models.server.services import ServerServicesDBVacuumSettings

from penguin_model.errors import ProjectError
from penguin_model.ops import retention
from penguin_model.ops.orchestration import session
from penguin_model.ops.settings import PACKAGE, read_settings
from penguin_model.ops.tracking import garbage, registry, runs

# 100,000 rows of 200 days ago: 5,000 flow runs with 9 lines of log each, 25,000 events with a resource each.
OLD_ROWS = """
    CREATE TEMP TABLE number AS WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 44999)
        SELECT i, '2020-01-01 00:00:00.000000' AS old FROM n;
    INSERT INTO flow (id, name) VALUES ('00000000-0000-4000-8000-000000000000', 'old');
    INSERT INTO flow_run (id, name, flow_id, state_type, end_time)
        SELECT printf('00000000-0000-4000-8000-%012d', i), 'old', flow.id, 'COMPLETED', old
        FROM number, flow WHERE i < 5000 AND flow.name = 'old';
    INSERT INTO log (name, level, message, timestamp, flow_run_id)
        SELECT 'old', 20, 'old', old, printf('00000000-0000-4000-8000-%012d', i % 5000) FROM number;
    INSERT INTO events (id, occurred, event, resource_id, resource, payload, received, recorded)
        SELECT printf('00000000-0000-4000-8000-%012d', i), old, 'old', 'old', '{}', '{}', old, old
        FROM number WHERE i < 25000;
    INSERT INTO event_resources (occurred, resource_id, resource_role, resource, event_id)
        SELECT old, 'old', '', '{}', printf('00000000-0000-4000-8000-%012d', i) FROM number WHERE i < 25000;
"""
TABLES = ("flow_run", "log", "events", "event_resources")


def counts() -> list[int]:
    with closing(sqlite3.connect(COPY / ".prefect/prefect.db", timeout=60)) as database:
        return [database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES]  # noqa: S608


def test_old_rows_of_prefect_are_deleted_and_newer_ones_stay(trained, monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL")
    before = counts()
    with closing(sqlite3.connect(COPY / ".prefect/prefect.db", timeout=60)) as database:
        database.executescript(OLD_ROWS)
    storage = COPY / ".prefect/storage"
    storage.mkdir(exist_ok=True)
    old, cached = storage / "old", sorted(storage.iterdir())
    old.touch()
    os.utime(old, (0, 0))
    said = "".join(retention.collect(dry_run=True))
    assert "Prefect: 5,000 flow runs with their logs and artifacts, 25,000 events, 1 cached results" in said
    assert sum(counts()) - sum(before) >= 100_000
    start = time.process_time()
    assert "Prefect: 5,000 flow runs" in "".join(retention.collect(dry_run=False))
    assert time.process_time() - start < 60
    # A run that has just ended may still be writing events.
    assert all(0 <= now - then < 100 for now, then in zip(counts(), before, strict=True))
    assert sorted(storage.iterdir()) == cached
    assert "Prefect: 0 flow runs with their logs and artifacts, 0 events" in "".join(retention.collect(dry_run=True))


def test_servers_get_the_retention_of_env(edited, monkeypatch):
    (edited / ".env").write_text("RETENTION_DAYS=7\n")
    for name in [name for name in os.environ if "DB_VACUUM" in name]:
        monkeypatch.delenv(name)
    session.configure()
    vacuum = ServerServicesDBVacuumSettings()
    assert vacuum.retention_period == timedelta(days=7)
    assert vacuum.enabled_vacuum_types == {"events", "flow_runs", "orphans"}


def delete_long_ago(run_id: str) -> None:
    mlflow.MlflowClient().delete_run(run_id)
    with closing(sqlite3.connect(read_settings().mlflow_file, timeout=60)) as database, database:
        database.execute("UPDATE runs SET deleted_time = 1 WHERE run_uuid = ?", [run_id])


def test_runs_deleted_in_mlflow_are_removed_with_models_and_artifacts(champion):
    client = runs.connect()
    experiment = client.get_experiment_by_name(PACKAGE).experiment_id
    before = {run.info.run_id for run in client.search_runs([experiment])}
    old, new = (client.create_run(experiment) for _ in range(2))
    client.log_text(old.info.run_id, "x", "x.txt")
    model = client.create_logged_model(experiment, source_run_id=old.info.run_id)
    delete_long_ago(old.info.run_id)
    client.delete_run(new.info.run_id)
    artifacts = COPY / "mlartifacts" / old.info.run_id
    assert artifacts.exists()
    assert "MLflow: 1 deleted runs and 1 models with their artifacts" in "".join(retention.collect(dry_run=True))
    assert artifacts.exists()
    retention.collect(dry_run=True)
    assert "MLflow: 1 deleted runs and 1 models" in "".join(retention.collect(dry_run=False))
    assert not artifacts.exists() or not list(artifacts.rglob("*.txt"))
    for get, name in ((client.get_run, old.info.run_id), (client.get_logged_model, model.model_id)):
        with pytest.raises(mlflow.MlflowException, match="not found"):
            get(name)
    assert client.get_run(new.info.run_id).info.lifecycle_stage == "deleted"
    assert {run.info.run_id for run in client.search_runs([experiment])} == before
    client.restore_run(new.info.run_id)
    client.set_terminated(new.info.run_id)


def test_deleted_run_and_model_of_a_registered_version_stay(champion):
    state = registry.champion()
    version = registry.get(state.champion)
    delete_long_ago(version.run_id)
    model = version.source.removeprefix("models:/")
    mlflow.MlflowClient().delete_logged_model(model)
    with closing(sqlite3.connect(read_settings().mlflow_file, timeout=60)) as database, database:
        database.execute("UPDATE logged_models SET last_updated_timestamp_ms = 1 WHERE model_id = ?", [model])
    try:
        said = "".join(retention.collect(dry_run=False))
        assert "MLflow: 0 deleted runs and 0 models with their artifacts; kept 2 that registered versions need" in said
        assert registry.get(state.champion) == version
    finally:
        mlflow.MlflowClient().restore_run(version.run_id)
        with closing(sqlite3.connect(read_settings().mlflow_file, timeout=60)) as database, database:
            database.execute("UPDATE logged_models SET lifecycle_stage = 'active' WHERE model_id = ?", [model])
    with registry.load(state.champion) as package:
        assert package.data.exists()


@pytest.mark.parametrize("name", ["{}/21.parquet", "{}T21-1234.parquet", "date={}/hour=21/0.parquet", "log-{}.parquet"])
def test_old_files_of_the_prediction_log_are_deleted(tmp_path, monkeypatch, name):
    monkeypatch.setenv("PREDICTION_LOG", str(tmp_path / "2001-01-01"))
    monkeypatch.setenv("RETENTION_DAYS", "30")
    monkeypatch.setattr(retention, "_prefect", lambda *_, **__: ())
    monkeypatch.setattr(retention, "_mlflow", lambda *_, **__: ())
    days = {
        days: tmp_path / "2001-01-01" / name.format(datetime.now(UTC).date() - timedelta(days))
        for days in (0, 29, 32, 400)
    }
    others = [tmp_path / "2001-01-01" / other for other in ("own.parquet", "2001-13-77.parquet", "2001-01-01.csv")]
    for file in (*days.values(), *others):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert "prediction log: 2 files" in "".join(retention.collect(dry_run=True))
    assert all(file.exists() for file in days.values())
    assert "prediction log: 2 files" in "".join(retention.collect(dry_run=False))
    assert [number for number, file in days.items() if file.exists()] == [0, 29]
    assert all(any(folder.iterdir()) for folder in tmp_path.rglob("*") if folder.is_dir())
    assert all(file.exists() for file in others)


def test_database_of_a_server_is_not_touched(monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr(garbage, "collect", None)
    said = "".join(retention.collect(dry_run=False))
    assert "Prefect: nothing" in said
    assert "MLflow: nothing" in said


def test_database_that_is_not_of_a_server_is_refused(edited, monkeypatch):
    monkeypatch.setattr(retention, "_prefect", lambda *_, **__: ())
    with pytest.raises(ProjectError, match="--database is that of an MLflow server"):
        list(retention.collect(dry_run=True, database="sqlite:///other.db"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    (edited / "other.db").touch()
    for address, said in {
        f"sqlite:///{edited}/other.db": "is not the database of an MLflow server",
        f"sqlite:///{edited}/.prefect/prefect.db": "is not the database of an MLflow server",
        f"sqlite:///{edited}/missing.db": "is not the database of an MLflow server",
        "postgresql+psycopg://user:secret@127.0.0.1:9/mlflow": "cannot be used: .*connection",
        "other": "cannot be used: Could not parse",
    }.items():
        with pytest.raises(ProjectError, match=said) as refused:
            list(retention.collect(dry_run=False, database=address))
        assert "secret" not in str(refused.value)
        assert "MLFLOW_TRACKING_URI" not in str(refused.value)
    assert (edited / "other.db").stat().st_size == 0
    (edited / "other.db").unlink()
    assert not (edited / "missing.db").exists()
