"""Decide whether the new model becomes the champion. Decides only: the flow acts."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from ..config import DUMMY, Gate, Problem
from ..errors import ProjectError
from . import evaluate
from .evaluate import Predictions

# Rows of a category in the holdout; with fewer, one row more or less decides.
MIN_SLICE_ROWS = 20


class Decision(NamedTuple):
    """The alias that the new version gets, and why."""

    alias: Literal["champion", "challenger"]
    reason: str


class Slice(NamedTuple):
    """The rows of the holdout that have one category of a column, and the gate's metric on them (None: not judged)."""

    rows: int
    value: float | None


class Evaluation(NamedTuple):
    """What the holdout says of a model: all its metrics, and the gate's metric on slices, by `column category`."""

    metrics: Mapping[str, float]
    slices: Mapping[str, Slice] = {}


class NotComparable(NamedTuple):
    """Why the champion could not be judged, and whether it is replaced for that."""

    reason: str
    replaced: bool


def evaluate_slices(problem: Problem, gate: Gate, rows: pl.DataFrame, predictions: Predictions) -> dict[str, Slice]:
    """Return the gate's metric in each category of its columns, a missing value being one, by `column category`."""
    found = {}
    for column in gate.slices:
        categories = rows.get_column(column).cast(pl.String).fill_null("missing")
        for category in categories.unique().sort():
            inside = (categories == category).to_numpy()
            count = int(inside.sum())
            scores = evaluate.metrics(problem, _only(predictions, inside)) if count >= MIN_SLICE_ROWS else {}
            found[f"{column} {category}"] = Slice(count, scores.get(gate.metric))
    return found


def _only(predictions: Predictions, inside: np.ndarray) -> Predictions:
    probabilities = None if predictions.probabilities is None else predictions.probabilities[inside]
    return predictions._replace(
        truth=predictions.truth[inside], predicted=predictions.predicted[inside], probabilities=probabilities
    )


def decide(gate: Gate, challenger: Evaluation, champion: Evaluation | NotComparable | None) -> Decision:
    """Check the new model against the gate and the champion, if there is one.

    Raises ProjectError if the new model does not have the gate's metric.
    """
    metric = gate.metric
    if metric not in challenger.metrics:
        given = ", ".join(name for name in challenger.metrics if not name.startswith(DUMMY))
        raise ProjectError(
            f"params.yaml: gate.metric is '{metric}', which this model on this holdout does not give; it gives {given}."
        )
    new = challenger.metrics[metric]
    if not math.isfinite(new):
        return Decision("challenger", f"{metric} is {new}, which says nothing")
    if not gate.allow_worse_than_dummy and (reason := evaluate.worse_than_dummy(metric, challenger.metrics)):
        return Decision("challenger", reason)
    if gate.minimum is not None and evaluate.gain(metric, new, gate.minimum) < 0:
        return Decision("challenger", f"{metric} {new:.6g} does not reach the minimum of {gate.minimum:g}")
    if champion is None:
        return Decision("champion", f"the first champion, {metric} {new:.6g}")
    if isinstance(champion, NotComparable):
        said = f"{champion.reason}; the new model has {metric} {new:.6g}"
        return Decision("champion" if champion.replaced else "challenger", said)
    return _compare(gate, challenger, champion)


def _compare(gate: Gate, challenger: Evaluation, champion: Evaluation) -> Decision:
    """Compare the new model with the champion, as a whole and slice by slice."""
    metric, new, old = gate.metric, challenger.metrics[gate.metric], champion.metrics.get(gate.metric, math.nan)
    if not math.isfinite(old):
        said = f"the champion has no {metric} here, so nothing was compared; the new model has {new:.6g}"
        return Decision("challenger", f"{said}: `promote` it if that is enough")
    gain = evaluate.gain(metric, new, old)
    if gain <= 0:
        return Decision("challenger", f"{metric} {new:.6g} is not better than the champion's {old:.6g}")
    better = f"{metric} {new:.6g} is better than the champion's {old:.6g} by {gain:.3g}"
    if gain < gate.improvement and not math.isclose(gain, gate.improvement):
        return Decision("challenger", f"{better}, less than the {gate.improvement:g} that gate.improvement asks for")
    if fallen := list(_fallen(metric, challenger.slices, champion.slices)):
        return Decision("challenger", f"{better}, but {_few(fallen)}")
    return Decision("champion", better + _looked_at(challenger.slices))


def _fallen(metric: str, new: Mapping[str, Slice], old: Mapping[str, Slice]) -> Iterator[str]:
    """Say of each slice that both models were judged on, and that the new model does worse, how far it falls."""
    for name, (rows, value) in new.items():
        before = old[name].value if name in old else None
        if value is not None and before is not None and evaluate.gain(metric, value, before) < 0:
            yield f"for {name} ({rows} rows) it falls from {before:.6g} to {value:.6g}"


def _looked_at(found: Mapping[str, Slice]) -> str:
    """Say how many slices were compared, and which were too small for it."""
    if not found:
        return ""
    judged = [name for name, part in found.items() if part.value is not None]
    left = [f"{name} ({part.rows} rows)" for name, part in found.items() if part.value is None]
    said = f", and falls in none of {len(judged)} slices"
    return f"{said}; not compared, for want of {MIN_SLICE_ROWS} rows or of a class: {_few(left)}" if left else said


def _few(items: Sequence[str]) -> str:
    more = [f"{len(items) - 3} more"] if len(items) > 3 else []  # noqa: PLR2004 - three are examples enough
    return ", ".join([*items[:3], *more])
