"""Split rows into training and holdout, and into folds; rows that belong together stay on one side.

Rows that belong together form a unit: copies of one observation, the rows of a group, or those of one point in time.
The units lie on a line from 0 to 1, in random order (per class, if stratified) or in the order of time, each as wide as
its number of rows; the holdout and the folds are pieces of this line.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from ..config import Split
from ..errors import ProjectError
from . import copies

UNITS = {
    "random": "different rows (copies count as one)",
    "stratified": "different rows (copies count as one)",
    "group": "groups in the column of split.column",
    "time": "points in time in the column of split.column",
}


class Units(NamedTuple):
    """The unit of each row, and the class of each unit (0 if not stratified); both are numbered from 0."""

    of_row: np.ndarray
    classes: np.ndarray


def copied(units: Units) -> int:
    """Count the rows that share their unit with an earlier row."""
    return len(units.of_row) - len(units.classes)


def find_units(rows: pl.LazyFrame, split: Split, seen: Sequence[str], target: str) -> Units:
    """Find the units of rows; `seen` are the columns that the model uses. Reads only the columns that it needs."""
    if split.column is None:
        of_row = copies.group(rows, seen)
    else:
        _check_column(rows, split.column, split, target)
        of_row = _numbered(rows, split.column)
    classes = np.zeros(int(of_row.max()) + 1 if of_row.size else 0, dtype=np.int32)
    if split.by == "stratified":
        # Copies may have different labels: the first one counts.
        classes[of_row[::-1]] = _numbered(rows, target)[::-1]
    return Units(of_row, classes)


def holdout(units: Units, split: Split) -> pl.Series:
    """Return a Boolean per row: whether it is in the holdout (by time, the newest rows); the same for the same seed."""
    count = len(units.classes)
    if count < 2:  # noqa: PLR2004 - one for each side
        raise ProjectError(
            f"params.yaml: split.holdout is {split.holdout}, but the table has {count} {UNITS[split.by]}; "
            "at least 2 are needed."
        )
    places = _places(units, split)
    held_out = places > 1 - split.holdout
    if held_out.all() or not held_out.any():
        held_out = _ranks(places) >= np.clip(round((1 - split.holdout) * count), 1, count - 1)
    rows = pl.Series("holdout", held_out[units.of_row])
    check_apart(units, rows)
    return rows


def folds(units: Units, split: Split, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the rows to fit on and those to evaluate on, per fold; by time, those to evaluate on are newer."""
    parts = count + 1 if split.by == "time" else count
    if len(units.classes) < parts:
        raise ProjectError(
            f"params.yaml: search.folds is {count}, which needs {parts} {UNITS[split.by]}; the training rows have "
            f"{len(units.classes)}."
        )
    places = _places(units, split)
    if split.by != "time":
        # Each class starts elsewhere on the line, or all rare classes would fall into the same fold.
        places = (places + np.random.default_rng(split.seed).random(units.classes.max() + 1)[units.classes]) % 1
    part = (places * parts).astype(int)
    if len(np.unique(part)) < parts:
        part = _ranks(places) * parts // len(places)
    of_row = part[units.of_row]
    if split.by == "time":
        return [(np.flatnonzero(of_row < fold), np.flatnonzero(of_row == fold)) for fold in range(1, parts)]
    return [(np.flatnonzero(of_row != fold), np.flatnonzero(of_row == fold)) for fold in range(parts)]


def check_apart(units: Units, holdout: pl.Series) -> None:
    """Raise ProjectError if a unit is on both sides: the model would be evaluated on rows that it has memorised."""
    side = holdout.to_numpy()
    # A unit has the side of its last row; its other rows must be on the same.
    sides = np.empty(len(units.classes), dtype=bool)
    sides[units.of_row] = side
    leaks = np.unique(units.of_row[sides[units.of_row] != side])
    if leaks.size:
        raise ProjectError(
            f"The split leaks: {leaks.size} rows, groups or points in time are on both sides; "
            "correct holdout() in steps/split.py."
        )


def _places(units: Units, split: Split) -> np.ndarray:
    """Return the middle of each unit on the line from 0 to 1; each class has a line."""
    count = len(units.classes)
    order = np.arange(count) if split.by == "time" else np.random.default_rng(split.seed).permutation(count)
    places = np.empty(count)
    if count == len(units.of_row) and not units.classes.any():
        # A shortcut for the usual case, that every unit is one row: half the memory for ten million rows.
        places[order] = (np.arange(count) + 0.5) / count
        return places
    sizes = np.bincount(units.of_row).astype(np.uint32)
    order = order[np.argsort(units.classes[order], kind="stable")]
    width = np.bincount(units.classes, weights=sizes)
    start = np.cumsum(width) - width
    places[order] = np.cumsum(sizes[order]) - sizes[order] / 2
    places -= start[units.classes]
    places /= width[units.classes]
    return places


def _ranks(places: np.ndarray) -> np.ndarray:
    ranks = np.empty(len(places), dtype=np.int64)
    ranks[np.argsort(places, kind="stable")] = np.arange(len(places))
    return ranks


def _check_column(rows: pl.LazyFrame, name: str, split: Split, target: str) -> None:
    where = f"params.yaml: split.column is '{name}'"
    schema = rows.collect_schema()
    if name not in schema or name == target:
        allowed = ", ".join(column for column in schema if column != target)
        raise ProjectError(f"{where}; to split by {split.by}, use one of {allowed}.")
    if split.by == "time" and not (schema[name].is_temporal() or schema[name].is_numeric()):
        raise ProjectError(f"{where}, which is {schema[name]}; its type in contract.yaml must be a date or a number.")
    if split.by == "time" and (missing := _column(rows, pl.col(name).null_count()).item()):
        raise ProjectError(f"{where}, which is missing in {missing} row(s); to split by time, all rows need it.")


def _column(rows: pl.LazyFrame, expression: pl.Expr) -> pl.Series:
    """Compute one column, without holding the table in memory."""
    return rows.select(expression).collect(engine="streaming").to_series()


def _numbered(rows: pl.LazyFrame, name: str) -> np.ndarray:
    """Return the number of each value, from 0 in their order; a missing value is a value like any other."""
    values = _column(rows, pl.col(name).unique().sort())
    numbers = pl.int_range(len(values), dtype=pl.UInt32, eager=True)
    return _column(rows, pl.col(name).replace_strict(values, numbers)).to_numpy()
