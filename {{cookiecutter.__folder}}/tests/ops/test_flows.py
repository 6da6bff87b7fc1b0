"""The training flow under difficulties: faults, changed files, another champion, reuse of results."""

import errno
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from conftest import PROJECT, change, task_states
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, TEMPORARILY_UNAVAILABLE
from prefect import flow, task
from ruamel.yaml import YAML

from penguin_model.errors import ProjectError
from penguin_model.flows import promotion
from penguin_model.flows.training import training
from penguin_model.model.predictor import Predictor
from penguin_model.ops import paths
from penguin_model.ops.files import File
from penguin_model.ops.orchestration import policies
from penguin_model.ops.orchestration.policies import (
    cache_key,
    is_transient,
    reuse,
)
from penguin_model.ops.settings import (
    PACKAGE,
    project_root,
    read_contract,
    read_params,
)
from penguin_model.ops.tracking import digests, registry, runs
from penguin_model.ops.versioning import content
from penguin_model.steps import dialect, ingest
from penguin_model.steps.gate import Evaluation, NotComparable

STEPS = {"ingest", "validate", "features", "train", "evaluate", "promote", "register"}


def test_first_champion_is_in_the_journal(trained):
    first = registry.champion().history.entries[0]
    assert (first.how, first.old, first.new) == ("training", None, 1)
    assert str(trained.state_details.flow_run_id) in first.by
    assert first.metrics == trained.result().metrics
    assert first.reason == trained.result().reason


def test_equal_model_challenges_and_data_is_reused(trained, edited):
    change("search", params={})
    again = training(return_state=True)
    assert again.result().alias == "challenger"
    assert again.result().metrics == trained.result().metrics
    reused = {"ingest": ["Cached"], "features": ["Cached"]}
    assert task_states(again, 7) == {step: ["Completed"] for step in STEPS} | reused


def test_champion_is_judged_on_the_rows_of_the_new_model(quick, monkeypatch):
    params, champion = read_params(), Predictor.load(project_root() / "models", read_params().model.trusted)
    target = params.data.target
    change("split", holdout=0.25 if params.split.holdout > 0.3 else 0.4)
    column = next(name for name in read_contract().columns if name != target)
    change("gate", slices=[column])
    seen, decide = [], promotion.decide
    monkeypatch.setattr(promotion, "decide", lambda *judged: seen.append(judged) or decide(*judged))
    moved = training(return_state=True).result()
    # The new model is compared with the champion's metrics on these rows, not with those on its own holdout.
    [(_, challenger, rival)] = seen
    assert challenger.metrics == moved.metrics
    rows = pl.read_parquet(project_root() / "data/processed/holdout.parquet")
    truth, predicted = rows[target].to_numpy(), champion.predict(rows)
    if params.data.problem == "classification":
        assert rival.metrics["accuracy"] == pytest.approx((predicted == truth).mean())
    else:
        assert rival.metrics["mae"] == pytest.approx(abs(predicted - truth).mean())
    assert "trained on other data or another split" in moved.reason
    # Both are evaluated in the slices that the gate names.
    assert challenger.slices.keys() == rival.slices.keys()
    assert sum(part.rows for part in rival.slices.values()) == rows.height
    assert all(name.startswith(column) for name in rival.slices)


@pytest.fixture
def champion_files(trained, tmp_path, monkeypatch) -> Iterator[Path]:
    """Return the folder of the champion in MLflow to a test that changes its files; restore them afterwards.

    Their digests are not checked: test_trust.py does that.
    """
    monkeypatch.setattr(digests, "check", lambda *_: None)
    version = str(registry.champion().champion)
    uri = runs.connect().get_model_version_download_uri(PACKAGE, version)
    files = Path(uri.removeprefix("file://"))
    shutil.copytree(files, tmp_path / "champion")
    yield files
    shutil.rmtree(files)
    shutil.copytree(tmp_path / "champion", files)


def judge(rows: pl.DataFrame, **data) -> Evaluation | NotComparable:
    """Evaluate the champion on rows, for an experiment with other values in the section `data`."""
    recipe = Predictor.load(project_root() / "models", read_params().model.trusted).recipe
    other = recipe.model_copy(update={"data": recipe.data.model_copy(update=data)})
    return promotion.evaluate_champion(registry.champion().champion, read_params().gate, other, rows)


def test_champion_of_another_target_is_replaced(holdout):
    data = read_params().data
    reason, replaced = judge(holdout, target="another")
    assert f"does {data.problem} of '{data.target}'" in reason
    assert replaced


