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
# Whoever imports a flow imports Prefect, which then reads its settings: the copy's, so it is made before all.
COPY = Path(tempfile.mkdtemp(prefix="project-")).resolve()
# Learned from any table in no time.
TREE = {"classification": "sklearn.tree.DecisionTreeClassifier", "regression": "sklearn.tree.DecisionTreeRegressor"}


def pytest_configure() -> None:
    """Make the copy, and let no setting of the machine's reach it."""
    for name in ("params.yaml", "contract.yaml"):
        shutil.copy(PROJECT / name, COPY)
    shutil.copytree(PROJECT / "data/raw", COPY / "data/raw")
    for name in [name for name in os.environ if name.startswith(("PREFECT_", "MLFLOW_"))]:
        del os.environ[name]
    os.environ["PROJECT_ROOT"] = str(COPY)
    # What these tests ask of flows and registry is true of any model, also of one that has nothing to learn from.
    change("gate", allow_worse_than_dummy=True)
    # As session.py of ops sets it; OpenMP reads it when it is loaded, which is when the tests are collected.
    os.environ["OMP_WAIT_POLICY"] = "passive"
    if (own := PROJECT / ".prefect/prefect.db").exists():
        # To create this database takes Prefect longer than most tests take together.
        (COPY / ".prefect").mkdir()
        with closing(sqlite3.connect(own)) as database, closing(sqlite3.connect(COPY / ".prefect/prefect.db")) as copy:
            database.backup(copy)


def pytest_unconfigure() -> None:
    """Remove the copy."""
    shutil.rmtree(COPY, ignore_errors=True)


def change(section: str, **keys) -> None:
    """Change keys of a section of the copy's params.yaml; for tests that ask for `edited`, which undoes it."""
    yaml, file = YAML(typ="safe"), COPY / "params.yaml"
    params = yaml.load(file)
    params[section] = params.get(section, {}) | keys
    yaml.dump(params, file)


def task_states(state, number: int) -> dict[str, list[str]]:
    """Ask Prefect how this number of tasks of a flow run ended, by step; it records them a moment after the run."""
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
    found: dict[str, list[str]] = {}
    for task in ended:
        found.setdefault(re.match(r"\w+", task.name)[0], []).append(task.state_name)
    return {step: sorted(states) for step, states in found.items()}


@pytest.fixture
def edited(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the copy's folder to a test that edits params.yaml, contract.yaml or .env, and undo the edits."""
    for name in [name for name in os.environ if name.startswith(("PREFECT_LOGGING_LEVEL", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    kept = {name: (COPY / name).read_bytes() for name in ("params.yaml", "contract.yaml")}
    yield COPY
    for name, content in kept.items():
        (COPY / name).write_bytes(content)
    (COPY / ".env").unlink(missing_ok=True)


@pytest.fixture
def quick(trained, edited: Path, tmp_path: Path) -> Iterator[Path]:
    """Let the trainings of a test be quick, as they show what holds for any model; put back what the own one made."""
    from penguin_model.ops.settings import read_params

    made = ("data/processed", "models", "reports")
    for name in made:
        shutil.copytree(COPY / name, tmp_path / name)
    change("model", estimator=TREE[read_params().data.problem], params={"max_depth": 2, "random_state": 0})
    change("search", params={})
    yield edited
    for name in made:
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
    """Train the project's own model once, end to end and without its search; return the flow's final state."""
    from penguin_model.flows.training import training

    params = (COPY / "params.yaml").read_bytes()
    change("search", params={})
    state = training(return_state=True)
    (COPY / "params.yaml").write_bytes(params)
    return state


@pytest.fixture(scope="session")
def champion(trained):
    """Load the champion as anybody would, from MLflow."""
    import mlflow

    from penguin_model.ops.settings import PACKAGE
    from penguin_model.ops.tracking import runs

    assert trained.is_completed(), trained.message
    runs.connect()
    return mlflow.pyfunc.load_model(f"models:/{PACKAGE}@champion")


@pytest.fixture(scope="session")
def holdout(trained) -> pl.DataFrame:
    """Return the rows that were kept back, with their features and target."""
    return pl.read_parquet(COPY / "data/processed/holdout.parquet")
