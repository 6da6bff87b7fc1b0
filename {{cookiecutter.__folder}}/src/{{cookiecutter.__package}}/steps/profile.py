"""Profiles: how the values of a column are distributed, as counts in bins. One goes with each model."""

import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from pydantic import BaseModel, model_validator

from ..config import Problem
from ..model.casting import DTYPES
from .evaluate import Outputs, Predictions

BINS = 10
# A column with more values than that has bins of several values, in alphabetical order: a bin for each of the most
# frequent would have too many rows in the profile, as they are the most frequent partly by chance.
LEVELS = 20
# So many rows are enough to choose the bins; all rows are counted in them.
SAMPLE_ROWS = 100_000
# The values of a column are listed, to recognise unseen ones, if there are not more of them.
LISTED = 1000
# So many rows of the holdout are kept, to compare metrics.
HOLDOUT_ROWS = 1000


class Column(BaseModel):
    """The distribution of a column: the rows in each bin, first those where it is missing, and the mean of numbers.

    There is a bin for each of few `levels`, or else the inner `edges` of bins. The last bin of a category is for values
    that are not in the list of `known` ones. In the profile itself these are the values of a single row: without that
    row they would be unseen, so this is how many to expect in new rows.
    """

    edges: list[float] | list[str] | None = None
    levels: list[str] | None = None
    known: list[str] | None = None
    counts: list[int] = []
    mean: float | None = None

    @property
    def kind(self) -> Literal["number", "category"]:
        """What the values are; times count as numbers."""
        return "category" if self.edges is None or isinstance(next(iter(self.edges), None), str) else "number"

    @property
    def others(self) -> bool:
        """Whether the last bin is for values that are in no other bin."""
        return self.levels is not None or self.known is not None


