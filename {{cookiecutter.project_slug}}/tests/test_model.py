"""How the champion behaves."""

import numpy as np
import polars as pl
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor

from {{ cookiecutter.__package }}.contract import read_contract
from {{ cookiecutter.__package }}.errors import ProjectError
from {{ cookiecutter.__package }}.params import Gate, read_params
from {{ cookiecutter.__package }}.predictor import Predictor
from {{ cookiecutter.__package }}.settings import root
from {{ cookiecutter.__package }}.steps import evaluate, ingest, promote
from {{ cookiecutter.__package }}.steps.promote import Judged


@pytest.fixture(scope="module")
def raw(champion) -> pl.DataFrame:
    """Return raw rows, as the contract types them and without the target."""
    params = read_params()
    table = ingest.read_table(root() / params.data.source, params.data.null_values, read_contract().types)
    return ingest.conform(table, read_contract()).drop(params.data.target).collect()


def test_beats_a_dummy(champion, holdout):
    params = read_params()
    target = params.data.target
    dummy = DummyClassifier() if params.data.problem == "classification" else DummyRegressor()
    learned = pl.read_parquet(root() / "data/processed/training.parquet")
    dummy.fit(learned.drop(target), learned[target])
    model = Predictor.load(root() / "models")
    judged = [
        Judged(evaluate.metrics(params.data.problem, evaluate.predict(pipeline, rows, holdout[target])))
        for pipeline, rows in [(model.pipeline, model.columns(holdout)), (dummy, holdout.drop(target))]
    ]
    assert promote.decide(Gate(metric=params.gate.metric), *judged).alias == "champion"


def test_same_input_same_output(champion, raw):
    rows = raw.to_pandas()
    assert champion.predict(rows).tolist() == champion.predict(rows).tolist()


def test_one_row_at_a_time_predicts_what_a_batch_does(champion, raw):
    rows = raw.head(20).to_pandas()
    alone = [champion.predict(rows.iloc[[index]]).tolist()[0] for index in range(len(rows))]
    assert alone == champion.predict(rows).tolist()


def test_a_missing_value_does_not_break_it(raw):
    predictor = Predictor.load(root() / "models")
    for name in [name for name, column in read_contract().columns.items() if column.nullable and name in raw.columns]:
        rows = raw.head(3).with_columns(pl.lit(None, raw.schema[name]).alias(name))
        assert len(predictor.predict(rows)) == 3
        assert predictor.predict(rows).tolist() == predictor.predict(rows.drop(name)).tolist()


def test_a_value_of_the_wrong_type_is_refused_in_a_sentence(raw):
    number = next(name for name, dtype in raw.schema.items() if dtype.is_numeric())
    with pytest.raises(ProjectError, match=f"types of contract.yaml.*{number}"):
        Predictor.load(root() / "models").predict(raw.head(1).with_columns(pl.lit("many").alias(number)))


def test_rows_without_a_required_column_are_refused(champion, raw):
    required = next(
        name for name, column in read_contract().columns.items() if not column.nullable and name in raw.columns
    )
    with pytest.raises(Exception, match=required):
        champion.predict(raw.drop(required).to_pandas())


def test_probabilities_add_up(raw, champion):
    predictor = Predictor.load(root() / "models")
    if read_params().data.problem == "classification":
        chances = predictor.predict(raw, {"probabilities": True})
        assert np.allclose(chances.sum(axis=1), 1)
        assert (chances.columns[chances.to_numpy().argmax(axis=1)] == predictor.predict(raw)).all()
    else:
        assert np.isfinite(predictor.predict(raw)).all()