def test_champion_of_a_target_of_another_type_is_replaced(champion_files, holdout):
    file = champion_files / "data/models/recipe.json"
    recipe, target = json.loads(file.read_text()), read_params().data.target
    now = recipe["contract"]["columns"][target]["type"]
    recipe["contract"]["columns"][target] = {"type": "boolean"}
    file.write_text(json.dumps(recipe))
    reason, replaced = judge(holdout)
    assert f"predicts '{target}' as boolean, and now it is {now}" in reason
    assert replaced


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, r"The rows lack the column\(s\) \['gone'\]"),
        ({"gone": pl.lit("text")}, "column 'gone' must be of type integer"),
    ],
)
def test_champion_whose_columns_are_gone_or_of_other_types_is_replaced(champion_files, holdout, change, reason):
    file = champion_files / "data/models/recipe.json"
    recipe = json.loads(file.read_text())
    recipe["contract"]["columns"]["gone"] = {"type": "integer"}
    file.write_text(json.dumps(recipe))
    sentence, replaced = judge(holdout.with_columns(**change))
    assert re.search(rf"the champion, version \d+, cannot take these rows: .*{reason}", sentence)
    assert replaced


@pytest.mark.parametrize(
    ("file", "added", "reason"),
    [
        (
            "code/PACKAGE/__init__.py",
            "import nowhere",
            r"cannot be loaded by .* \(ModuleNotFoundError: .*nowhere",
        ),
        ("data/models/recipe.json", "}", r"cannot be loaded by the code that it was packed with \(ValidationError: "),
        ("code/PACKAGE/model/features.py", "def build(*_, **__): 1 / 0", r"failed .* \(ZeroDivisionError: "),
        ("code/PACKAGE/model/persistence.py", "def load(*_): pass", r"failed .* \(AttributeError: 'NoneType'"),
    ],
)
def test_champion_that_cannot_be_loaded_or_fails_stays(champion_files, holdout, file, added, reason):
    with (champion_files / file.replace("PACKAGE", PACKAGE)).open("a") as opened:
        opened.write(f"\n{added}\n")
    sentence, replaced = judge(holdout)
    assert re.search(rf"ersion \d+,? {reason}.*; make another version champion with `promote` or `rollback`$", sentence)
    assert not replaced


def test_champion_is_loaded_by_its_own_module_names(champion_files, holdout):
    before = judge(holdout)
    package = (champion_files / "code" / PACKAGE).rename(champion_files / "code/another")
    (package / "model/predictor.py").rename(package / "model/renamed.py")
    file = champion_files / "MLmodel"
    file.write_text(file.read_text().replace(f"{PACKAGE}.model.predictor", "another.model.renamed"))
    assert judge(holdout) == before


def test_champion_is_packaged_with_little_code(champion_files):
    modules = list((champion_files / "code").rglob("*.py"))
    assert len(modules) <= 8
    assert sum(len(module.read_text().splitlines()) for module in modules) <= 700


def test_training_leaves_a_champion_that_cannot_be_loaded_and_says_so(quick, champion_files):
    champion = registry.champion().champion
    (champion_files / "code" / PACKAGE / "__init__.py").write_text("import nowhere")
    ended = training(return_state=True).result()
    assert (ended.alias, registry.champion().champion) == ("challenger", champion)
    assert f"Version {champion} cannot be loaded" in registry.get(ended.version).tags["reason"]


def test_champion_that_cannot_be_read_stops_the_run(quick):
    artifacts = project_root() / "mlartifacts"
    before = registry.newest().number
    artifacts.rename(project_root() / "away")
    try:
        state = training(return_state=True)
    finally:
        shutil.rmtree(artifacts, ignore_errors=True)
        (project_root() / "away").rename(artifacts)
    with pytest.raises(ProjectError, match=r"The files of version \d+ of .* cannot be read"):
        state.result()
    assert registry.newest().number == before


def test_overtaken_model_stays_a_challenger_and_the_reason_is_recorded(quick, monkeypatch):
    reconcile = registry.reconcile
    seen = iter([reconcile()._replace(champion=99)])
    monkeypatch.setattr(registry, "reconcile", lambda: next(seen, None) or reconcile())
    monkeypatch.setattr(promotion, "evaluate_champion", lambda *_: NotComparable("it is older", replaced=True))
    ended = training(return_state=True).result()
    assert ended.alias == "challenger"
    assert "compared with version 99, and since then another command has made version" in ended.reason
    assert registry.get(ended.version).tags["reason"] == ended.reason