class Holdout(BaseModel):
    """What a model made of its holdout: distributions, metrics with 95 % confidence intervals, and some of the rows."""

    rows: int
    columns: dict[str, Column]
    problem: Problem
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    truth: list[Any]
    predicted: list[Any]
    classes: list[Any] | None = None
    probabilities: list[list[float]] | None = None

    @classmethod
    def of(
        cls,
        problem: Problem,
        predictions: Predictions,
        metrics: Mapping[str, float],
        intervals: Mapping[str, tuple[float, float]],
    ) -> Self:
        """Keep what monitoring needs."""
        rows = len(predictions.truth)
        truth, predicted, classes, probabilities = predictions.take(slice(None, None, -(-rows // HOLDOUT_ROWS) or 1))
        return cls(
            rows=rows,
            columns=distributions(outputs(problem, predictions).lazy()),
            problem=problem,
            metrics={name: value for name, value in metrics.items() if "." not in name},
            intervals={name: tuple(interval) for name, interval in intervals.items()},
            truth=truth.tolist(),
            predicted=predicted.tolist(),
            classes=None if classes is None else classes.tolist(),
            probabilities=None if probabilities is None else probabilities.tolist(),
        )

    @property
    def predictions(self) -> Predictions:
        """The rows that are kept."""
        truth, predicted = np.array(self.truth), np.array(self.predicted)
        arrays = (None if values is None else np.array(values) for values in (self.classes, self.probabilities))
        return Predictions(truth, predicted, *arrays)


class Profile(BaseModel):
    """The distributions of a model's columns in its training rows, and what it made of the holdout.

    Earlier versions have the columns alone.
    """

    rows: int
    columns: dict[str, Column]
    holdout: Holdout | None = None

    @model_validator(mode="before")
    @classmethod
    def earlier(cls, data: Any) -> Any:
        """Read the profile of an earlier version."""
        if not isinstance(data, dict) or isinstance(data.get("rows"), int):
            return data
        return {"rows": max((sum(column["counts"]) for column in data.values()), default=0), "columns": data}

    @classmethod
    def read(cls, file: Path) -> Self | None:
        """Read the profile that was saved with a model; return None if there is none."""
        return cls.model_validate_json(file.read_text(encoding="utf-8")) if file.exists() else None

    @classmethod
    def of(cls, rows: pl.LazyFrame, holdout: Holdout | None = None) -> Self:
        """Profile the training rows."""
        height = rows.select(pl.len()).collect(engine="streaming").item()
        return cls(rows=height, columns=distributions(rows), holdout=holdout)


def outputs(problem: Problem, model: Outputs | Predictions) -> pl.DataFrame:
    """Return predictions as the columns that are compared: `prediction` and, if there are probabilities, `confidence`.

    The confidence is the largest probability of a row.
    """
    prediction = pl.Series("prediction", model.predicted)
    columns = [prediction.cast(pl.String if problem == "classification" else pl.Float64)]
    if model.probabilities is not None:
        columns.append(pl.Series("confidence", model.probabilities.max(axis=1, initial=0)))
    return pl.DataFrame(columns)


def distributions(rows: pl.LazyFrame) -> dict[str, Column]:
    """Choose the bins of each column (quantiles, or the values of a category) and count the rows in them."""
    columns, singles = {}, {}
    height = rows.select(pl.len()).collect(engine="streaming").item()
    sample = rows.gather_every(max(1, height // SAMPLE_ROWS))
    for name, dtype in rows.collect_schema().items():
        values = _values(name, dtype)
        if dtype.is_temporal():
            # Time moves on, which is not drift: only missing values count.
            columns[name] = Column(edges=[])
        elif dtype.is_numeric():
            columns[name] = Column(edges=_edges(_quantiles(sample, values, BINS)))
        else:
            frequencies = rows.select(value=values).drop_nulls().group_by("value").len()
            top = frequencies.sort("len", "value", descending=[True, False]).head(LISTED + 1)
            listed = top.collect(engine="streaming")
            known = listed["value"].to_list() if listed.height <= LISTED else None
            if listed.height <= LEVELS:
                columns[name] = Column(levels=known, known=known)
            else:
                columns[name] = Column(edges=sorted({*_quantiles(sample, values, LEVELS)[1:]}), known=known)
            if known is not None:
                singles[name] = listed.filter(pl.col("len") == 1)["value"].to_list()
    return count(rows, columns, singles)


def count(
    rows: pl.LazyFrame, columns: Mapping[str, Column], unseen: Mapping[str, list[str]] | None = None
) -> dict[str, Column]:
    """Count rows in the bins of the columns, in one streaming query; `unseen` are values to count as such."""
    schema = rows.collect_schema()
    parts = []
    for name, column in columns.items():
        values = _values(name, schema[name])
        known = [value for value in column.known or [] if value not in set((unseen or {}).get(name, []))]
        bins = _bins(values, column, known)
        mean = values.mean() if column.edges and column.kind == "number" else pl.lit(None, pl.Float64)
        counts = pl.concat_list(part.cast(pl.Int64) for part in bins)
        parts.append(pl.struct(counts=counts, mean=mean).alias(name))
    counted = rows.select(parts).collect(engine="streaming").row(0, named=True) if parts else {}
    return {name: column.model_copy(update=counted[name]) for name, column in columns.items()}


def unseen(rows: pl.LazyFrame, name: str, known: list[str], most: int) -> dict[str, int]:
    """Return the most frequent values that are not known, and how many rows have them."""
    values = rows.select(value=_values(name, rows.collect_schema()[name])).drop_nulls()
    new = values.filter(~pl.col("value").is_in(known)).head(SAMPLE_ROWS)
    counts = new.group_by("value").len().sort("len", "value", descending=[True, False]).head(most)
    return dict(counts.collect(engine="streaming").iter_rows())


def _quantiles(sample: pl.LazyFrame, values: pl.Expr, bins: int) -> list[Any]:
    """Return the smallest value, and the largest value of each but the last bin with about as many rows."""
    # Sorted once: Polars would sort again for every quantile.
    ordered = values.drop_nulls().sort()
    places = (ordered.len().cast(pl.Int64) - 1) * pl.int_range(bins) // bins
    edges = sample.select(ordered.gather(places, null_on_oob=True)).collect(engine="streaming").to_series()
    return edges.drop_nulls().to_list()


def _edges(quantiles: Sequence[float]) -> list[float]:
    """Return the inner edges of bins: a value that many rows share has its own, so that smaller ones are seen."""
    shared = (value for value, count in Counter(quantiles).items() if count > 1)
    return sorted({*quantiles[1:], *(math.nextafter(value, -sys.float_info.max) for value in shared)})


def _bins(values: pl.Expr, column: Column, known: list[str]) -> list[pl.Expr]:
    """Return the count of each bin as an expression."""
    missing = values.is_null().sum()
    if column.edges is None:
        levels = column.levels or []
        each = [(values == level).sum() if column.known is None or level in known else pl.lit(0) for level in levels]
        return [missing, *each, (~values.is_in(levels if column.known is None else known)).sum()]
    others: list[pl.Expr] = []
    if column.known is not None:
        is_known = values.is_in(known)
        others, values = [(~is_known).sum()], pl.when(is_known).then(values)
    above = [values.count(), *((values > edge).sum() for edge in column.edges)]
    return [missing, *(upper - lower for upper, lower in zip(above, [*above[1:], pl.lit(0)], strict=True)), *others]


def _values(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype.is_temporal():
        return column.cast(DTYPES["datetime"]).cast(pl.Float64)
    if not dtype.is_numeric():
        return column.cast(pl.String)
    number = column.cast(pl.Float64)
    return pl.when(number.is_finite()).then(number)
