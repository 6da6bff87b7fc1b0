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
from penguin_model.model import casting
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
    """Return raw rows, as the contract types them and without the target."""
    params, contract = read_params(), read_contract()
    table = ingest.read_table(project_root() / params.data.source, params.data.null_values, contract.types)
    rows = casting.conform(table, contract).drop(params.data.target).collect()
    # MLflow takes whole numbers that may be missing like pandas has them, also where none is missing.
    missing = [name for name in rows.columns if contract.columns[name].nullable]
    return rows.with_columns((selectors.by_name(missing) & selectors.integer()).cast(pl.Float64))


def test_learns_what_can_be_learned():
    params = read_params()
    classes = params.data.problem == "classification"
    rows = pl.DataFrame({"size": np.arange(400) % 41 / 40, "kind": ["a", "b", "c", "d"] * 100})
    signal = rows["size"] + (rows["kind"] == "a").cast(pl.Float64)
    target = (signal > 0.7).cast(pl.String) if classes else signal.alias("y")
    dummy = DummyClassifier() if classes else DummyRegressor()
    pipeline = train.build_pipeline(params.data.problem, params.model.estimator, params.model.params)
    judged = []
    for model in (pipeline, dummy):
        fitted = model.fit(rows[:300], target[:300].to_numpy())
        made = evaluate.predict(fitted, rows[300:], target[300:])
        judged.append(Evaluation(evaluate.metrics(params.data.problem, made)))
    assert gate.decide(Gate(metric=params.gate.metric), *judged).alias == "champion"


def test_same_input_same_output(champion, raw):
    rows = raw.to_pandas()
    assert champion.predict(rows).tolist() == champion.predict(rows).tolist()


def test_one_row_at_a_time_predicts_what_a_batch_does(champion, raw):
    rows = raw.head(20).to_pandas()
    alone = [champion.predict(rows.iloc[[index]]).tolist()[0] for index in range(len(rows))]
    assert alone == champion.predict(rows).tolist()


def test_a_missing_value_does_not_break_it(raw):
    predictor = Predictor.load(project_root() / "models")
    inputs = predictor.recipe.inputs.columns
    for name in [name for name, column in inputs.items() if column.nullable][:20]:
        rows = raw.head(3).with_columns(pl.lit(None, raw.schema[name]).alias(name))
        assert len(predictor.predict(rows)) == rows.height
        assert predictor.predict(rows).tolist() == predictor.predict(rows.drop(name)).tolist()


def test_a_value_of_the_wrong_type_is_refused_in_a_sentence():
    data = Data(source="x.csv", problem="regression", target="y")
    contract = Contract.model_validate({"columns": {"n": {"type": "integer"}, "y": {"type": "float"}}})
    predictor = Predictor(Pipeline([]), Recipe(data=data, features={}, contract=contract, trusted=[]))
    with pytest.raises(ProjectError, match=r"types of contract\.yaml: column 'n' wants type integer, not many\."):
        predictor.columns(pl.DataFrame({"n": ["many"]}))


def test_rows_without_a_required_column_are_refused(champion, raw):
    inputs = Predictor.load(project_root() / "models").recipe.inputs.columns
    for name in [name for name, column in inputs.items() if not column.nullable][:1]:
        with pytest.raises(Exception, match=re.escape(name)):
            champion.predict(raw.drop(name).to_pandas())


def test_probabilities_add_up(raw, champion):
    predictor = Predictor.load(project_root() / "models")
    if read_params().data.problem == "classification":
        probabilities = predictor.predict(raw, {"probabilities": True})
        assert np.allclose(probabilities.sum(axis=1), 1)
        assert (probabilities.columns[probabilities.to_numpy().argmax(axis=1)] == predictor.predict(raw)).all()
    else:
        assert np.isfinite(predictor.predict(raw)).all()
