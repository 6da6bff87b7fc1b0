"""Tell whether new rows look like those that a model has learned from: column by column, by counts in bins."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from pydantic import BaseModel, RootModel
from scipy.stats import chi2

from ..model.casting import DTYPES

BINS, LEVELS = 10, 20
# So many rows tell well enough where the bins are to be; all are counted in them.
SAMPLE_ROWS = 100_000
# An empty bin would make the index infinite; so much of a row is taken to be in it.
NOTHING = 0.5
# By chance alone, one column in a thousand is called drifted.
CHANCE = 0.001


class Column(BaseModel):
    """How a column's rows spread: the inner edges of its bins or its most frequent levels, and the rows in each.

    The counts begin with the missing values; behind the levels come all others.
    """

    edges: list[float] | None = None
    levels: list[str] | None = None
    counts: list[int] = []


class Profile(RootModel[dict[str, Column]]):
    """What is kept of the rows that a model has learned from."""


class ColumnDrift(NamedTuple):
    """How far a column has moved: its population stability index, and whether this is more than chance and allowed."""

    column: str
    psi: float
    drifted: bool


def profile(rows: pl.LazyFrame) -> Profile:
    """Choose the bins of each column, deciles or the most frequent levels, and count the rows in them."""
    columns = {}
    height = rows.select(pl.len()).collect(engine="streaming").item()
    some = rows.gather_every(max(1, height // SAMPLE_ROWS))
    for name, dtype in rows.collect_schema().items():
        values = _values(name, dtype)
        if dtype.is_numeric() or dtype.is_temporal():
            # Sorted once: Polars sorts anew for every quantile that it is asked for.
            ordered = values.drop_nulls().sort()
            deciles = (ordered.len().cast(pl.Int64) - 1) * pl.int_range(1, BINS) // BINS
            found = some.select(ordered.gather(deciles, null_on_oob=True)).collect(engine="streaming").to_series()
            column = Column(edges=sorted(set(found.drop_nulls())))
        else:
            frequent = rows.select(values.alias("value")).drop_nulls().group_by("value").len()
            top = frequent.sort("len", "value", descending=[True, False]).head(LEVELS).collect(engine="streaming")
            column = Column(levels=top["value"].to_list())
        columns[name] = column
    counts = _counts(rows, columns)
    return Profile({name: column.model_copy(update={"counts": counts[name]}) for name, column in columns.items()})


def compare(rows: pl.LazyFrame, known: Profile, threshold: float) -> list[ColumnDrift]:
    """Compare rows with what is known, the most drifted column first.

    The index is the population stability index; that of two samples of the same origin follows a chi-squared
    distribution (Yurdakul, 2018), so that a few rows are not mistaken for a drift.
    """
    counts = _counts(rows, known.root)
    drifts = [_drift(name, column, counts[name], threshold) for name, column in known.root.items()]
    return sorted(drifts, key=lambda drift: (not drift.drifted, -drift.psi))


def _drift(name: str, known: Column, counts: Sequence[int], threshold: float) -> ColumnDrift:
    before, now = (np.maximum(np.array(part, float), NOTHING) for part in (known.counts, counts))
    was, is_ = before / before.sum(), now / now.sum()
    index = float(((is_ - was) * np.log(is_ / was)).sum())
    used = int(np.count_nonzero(np.add(known.counts, counts)))
    noise = float(chi2.ppf(1 - CHANCE, max(used - 1, 1))) * (1 / before.sum() + 1 / now.sum())
    return ColumnDrift(name, index, bool(index > max(threshold, noise)))


def _counts(rows: pl.LazyFrame, columns: Mapping[str, Column]) -> dict[str, list[int]]:
    """Count the rows in the bins of every column, in one streaming query."""
    schema = rows.collect_schema()
    asked = {name: _questions(_values(name, schema[name]), column) for name, column in columns.items()}
    counts = [pl.concat_list(count.cast(pl.Int64) for count in asked[name]).alias(name) for name in asked]
    return rows.select(counts).collect(engine="streaming").row(0, named=True)


def _questions(values: pl.Expr, column: Column) -> list[pl.Expr]:
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


def worst(drifts: Sequence[ColumnDrift]) -> dict[str, float]:
    """Return the columns that have drifted, with their population stability index."""
    return {drift.column: drift.psi for drift in drifts if drift.drifted}
