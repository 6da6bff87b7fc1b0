"""95 % confidence intervals of the metrics, by bootstrap over the rows of the holdout, all resamples at once.

A resample is a weight per row: how often the row was drawn. Each metric is the weighted form of scikit-learn's.
"""

from typing import NamedTuple

import numpy as np

from ..config import Problem
from ..steps.evaluate import MIN_HOLDOUT_ROWS, Predictions

RESAMPLES = 500
# Of more rows a sample is drawn, and the intervals are scaled down to the size of the whole.
MAX_ROWS = 2000


class Interval(NamedTuple):
    """The ends of a 95 % confidence interval."""

    low: float
    high: float


def intervals(problem: Problem, predictions: Predictions, metrics: dict[str, float], seed: int) -> dict[str, Interval]:
    """Return the interval of each metric; none if there are fewer rows than MIN_HOLDOUT_ROWS."""
    rows = len(predictions.truth)
    if rows < MIN_HOLDOUT_ROWS:
        return {}
    random = np.random.default_rng(seed)
    if rows > MAX_ROWS:
        predictions = predictions.take(random.choice(rows, MAX_ROWS, replace=False))
    count = len(predictions.truth)
    weights = np.array([np.bincount(random.integers(count, size=count), minlength=count) for _ in range(RESAMPLES)])
    drawn = resampled(problem, predictions, weights)
    found = {}
    for name in [name for name in metrics if name in drawn]:
        values = drawn[name][np.isfinite(drawn[name])]
        if values.size:
            middle = float(np.median(values)) if rows > MAX_ROWS else metrics[name]
            low, high = metrics[name] + (np.quantile(values, (0.025, 0.975)) - middle) * np.sqrt(count / rows)
            found[name] = Interval(float(low), float(high))
    return found


def resampled(problem: Problem, predictions: Predictions, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return the metrics of each resample; `weights` has a row per resample and a column per row of the holdout."""
    return _regression(predictions, weights) if problem == "regression" else _classification(predictions, weights)


def _regression(predictions: Predictions, weights: np.ndarray) -> dict[str, np.ndarray]:
    truth = predictions.truth.astype(float)
    error = truth - predictions.predicted
    total = weights.sum(axis=1)
    squares = weights @ error**2
    spread = weights @ truth**2 - (weights @ truth) ** 2 / total
    with np.errstate(divide="ignore", invalid="ignore"):
        r2 = 1 - squares / spread
    return {"rmse": np.sqrt(squares / total), "mae": weights @ abs(error) / total, "r2": r2}


def _classification(predictions: Predictions, weights: np.ndarray) -> dict[str, np.ndarray]:
    classes, probabilities = predictions.classes, predictions.probabilities
    labels, codes = np.unique(np.concatenate([predictions.truth, predictions.predicted]), return_inverse=True)
    truth, predicted = np.split(codes, 2)
    correct = truth == predicted
    total = weights.sum(axis=1)
    one_hot = np.eye(len(labels))
    hits = weights @ (one_hot[truth] * correct[:, None])
    actual, claimed = weights @ one_hot[truth], weights @ one_hot[predicted]
    with np.errstate(divide="ignore", invalid="ignore"):
        metrics = {
            "accuracy": weights @ correct / total,
            # A class that a resample lacks does not count there.
            "balanced_accuracy": np.nanmean(np.where(actual > 0, hits / actual, np.nan), axis=1),
            "f1_macro": np.nanmean(np.where(actual + claimed > 0, 2 * hits / (actual + claimed), np.nan), axis=1),
        }
    if probabilities is not None and classes is not None and set(predictions.truth) <= set(classes):
        column = np.searchsorted(classes, predictions.truth)
        given = probabilities[np.arange(len(truth)), column]
        loss = -np.log(np.clip(given, np.finfo(probabilities.dtype).eps, 1))
        metrics["log_loss"] = weights @ loss / total
        # The area is undefined for a resample that lacks a class: with many classes, for all of them.
        whole = weights[(actual[:, np.isin(labels, classes)] > 0).sum(axis=1) == len(classes)]
        numbers = range(1 if len(classes) == 2 else 0, len(classes)) if len(whole) else []  # noqa: PLR2004 - the first mirrors the second
        areas = [_area(column == n, probabilities[:, n], whole) for n in numbers]
        metrics["roc_auc"] = np.mean(areas, axis=0) if areas else np.array([])
    return metrics


def _area(positive: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve of each resample: the share of pairs in the right order, ties half."""
    order = np.argsort(probabilities)
    begins = np.flatnonzero(np.diff(probabilities[order], prepend=-1))
    positives, negatives = (
        np.add.reduceat(weights[:, order] * side[order], begins, axis=1) for side in (positive, ~positive)
    )
    below = np.cumsum(negatives, axis=1) - negatives / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        area: np.ndarray = (positives * below).sum(axis=1) / (positives.sum(axis=1) * negatives.sum(axis=1))
    return area
