"""Compare new rows with the rows that a model was trained on: column by column, by counts in bins."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from pydantic import BaseModel, RootModel
from scipy.stats import chi2

from ..model.casting import DTYPES

BINS, LEVELS = 10, 20
# So many rows are enough to choose the bins; all rows are counted in them.
SAMPLE_ROWS = 100_000
# What an empty bin counts as: zero would make the index infinite.
EMPTY_BIN = 0.5
# The share of columns without drift that are reported as drifted by chance.
FALSE_ALARMS = 0.001


class Column(BaseModel):
    """The distribution of a column: the inner edges of its bins or its most frequent levels, and the rows in each.

    The first count is that of missing values; the last, of levels, that of all other values.
    """

    edges: list[float] | None = None
    levels: list[str] | None = None
    counts: list[int] = []


class Profile(RootModel[dict[str, Column]]):
    """The distribution of each column in the training rows."""


class ColumnDrift(NamedTuple):
    """The population stability index of a column, and whether it exceeds both the threshold and chance."""

    column: str
    psi: float
    drifted: bool


def profile(rows: pl.LazyFrame) -> Profile:
    """Choose the bins of each column (deciles, or the most frequent levels) and count the rows in them."""
    columns = {}
    height = rows.select(pl.len()).collect(engine="streaming").item()
    sample = rows.gather_every(max(1, height // SAMPLE_ROWS))
    for name, dtype in rows.collect_schema().items():
        values = _values(name, dtype)
        if dtype.is_numeric() or dtype.is_temporal():
            # Sorted once: Polars would sort again for every quantile.
            ordered = values.drop_nulls().sort()
            deciles = (ordered.len().cast(pl.Int64) - 1) * pl.int_range(1, BINS) // BINS
            edges = sample.select(ordered.gather(deciles, null_on_oob=True)).collect(engine="streaming").to_series()
            column = Column(edges=sorted(set(edges.drop_nulls())))
        else:
            frequent = rows.select(values.alias("value")).drop_nulls().group_by("value").len()
            top = frequent.sort("len", "value", descending=[True, False]).head(LEVELS).collect(engine="streaming")
            column = Column(levels=top["value"].to_list())
        columns[name] = column
    counts = _counts(rows, columns)
    return Profile({name: column.model_copy(update={"counts": counts[name]}) for name, column in columns.items()})


def compare(rows: pl.LazyFrame, reference: Profile, threshold: float) -> list[ColumnDrift]:
    """Compare rows with a profile; the most drifted column comes first.

    The population stability index of two samples of one distribution follows a chi-squared distribution (Yurdakul,
    2018), which tells drift from the noise of a few rows.
    """
    counts = _counts(rows, reference.root)
    drifts = [_drift(name, column, counts[name], threshold) for name, column in reference.root.items()]
    return sorted(drifts, key=lambda drift: (not drift.drifted, -drift.psi))


def worst(drifts: Sequence[ColumnDrift]) -> dict[str, float]:
    """Return the columns that have drifted, with their population stability index."""
    return {drift.column: drift.psi for drift in drifts if drift.drifted}


def _drift(name: str, reference: Column, counts: Sequence[int], threshold: float) -> ColumnDrift:
    old, new = (np.maximum(np.array(part, float), EMPTY_BIN) for part in (reference.counts, counts))
    old_share, new_share = old / old.sum(), new / new.sum()
    psi = float(((new_share - old_share) * np.log(new_share / old_share)).sum())
    used_bins = int(np.count_nonzero(np.add(reference.counts, counts)))
    noise = float(chi2.ppf(1 - FALSE_ALARMS, max(used_bins - 1, 1))) * (1 / old.sum() + 1 / new.sum())
    return ColumnDrift(name, psi, bool(psi > max(threshold, noise)))


def _counts(rows: pl.LazyFrame, columns: Mapping[str, Column]) -> dict[str, list[int]]:
    """Count the rows in the bins of every column, in one streaming query."""
    schema = rows.collect_schema()
    counts = [
        pl.concat_list(count.cast(pl.Int64) for count in _bins(_values(name, schema[name]), column)).alias(name)
        for name, column in columns.items()
    ]
    return rows.select(counts).collect(engine="streaming").row(0, named=True)


def _bins(values: pl.Expr, column: Column) -> list[pl.Expr]:
    """Return the count of each bin as an expression."""
    missing = values.is_null().sum()
    if column.edges is None:
        levels = column.levels or []
        return [missing, *((values == level).sum() for level in levels), (~values.is_in(levels)).sum()]
    above = [pl.len() - missing, *((values > edge).sum() for edge in column.edges)]
    return [missing, *(upper - lower for upper, lower in zip(above, [*above[1:], pl.lit(0)], strict=True))]


def _values(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype.is_temporal():
        return column.cast(DTYPES["datetime"]).cast(pl.Float64)
    return column.cast(pl.Float64) if dtype.is_numeric() else column.cast(pl.String)
