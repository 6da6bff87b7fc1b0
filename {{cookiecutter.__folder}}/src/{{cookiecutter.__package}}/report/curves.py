"""The curves of a model, as numbers: for the plots, and for `dvc plots diff` to lay over those of other revisions."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from sklearn import metrics as skm

from ..config import Problem
from ..steps.evaluate import Predictions

# Curves of more classes would take longer than the model, and those of rare classes show little.
MAX_POINTS, MAX_CLASSES = 200, 100
# From 0 to 1, both included.
GRID = np.linspace(0, 1, 101)


class Curve(NamedTuple):
    """Points, and the area under them (None where it means nothing)."""

    x: np.ndarray
    y: np.ndarray
    area: float | None = None


def write(problem: Problem, predictions: Predictions, folder: Path) -> None:
    """Write the curves as CSV with the columns x and y; of several classes, the mean of those of `per_class`."""
    folder.mkdir(parents=True, exist_ok=True)
    curves = {"calibration": calibration(problem, predictions)}
    if problem == "regression":
        curves["error_by_share_of_rows"] = errors(predictions)
    else:
        for name, kind in {"roc": roc, "precision_recall": precision_recall}.items():
            by_class = [*per_class(predictions, kind).values()]
            curves[name] = mean(by_class) if len(by_class) > 1 else thin(by_class[0]) if by_class else None
    for name, curve in curves.items():
        if curve is not None:
            pl.DataFrame({"x": curve.x, "y": curve.y}).write_csv(folder / f"{name}.csv")


def per_class(predictions: Predictions, kind: Callable[[np.ndarray, np.ndarray], Curve]) -> dict[str, Curve]:
    """Return a curve for each class against the rest, if there are rows of both; with two classes, for the second.

    Of more than MAX_CLASSES classes, these are the most frequent ones.
    """
    classes, probabilities = predictions.classes, predictions.probabilities
    if classes is None or probabilities is None:
        return {}
    curves = {}
    values, counts = np.unique(predictions.truth, return_counts=True)
    frequent = set(values[np.argsort(-counts, kind="stable")[:MAX_CLASSES]])
    for number in range(1 if len(classes) == 2 else 0, len(classes)):  # noqa: PLR2004 - the first mirrors the second
        if classes[number] in frequent and not (truth := predictions.truth == classes[number]).all():
            curves[str(classes[number])] = kind(truth, probabilities[:, number])
    return curves


def roc(truth: np.ndarray, probabilities: np.ndarray) -> Curve:
    """Return the true positive rate over the false positive rate."""
    false, true, _ = skm.roc_curve(truth, probabilities)
    return Curve(false, true, float(skm.auc(false, true)))


def precision_recall(truth: np.ndarray, probabilities: np.ndarray) -> Curve:
    """Return precision over recall; the area is the average precision."""
    precision, recall, _ = skm.precision_recall_curve(truth, probabilities)
    return Curve(recall[::-1], precision[::-1], float(skm.average_precision_score(truth, probabilities)))


def calibration(problem: Problem, predictions: Predictions) -> Curve | None:
    """Return the mean outcome over the mean prediction, in up to ten groups of equal size; None without probabilities.

    For two classes this is the probability of the second, for more that of the predicted class; for numbers, the value.
    """
    truth, classes, probabilities = predictions.truth, predictions.classes, predictions.probabilities
    if problem == "regression":
        predicted, actual = predictions.predicted, truth
    elif classes is None or probabilities is None:
        return None
    elif len(classes) == 2:  # noqa: PLR2004
        predicted, actual = probabilities[:, 1], truth == classes[1]
    else:
        predicted, actual = probabilities.max(axis=1), truth == classes[probabilities.argmax(axis=1)]
    order = np.argsort(predicted, kind="stable")
    groups = np.array_split(order, min(10, max(1, len(order) // 10)))
    x, y = (np.array([values[group].mean() for group in groups]) for values in (predicted, actual))
    return Curve(x, y)


def errors(predictions: Predictions) -> Curve:
    """Return, for numbers, the absolute error that each share of the rows stays below."""
    return Curve(GRID, np.quantile(abs(predictions.truth - predictions.predicted), GRID))


def mean(curves: list[Curve]) -> Curve:
    """Return the mean of curves, each with the same weight."""
    return Curve(GRID, np.mean([np.interp(GRID, curve.x, curve.y) for curve in curves], axis=0))


def thin(curve: Curve) -> Curve:
    """Return the curve with at most MAX_POINTS of its points, including both ends."""
    kept = np.unique(np.linspace(0, len(curve.x) - 1, MAX_POINTS).astype(int))
    return Curve(curve.x[kept], curve.y[kept], curve.area)
