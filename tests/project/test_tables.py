"""Adopting other tables than the penguins: real ones, and generated ones with every oddity. Slow."""

import json
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from running import Running, passed, set_up
from template import Bake
from tiers import in_turn

pytestmark = pytest.mark.slow

PLOTLY = Path(str(files("plotly"))) / "package_data/datasets"
# Runs in the project's environment, which has scikit-learn's tables.
WRITE_TABLES = """
import datetime as dt, json, sys
from pathlib import Path
import numpy as np, polars as pl
from sklearn import datasets
folder = Path(sys.argv[1])
for name in ("iris", "wine", "breast_cancer", "diabetes", "digits", "linnerud"):
    bunch = getattr(datasets, "load_" + name)(as_frame=True)
    pl.from_pandas(bunch.frame).write_csv(folder / (name + ".csv"))
draw, size = np.random.default_rng(0), 240
number = pl.int_range(size)
moment = pl.lit(dt.datetime(2020, 1, 1)) + number * dt.timedelta(hours=7)
odd = pl.select(
    number.alias(""),
    (number * 0.5).alias("with blank"),
    (number % 3).alias("dot.ted"),
    pl.format("kind {{}}", number % 4).alias("it's \\"so\\""),
    (number % 2 == 0).alias("co: lon"),
    (number % 7).alias("💡"),
    moment.dt.date().alias("1st"),
    moment.alias("${{x}}"),
    moment.dt.time().alias("clock"),
    pl.format("the {{}} jumps over the {{}} dog", number, number % 5).alias("prose"),
    pl.format("u{{}}", number).alias("uid"),
    pl.format("0{{}}", number % 7).alias("zip"),
    pl.lit("always").alias("constant"),
    pl.lit(None, pl.String).alias("nothing"),
    pl.when(number % 3 == 0).then(pl.lit("yes")).otherwise(pl.lit("no")).alias("the answer"),
)
odd.write_parquet(folder / "odd.parquet")
holes = odd.with_columns(
    pl.when(number % 6 != at % 6).then(pl.col(name))
    for at, name in enumerate(odd.columns)
    if name != "nothing"
)
pl.concat([holes, holes.head(20)]).write_csv(folder / "holes.csv", null_value="NA")
pl.DataFrame({{"a": [1, 2], "b": ["x", "y"]}}).write_csv(folder / "two.csv")
pl.DataFrame({{
    "level": [f"level {{n}}" for n in draw.integers(0, 4000, 9000)],
    "size": draw.normal(size=9000),
    "y": draw.normal(size=9000),
}}).write_csv(folder / "levels.csv")
named = [(number * 0.1).sin().alias(name) for name in json.loads(sys.argv[3])]
odd.with_columns(named).write_parquet(sys.argv[2])
print("[]")
"""
# Names that mean something to MLflow, DVC, git, YAML, Polars, pandas, a shell or a terminal.
SOURCE = "data/raw/-a [b]* ${data.target} #50%? (1).parquet"
NAMES = [
    *("a share (%)", "a/b", "..", "/", "CON", "yes", "null", "1", "{x}", "# y", "?", "-rf", "new\nline"),
    *("tab\t", "\u05e9\u202e", "z\u0301", "\u00e9", "x" * 250, "z" * 1000, "_1", " b", "prediction", "row"),
    *("count", "literal", "__index_level_0__", "model_version", "params", "A", "a", "=cmd", "$x$", "<b>"),
    *("a,b", 'a"b', "a\\b", "~", "&a"),
]
ADOPT_AND_TRAIN = """
import json, sys
import mlflow, polars as pl, polars.selectors as cs
from {package}.ops.orchestration.session import api
with api() as session:
    from {package}.ops.settings import PACKAGE as NAME
    from {package}.ops.tracking import registry
    from {package}.ops import predictions
    from {package}.ops.adopt.adopt import AdoptRequest, adopt
    from {package}.ops.paths import HOLDOUT, MODELS
    from {package}.flows.training import training
    from {package}.ops.settings import read_params
    from {package}.model.predictor import Predictor
    from {package}.serving.served import Served
    from {package}.steps import evaluate
    results = {{}}
    with session():
        for name, request in json.loads(sys.argv[1]).items():
            sentences = adopt(AdoptRequest(**request))
            state = training(return_state=True)
            results[name] = {{"state": state.name, "sentences": sentences}}
            if not state.is_completed():
                continue
            # The holdout as training evaluates it, and its raw rows, which batch, service and MLflow get.
            newest, holdout = registry.newest(), pl.read_parquet(HOLDOUT)
            local = Predictor.load(MODELS, read_params().model.trusted)
            evaluated = evaluate.outputs(local.pipeline, holdout.select(local.recipe.columns))
            raw = holdout.select(list(local.recipe.inputs.columns))
            with registry.load(newest.number) as package, package.loaded() as packed:
                batch = predictions.predict(packed, raw)
                described = dict(identity=0, name="", version=1, trained=None, about={{}})
                served = Served.of(packed, None, raw.height, **described)
                rows = served.schema.read(raw.write_json().encode())
                answers = served.predictions(served.schema.frame(rows))
            # In MLflow's signature, as in pandas, integers that may be missing are floats.
            missing = [name for name, rules in local.recipe.inputs.columns.items() if rules.nullable]
            frame = raw.with_columns((cs.by_name(missing) & cs.integer()).cast(pl.Float64)).to_pandas()
            model = mlflow.pyfunc.load_model(f"models:/{{NAME}}/{{newest.number}}")
            by_mlflow = list(model.predict(frame))
            same = batch["prediction"].to_list() == list(evaluated.predicted) == by_mlflow
            if evaluated.probabilities is not None:
                shares = batch.drop("prediction").to_numpy()
                of_mlflow = model.predict(frame, params={{"probabilities": True}}).to_numpy()
                same = same and (shares == evaluated.probabilities).all() and (shares == of_mlflow).all()
            ends = [by_mlflow[0], by_mlflow[-1]]
            results[name] |= {{
                "problem": read_params().data.problem,
                "flow": newest.tags["prefect.flow_run_id"] == str(state.state_details.flow_run_id),
                "same": bool(same and batch.equals(answers)),
                "alone": [*model.predict(frame[:1]), *model.predict(frame[-1:])] == ends,
            }}
print(json.dumps(results))
"""
REQUESTS: dict[str, dict[str, str]] = {
    "iris": {"origin": "iris.csv", "target": "target"},
    "wine": {"origin": "wine.csv", "target": "target"},
    "breast_cancer": {"origin": "breast_cancer.csv", "target": "target"},
    "digits": {"origin": "digits.csv", "target": "target", "problem": "classification"},
    "diabetes": {"origin": "diabetes.csv", "target": "target"},
    "linnerud": {"origin": "linnerud.csv", "target": "Weight", "problem": "regression"},
    "tips": {"origin": str(PLOTLY / "tips.csv.gz"), "target": "tip"},
    "gapminder": {"origin": str(PLOTLY / "gapminder.csv.gz"), "target": "lifeExp", "group": "country"},
    "stocks": {"origin": str(PLOTLY / "stocks.csv.gz"), "target": "GOOG", "time": "date"},
    "election": {"origin": str(PLOTLY / "election.csv.gz"), "target": "winner"},
    "carshare": {"origin": str(PLOTLY / "carshare.csv.gz"), "target": "car_hours"},
    "odd": {"origin": "odd.parquet", "target": "the answer"},
    "holes numbers": {"origin": "holes.csv", "target": "with blank"},
    "odd truth": {"origin": "odd.parquet", "target": "co: lon"},
    "names": {"origin": SOURCE, "target": "the answer"},
    "holes": {"origin": "holes.csv", "target": "the answer"},
    "levels": {"origin": "levels.csv", "target": "y"},
    "two": {"origin": "two.csv", "target": "b"},
}
# Tables that are alike; each of the others is the only one of its kind.
ALIKE = [
    ("iris", "wine", "breast_cancer", "digits"),
    ("diabetes", "linnerud", "tips", "carshare"),
    ("odd", "odd truth"),
]
TABLES = [
    *(name for name in REQUESTS if name not in chain(*ALIKE)),
    *chain.from_iterable(in_turn(*names) for names in ALIKE),
]
PROBLEMS = {
    "regression": {
        "diabetes",
        "linnerud",
        "tips",
        "gapminder",
        "stocks",
        "carshare",
        "holes numbers",
        "levels",
    },
    "classification": {
        "iris",
        "wine",
        "breast_cancer",
        "digits",
        "election",
        "odd",
        "odd truth",
        "names",
        "holes",
        "two",
    },
}


