"""Boosters that a user adds to a project: `uv add lightgbm xgboost`. Slow."""

import json
from pathlib import Path

import pytest
from running import Running
from template import Bake
from tiers import in_turn

pytestmark = pytest.mark.slow

# Names that LightGBM or XGBoost refuse, and classes with gaps. Runs in the project's environment.
WRITE_TABLE = """
import sys
import polars as pl
number = pl.int_range(160)
size = (number.hash(1) % 1000) / 1000
pl.select(
    size.alias("area [m2] <5"),
    pl.format("<{{}}]", number % 3).alias('kind {{"q":,}}'),
    (size * 3).cast(int).replace_strict({{0: 1, 1: 5, 2: 99}}).alias("level"),
    (size * 100 + number % 3).alias("price"),
).write_csv(sys.argv[1])
print("[]")
"""
TRAIN = """
import json, sys
from {package}.ops.orchestration.session import api
with api() as session:
    import mlflow, polars as pl
    from ruamel.yaml import YAML
    from {package}.flows.scoring import scoring
    from {package}.flows.training import training
    from {package}.ops.adopt.adopt import AdoptRequest, adopt
    from {package}.ops.settings import PACKAGE, project_root
    from {package}.ops.versioning.git import run_git
    from {package}.serving.locations import Alias
    found = []
    with session():
        for target, problem, estimator in json.loads(sys.argv[2]):
            adopt(AdoptRequest(origin=sys.argv[1], target=target, problem=problem))
            yaml, file = YAML(), project_root() / "params.yaml"
            params = yaml.load(file)
            params["model"] |= {{"estimator": estimator, "params": {{"n_estimators": 30}}}}
            yaml.dump(params, file)
            run_git("add", "--all")
            run_git("commit", "--quiet", "--message", estimator)
            result = training()
            rows = scoring()
            scored = pl.read_parquet(project_root() / "data/predictions/*.parquet")["prediction"]
            served = Alias("champion", 10).load(result.version)
            served.try_example()
            folder = mlflow.artifacts.download_artifacts(f"models:/{{PACKAGE}}/{{result.version}}")
            pinned = open(folder + "/requirements.txt").read()
            beaten = {{name: result.metrics[name] for name in ("f1_macro", "r2") if name in result.metrics}}
            found.append([result.alias, rows, sorted(set(scored))[:3], pinned, beaten])
print(json.dumps(found))
"""


@pytest.mark.parametrize(
    ("classifier", "regressor"), in_turn(("lightgbm.LGBM", "xgboost.XGB"), ("xgboost.XGB", "lightgbm.LGBM"))
)
def test_boosters_train_score_serve_and_are_reproduced(
    bake: Bake, tmp_path: Path, classifier: str, regressor: str
) -> None:
    """Classes and predictions are the user's, whatever the boosters accept."""
    project = Running.copy_of(bake(), tmp_path, "3.13", "boosters")
    project.uv("add", "--no-sync", "lightgbm", "xgboost")
    project.prepare()
    for key in ("user.name", "user.email"):
        project.git("config", key, "tester")
    table = str(tmp_path / "table.csv")
    project.ask(WRITE_TABLE, table)
    models = [
        ["level", "classification", f"{classifier}Classifier"],
        ["price", "regression", f"{regressor}Regressor"],
    ]
    classes, numbers = project.ask(TRAIN, table, json.dumps(models))
    assert classes[:3] == ["champion", 160, [1, 5, 99]]
    assert classes[4]["f1_macro"] > 0.9
    assert numbers[:2] == ["champion", 160]
    assert numbers[4]["r2"] > 0.9
    one, other = (name.partition(".")[0] for name in (classifier, regressor))
    for pinned, packed, left_out in ((classes[3], one, other), (numbers[3], other, one)):
        assert f"{packed}==" in pinned
        assert left_out not in pinned
    assert "is the same" in project.uv("run", project.path.name, "reproduce", "2")
