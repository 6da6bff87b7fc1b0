"""The curves of a model, as numbers: for the plots, and for DVC to lay over those of other revisions."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from sklearn import metrics as skm

from ..config import Problem
from ..steps.evaluate import Predictions

POINTS = 200


class Curve(NamedTuple):
    """Points of equal number in x and y, and one number that sums them up (an area, None if there is none)."""

    x: np.ndarray
    y: np.ndarray
    area: float | None = None


def roc(truth: np.ndarray, probabilities: np.ndarray) -> Curve:
    """Return the share of true alarms over that of false ones."""
    false, true, _ = skm.roc_curve(truth, probabilities)
    return Curve(false, true, float(skm.auc(false, true)))


def precision_recall(truth: np.ndarray, probabilities: np.ndarray) -> Curve:
    """Return precision over recall; the area is the average precision."""
    precision, recall, _ = skm.precision_recall_curve(truth, probabilities)
    return Curve(recall[::-1], precision[::-1], float(skm.average_precision_score(truth, probabilities)))


def per_class(made: Predictions, kind: Callable[[np.ndarray, np.ndarray], Curve]) -> dict[str, Curve]:
    """Return a curve for each class against the rest, if there are rows of both; with two classes, for the second."""
    if made.probabilities is None or made.classes is None:
        return {}
    numbers = range(len(made.classes))
    curves = {}
    for number in numbers[1:] if len(numbers) == 2 else numbers:  # noqa: PLR2004 - the other one mirrors it
        truth = made.truth == made.classes[number]
        if 0 < truth.sum() < len(truth):
            curves[str(made.classes[number])] = kind(truth, made.probabilities[:, number])
    return curves


def mean(curves: dict[str, Curve]) -> Curve:
    """Return the mean of curves, each class counting alike."""
    grid = np.linspace(0, 1, POINTS // 2 + 1)
    return Curve(grid, np.mean([np.interp(grid, curve.x, curve.y) for curve in curves.values()], axis=0))


def calibration(problem: Problem, made: Predictions) -> Curve | None:
    """Return what came true over what was predicted, in up to ten groups of equal size; None if there is no such thing.

    For two classes it is the chance of the second, for more that of the predicted one; for numbers, these themselves.
    """
    if problem == "regression":
        said, true = made.predicted, made.truth
    elif made.probabilities is None or made.classes is None:
        return None
    elif len(made.classes) == 2:  # noqa: PLR2004
        said, true = made.probabilities[:, 1], made.truth == made.classes[1]
    else:
        said, true = made.probabilities.max(axis=1), made.truth == made.classes[made.probabilities.argmax(axis=1)]
    order = np.argsort(said, kind="stable")
    groups = np.array_split(order, min(10, max(1, len(order) // 10)))
    return Curve(np.array([said[group].mean() for group in groups]), np.array([true[group].mean() for group in groups]))


def errors(made: Predictions) -> Curve:
    """Return, for numbers, the size of error that a share of the rows stays below."""
    shares = np.linspace(0, 1, POINTS // 2 + 1)
    return Curve(shares, np.quantile(abs(made.truth - made.predicted), shares))


def write(problem: Problem, made: Predictions, folder: Path) -> None:
    """Write the curves as CSV with the columns x and y."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {"calibration": calibration(problem, made)}
    if problem == "regression":
        found["error_by_share_of_rows"] = errors(made)
    else:
        for name, kind in {"roc": roc, "precision_recall": precision_recall}.items():
            curves = per_class(made, kind)
            found[name] = mean(curves) if len(curves) > 1 else next((thin(one) for one in curves.values()), None)
    for name, curve in found.items():
        if curve is not None:
            pl.DataFrame({"x": curve.x, "y": curve.y}).write_csv(folder / f"{name}.csv")


def thin(curve: Curve) -> Curve:
    """Return a curve of many points with some of them, the ends included."""
    kept = np.unique(np.linspace(0, len(curve.x) - 1, POINTS).astype(int))
    return Curve(curve.x[kept], curve.y[kept], curve.area)
