"""Where the model is worst: the holdout by the values of each text or Boolean column."""

from typing import NamedTuple

import numpy as np
import polars as pl

from ..config import Problem
from ..steps.evaluate import Predictions

MIN_ROWS, MAX_VALUES = 10, 50


class Slice(NamedTuple):
    """The rows with one value in a column, and their error: share of wrong predictions, or mean absolute error."""

    column: str
    value: str
    rows: int
    error: float


def worst(problem: Problem, rows: pl.DataFrame, predictions: Predictions, count: int = 10) -> list[Slice]:
    """Return the slices with the greatest error, of text and Boolean columns with at most MAX_VALUES values."""
    truth, predicted = predictions.truth, predictions.predicted
    errors = np.asarray(abs(truth - predicted) if problem == "regression" else truth != predicted, dtype=float)
    slices = []
    for name, dtype in rows.schema.items():
        if dtype in {pl.String, pl.Boolean} and rows[name].n_unique() <= MAX_VALUES:
            judged = pl.DataFrame({"value": rows[name].cast(pl.String), "error": errors})
            by_value = judged.group_by("value", maintain_order=True).agg(pl.len(), pl.col("error").mean())
            slices += [
                Slice(name, "missing" if value is None else value, size, error)
                for value, size, error in by_value.iter_rows()
                if MIN_ROWS <= size < rows.height
            ]
    return sorted(slices, key=lambda part: -part.error)[:count]
