"""A copy of the project to run in: its own data, MLflow and Prefect home, gone after the tests."""

import os
import re
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
from ruamel.yaml import YAML

PROJECT = Path(__file__).parents[1]
# Made before anything imports a flow, and with it Prefect, which then reads the copy's settings.
COPY = Path(tempfile.mkdtemp(prefix="project-")).resolve()
# Models that train on any table in no time.
TREE = {"classification": "sklearn.tree.DecisionTreeClassifier", "regression": "sklearn.tree.DecisionTreeRegressor"}


def pytest_configure() -> None:
    """Make the copy, without settings of the machine."""
    for name in ("params.yaml", "contract.yaml"):
        shutil.copy(PROJECT / name, COPY)
    shutil.copytree(PROJECT / "data/raw", COPY / "data/raw")
    for name in [name for name in os.environ if name.startswith(("PREFECT_", "MLFLOW_"))]:
        del os.environ[name]
    os.environ["PROJECT_ROOT"] = str(COPY)
    # The tests of flows and registry work with any model, even if there is nothing to learn.
    change("gate", allow_worse_than_dummy=True)
    # Like ops/orchestration/session.py; OpenMP reads it when the tests are collected.
    os.environ["OMP_WAIT_POLICY"] = "passive"
    if (own := PROJECT / ".prefect/prefect.db").exists():
        # Creating this database takes Prefect longer than most tests together.
        (COPY / ".prefect").mkdir()
        with closing(sqlite3.connect(own)) as database, closing(sqlite3.connect(COPY / ".prefect/prefect.db")) as copy:
            database.backup(copy)


def pytest_unconfigure() -> None:
    """Remove the copy."""
    shutil.rmtree(COPY, ignore_errors=True)


def change(section: str, **keys) -> None:
    """Change keys of a section of the copy's params.yaml; the fixture `edited` undoes it."""
    yaml, file = YAML(typ="safe"), COPY / "params.yaml"
    params = yaml.load(file)
    params[section] = params.get(section, {}) | keys
    yaml.dump(params, file)


def task_states(state, number: int) -> dict[str, list[str]]:
    """Return the final states of so many tasks of a flow run, by step; Prefect records them a moment after the run."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
    end = time.monotonic() + 60
    while True:
        with get_client(sync_client=True) as client:
            tasks = client.read_task_runs(flow_run_filter=of_run, limit=200)
        ended = [task for task in tasks if task.state and task.state.is_final()]
        if len(tasks) == len(ended) >= number or time.monotonic() > end:
            break
        time.sleep(0.2)
    states: dict[str, list[str]] = {}
    for task in sorted(ended, key=lambda task: task.state_name):
        states.setdefault(re.match(r"\w+", task.name)[0], []).append(task.state_name)
    return states


@pytest.fixture
def edited(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the copy's folder to a test that edits params.yaml, contract.yaml or .env, and undo the edits."""
    for name in [name for name in os.environ if name.startswith(("PREFECT_LOGGING_LEVEL", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    before = {name: (COPY / name).read_bytes() for name in ("params.yaml", "contract.yaml")}
    yield COPY
    for name, content in before.items():
        (COPY / name).write_bytes(content)
    (COPY / ".env").unlink(missing_ok=True)


@pytest.fixture
def quick(trained, edited: Path, tmp_path: Path) -> Iterator[Path]:
    """Make trainings quick, for tests that work with any model; restore the files of the project's own training."""
    from penguin_model.ops.settings import read_params

    outputs = ("data/processed", "models", "reports")
    for name in outputs:
        shutil.copytree(COPY / name, tmp_path / name)
    change("model", estimator=TREE[read_params().data.problem], params={"max_depth": 2, "random_state": 0})
    change("search", params={})
    yield edited
    for name in outputs:
        shutil.rmtree(COPY / name)
        shutil.copytree(tmp_path / name, COPY / name)


@pytest.fixture(scope="session")
def prefect_api() -> Iterator[None]:
    """Serve Prefect's API for the flows of the tests."""
    from penguin_model.ops.orchestration import session

    with session.api() as session, session():
        yield


@pytest.fixture(scope="session")
def trained(prefect_api):
    """Train the project's own model once, end to end but without its search; return the final state of the flow."""
    from penguin_model.flows.training import training

    params = (COPY / "params.yaml").read_bytes()
    change("search", params={})
    state = training(return_state=True)
    (COPY / "params.yaml").write_bytes(params)
    return state


@pytest.fixture(scope="session")
def champion(trained):
    """Load the champion from MLflow."""
    import mlflow

    from penguin_model.ops.settings import PACKAGE
    from penguin_model.ops.tracking import runs

    assert trained.is_completed(), trained.message
    runs.connect()
    return mlflow.pyfunc.load_model(f"models:/{PACKAGE}@champion")


@pytest.fixture(scope="session")
def holdout(trained) -> pl.DataFrame:
    """Return the rows of the holdout, with features and target."""
    return pl.read_parquet(COPY / "data/processed/holdout.parquet")
