"""What does not depend on the answers of a generated project that is installed and run. Slow: minutes each.

Prefect, DVC and MLflow are asked what happened; an exit code alone proves nothing.
"""

import json
import re
from pathlib import Path

import pytest
from running import PYTHONS, Running, passed, set_up
from template import CHOICES, Bake
from tiers import nightly

pytestmark = pytest.mark.slow

PREDICT = """
import importlib.util, json, mlflow, polars as pl
assert importlib.util.find_spec("{package}") is None
mlflow.set_tracking_uri("sqlite:///{folder}/mlflow.db")
rows = pl.read_csv("{folder}/data/raw/penguins.csv", null_values="NA").to_pandas()
model = mlflow.pyfunc.load_model("models:/{package}@champion")
required = [column.name for column in model.metadata.signature.inputs if column.required]
print(json.dumps({{"predictions": len(model.predict(rows)), "required": required}}))
"""


# A file of each room whose code decides what a model is.
RETRAINS = (
    "config.py",
    "errors.py",
    "model/features.py",
    "steps/gate.py",
    "flows/training.py",
    "flows/search.py",
)


class TestOwnTests:
    """All tests of a project, also those of its machinery, which hardly depends on the answers."""

    def test_all_pass_with_coverage(self, bake: Bake, tmp_path: Path) -> None:
        said = set_up(bake, tmp_path, PYTHONS[-1], "regression").make("test-ops")
        passed(said)
        assert re.search(r"Required test coverage of 90.*% reached", said)

    @nightly
    def test_all_pass_on_the_oldest_python(self, bake: Bake, tmp_path: Path) -> None:
        project = set_up(bake, tmp_path, CHOICES["python_version"][0], "classification")
        # Without coverage, which doubles the time before Python 3.12.
        passed(project.uv("run", "pytest", "tests"))


class TestExperiments:
    """What depends neither on the problem nor on Python, of a project that has trained."""

    @pytest.fixture(scope="class")
    @classmethod
    def project(cls, bake: Bake, tmp_path_factory: pytest.TempPathFactory) -> Running:
        """Set a project up and train it."""
        made = set_up(bake, tmp_path_factory.mktemp("running"), "3.13", "classification")
        made.make("train")
        return made

    def test_edit_retrains_where_a_model_is_defined_and_nowhere_else(self, project: Running) -> None:
        source = project.path / "src" / project.package
        before = {path: path.read_bytes() for path in source.rglob("*.py")}
        retrains = [source / name for name in RETRAINS]
        kept = {source / name for name in ("config.py", "errors.py", "flows/search.py", "flows/training.py")}
        kept |= {path for room in ("model", "steps") for path in (source / room).rglob("*.py")}
        try:
            for path in before.keys() - kept:
                path.write_bytes(before[path] + b"# edited\n")
            assert json.loads(project.uv("run", "dvc", "status", "--json")) == {}
            assert "up to date" in project.make("train")
            for path in retrains:
                path.write_bytes(before[path] + b"# edited\n")
                assert "training" in json.loads(project.uv("run", "dvc", "status", "--json")), path
                path.write_bytes(before[path])
        finally:
            for path, content in before.items():
                path.write_bytes(content)

    def test_make_train_shows_errors_of_dvc(self, project: Running) -> None:
        stage = project.path / "dvc.yaml"
        before = stage.read_bytes()
        stage.write_bytes(before + b"[")
        try:
            with pytest.raises(AssertionError, match=r"dvc\.yaml, line \d+: not valid YAML"):
                project.make("train")
        finally:
            stage.write_bytes(before)

    def test_experiments_land_in_the_one_mlflow(self, project: Running) -> None:
        project.git("add", ".")
        project.git("commit", "--quiet", "--message", "Train")
        depth = "model.params.max_depth"
        project.uv("run", "dvc", "exp", "run", "--temp", "--set-param", f"{depth}=1")
        project.uv("run", "dvc", "exp", "run", "--queue", "--set-param", f"{depth}=2")
        project.uv("run", "dvc", "exp", "run", "--run-all")
        project.uv("run", "dvc", "exp", "run", "--set-param", f"{depth}=4")
        recorded = project.recorded()
        assert sorted(recorded["depths"]) == ["1", "2", "3", "4"]
        cached = {tuple(task) for task in recorded["tasks"]}
        assert {("ingest", "Cached"), ("features", "Cached"), ("train", "Completed")} <= cached
        changed = json.loads(project.uv("run", "dvc", "metrics", "diff", "--json"))["reports/metrics.json"]
        assert any("diff" in metric for metric in changed.values())
        assert "max_depth: 4" in (project.path / "params.yaml").read_text(encoding="utf-8")

    def test_plots_of_two_revisions_are_laid_over_each_other(self, project: Running) -> None:
        drawn = json.loads(project.uv("run", "dvc", "plots", "diff", "--json"))
        assert "errors" not in drawn
        names = {name.rpartition("/")[2] for name in drawn["data"]}
        assert {"roc.csv", "calibration.csv", "Permutation importance", "confusion_matrix.svg"} <= names
        for kinds in drawn["data"].values():
            assert {revision for kind in kinds for revision in kind["revisions"]} == {"workspace", "HEAD"}

    def test_data_and_model_come_back_in_a_clone(self, project: Running) -> None:
        project.git("add", ".")
        project.git("commit", "--quiet", "--message", "Keep the experiment")
        project.uv("run", "dvc", "push")
        clone = project._replace(path=project.path.parent / "clone")
        project.git("clone", "--quiet", str(project.path), str(clone.path))
        clone.uv("run", "--no-sync", "dvc", "pull")
        for path in ("data/raw/penguins.csv", "models/pipeline.skops", "data/processed/holdout.parquet"):
            assert (clone.path / path).read_bytes() == (project.path / path).read_bytes()
        assert json.loads(clone.uv("run", "--no-sync", "dvc", "status", "--json")) == {}

    def test_retraining_trains_what_has_changed_and_shares_it(self, project: Running) -> None:
        params = project.path / "params.yaml"
        params.write_text(
            params.read_text(encoding="utf-8").replace("max_depth: 4", "max_depth: 5"), encoding="utf-8"
        )
        project.git("commit", "--quiet", "--all", "--message", "Deeper")
        before = project.versions()
        for _ in range(2):  # the second time nothing has changed
            project.uv("run", project.path.name, "retrain")
            assert project.versions() == before + 1
            assert json.loads(project.uv("run", "dvc", "status", "--json")) == {}
            assert json.loads(project.uv("run", "dvc", "status", "--cloud", "--json")) == {}
        project.git("add", ".")
        project.git("commit", "--quiet", "--message", "Keep what the retraining made")
        assert project.uv("run", project.path.name, "check-lock") == "dvc.lock is up to date.\n"

    def test_champion_predicts_raw_rows_without_the_project(self, project: Running, tmp_path: Path) -> None:
        requirements = next(project.path.glob("mlartifacts/**/requirements.txt"))
        without = ("run", "--isolated", "--no-project", "--with-requirements", str(requirements))
        code = PREDICT.format(package=project.package, folder=project.path)
        said = json.loads(project.uv(*without, "python", "-c", code, cwd=tmp_path).splitlines()[-1])
        assert said["predictions"] == 224
        assert "island" in said["required"]
        assert "year" not in said["required"]