class TestTables:
    """One project that adopts one table after the other."""

    @pytest.fixture(scope="class")
    @classmethod
    def project(cls, bake: Bake, tmp_path_factory: pytest.TempPathFactory) -> Running:
        """Set a project up."""
        return set_up(bake, tmp_path_factory.mktemp("running"), "3.13", "classification")

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, project: Running) -> Path:
        """Write the tables."""
        folder = project.path.parent / "tables"
        folder.mkdir()
        project.ask(WRITE_TABLES, str(folder), str(project.path / SOURCE), json.dumps(NAMES))
        return folder

    @pytest.fixture(scope="class")
    @classmethod
    def results(cls, request: pytest.FixtureRequest, project: Running, folder: Path) -> dict[str, Any]:
        """Adopt, train and predict with every table that is tested, in one process."""
        tested = {item.name for item in request.session.items}
        requests = {
            name: adopted | {"origin": str((project.path if name == "names" else folder) / adopted["origin"])}
            for name, adopted in REQUESTS.items()
            if f"test_table_is_adopted_and_its_model_predicts[{name}]" in tested
        }
        answer: dict[str, Any] = project.ask(ADOPT_AND_TRAIN, json.dumps(requests))
        return answer

    @pytest.mark.parametrize("name", TABLES)
    def test_table_is_adopted_and_its_model_predicts(self, results: dict[str, Any], name: str) -> None:
        result = results[name]
        assert result["state"] == "Completed", result
        assert name in PROBLEMS[result["problem"]]
        assert result["flow"]
        assert result["same"]
        assert result["alone"]

    @pytest.mark.parametrize(("name", "target"), in_turn(("tips.csv.gz", "tip"), ("holes.csv", "the answer")))
    def test_projects_own_checks_and_tests_hold(
        self, project: Running, folder: Path, name: str, target: str
    ) -> None:
        table = folder / name if (folder / name).exists() else PLOTLY / name
        summary = project.uv("run", project.path.name, "adopt", str(table), "--target", target)
        assert f"Target '{target}'" in summary
        project.make("train")
        assert json.loads(project.uv("run", "dvc", "status", "--json")) == {}
        project.uv("run", project.path.name, "check-lock")
        passed(project.make("test"))
