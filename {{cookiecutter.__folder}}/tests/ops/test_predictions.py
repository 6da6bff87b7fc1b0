"""The schema of predictions: the same values as evaluation and MLflow, and names that do not hide raw columns."""

from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from conftest import COPY
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from penguin_model.model.predictor import Predictor
from penguin_model.ops import predictions
from penguin_model.ops.predictions import ORIGIN, Origin
from penguin_model.ops.settings import read_params

AT = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)


def fitted(estimator, target) -> SimpleNamespace:
    """Fit a pipeline on ten rows with the column x; return what offers the interface of a packed model."""
    rows = pl.DataFrame({"x": np.arange(len(target), dtype=float)})
    pipeline = make_pipeline(FunctionTransformer(), estimator).fit(rows, np.array(target))
    return SimpleNamespace(pipeline=pipeline, columns=lambda raw: raw.select("x"))


def test_values_are_those_of_mlflow(champion, holdout):
    predictor = Predictor.load(COPY / "models", read_params().model.trusted)
    predicted = predictions.predict(predictor, holdout)
    # In MLflow's signature an integer that may be missing is a float.
    inputs = predictor.recipe.inputs.columns.items()
    floats = [name for name, column in inputs if column.type == "integer" and column.nullable]
    rows = holdout.cast(dict.fromkeys(floats, pl.Float64)).to_pandas()
    assert predicted["prediction"].to_list() == list(champion.predict(rows))
    if read_params().data.problem == "classification":
        by_mlflow = champion.predict(rows, params={"probabilities": True})
        names = [predictions.probability(label) for label in by_mlflow.columns]
        assert predicted.columns == ["prediction", *names]
        assert (predicted.select(names).to_numpy() == by_mlflow.to_numpy()).all()
    else:
        assert predicted.columns == ["prediction"]


@pytest.mark.parametrize(
    ("estimator", "target", "schema"),
    [
        (
            HistGradientBoostingClassifier(max_iter=2),
            ["a", "B c", "_"],
            {
                "prediction": pl.String,
                "probability_B c": pl.Float64,
                "probability__": pl.Float64,
                "probability_a": pl.Float64,
            },
        ),
        (
            HistGradientBoostingClassifier(max_iter=2),
            [True, False],
            {"prediction": pl.Boolean, "probability_False": pl.Float64, "probability_True": pl.Float64},
        ),
        (
            HistGradientBoostingClassifier(max_iter=2),
            [-1, 7],
            {"prediction": pl.Int64, "probability_-1": pl.Float64, "probability_7": pl.Float64},
        ),
        (RidgeClassifier(), ["a", "b"], {"prediction": pl.String}),
        (LinearRegression(), [0.5, 1.5], {"prediction": pl.Float64}),
    ],
)
def test_columns_are_those_of_the_classes(estimator, target, schema):
    model = fitted(estimator, target * 5)
    assert dict(predictions.predict(model, pl.DataFrame({"x": [1.0, 2.0], "other": ["a", None]})).schema) == schema


def test_record_is_raw_columns_then_prediction_then_origin():
    rows = pl.DataFrame({"x": [1.0, 2.0], "other": ["a", None]})
    predicted = predictions.predict(fitted(LinearRegression(), [0.5, 1.5]), rows)
    table = predictions.record(rows, predicted, Origin(None, "champion", "r1"), at=AT)
    assert table.columns == ["x", "other", "prediction", *ORIGIN]
    assert {name: table.schema[name] for name in ORIGIN} == ORIGIN
    assert table.select(*ORIGIN).row(1) == (None, "champion", "r1", 1, AT, None)
    assert predictions.record(rows, predicted, Origin(3, "version", "r1", "run"))["flow_run"].to_list() == ["run"] * 2


@pytest.mark.parametrize(
    "raw", [["x"], ["prediction"], ["_prediction"], ["Prediction", "row"], ["__row", "prediction", "PROBABILITY_A"]]
)
def test_names_of_raw_columns_stay_and_ours_are_found(raw):
    rows = pl.DataFrame({name: ["raw"] for name in raw})
    predicted = pl.DataFrame({"prediction": ["ours"], "probability_a": [0.5], "probability_A": [0.25]})
    table = predictions.record(rows, predicted, Origin(1, "champion", "r"))
    assert table.select(raw).equals(rows)
    for name in (*predicted.columns, *ORIGIN):
        assert predictions.find(name, table.columns) in table.columns[len(raw) :]
    found = [predictions.find(name, table.columns) for name in predicted.columns]
    assert table.select(found).row(0) == ("ours", 0.5, 0.25)
    assert predictions.find("absent", table.columns) is None


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("estimator", [HistGradientBoostingClassifier, RandomForestClassifier, ExtraTreesClassifier])
def test_most_probable_class_is_what_the_estimator_predicts(estimator, classes, monkeypatch):
    from penguin_model.steps import evaluate

    draw = np.random.default_rng(1)
    rows = draw.normal(size=(300, 3))
    target = np.array([f"class {place}" for place in draw.integers(0, classes, 300)])
    model = estimator(random_state=0, max_depth=3).fit(rows, target)
    expected = model.predict(rows)
    monkeypatch.setattr(model, "predict", lambda _: pytest.fail("asked twice"))
    assert (evaluate.outputs(model, rows).predicted == expected).all()


@pytest.mark.parametrize("estimator", [HistGradientBoostingClassifier(), RandomForestClassifier(n_estimators=2)])
@pytest.mark.parametrize("rows", [0, 2])
def test_model_of_a_single_class_has_no_probabilities(estimator, rows):
    predicted = predictions.predict(fitted(estimator, ["a", "a"]), pl.DataFrame({"x": [1.0, 2.0]}).head(rows))
    assert predicted.to_dict(as_series=False) == {"prediction": ["a"] * rows}


def test_estimator_decides_between_classes_of_equal_probability():
    from penguin_model.steps import evaluate

    rows, target = np.zeros((4, 1)), np.array(["b", "a", "b", "a"])
    model = RandomForestClassifier(n_estimators=2, bootstrap=False).fit(rows, target)
    assert (model.predict_proba(rows) == 0.5).all()
    assert evaluate.outputs(model, rows).predicted.tolist() == model.predict(rows).tolist()