def test_deleted_output_is_made_again(quick):
    (project_root() / "data/processed/table.parquet").unlink()
    (project_root() / "data/processed/training.parquet").write_bytes(b"not what was written")
    assert training(return_state=True).is_completed()
    assert pl.read_parquet(project_root() / "data/processed/training.parquet").height > 0


def test_edited_input_is_noticed(quick):
    source = project_root() / read_params().data.source
    original = source.read_bytes()
    backwards = ingest.read_table(source).reverse().collect()
    try:
        if source.suffix == ".parquet":
            backwards.write_parquet(source)
        else:
            packed = "gzip" if source.suffix == ".gz" else "uncompressed"
            backwards.write_csv(source, separator=dialect.look(source).separator, compression=packed)
        state = training(return_state=True)
        assert state.is_completed()
        states = task_states(state, 7)
        assert states["ingest"] == states["features"] == ["Completed"]
    finally:
        source.write_bytes(original)


def test_files_that_something_else_changes_stop_the_run(quick):
    path = Path("reports/contested.txt")

    @task(name="contested", **policies.CACHED)
    def contested() -> list[File]:
        (project_root() / path).write_text("ours")
        ours = File.at(path)
        (project_root() / path).write_text("theirs")
        return [ours]

    @flow(name="contested")
    def run() -> None:
        reuse(contested)()

    with pytest.raises(ProjectError, match=r"Something else changed .*contested\.txt during the step contested"):
        run()
    (project_root() / path).unlink()


@pytest.mark.parametrize(
    ("edited", "new"),
    [
        ("config.py", True),
        ("model/features.py", True),
        ("steps/ingest.py", True),
        ("flows/training.py", True),
        ("flows/evaluation.py", False),
        ("report/page.py", False),
        ("ops/orchestration/ui.py", False),
        ("cli.py", False),
    ],
)
def test_edited_code_is_noticed_if_it_decides_what_a_model_is(tmp_path, monkeypatch, edited, new):
    folder = shutil.copytree(content.PACKAGE_DIR, tmp_path / "src" / PACKAGE)
    shutil.copy(PROJECT / "dvc.yaml", tmp_path)
    context = SimpleNamespace(task=SimpleNamespace(name="ingest"))
    monkeypatch.setattr(content, "PACKAGE_DIR", folder)
    content.digest_of_code.cache_clear()
    before = cache_key(context, {}), content.digest_of_code()
    file = folder / edited
    file.write_text(file.read_text() + "\n# an edit\n")
    content.digest_of_code.cache_clear()
    after = cache_key(context, {}), content.digest_of_code()
    content.digest_of_code.cache_clear()
    assert [old != now for old, now in zip(before, after, strict=True)] == [new, new]


def test_result_is_not_reused_after_its_class_has_moved(monkeypatch):
    context = SimpleNamespace(task=SimpleNamespace(name="ingest"))
    before = cache_key(context, {})
    monkeypatch.setattr(File, "__module__", "renamed.files")
    assert cache_key(context, {}) != before


def test_other_artifact_root_than_that_of_earlier_runs_is_refused(trained, monkeypatch):
    monkeypatch.setenv("MLFLOW_ARTIFACT_ROOT", "s3://elsewhere/mlflow")
    with pytest.raises(ProjectError, match=r"earlier runs are at file://.*: set it back"), runs.run({}):
        pass


def test_record_of_the_run_lists_every_output_of_dvc_yaml(trained):
    record = json.loads((project_root() / "reports/provenance.json").read_text())
    stage = YAML(typ="safe").load(PROJECT / "dvc.yaml")["stages"]["training"]
    kept = [*stage["outs"], *stage["metrics"], *stage["plots"]]
    names = {name if isinstance(name, str) else next(iter(name)) for name in kept}
    assert names == {*record["outs"], "reports/provenance.json"} == {*map(str, paths.MADE), str(paths.RECORD)}
    for name, digest in record["outs"].items():
        assert content.md5(project_root() / name) == digest


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
def test_only_transient_faults_are_retried(fault, again):
    from prefect.states import Failed

    assert is_transient(None, None, Failed(data=fault)) is again


@pytest.mark.parametrize("damaged", ["t.parquet", "t.csv"])
def test_damaged_source_is_named_as_params_yaml_has_it(quick, damaged):
    path = Path("data/raw") / damaged
    (project_root() / path).write_bytes(b'PAR1 is all there is, and "no end\xff')
    change("data", source=str(path))
    try:
        with pytest.raises(ProjectError, match=rf"^Cannot read '{path}' as a table: "):
            training()
    finally:
        (project_root() / path).unlink()
