"""Where the model is worst: the holdout cut by the values of each category."""

from typing import NamedTuple

import numpy as np
import polars as pl

from ..config import Problem
from ..steps.evaluate import Predictions

FEWEST_ROWS, MOST_LEVELS = 10, 50


class Slice(NamedTuple):
    """The rows that have a value in a column, and how the model does there: share of errors, or mean absolute error."""

    column: str
    value: str
    rows: int
    error: float


def worst(problem: Problem, rows: pl.DataFrame, made: Predictions, count: int = 10) -> list[Slice]:
    """Return the slices with the greatest error; text and Booleans with few values are categories."""
    error = abs(made.truth - made.predicted) if problem == "regression" else made.truth != made.predicted
    found = []
    for name, dtype in rows.schema.items():
        if dtype in {pl.String, pl.Boolean} and rows[name].n_unique() <= MOST_LEVELS:
            judged = pl.DataFrame({"value": rows[name].cast(pl.String), "error": np.asarray(error, dtype=float)})
            cut = judged.group_by("value", maintain_order=True).agg(pl.len(), pl.col("error").mean())
            found += [
                Slice(name, "missing" if value is None else value, size, mean)
                for value, size, mean in cut.iter_rows()
                if FEWEST_ROWS <= size < rows.height
            ]
    return sorted(found, key=lambda one: -one.error)[:count]
