"""Drift: what is reported, and what is not mistaken for it."""

import numpy as np
import polars as pl
import pytest

from penguin_model.report import drift
from penguin_model.steps.profile import Profile

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


REFERENCE = Profile.of(table(5000))


@pytest.mark.parametrize("rows", [10, 100, 5000])
def test_rows_of_the_same_distribution_have_not_drifted(rows):
    assert drift.compare(table(rows), REFERENCE, version=1).drifted == {}


@pytest.mark.parametrize(
    ("change", "column"), [({"shift": 1}, "number"), ({"missing": 0.5}, "number"), ({"kinds": "abx"}, "kind")]
)
def test_drift_is_reported_unless_the_threshold_allows_it(change, column):
    rows = table(1000, **change)
    result = drift.compare(rows, REFERENCE, version=1)
    assert list(result.drifted) == [column] == [result.columns[0].column]
    assert drift.compare(rows, REFERENCE, version=1, threshold=100).drifted == {}


def test_profile_counts_every_row_once_and_survives_json():
    assert Profile.model_validate_json(REFERENCE.model_dump_json(exclude_none=True)) == REFERENCE
    assert {sum(column.counts) for column in REFERENCE.columns.values()} == {5000}
