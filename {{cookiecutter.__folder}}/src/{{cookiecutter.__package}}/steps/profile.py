"""Profiles: how the values of a column are distributed, as counts in bins. One goes with each model."""

from collections.abc import Mapping
from typing import Any, Self

import polars as pl
from pydantic import BaseModel, model_validator

from ..model.casting import DTYPES

BINS, LEVELS = 10, 20
# So many rows are enough to choose the bins; all rows are counted in them.
SAMPLE_ROWS = 100_000
# A value needs so many rows for a bin of its own: the most frequent of many rare values are so by chance.
LEVEL_ROWS = 20
# The values of a column are listed, to recognise unseen ones, if there are not more of them.
LISTED = 1000


class Column(BaseModel):
    """The distribution of a column: the rows in each bin, first those where it is missing, and the mean of numbers.

    A number has the inner edges of its bins. Anything else has levels, the frequent values with a bin each, and one bin
    for the rare values. If these are listed, the last bin is for unseen values: in the profile itself these are the
    values of a single row, which would be unseen without it. That is how many to expect in new rows.
    """

    edges: list[float] | None = None
    levels: list[str] | None = None
    rare: list[str] | None = None
    counts: list[int] = []
    mean: float | None = None


class Profile(BaseModel):
    """The distributions of a model's columns in its training rows."""

    rows: int
    columns: dict[str, Column]

    @model_validator(mode="before")
    @classmethod
    def earlier(cls, data: Any) -> Any:
        """Read the profiles of earlier versions, which had the columns alone."""
        if not isinstance(data, dict) or isinstance(data.get("rows"), int):
            return data
        return {"rows": max((sum(column["counts"]) for column in data.values()), default=0), "columns": data}

    @classmethod
    def of(cls, rows: pl.LazyFrame) -> Self:
        """Profile the training rows."""
        return cls(rows=rows.select(pl.len()).collect(engine="streaming").item(), columns=distributions(rows))


def distributions(rows: pl.LazyFrame) -> dict[str, Column]:
    """Choose the bins of each column (deciles, or the most frequent values) and count the rows in them."""
    columns, single = {}, {}
    height = rows.select(pl.len()).collect(engine="streaming").item()
    sample = rows.gather_every(max(1, height // SAMPLE_ROWS))
    for name, dtype in rows.collect_schema().items():
        values = _values(name, dtype)
        if dtype.is_temporal():
            # Time moves on, which is not drift: only missing values count.
            column = Column(edges=[])
        elif dtype.is_numeric():
            # Sorted once: Polars would sort again for every quantile.
            ordered = values.drop_nulls().sort()
            deciles = (ordered.len().cast(pl.Int64) - 1) * pl.int_range(1, BINS) // BINS
            edges = sample.select(ordered.gather(deciles, null_on_oob=True)).collect(engine="streaming").to_series()
            column = Column(edges=sorted(set(edges.drop_nulls())))
        else:
            column, single[name] = _categories(rows.select(value=values).drop_nulls())
        columns[name] = column
    profiled = count(rows, columns)
    for name, unique in single.items():
        if profiled[name].rare is not None:
            *counts, rare, _ = profiled[name].counts
            profiled[name] = profiled[name].model_copy(update={"counts": [*counts, rare - unique, unique]})
    return profiled


def count(rows: pl.LazyFrame, columns: Mapping[str, Column]) -> dict[str, Column]:
    """Count other rows in the same bins, in one streaming query."""
    schema = rows.collect_schema()
    values = {name: _values(name, schema[name]) for name in columns}
    counts = rows.select(
        pl.concat_list(part.cast(pl.Int64) for part in _bins(values[name], column)).alias(name)
        for name, column in columns.items()
    )
    means = rows.select(
        values[name].mean().alias(name) if column.edges else pl.lit(None, pl.Float64).alias(name)
        for name, column in columns.items()
    )
    counted, averaged = (
        table.row(0, named=True) if table.width else {} for table in pl.collect_all([counts, means], engine="streaming")
    )
    return {
        name: column.model_copy(update={"counts": counted[name], "mean": averaged[name]})
        for name, column in columns.items()
    }


def unseen(rows: pl.LazyFrame, name: str, column: Column, most: int) -> dict[str, int]:
    """Return the most frequent values that the column did not have, with the rows that have them now."""
    values = rows.select(value=_values(name, rows.collect_schema()[name])).drop_nulls()
    new = values.filter(~pl.col("value").is_in([*(column.levels or []), *(column.rare or [])])).head(SAMPLE_ROWS)
    counts = new.group_by("value").len().sort("len", "value", descending=[True, False]).head(most)
    return dict(counts.collect(engine="streaming").iter_rows())


def _categories(values: pl.LazyFrame) -> tuple[Column, int]:
    """Choose the levels of a column; return also how many of its values are in a single row."""
    frequencies = values.group_by("value").len().sort("len", "value", descending=[True, False])
    top = frequencies.head(LISTED + 1).collect(engine="streaming")
    levels = top.head(LEVELS).filter(pl.col("len") >= LEVEL_ROWS)["value"].to_list()
    if top.height > LISTED:
        return Column(levels=levels), 0
    rare = top["value"].to_list()[len(levels) :]
    return Column(levels=levels, rare=rare), top.filter(pl.col("len") == 1).height


def _bins(values: pl.Expr, column: Column) -> list[pl.Expr]:
    """Return the count of each bin as an expression."""
    missing = values.is_null().sum()
    if column.edges is not None:
        above = [pl.len() - missing, *((values > edge).sum() for edge in column.edges)]
        return [missing, *(upper - lower for upper, lower in zip(above, [*above[1:], pl.lit(0)], strict=True))]
    levels, rare = column.levels or [], column.rare
    counts = [missing, *((values == level).sum() for level in levels)]
    if rare is None:
        return [*counts, (~values.is_in(levels)).sum()]
    return [*counts, values.is_in(rare).sum(), (~values.is_in([*levels, *rare])).sum()]


def _values(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype.is_temporal():
        return column.cast(DTYPES["datetime"]).cast(pl.Float64)
    if not dtype.is_numeric():
        return column.cast(pl.String)
    number = column.cast(pl.Float64)
    return pl.when(number.is_finite()).then(number)
