"""Decide whether the new model becomes the champion; the flow acts on the decision."""

import math
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

import polars as pl

from ..config import DUMMY, Gate, Problem
from ..errors import ProjectError
from . import evaluate
from .evaluate import Predictions
from .sentences import few

# Categories with fewer rows in the holdout are not compared: one row would decide.
MIN_SLICE_ROWS = 20


class Decision(NamedTuple):
    """The alias that the new version gets, and why."""

    alias: Literal["champion", "challenger"]
    reason: str


class Slice(NamedTuple):
    """The rows of the holdout in one category of a column, and the gate's metric on them (None: not evaluated)."""

    rows: int
    value: float | None


class Evaluation(NamedTuple):
    """A model on the holdout: all its metrics, and the gate's metric on slices, by `column category`."""

    metrics: Mapping[str, float]
    slices: Mapping[str, Slice] = {}


class NotComparable(NamedTuple):
    """Why the champion could not be evaluated, and whether it is replaced for that."""

    reason: str
    replaced: bool


def decide(gate: Gate, challenger: Evaluation, champion: Evaluation | NotComparable | None) -> Decision:
    """Compare the new model with the gate and with the champion, if there is one.

    Raises ProjectError if the gate's metric is undefined for the new model.
    """
    metric = gate.metric
    if metric not in challenger.metrics:
        defined = ", ".join(name for name in challenger.metrics if not name.startswith(DUMMY))
        raise ProjectError(
            f"params.yaml: gate.metric is '{metric}', which is undefined for this model on this holdout; "
            f"defined are {defined}."
        )
    new = challenger.metrics[metric]
    if not math.isfinite(new):
        return Decision("challenger", f"{metric} is {new}")
    if not gate.allow_worse_than_dummy and (reason := evaluate.worse_than_dummy(metric, challenger.metrics)):
        return Decision("challenger", reason)
    if gate.minimum is not None and evaluate.gain(metric, new, gate.minimum) < 0:
        return Decision("challenger", f"{metric} {new:.6g} does not reach the minimum of {gate.minimum:g}")
    if champion is None:
        return Decision("champion", f"the first champion, {metric} {new:.6g}")
    if isinstance(champion, NotComparable):
        reason = f"{champion.reason}; the new model has {metric} {new:.6g}"
        return Decision("champion" if champion.replaced else "challenger", reason)
    return _compare(gate, challenger, champion)


def evaluate_slices(problem: Problem, gate: Gate, rows: pl.DataFrame, predictions: Predictions) -> dict[str, Slice]:
    """Evaluate each category of the gate's columns, with missing values as one more category."""
    slices = {}
    for column in gate.slices:
        categories = rows.select(category=pl.col(column).cast(pl.String).fill_null("missing")).with_row_index("place")
        for category, places in categories.group_by("category").agg("place").sort("category").iter_rows():
            enough = len(places) >= MIN_SLICE_ROWS
            value = evaluate.metric_or_none(problem, gate.metric, predictions.take(places)) if enough else None
            slices[f"{column} {category}"] = Slice(len(places), value)
    return slices


def _compare(gate: Gate, challenger: Evaluation, champion: Evaluation) -> Decision:
    """Compare the new model with the champion, as a whole and slice by slice."""
    metric, new, old = gate.metric, challenger.metrics[gate.metric], champion.metrics.get(gate.metric, math.nan)
    if not math.isfinite(old):
        reason = f"{metric} is undefined for the champion on this holdout; the new model has {new:.6g}"
        return Decision("challenger", f"{reason}: `promote` it if that is enough")
    gain = evaluate.gain(metric, new, old)
    if gain <= 0:
        return Decision("challenger", f"{metric} {new:.6g} is not better than the champion's {old:.6g}")
    better = f"{metric} {new:.6g} is better than the champion's {old:.6g} by {gain:.3g}"
    if gain < gate.improvement and not math.isclose(gain, gate.improvement):
        return Decision("challenger", f"{better}, less than gate.improvement ({gate.improvement:g})")
    if worse := list(_worse_slices(metric, challenger.slices, champion.slices)):
        return Decision("challenger", f"{better}, but {few(worse)}")
    return Decision("champion", better + _slices_compared(challenger.slices))


def _worse_slices(metric: str, new: Mapping[str, Slice], old: Mapping[str, Slice]) -> Iterator[str]:
    """Yield a sentence for each slice on which the new model does worse than the champion."""
    for name, (rows, value) in new.items():
        before = old[name].value if name in old else None
        if value is not None and before is not None and evaluate.gain(metric, value, before) < 0:
            yield f"worse for {name} ({rows} rows): {value:.6g} instead of {before:.6g}"


def _slices_compared(slices: Mapping[str, Slice]) -> str:
    if not slices:
        return ""
    skipped = [f"{name} ({rows} rows)" for name, (rows, value) in slices.items() if value is None]
    sentence = f", and worse in none of {len(slices) - len(skipped)} slices"
    if skipped:
        sentence += f"; not compared (fewer than {MIN_SLICE_ROWS} rows, or without a class): {few(skipped)}"
    return sentence
