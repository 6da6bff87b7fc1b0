"""A registry made by earlier code works with today's code. Slow.

The fixture was made by commit 917fc7a, where the package was flat and the loader `penguin_model.predictor`:
the default project at /srv/penguin-model, on Python 3.11, with two versions. Version 1 has 8 iterations of
gradient boosting; version 2, a tree of depth 2, is better and the champion. The archive holds the history of
git (`project.bundle`), MLflow's database (`mlflow.sql`) and the files of both models.

No test here names a module of the package: they ask MLflow, and use the project's verbs.
"""

import re
import shutil
import sqlite3
import subprocess
import tarfile
from contextlib import closing
from pathlib import Path

import pytest
from running import Running, set_up
from template import Bake
from test_registry import aliases, change, refused, say

pytestmark = pytest.mark.slow

FIXTURE = Path(__file__).parent / "fixtures/registry-before-rooms.tar.xz"
# MLflow itself loads both versions, from the code they were packed with.
BY_MLFLOW = """
import json, mlflow, polars as pl
from sklearn.metrics import f1_score
mlflow.set_tracking_uri("sqlite:///mlflow.db")
one, two = (mlflow.pyfunc.load_model(f"models:/{package}/{{version}}") for version in (1, 2))
holdout = pl.read_parquet("data/processed/holdout.parquet")
raw = pl.read_csv("data/raw/penguins.csv", null_values="NA").to_pandas()
print(json.dumps({{
    "f1_macro of 2": f1_score(holdout["species"], two.predict(holdout.to_pandas()), average="macro"),
    "predictions of 1": one.predict(raw).tolist(),
}}))
"""
SCORED = """
import json, polars as pl
scored = pl.read_parquet("data/predictions").select("model_version", "prediction")
print(json.dumps(scored.to_dict(as_series=False)))
"""


class TestEarlierVersions:
    """A project of today with an earlier registry; the tests build on each other and run in order."""

    @pytest.fixture(scope="class")
    @classmethod
    def project(cls, bake: Bake, tmp_path_factory: pytest.TempPathFactory) -> Running:
        """Generate a project, and give it the fixture's history and registry."""
        folder = tmp_path_factory.mktemp("running")
        made = set_up(bake, folder, "3.11", "classification")
        with tarfile.open(FIXTURE) as archive:
            archive.extractall(folder, filter="data")
        (folder / "mlartifacts").rename(made.path / "mlartifacts")
        dump = (
            (folder / "mlflow.sql").read_text(encoding="utf-8").replace("/srv/penguin-model", str(made.path))
        )
        for file in made.path.glob("mlflow.db*"):
            file.unlink()
        with closing(sqlite3.connect(made.path / "mlflow.db")) as database:
            database.executescript(dump)
        made.git("fetch", "--quiet", str(folder / "project.bundle"), "main")
        made.git("reset", "--soft", "FETCH_HEAD")
        made.git("add", ".")
        made.git("commit", "--quiet", "--message", "Update the template")
        return made

    def test_earlier_champion_is_judged_and_keeps_its_place(self, project: Running) -> None:
        assert aliases(project) == {"champion": 2}
        change(project, {"max_depth": 1, "max_iter": 1}, {})
        project.make("train")
        assert aliases(project) == {"champion": 2, "challenger": 3}
        [(reason,)] = project.rows(
            "mlflow.db", "SELECT value FROM model_version_tags WHERE version = 3 AND key = 'reason'"
        )
        found = re.match(r"f1_macro \S+ is not better than the champion's (\d\.\d+)", reason)
        assert found, reason
        assert float(found[1]) == pytest.approx(project.ask(BY_MLFLOW)["f1_macro of 2"], rel=1e-5)

    def test_earlier_champion_is_returned_to_and_scored_with(self, project: Running) -> None:
        assert "Version 1 is the champion again, instead of version 2" in say(project, "rollback")
        assert aliases(project) == {"champion": 1, "challenger": 3}
        say(project, "score")
        scored = project.ask(SCORED)
        assert set(scored["model_version"]) == {1}
        assert scored["prediction"] == project.ask(BY_MLFLOW)["predictions of 1"]

    def test_journal_and_lineage_go_back_beyond_the_update(self, project: Running) -> None:
        moves = re.findall(
            r"(none|version \d) → (version \d)  \((\w+), (.*)\)$", say(project, "journal"), re.MULTILINE
        )
        assert [move[:3] for move in moves] == [
            ("none", "version 1", "training"),
            ("version 1", "version 2", "training"),
            ("version 2", "version 1", "rollback"),
        ]
        said = say(project, "lineage", "1")
        for link in (
            r"penguin_model version 1 \(champion\): the first champion, f1_macro 0.949163$",
            r"Prefect flow run lean-millipede, ",
            r"git commit a9354e2\w+ “A small model”, clean$",
            r"dvc.lock names models/pipeline.skops \w+, since commit 8fda979 “Train the first”$",
        ):
            assert re.search(link, said, re.MULTILINE), said

    def test_earlier_version_is_rebuilt_to_the_last_digit(self, project: Running) -> None:
        same = r"is the same: 5 metrics to the last digit, and 86 predictions on the holdout\."
        # Its table, which the remote of its project has; projects of today have the penguins of two years.
        table = Path(__file__).parent / "fixtures/penguins_of_three_years.csv"
        kept = project.path / "data/sample/files/md5/a0/6a0210251465a86fb970018292304d"
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(table, kept)
        # Its code needs a library that projects no longer have.
        command = [str(project.environment / "bin" / project.path.name), "reproduce", "1"]
        refused = subprocess.run(
            command, cwd=project.path, env=project.env(), capture_output=True, text=True, check=False
        )
        remedies = re.findall(r"imports dataframely, .*; run `uv (.+)`\.\n", refused.stderr)
        assert len(remedies) == 1, refused.stderr
        [remedy] = remedies
        said = project.uv(*remedy.split())
        assert re.search(rf"Version 1, trained again from commit a9354e2\w+, {same}", said), said

    def test_earlier_version_is_checked_once_its_digests_are_recorded(self, project: Running) -> None:
        said = say(project, "trust", "1")
        assert re.search(r"Recorded the digests of the \d+ files of version 1", said)
        assert "are the ones that were registered" in say(project, "trust", "1")
        code = next(path for path in project.path.rglob("predictor.py") if "m-4c6c" in str(path))
        code.write_text("raise SystemExit('this code must not run')\n", encoding="utf-8")
        assert re.search(
            r"Version 1 .* is not loaded, .*predictor.py is changed", refused(project, "trust", "1")
        )
