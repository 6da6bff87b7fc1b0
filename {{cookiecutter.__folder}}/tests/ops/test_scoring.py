"""Scoring: predictions are complete or not replaced."""

import polars as pl
import pytest
from conftest import COPY, task_states

from penguin_model.errors import ProjectError
from penguin_model.flows.scoring import scoring
from penguin_model.ops.paths import PREDICTIONS
from penguin_model.ops.settings import read_params
from penguin_model.ops.tracking import registry


@pytest.fixture(scope="session")
def raw(trained) -> pl.DataFrame:
    return pl.read_parquet(COPY / "data/processed/table.parquet")


def test_champion_predicts_every_row_part_by_part(champion, raw):
    half = -(-raw.height // 2)
    state = scoring(partition=half, return_state=True)
    assert state.is_completed(), state.message
    assert state.result() == raw.height
    predictions = pl.read_parquet(COPY / PREDICTIONS / "*.parquet")
    assert predictions["model_version"].unique().to_list() == [registry.champion().champion]
    expected = pl.Series(champion.predict(raw.to_pandas()))
    assert (predictions["prediction"] == expected).all()
    assert task_states(state, 4) == {"predict": ["Completed"] * 2, "read": ["Completed"], "write": ["Completed"]}


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
