"""The training flow end to end, and what Prefect, MLflow and the files say of it afterwards."""

import errno
import json
import shutil
import time
from types import SimpleNamespace

import polars as pl
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, TEMPORARILY_UNAVAILABLE
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from {{ cookiecutter.__package }} import tracking, versioning
from {{ cookiecutter.__package }}.errors import ProjectError
from {{ cookiecutter.__package }}.flows import policies
from {{ cookiecutter.__package }}.flows.policies import PACKAGE, by_content, digest_of_code, may_pass
from {{ cookiecutter.__package }}.flows.training import training
from {{ cookiecutter.__package }}.params import read_params
from {{ cookiecutter.__package }}.settings import root

STEPS = {"ingest", "validate", "features", "train", "evaluate", "promote", "register"}


def task_states(state) -> dict[str, list[str]]:
    """Ask Prefect how the tasks of a flow run ended, by step; it records them a moment after the run."""
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
    end = time.monotonic() + 20
    while True:
        with get_client(sync_client=True) as client:
            tasks = client.read_task_runs(flow_run_filter=of_run)
        found = {step: [task.state_name for task in tasks if task.name.startswith(step)] for step in STEPS}
        if all(states and "Running" not in states for states in found.values()) or time.monotonic() > end:
            return found
        time.sleep(0.2)


def set_param(found: str, put: str) -> None:
    file = root() / "params.yaml"
    text = file.read_text()
    assert found in text
    file.write_text(text.replace(found, put, 1))


def test_every_step_completes(trained):
    assert trained.is_completed()
    assert task_states(trained) == {step: ["Completed"] for step in STEPS}


def test_first_model_is_champion_and_is_tied_to_its_origin(trained):
    client = tracking.connect()
    version = client.get_model_version_by_alias(tracking.NAME, "champion")
    run = client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics == trained.result().metrics == json.loads((root() / "reports/metrics.json").read_text())
    assert run.data.params["model.estimator"] == read_params().model.estimator
    for tags in (run.data.tags, version.tags):
        assert tags["prefect.flow_run_id"] == str(trained.state_details.flow_run_id)
        assert tags["git.commit"]
        source = read_params().data.source
        assert tags[f"input.{source}"] == versioning.md5(root() / source)
    assert json.loads(version.tags["dvc.lock"])["outs"]["models/pipeline.skops"] == versioning.md5(
        root() / "models/pipeline.skops"
    )
    [dataset] = run.inputs.dataset_inputs
    assert dataset.dataset.digest == versioning.md5(root() / read_params().data.source)
    assert [file.path for file in client.list_artifacts(version.run_id, "plots")]


def test_no_pickle_is_kept(trained):
    files = [path.suffix for path in (root() / "mlartifacts").rglob("*") if path.is_file()]
    assert ".skops" in files
    assert not {".pkl", ".pickle", ".joblib"} & set(files)


def test_changed_model_reuses_data_and_an_equal_one_challenges(trained, edited):
    again = training(return_state=True)
    assert again.result().alias == "challenger"
    set_param("    random_state: 0", "    random_state: 1")
    states = task_states(training(return_state=True))
    assert states["ingest"] == states["features"] == ["Cached"]
    assert states["train"] == ["Completed"]


def test_deleted_output_is_made_again(trained):
    (root() / "data/processed/table.parquet").unlink()
    (root() / "data/processed/training.parquet").write_bytes(b"not what was written")
    assert training(return_state=True).is_completed()
    assert pl.read_parquet(root() / "data/processed/training.parquet").height > 0


def test_edited_input_is_noticed(trained, edited):
    source = root() / read_params().data.source
    original = source.read_bytes()
    rows = original.splitlines(keepends=True)
    try:
        source.write_bytes(b"".join(rows[:-1]))
        states = task_states(training(return_state=True))
        assert states["ingest"] == states["features"] == ["Completed"]
    finally:
        source.write_bytes(original)


def test_edited_code_is_noticed(tmp_path, monkeypatch):
    context = SimpleNamespace(task=SimpleNamespace(name="ingest"))
    before = by_content(context, {})
    shutil.copytree(PACKAGE, tmp_path / "package")
    step = tmp_path / "package/steps/ingest.py"
    assert digest_of_code(tmp_path / "package") == digest_of_code(PACKAGE)
    monkeypatch.setattr(policies, "PACKAGE", tmp_path / "package")
    assert by_content(context, {}) == before
    step.write_text(step.read_text() + "\n# an edit\n")
    digest_of_code.cache_clear()
    assert by_content(context, {}) != before


def test_violated_contract_stops_the_run_before_anything_is_registered(trained, edited):
    client = tracking.connect()
    before = len(client.search_model_versions(f"name = '{tracking.NAME}'"))
    (edited / "contract.yaml").write_text(
        (edited / "contract.yaml").read_text().replace("rows:\n  min: ", "rows:\n  min: 999999", 1)
    )
    state = training(return_state=True)
    assert state.is_failed()
    with pytest.raises(ProjectError, match=r"rows\.min is 999999"):
        state.result()
    assert len(client.search_model_versions(f"name = '{tracking.NAME}'")) == before


@pytest.mark.parametrize(
    ("fault", "again"),
    [
        (TimeoutError(), True),
        (MlflowException("locked", error_code=TEMPORARILY_UNAVAILABLE), True),
        (MlflowException("no such run", error_code=RESOURCE_DOES_NOT_EXIST), False),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (ConnectionResetError(), True),
        (FileNotFoundError(), False),
        (ProjectError("wrong schema"), False),
        (ValueError(), False),
    ],
)
def test_only_what_may_pass_is_tried_again(fault, again):
    from prefect.states import Failed

    assert may_pass(None, None, Failed(data=fault)) is again
