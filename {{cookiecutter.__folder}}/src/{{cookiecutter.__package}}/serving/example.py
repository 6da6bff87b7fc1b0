"""An example row for `/docs` and for trying a model: a typical value of each column, and no row of the data."""

import math
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

import polars as pl

from ..config import Column, Contract
from ..steps import profile
from ..steps.profile import Profile
from .schema import integer_bounds

DAY = datetime(2026, 1, 1, tzinfo=UTC)  # profiles know nothing of dates
TEXT = "text"  # of a column without frequent values; a feature may expect text of another form


def example_row(inputs: Contract, columns: Profile | None) -> dict[str, Any]:
    """Return the median of each number and the most frequent level of anything else, as the profile has them."""
    profiled = columns.columns if columns else {}
    return {name: _typical(column, profiled.get(name, profile.Column())) for name, column in inputs.columns.items()}


def _typical(column: Column, seen: profile.Column) -> Any:
    if column.type in {"integer", "float"}:
        return _median(column, seen)
    if column.type in {"date", "datetime"}:
        day = pl.Series([DAY]).dt.to_string(column.format or ("%F" if column.type == "date" else "%FT%T"))
        return day.item()
    levels = seen.levels or []
    if column.type == "boolean":
        return levels[:1] != ["false"]
    if column.allowed:
        return next((level for level in levels if level in column.allowed), column.allowed[0])
    # A rare value could be a name or an address.
    return levels[0] if levels else None if column.nullable else TEXT


def _median(column: Column, seen: profile.Column) -> float:
    """Return the edge of the bins that is nearest to the median, in a few digits and as the contract allows it."""
    edges, counts = seen.edges or [0.0], seen.counts[1:]  # the first are missing values
    below = next((at for at, rows in enumerate(accumulate(counts)) if 2 * rows >= sum(counts)), 0)
    median = float(f"{edges[min(below, len(edges) - 1)]:.4g}")
    if column.allowed:
        return min((value for value in column.allowed if isinstance(value, int)), key=lambda value: abs(value - median))
    low = -math.inf if column.min is None else column.min
    high = math.inf if column.max is None else column.max
    if column.type == "integer":
        median, (low, high) = round(median), integer_bounds(column)
    return min(max(median, low), high)
