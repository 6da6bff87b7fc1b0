"""The report of the project's own model, and what it finds: important columns and the worst slices."""

import re
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeRegressor

from penguin_model.config import Params
from penguin_model.ops.settings import project_root, read_params
from penguin_model.report import importance as module
from penguin_model.report import slices
from penguin_model.report.importance import importance
from penguin_model.report.page import number
from penguin_model.steps import train
from penguin_model.steps.evaluate import Predictions

REGRESSION = Params.model_validate(
    {
        "data": {"source": "t.csv", "problem": "regression", "target": "y"},
        "split": {"holdout": 0.25, "seed": 1},
        "model": {"estimator": "sklearn.tree.DecisionTreeRegressor"},
        "gate": {"metric": "rmse"},
    }
)


def test_report_shows_everything_and_loads_nothing(trained):
    page = (project_root() / "reports/report.html").read_text(encoding="utf-8")
    text = re.sub(r'src="data:[^"]+"', "", page)
    assert not re.search(r"(src|href)=|https?://|url\(|@import", text)
    params, metrics = read_params(), trained.result().metrics
    expected = [params.data.target, params.model.estimator, "Data contract", "git commit", "(MD5)"]
    expected += [name for name in metrics if not name.startswith("dummy.")]
    expected += [f"dummy {number(value)}" for name, value in metrics.items() if name.startswith("dummy.")]
    assert [words for words in expected if words not in text] == []
    plots = {plot.stem for plot in (project_root() / "reports/plots").iterdir()}
    assert page.count("data:image/svg+xml") == len(plots)
    own = {"confusion_matrix", "roc"} if params.data.problem == "classification" else {"residuals"}
    assert own | {"calibration"} <= plots
    assert pl.read_csv(project_root() / "reports/series/curves/calibration.csv").columns == ["x", "y"]


def test_the_column_that_decides_is_the_important_one():
    random = np.random.default_rng(0)
    rows = pl.DataFrame({"noise": random.normal(size=300), "signal": random.normal(size=300)})
    truth = rows["signal"].rename("y") * 10
    model = DecisionTreeRegressor(max_depth=5, random_state=1).fit(rows, truth)
    (signal, noise), _ = found = importance(model, rows, truth, REGRESSION)
    assert (signal.column, noise.column) == ("signal", "noise")
    assert signal.mean > 5
    assert abs(noise.mean) < 1
    assert found == importance(model, rows, truth, REGRESSION)


@pytest.mark.parametrize("estimator", ["ensemble.HistGradientBoostingRegressor", "linear_model.Ridge"])
def test_columns_are_shuffled_after_skrub_as_before_it(estimator, monkeypatch):
    random = np.random.default_rng(0)
    numbers, kinds = random.normal(size=300), random.choice(["a", "b", "c"], 300)
    rows = pl.DataFrame({"number": numbers, "kind": kinds, "nothing": [None] * 300})
    truth = pl.Series("y", 5 * numbers + 9 * (kinds == "b"))
    pipeline = train.fit(train.build_pipeline("regression", f"sklearn.{estimator}", {}), rows, truth)
    whole = importance(SimpleNamespace(predict=pipeline.predict), rows, truth, REGRESSION).columns
    transform, calls = pipeline[0].transform, []
    monkeypatch.setattr(pipeline[0], "transform", lambda rows: calls.append(rows.height) or transform(rows))
    found = importance(pipeline, rows, truth, REGRESSION).columns
    assert found == [(name, pytest.approx(mean), pytest.approx(std)) for name, mean, std in whole]
    assert [name for name, *_ in found] == ["number", "kind", "nothing"]
    assert calls == [300]


@pytest.mark.parametrize("width", [61, 100, 777])
def test_wide_table_is_sampled_and_says_so(width, monkeypatch):
    random = np.random.default_rng(0)
    rows = pl.DataFrame({f"c{number}": random.normal(size=1500) for number in range(width)})
    last = rows.columns[-1]
    truth = (rows["c7"] * 10 + rows[last] * 5).rename("y")
    model = LinearRegression().fit(rows, truth)
    monkeypatch.setattr(module, "MAX_CELLS", 200 * width * width)
    predicted = []
    monkeypatch.setattr(
        model, "predict", lambda rows: predicted.append(rows.height) or rows["c7"] * 10 + rows[last] * 5
    )
    (*chosen, rest), note = importance(model, rows, truth, REGRESSION)
    assert [found.column for found in chosen[:2]] == ["c7", last]
    assert rest.column == f"the other {width - 30:,} columns together"
    assert rest.mean == 0
    assert len(chosen) == 30
    assert re.search(rf"in \d+ of the 1,500 rows.* Of {width} columns, 30 were chosen", note)
    assert sum(predicted) < 1500 * 5 * width


def test_worst_slice_comes_first():
    kinds = ["a"] * 30 + ["b"] * 30 + [None] * 30 + ["few"] * 3
    rows = pl.DataFrame({"kind": kinds, "id": [str(number) for number in range(93)]})
    predicted = np.array(["x"] * 30 + ["y"] * 30 + ["x"] * 20 + ["y"] * 13)
    worst = slices.worst("classification", rows, Predictions(np.array(["x"] * 93), predicted, None, None))
    assert [(part.value, part.rows, round(part.error, 2)) for part in worst] == [
        ("b", 30, 1),
        ("missing", 30, 0.33),
        ("a", 30, 0),
    ]
