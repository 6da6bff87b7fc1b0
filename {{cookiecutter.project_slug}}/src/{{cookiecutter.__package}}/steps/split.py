"""Divide rows, for the holdout and into folds, so that what belongs together stays on one side.

What belongs together is a unit: copies of one observation, the rows of a group, or those of one moment.
Units lie on a line from 0 to 1, drawn at random (in each class by itself, if stratified) or in the order of time, each
as wide as it has rows; the holdout and the folds are pieces of this line.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from ..config import Split
from ..errors import ProjectError
from . import copies

TOGETHER = {
    "random": "different rows (copies of one stay on one side)",
    "stratified": "different rows (copies of one stay on one side)",
    "group": "groups in the column of split.column",
    "time": "moments in the column of split.column",
}


class Units(NamedTuple):
    """The unit of each row, and the class of each unit (all 0 if not stratified); both are numbered from 0."""

    of_row: np.ndarray
    classes: np.ndarray


def copied(units: Units) -> int:
    """Count the rows that belong to a unit with an earlier row."""
    return len(units.of_row) - len(units.classes)


def find_units(rows: pl.LazyFrame, split: Split, seen: Sequence[str], target: str) -> Units:
    """Find the units of rows; `seen` are the columns that the model looks at. Reads no more than it needs of them."""
    if split.column is None:
        of_row = copies.group(rows, seen)
    else:
        _check_column(rows, split.column, split, target)
        of_row = _numbered(rows, split.column)
    classes = np.zeros(int(of_row.max()) + 1 if of_row.size else 0, dtype=np.int32)
    if split.by == "stratified":
        # Copies may have different labels: the first one's counts.
        classes[of_row[::-1]] = _numbered(rows, target)[::-1]
    return Units(of_row, classes)


def holdout(units: Units, split: Split) -> pl.Series:
    """Mark the rows of the holdout, the newest if split by time: a Boolean per row, the same for the same seed.

    Raises ProjectError if a unit would be on both sides.
    """
    count = len(units.classes)
    if count < 2:  # noqa: PLR2004 - one for each side
        raise ProjectError(
            f"params.yaml: split.holdout is {split.holdout}, but the table has {count} {TOGETHER[split.by]}; "
            "2 are needed."
        )
    places = _places(units, split)
    side = places > 1 - split.holdout
    if side.all() or not side.any():
        side = _ranks(places) >= np.clip(round((1 - split.holdout) * count), 1, count - 1)
    held = pl.Series("holdout", side[units.of_row])
    check_apart(units, held)
    return held


def folds(units: Units, split: Split, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the rows to fit on and those to judge on, per fold; by time, those to judge on are the newer ones."""
    parts = count + 1 if split.by == "time" else count
    if len(units.classes) < parts:
        raise ProjectError(
            f"params.yaml: search.folds is {count}, which needs {parts} {TOGETHER[split.by]}; the training rows have "
            f"{len(units.classes)}."
        )
    places = _places(units, split)
    if split.by != "time":
        # Each class begins somewhere else, so that the members of rare ones do not all fall into the same fold.
        places = (places + np.random.default_rng(split.seed).random(units.classes.max() + 1)[units.classes]) % 1
    part = (places * parts).astype(int)
    if len(np.unique(part)) < parts:
        part = _ranks(places) * parts // len(places)
    of_row = part[units.of_row]
    if split.by == "time":
        return [(np.flatnonzero(of_row < fold), np.flatnonzero(of_row == fold)) for fold in range(1, parts)]
    return [(np.flatnonzero(of_row != fold), np.flatnonzero(of_row == fold)) for fold in range(parts)]


def check_apart(units: Units, held: pl.Series) -> None:
    """Raise ProjectError if a unit is on both sides: the holdout would judge what the model has memorised."""
    side = held.to_numpy()
    # The side of each unit is that of its last row; the others have to be there, too.
    sides = np.empty(len(units.classes), dtype=bool)
    sides[units.of_row] = side
    torn = np.unique(units.of_row[sides[units.of_row] != side])
    if torn.size:
        raise ProjectError(
            f"The split leaks: {torn.size} rows, groups or moments are on both sides; see holdout in steps/split.py."
        )


def _places(units: Units, split: Split) -> np.ndarray:
    """Return the middle of each unit on the line from 0 to 1, on a line of its own for each class."""
    count = len(units.classes)
    order = np.arange(count) if split.by == "time" else np.random.default_rng(split.seed).permutation(count)
    places = np.empty(count)
    if count == len(units.of_row) and not units.classes.any():
        # Every unit is one row, as mostly: the same as below, at half of what ten million take.
        places[order] = (np.arange(count) + 0.5) / count
        return places
    sizes = np.bincount(units.of_row).astype(np.uint32)
    order = order[np.argsort(units.classes[order], kind="stable")]
    width = np.bincount(units.classes, weights=sizes)
    begin = np.cumsum(width) - width
    places[order] = np.cumsum(sizes[order]) - sizes[order] / 2
    places -= begin[units.classes]
    places /= width[units.classes]
    return places


def _ranks(places: np.ndarray) -> np.ndarray:
    ranks = np.empty(len(places), dtype=np.int64)
    ranks[np.argsort(places, kind="stable")] = np.arange(len(places))
    return ranks


def _check_column(rows: pl.LazyFrame, name: str, split: Split, target: str) -> None:
    """Raise ProjectError if the column cannot say group or time."""
    where = f"params.yaml: split.column is '{name}'"
    schema = rows.collect_schema()
    if name not in schema or name == target:
        allowed = ", ".join(column for column in schema if column != target)
        raise ProjectError(f"{where}; to split by {split.by}, name one of {allowed}.")
    if split.by == "time" and not (schema[name].is_temporal() or schema[name].is_numeric()):
        raise ProjectError(f"{where}, which is {schema[name]}; contract.yaml must say date, datetime or a number.")
    if split.by == "time" and (missing := _column(rows, pl.col(name).null_count()).item()):
        raise ProjectError(f"{where}, which is missing in {missing} row(s): whether they are new cannot be told.")


def _column(rows: pl.LazyFrame, expression: pl.Expr) -> pl.Series:
    """Return one column's worth of rows, without holding more in memory."""
    return rows.select(expression).collect(engine="streaming").to_series()


def _numbered(rows: pl.LazyFrame, name: str) -> np.ndarray:
    """Give each value of a column its number, from 0 in their order; a missing one is a value like any other."""
    values = _column(rows, pl.col(name).unique().sort())
    numbers = pl.int_range(len(values), dtype=pl.UInt32, eager=True)
    return _column(rows, pl.col(name).replace_strict(values, numbers)).to_numpy()
