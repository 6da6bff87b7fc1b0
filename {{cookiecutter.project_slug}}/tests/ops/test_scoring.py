"""The flows around the training: scoring, monitoring and retraining."""

import json

import polars as pl
import pytest
from conftest import COPY, task_states

from penguin_model.errors import ProjectError
from penguin_model.flows.monitoring import monitoring
from penguin_model.flows.scoring import PREDICTIONS, scoring
from penguin_model.ops.settings import read_params
from penguin_model.ops.tracking import registry


@pytest.fixture(scope="session")
def raw(trained) -> pl.DataFrame:
    return pl.read_parquet(COPY / "data/processed/table.parquet")


def test_champion_predicts_every_row_part_by_part(champion, raw):
    half = -(-raw.height // 2)
    state = scoring(partition=half, return_state=True)
    assert state.is_completed(), state.message
    assert state.result().rows == raw.height
    made = pl.read_parquet(COPY / PREDICTIONS / "*.parquet")
    assert made["model_version"].unique().to_list() == [registry.champion().champion]
    expected = pl.Series(champion.predict(raw.to_pandas()))
    assert (made["prediction"] == expected).all()
    assert task_states(state, 3) == {"predict": ["Completed"] * 2, "read": ["Completed"]}


def test_predictions_of_other_rows_replace_the_earlier(champion, raw, tmp_path):
    raw.head(3).drop(read_params().data.target).with_columns(prediction=pl.lit("own")).write_parquet(
        tmp_path / "new.parquet"
    )
    scored = scoring(source=str(tmp_path / "new.parquet"))
    made = pl.read_parquet(COPY / PREDICTIONS / "*.parquet")
    assert made.height == scored.rows == 3
    assert made["prediction"].unique().to_list() == ["own"]
    assert "_prediction" in made.columns


def test_failed_scoring_leaves_the_earlier_predictions(champion, tmp_path):
    scoring()
    before = pl.read_parquet(COPY / PREDICTIONS / "*.parquet")
    with pytest.raises(ProjectError, match="There is no"):
        scoring(source=str(tmp_path / "gone.parquet"))
    assert pl.read_parquet(COPY / PREDICTIONS / "*.parquet").equals(before)


def test_what_the_champion_has_learned_from_has_not_drifted(champion):
    state = monitoring(source=str(COPY / "data/processed/training.parquet"), return_state=True)
    assert state.is_completed(), state.message
    assert state.result() == {}


def test_drift_is_told(champion, raw, tmp_path):
    pl.concat([raw.head(1)] * 1000).write_parquet(tmp_path / "moved.parquet")
    found = monitoring(source=str(tmp_path / "moved.parquet"))
    written = json.loads((COPY / "reports/drift.json").read_text(encoding="utf-8"))
    assert written["drifted"] == list(found)
    # In a handful of rows nothing can be told from chance.
    assert found or raw.height < 50
