"""Scoring and monitoring, killed at a task or in a write: what they leave is whole, and the next run completes it."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from conftest import COPY

from penguin_model.ops.tracking import comparisons, runs

# Runs flows in processes that are killed at a point, if one is given; prints how each ended, what scoring has left in
# its database, and whether the retraining was about to start.
KILLED = """
import json, os, signal, sqlite3, sys
from pathlib import Path
import polars as pl
from mlflow import MlflowClient
from prefect.task_engine import SyncTaskRunEngine
from sqlalchemy import Connection
from penguin_model.flows import monitoring, retrain_on_drift, scoring
from penguin_model.ops.tracking import registry

def killing(owner, name, label):
    call = getattr(owner, name)
    def killed(first, *args, **kwargs):
        result = call(first, *args, **kwargs)
        reach(label(first, *args))
        return result
    setattr(owner, name, killed)

def reach(event):
    if event == "retraining":
        Path(folder, "started").touch()
    if event == point:
        os.kill(os.getpid(), signal.SIGKILL)

def rows():
    if not Path(folder, "out.db").exists():
        return []
    database = sqlite3.connect(f"{folder}/out.db")
    return [database.execute(f"SELECT flow_run, count(*) FROM {table} GROUP BY 1").fetchall()
            for table, in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]

folder = sys.argv[1]
scoring.load(registry.holder(registry.CHAMPION))  # once for all
for flow, arguments, point in json.loads(sys.argv[2]):
    if (child := os.fork()) == 0:
        killing(SyncTaskRunEngine, "call_task_fn", lambda engine, *_: engine.task.name)
        killing(pl.LazyFrame, "sink_parquet", lambda _, file, *__: f"sink {Path(file).name}")
        killing(Connection, "execute", lambda _, statement, *__: type(statement).__name__)
        killing(MlflowClient, "log_artifact", lambda *_: "log")
        retrain_on_drift.start = lambda *_: reach("retraining") or "Started."
        module = sys.modules[f"penguin_model.flows.{flow}"]
        getattr(module, flow)(**arguments)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(json.dumps([code, rows(), Path(folder, "started").exists()]), flush=True)
"""
SCORING = [
    *(("database", point) for point in ("read", "validate", "predict", "write", "Insert", None)),
    ("folder", "sink predictions.parquet"),
    ("folder", None),
]
MONITORING = ["read", "compare", "log", "record", "retraining", None]


@pytest.fixture(scope="module")
def folder(champion, tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("killed")


@pytest.fixture(scope="module")
def ended(folder) -> list[list]:
    """Run the flows; return how each ended."""
    client = runs.connect()
    if experiment := client.get_experiment_by_name(comparisons.EXPERIMENT):
        for run in client.search_runs([experiment.experiment_id]):
            client.delete_run(run.info.run_id)
    raw = pl.read_parquet(COPY / "data/processed/table.parquet")
    raw.write_parquet(folder / "new.parquet")
    pl.concat([raw.head(1)] * 1000).write_parquet(folder / "shifted.parquet")
    to = {"database": f"sqlite:///{folder}/out.db", "folder": str(folder / "out/of/it")}
    source, shifted = str(folder / "new.parquet"), str(folder / "shifted.parquet")
    policy = {"drifted": 1, "last": 1}
    plan = [("scoring", {"source": source, "to": to[kind]}, point) for kind, point in SCORING]
    plan += [("monitoring", {"source": shifted, "policy": policy}, point) for point in MONITORING]
    command = [sys.executable, "-c", KILLED, str(folder), json.dumps(plan)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    ended = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert [code for code, *_ in ended] == [0 if point is None else -signal.SIGKILL for *_, point in plan], done.stderr
    return ended


def test_killed_scoring_leaves_all_rows_of_one_run(ended, folder):
    height = pl.read_parquet(folder / "new.parquet").height
    *unwritten, written, kept, replaced = (rows for _, rows, _ in ended[: len(SCORING) - 2])
    assert unwritten == [[], [], []]
    assert written == kept
    assert replaced != kept
    assert [count for [[_, count]] in (*written, *replaced)] == [height, height]
    assert pl.read_parquet(folder / "out/of/it").height == height


def test_run_after_killed_ones_sweeps_what_they_left(ended, folder):
    assert [file.name for file in (folder / "out/of").iterdir()] == ["it"]
    assert [file.name for file in (folder / "out/of/it").iterdir()] == ["predictions.parquet"]
    assert {file.name for file in (COPY / "data/scoring").iterdir()} <= {"rows.parquet", "labels.parquet"}
    assert not list((COPY / "reports").glob("*.unfinished"))


def test_killed_monitoring_leaves_whole_comparisons(ended):
    started = [touched for *_, touched in ended[len(SCORING) :]]
    assert started == [False, False, False, False, True, True]
    newest, killed, unanswered = comparisons.recent(10)
    assert {past.verdict for past in (newest, killed, unanswered)} == {"drifted"}
    assert newest.values == killed.values == unanswered.values
    assert (newest.retraining, unanswered.retraining) == ("Started.", "")
    # It counts as an attempt.
    assert killed.retraining.startswith("Asked for")
