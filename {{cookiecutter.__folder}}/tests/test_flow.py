"""The training flow once, end to end, and what Prefect, MLflow and the files record of it."""

import json
from pathlib import Path

import polars as pl
import pytest
from conftest import change, task_states
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from ruamel.yaml import YAML

from penguin_model.errors import ProjectError
from penguin_model.flows.training import training
from penguin_model.model.predictor import Recipe
from penguin_model.ops.orchestration.violations import VIOLATIONS
from penguin_model.ops.settings import (
    PACKAGE,
    artifact_key,
    project_root,
    read_contract,
    read_params,
)
from penguin_model.ops.tracking import registry, runs
from penguin_model.ops.versioning import content

STEPS = {"ingest", "validate", "features", "train", "evaluate", "promote", "register", "deploy"}


def test_every_step_completes(trained):
    assert trained.is_completed()
    assert task_states(trained, 8) == {step: ["Completed"] for step in STEPS}


def test_first_model_is_champion_and_its_provenance_is_recorded(trained):
    client = runs.connect()
    assert trained.result().alias == "champion"
    version = registry.get(trained.result().version)
    run = client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert (
        run.data.metrics
        == trained.result().metrics
        == json.loads((project_root() / "reports/metrics.json").read_text())
    )
    assert run.data.params["model.estimator"] == read_params().model.estimator
    for tags in (run.data.tags, version.tags):
        assert tags["prefect.flow_run_id"] == str(trained.state_details.flow_run_id)
        assert tags["git.commit"]
        source = read_params().data.source
        assert tags[f"input.{source}"] == content.md5(project_root() / source)
    files = client.get_model_version_download_uri(PACKAGE, str(version.number)).removeprefix("file://")
    recorded = json.loads(version.tags["dvc.lock"])["outs"]["models/pipeline.skops"]
    assert recorded == content.md5(Path(files) / "data/models/pipeline.skops")
    [dataset] = run.inputs.dataset_inputs
    assert dataset.dataset.digest == content.md5(project_root() / read_params().data.source)
    assert (
        json.loads(dataset.dataset.profile)["num_rows"]
        == pl.read_parquet(project_root() / "data/processed/table.parquet").height
    )
    assert [tag.value for tag in dataset.tags] == ["training"]
    assert [file.path for file in client.list_artifacts(version.run_id, "plots")]


def test_no_pickle_is_kept(trained):
    files = [path.suffix for path in (project_root() / "mlartifacts").rglob("*") if path.is_file()]
    assert ".skops" in files
    assert not {".pkl", ".pickle", ".joblib"} & set(files)


def test_unknown_slice_is_refused(edited):
    change("gate", slices=["nosuch"])
    with pytest.raises(ProjectError, match=r"gate\.slices names 'nosuch'"):
        Recipe.of(read_params(), read_contract())


def test_violated_contract_stops_the_run_before_anything_is_registered(trained, edited):
    client = runs.connect()
    earlier, before = client.search_runs(["1"]), len(client.search_model_versions(f"name = '{PACKAGE}'"))
    params, contract = read_params(), YAML(typ="safe").load(edited / "contract.yaml")
    # No target has this value.
    contract["columns"][params.data.target] = {"type": "string", "nullable": True, "allowed": ["nothing"]}
    # JSON is valid YAML for any column names.
    (edited / "contract.yaml").write_text(json.dumps(contract, default=str, ensure_ascii=False))
    state = training(return_state=True)
    assert state.is_failed()
    with pytest.raises(ProjectError, match=r"breaks 'allowed: nothing' in \d+ row\(s\), for example '") as violation:
        state.result()
    assert params.data.target in str(violation.value)
    assert len(client.search_model_versions(f"name = '{PACKAGE}'")) == before
    assert len(client.search_runs(["1"])) == len(earlier)
    kept = pl.read_parquet(project_root() / VIOLATIONS)
    assert kept["breaks"].str.contains("allowed: nothing").all()
    with get_client(sync_client=True) as api:
        of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id]))
        [table] = [one for one in api.read_artifacts(artifact_filter=of_run) if one.key == artifact_key("violations")]
    assert (table.type, table.description) == ("table", str(violation.value))
    assert len(json.loads(table.data)) == min(20, kept.height)
