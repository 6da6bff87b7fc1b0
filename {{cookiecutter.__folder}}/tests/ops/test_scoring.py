"""Scoring: predictions are complete or not replaced; rows that break the contract are kept apart."""

import sqlite3
from contextlib import closing

import polars as pl
import pytest
from conftest import COPY, task_states

from penguin_model.errors import ProjectError
from penguin_model.flows.scoring import scoring
from penguin_model.ops.paths import PREDICTIONS, REJECTS
from penguin_model.ops.settings import read_contract, read_params
from penguin_model.ops.tracking import registry


@pytest.fixture(scope="session")
def raw(trained) -> pl.DataFrame:
    return pl.read_parquet(COPY / "data/processed/table.parquet")


@pytest.fixture
def broken(champion, raw, tmp_path) -> tuple[str, str]:
    """Write five rows, of which row 2 has a value of a wrong type; return the file and the column."""
    column = next((name for name, column in read_contract().columns.items() if column.type != "string"), None)
    if column is None:
        pytest.skip("all columns are text")
    value = pl.when(pl.int_range(pl.len()) == 2).then(pl.lit("?")).otherwise(pl.col(column).cast(pl.String))
    raw.head(5).with_columns(value.alias(column)).write_parquet(tmp_path / "broken.parquet")
    return str(tmp_path / "broken.parquet"), column


def test_champion_predicts_every_row_part_by_part(champion, raw):
    half = -(-raw.height // 2)
    state = scoring(partition=half, return_state=True)
    assert state.is_completed(), state.message
    assert state.result() == raw.height
    predictions = pl.read_parquet(COPY / PREDICTIONS / "*.parquet")
    assert predictions["model_version"].unique().to_list() == [registry.champion().champion]
    expected = pl.Series(champion.predict(raw.to_pandas()))
    assert (predictions["prediction"] == expected).all()
    once = ["Completed"]
    assert task_states(state, 5) == {"predict": once * 2, "read": once, "validate": once, "write": once}


def test_predictions_of_other_rows_replace_the_earlier(champion, raw, tmp_path):
    rows = raw.head(3).drop(read_params().data.target).with_columns(prediction=pl.lit("own"))
    rows.write_parquet(tmp_path / "new.parquet")
    predicted = scoring(source=str(tmp_path / "new.parquet"))
    predictions = pl.read_parquet(COPY / PREDICTIONS / "*.parquet")
    assert predictions.height == predicted == 3
    assert predictions["prediction"].unique().to_list() == ["own"]
    assert "_prediction" in predictions.columns


def test_failed_scoring_leaves_the_earlier_predictions(champion, tmp_path):
    scoring()
    before = pl.read_parquet(COPY / PREDICTIONS / "*.parquet")
    with pytest.raises(ProjectError, match="File not found"):
        scoring(source=str(tmp_path / "gone.parquet"))
    assert pl.read_parquet(COPY / PREDICTIONS / "*.parquet").equals(before)


def test_rows_that_break_the_contract_are_rejected_and_the_others_predicted(broken, raw):
    source, column = broken
    assert scoring(source=source) == 4
    rejects = pl.read_parquet(COPY / REJECTS)
    assert rejects.select(pl.nth(0, 1), column).rows() == [
        (2, f"column '{column}' breaks 'type: {read_contract().columns[column]}'", "?")
    ]
    predictions = pl.read_parquet(COPY / PREDICTIONS / "*.parquet")
    assert predictions["row"].to_list() == [0, 1, 3, 4]
    assert predictions.select(raw.columns).equals(raw.head(5).filter(pl.int_range(pl.len()) != 2))
    scoring()
    assert not (COPY / REJECTS).exists()


def test_strict_scoring_writes_nothing_if_a_row_breaks_the_contract(broken):
    scoring()
    before = (COPY / PREDICTIONS / "predictions.parquet").read_bytes()
    source, column = broken
    with pytest.raises(ProjectError, match=rf"1 of the 5 rows .*nothing is predicted(.|\n)*{column}"):
        scoring(source=source, strict=True)
    assert (COPY / PREDICTIONS / "predictions.parquet").read_bytes() == before
    assert not (COPY / REJECTS).exists()


def test_version_predicts_instead_of_the_champion(champion, monkeypatch):
    monkeypatch.setattr(registry, "holder", {}.get)
    with pytest.raises(ProjectError, match="There is no champion yet"):
        scoring()
    scoring(version=1)
    predictions = pl.read_parquet(COPY / PREDICTIONS / "*.parquet")
    assert predictions.select("model_version", "role").unique().rows() == [(1, "version")]


def test_second_run_into_a_database_replaces_the_first_and_leaves_other_rows(champion, raw, tmp_path):
    sources = [tmp_path / "some.parquet", tmp_path / "other.parquet"]
    raw.head(3).write_parquet(sources[0])
    raw.tail(2).write_parquet(sources[1])
    for source in (*sources, sources[0]):
        scoring(source=str(source), to=f"sqlite:///{tmp_path}/out.db", table="scored")
    scoring(source=str(sources[1]))
    expected = pl.read_parquet(COPY / PREDICTIONS / "*.parquet")
    with closing(sqlite3.connect(tmp_path / "out.db")) as database:
        query = "SELECT row, prediction, request_id FROM scored ORDER BY rowid"
        *other, first, second, third = database.execute(query).fetchall()
    assert other == expected.select("row", "prediction", "request_id").rows()
    assert [row[0] for row in (first, second, third)] == [0, 1, 2]
