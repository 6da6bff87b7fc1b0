"""Compare new rows, and what a model makes of them, with those that it was trained and evaluated on.

The verdict is
- "too few rows" if there are fewer than MIN_ROWS: no verdict would mean anything;
- "drifted" if a column of the model, or its predictions, moved: its population stability index is above the threshold
  and above what chance explains; or if a metric is worse than on the holdout and chance does not explain that;
- "watch" if that is so with half the threshold and a looser limit of chance, or if rows break the contract;
- "fine" otherwise.
Of comparisons without drift at most 1 % say "drifted", and at most 5 % "watch" or "drifted".
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict
from scipy.stats import chi2

from ..steps import profile
from ..steps.profile import Column, Profile
from .intervals import Interval

MIN_ROWS = 50
# The share of comparisons without drift that may say "drifted", and "watch" or "drifted".
DRIFTED_RATE, WATCH_RATE = 0.01, 0.05
# What an empty bin counts as: zero would make the index infinite.
EMPTY_BIN = 0.5
# How many unseen categories are named.
UNSEEN = 10

Verdict = Literal["fine", "watch", "drifted", "too few rows"]


class Result(BaseModel):
    """A part of the result, which does not change."""

    model_config = ConfigDict(frozen=True)


class ColumnDrift(Result):
    """How far a column moved: its population stability index (PSI), and the limit that it exceeds if it drifted.

    `limit` is the larger of the threshold and of what chance explains; `reference` and `current` are the shares of rows
    in each of `bins`, the first of which is for missing values. Means are those of numbers.
    """

    column: str
    kind: Literal["number", "category"]
    psi: float
    limit: float
    p_value: float
    drifted: bool
    missing_before: float
    missing_now: float
    mean_before: float | None
    mean_now: float | None
    unseen: dict[str, int]
    bins: list[str]
    reference: list[float]
    current: list[float]


class MetricChange(Result):
    """A metric on the holdout and on the current rows, each with a 95 % confidence interval if there is one."""

    metric: str
    holdout: float
    holdout_interval: Interval | None
    current: float
    current_interval: Interval | None
    p_value: float
    worse: bool


class Drift(Result):
    """The result of a comparison; `columns` come sorted by how far they moved beyond their limit.

    `predictions` has the drift of the `prediction` and, of classifiers, of their `confidence`: the probability of the
    class that is predicted. It is empty for versions without a profile of their predictions, as `reasons` say.
    `violations` has the rows that break each rule of the contract.
    """

    version: int
    rows: int
    columns: list[ColumnDrift]
    predictions: list[ColumnDrift] = []
    violations: dict[str, int] = {}
    metrics: list[MetricChange] = []
    verdict: Verdict
    reasons: list[str]

    @property
    def drifted(self) -> dict[str, float]:
        """The columns that have drifted, with their index."""
        return {drift.column: drift.psi for drift in self.columns if drift.drifted}


def compare(rows: pl.LazyFrame, reference: Profile, *, version: int, threshold: float = 0.2) -> Drift:
    """Compare rows with the profile of a version."""
    height = rows.select(pl.len()).collect(engine="streaming").item()
    columns = _drifts(rows, reference.columns, threshold)
    if height < MIN_ROWS:
        verdict: Verdict = "too few rows"
        columns = [column.model_copy(update={"drifted": False}) for column in columns]
        reasons = [f"{height} rows are too few to tell drift from chance; {MIN_ROWS} are needed."]
    else:
        drifted = [column for column in columns if column.drifted]
        verdict = "drifted" if drifted else "fine"
        reasons = [f"{drift.column} moved: PSI {drift.psi:.2f}, limit {drift.limit:.2f}." for drift in drifted]
    return Drift(version=version, rows=height, columns=columns, verdict=verdict, reasons=reasons)


class _Moved(NamedTuple):
    """The index of a column, its chance probability, and what scales the index to a chi-squared variable."""

    psi: float
    p_value: float
    freedom: int
    scale: float


def _drifts(rows: pl.LazyFrame, columns: Mapping[str, Column], threshold: float) -> list[ColumnDrift]:
    counted = profile.count(rows, columns)
    moved = {name: _moved(column.counts, counted[name].counts) for name, column in columns.items()}
    cutoff = _cutoff([result.p_value for result in moved.values()], DRIFTED_RATE)
    drifts = [
        _column(rows, name, (column, counted[name]), moved[name], (cutoff, threshold))
        for name, column in columns.items()
    ]
    return sorted(drifts, key=lambda drift: -drift.psi / drift.limit)


def _column(
    rows: pl.LazyFrame, name: str, pair: tuple[Column, Column], moved: _Moved, limits: tuple[float, float]
) -> ColumnDrift:
    before, now = pair
    (old, old_missing), (new, new_missing) = _shares(before.counts), _shares(now.counts)
    cutoff, threshold = limits
    limit = max(threshold, float(chi2.isf(cutoff, moved.freedom)) * moved.scale)
    complete = before.edges is None and (before.rare is not None or before.counts[-1] == 0)
    return ColumnDrift(
        column=name,
        kind="category" if before.edges is None else "number",
        psi=moved.psi,
        limit=limit,
        p_value=moved.p_value,
        drifted=moved.psi > limit,
        missing_before=old_missing,
        missing_now=new_missing,
        mean_before=before.mean,
        mean_now=now.mean,
        unseen=profile.unseen(rows, name, before, UNSEEN) if complete and now.counts[-1] else {},
        bins=_labels(before),
        reference=old,
        current=new,
    )


def _shares(counts: Sequence[int]) -> tuple[list[float], float]:
    total = max(sum(counts), 1)
    shares = [count / total for count in counts]
    return shares, shares[0]


def _labels(column: Column) -> list[str]:
    if column.edges is None:
        last = ["others"] if column.rare is None else ["rare values", "unseen values"]
        return ["missing", *(column.levels or []), *last]
    edges = [f"{edge:.6g}" for edge in column.edges]
    if not edges:
        return ["missing", "present"]
    between = [f"{low} to {high}" for low, high in pairwise(edges)]
    return ["missing", f"up to {edges[0]}", *between, f"above {edges[-1]}"]


def _cutoff(p_values: Sequence[float], rate: float) -> float:
    """Return the largest p-value that is significant by Benjamini and Hochberg, which allows for many columns."""
    ordered = np.sort(p_values)
    limits = rate * np.arange(1, len(ordered) + 1) / max(len(ordered), 1)
    significant = np.flatnonzero(ordered <= limits)
    return float(limits[significant[-1]] if significant.size else rate / max(len(ordered), 1))


def _moved(before: Sequence[int], now: Sequence[int]) -> _Moved:
    """Return the population stability index.

    Of two samples of one distribution it is chi-squared, scaled by their sizes (Yurdakul, 2018).
    """
    old, new = (np.maximum(np.array(part, float), EMPTY_BIN) for part in (before, now))
    old_share, new_share = old / old.sum(), new / new.sum()
    psi = float(((new_share - old_share) * np.log(new_share / old_share)).sum())
    freedom = max(int(np.count_nonzero(np.add(before, now))) - 1, 1)
    scale = float(1 / old.sum() + 1 / new.sum())
    return _Moved(psi, float(chi2.sf(psi / scale, freedom)), freedom, scale)
