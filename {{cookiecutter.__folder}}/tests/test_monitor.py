"""Drift: what is reported, and what is not mistaken for it."""

import numpy as np
import polars as pl
import pytest

from penguin_model.steps import drift

RANDOM = np.random.default_rng(0)


def table(rows: int, shift: float = 0.0, missing: float = 0.0, kinds: str = "abc") -> pl.LazyFrame:
    number = pl.Series(RANDOM.normal(shift, 1, rows))
    return pl.LazyFrame(
        {
            "number": number.set(pl.Series(RANDOM.random(rows) < missing), None),
            "kind": RANDOM.choice(list(kinds), rows),
            "flag": RANDOM.random(rows) < 0.5,
            "day": pl.Series(RANDOM.integers(0, 1000, rows)).cast(pl.Date),
            "same": [1] * rows,
            "none": pl.Series([None] * rows, dtype=pl.Float64),
        }
    )


REFERENCE = drift.profile(table(5000))


@pytest.mark.parametrize("rows", [10, 100, 5000])
def test_rows_of_the_same_distribution_have_not_drifted(rows):
    assert drift.worst(drift.compare(table(rows), REFERENCE, 0.2)) == {}


@pytest.mark.parametrize(
    ("change", "column"), [({"shift": 1}, "number"), ({"missing": 0.5}, "number"), ({"kinds": "abx"}, "kind")]
)
def test_drift_is_reported_unless_the_threshold_allows_it(change, column):
    rows = table(1000, **change)
    drifts = drift.compare(rows, REFERENCE, 0.2)
    assert list(drift.worst(drifts)) == [column] == [drifts[0].column]
    assert drift.worst(drift.compare(rows, REFERENCE, 100)) == {}


def test_profile_counts_every_row_once_and_survives_json():
    assert drift.Profile.model_validate_json(REFERENCE.model_dump_json(exclude_none=True)) == REFERENCE
    assert {sum(column.counts) for column in REFERENCE.root.values()} == {5000}
