"""How the champion behaves."""

import re

import numpy as np
import polars as pl
import pytest
from polars import selectors
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.pipeline import Pipeline

from penguin_model.config import Contract, Data, Gate
from penguin_model.errors import ProjectError
from penguin_model.model import casting, features
from penguin_model.model.predictor import Predictor, Recipe
from penguin_model.ops.settings import (
    project_root,
    read_contract,
    read_params,
)
from penguin_model.steps import evaluate, gate, ingest, train
from penguin_model.steps.gate import Evaluation


@pytest.fixture(scope="module")
def raw(champion) -> pl.DataFrame:
    """Return raw rows with the types of the contract, without the target."""
    params, contract = read_params(), read_contract()
    table = ingest.read_table(project_root() / params.data.source, params.data.null_values, contract.types)
    rows = casting.conform(table, contract).drop(params.data.target).collect()
    # MLflow takes integer columns that may have missing values as pandas has them: as floats.
    nullable = [name for name in rows.columns if contract.columns[name].nullable]
    return rows.with_columns((selectors.by_name(nullable) & selectors.integer()).cast(pl.Float64))


@pytest.fixture(scope="module")
def predictor(champion) -> Predictor:
    """Load the model from the folder of the project."""
    return Predictor.load(project_root() / "models", read_params().model.trusted)


def test_learns_a_simple_pattern_better_than_a_dummy():
    params = read_params()
    classes = params.data.problem == "classification"
    rows = pl.DataFrame({"size": np.arange(400) % 41 / 40, "kind": ["a", "b", "c", "d"] * 100})
    signal = rows["size"] + (rows["kind"] == "a").cast(pl.Float64)
    target = (signal > 0.7).cast(pl.String) if classes else signal.alias("y")
    pipeline = train.build_pipeline(params.data.problem, params.model.estimator, params.model.params)
    evaluations = []
    for model in (pipeline, DummyClassifier() if classes else DummyRegressor()):
        predictions = evaluate.predict(model.fit(rows[:300], target[:300].to_numpy()), rows[300:], target[300:])
        evaluations.append(Evaluation(evaluate.metrics(params.data.problem, predictions)))
    assert gate.decide(Gate(metric=params.gate.metric), *evaluations).alias == "champion"


def test_a_row_has_the_same_prediction_again_and_alone(champion, raw):
    rows, some = raw.to_pandas(), raw.head(20).to_pandas()
    assert champion.predict(rows).tolist() == champion.predict(rows).tolist()
    alone = [champion.predict(some.iloc[[index]]).tolist()[0] for index in range(len(some))]
    assert alone == champion.predict(some).tolist()


def test_missing_values_are_predicted_as_missing_columns(predictor, raw):
    inputs = predictor.recipe.inputs.columns
    for name in [name for name, column in inputs.items() if column.nullable][:20]:
        rows = raw.head(3).with_columns(pl.lit(None, raw.schema[name]).alias(name))
        assert len(predictor.predict(rows)) == rows.height
        assert predictor.predict(rows).tolist() == predictor.predict(rows.drop(name)).tolist()


def test_value_of_the_wrong_type_is_refused(monkeypatch):
    monkeypatch.setattr(features, "EXPRESSIONS", {})  # the table has none of the project's columns
    data = Data(source="x.csv", problem="regression", target="y")
    contract = Contract.model_validate({"columns": {"n": {"type": "integer"}, "y": {"type": "float"}}})
    predictor = Predictor(Pipeline([]), Recipe(data=data, features={}, contract=contract, trusted=[]))
    with pytest.raises(
        ProjectError, match=r"types of contract\.yaml: column 'n' must be of type integer, not 'many'\."
    ):
        predictor.columns(pl.DataFrame({"n": ["many"]}))


def test_rows_without_a_required_column_are_refused(predictor, champion, raw):
    for name in [name for name, column in predictor.recipe.inputs.columns.items() if not column.nullable][:1]:
        with pytest.raises(Exception, match=re.escape(name)):
            champion.predict(raw.drop(name).to_pandas())


def test_probabilities_sum_to_one_and_agree_with_the_predictions(predictor, raw):
    predictions = predictor.predict(raw)
    if read_params().data.problem == "classification":
        probabilities = predictor.predict(raw, {"probabilities": True})
        assert np.allclose(probabilities.sum(axis=1), 1)
        assert (probabilities.columns[probabilities.to_numpy().argmax(axis=1)] == predictions).all()
    else:
        assert np.isfinite(predictions).all()
