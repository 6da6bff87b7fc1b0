"""A copy of the project to run in: its own data, MLflow and Prefect home, gone after the tests."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

PROJECT = Path(__file__).parents[1]
# Whoever imports a flow imports Prefect, which then reads its settings: the copy's, so it is made before all.
COPY = Path(tempfile.mkdtemp(prefix="project-")).resolve()


def pytest_configure() -> None:
    """Make the copy, and let no setting of the machine's reach it."""
    for name in ("params.yaml", "contract.yaml"):
        shutil.copy(PROJECT / name, COPY)
    shutil.copytree(PROJECT / "data/raw", COPY / "data/raw")
    for name in [name for name in os.environ if name.startswith(("PREFECT_", "MLFLOW_"))]:
        del os.environ[name]
    os.environ["PROJECT_ROOT"] = str(COPY)


def pytest_unconfigure() -> None:
    """Remove the copy."""
    shutil.rmtree(COPY, ignore_errors=True)


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


@pytest.fixture(scope="session")
def prefect_api() -> Iterator[None]:
    """Serve Prefect's API for the flows of the tests."""
    from {{ cookiecutter.__package }} import orchestration

    with orchestration.api() as session, session():
        yield


@pytest.fixture(scope="session")
def trained(prefect_api):
    """Train once, end to end; return the flow's final state."""
    from {{ cookiecutter.__package }}.flows.training import training

    return training(return_state=True)


@pytest.fixture(scope="session")
def champion(trained):
    """Load the champion as anybody would, from MLflow."""
    import mlflow

    from {{ cookiecutter.__package }} import tracking

    assert trained.is_completed(), trained.message
    tracking.connect()
    return mlflow.pyfunc.load_model(f"models:/{tracking.NAME}@champion")


@pytest.fixture(scope="session")
def holdout(trained) -> pl.DataFrame:
    """Return the rows that were kept back, with their features and target."""
    return pl.read_parquet(COPY / "data/processed/holdout.parquet")
