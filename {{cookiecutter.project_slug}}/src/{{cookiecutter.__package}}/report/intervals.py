"""How far a metric could be off by chance: confidence intervals by bootstrap, all resamples at once.

A resample is a weight per row: how often the row was drawn. Every metric here is the weighted form of scikit-learn's.
"""

from typing import NamedTuple

import numpy as np

from ..config import Problem
from ..steps.evaluate import MIN_HOLDOUT_ROWS, Predictions

RESAMPLES = 500
# Of more rows a part is drawn, and its intervals are narrowed by the root of the part.
MOST = 2000


class Interval(NamedTuple):
    """The ends between which a metric lies with 95 % confidence."""

    low: float
    high: float


def intervals(problem: Problem, made: Predictions, metrics: dict[str, float], seed: int) -> dict[str, Interval]:
    """Return the interval of each metric, none if the rows are too few."""
    rows = len(made.truth)
    if rows < MIN_HOLDOUT_ROWS:
        return {}
    random = np.random.default_rng(seed)
    part = made
    if rows > MOST:
        drawn = random.choice(rows, MOST, replace=False)
        probabilities = None if made.probabilities is None else made.probabilities[drawn]
        part = Predictions(made.truth[drawn], made.predicted[drawn], made.classes, probabilities)
    count = len(part.truth)
    weights = np.array([np.bincount(random.integers(count, size=count), minlength=count) for _ in range(RESAMPLES)])
    drawn_metrics = resampled(problem, part, weights)
    narrowed = np.sqrt(count / rows)
    found = {}
    for name in metrics.keys() & drawn_metrics.keys():
        values = drawn_metrics[name][np.isfinite(drawn_metrics[name])]
        if values.size:
            middle = float(np.median(values)) if rows > MOST else metrics[name]
            low, high = metrics[name] + (np.quantile(values, (0.025, 0.975)) - middle) * narrowed
            found[name] = Interval(float(low), float(high))
    return {name: found[name] for name in metrics if name in found}


def resampled(problem: Problem, made: Predictions, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return the metrics of each resample; `weights` has a row per resample, and a column per row."""
    return _regression(made, weights) if problem == "regression" else _classification(made, weights)


def _regression(made: Predictions, weights: np.ndarray) -> dict[str, np.ndarray]:
    truth, error = made.truth.astype(float), made.truth.astype(float) - made.predicted
    total = weights.sum(axis=1)
    squares = weights @ error**2
    spread = weights @ truth**2 - (weights @ truth) ** 2 / total
    with np.errstate(divide="ignore", invalid="ignore"):
        r2 = 1 - squares / spread
    return {"rmse": np.sqrt(squares / total), "mae": weights @ abs(error) / total, "r2": r2}


def _classification(made: Predictions, weights: np.ndarray) -> dict[str, np.ndarray]:
    labels, truth = np.unique(made.truth, return_inverse=True)
    known = np.unique(np.concatenate([labels, np.unique(made.predicted)]))
    predicted = np.searchsorted(known, made.predicted)
    truth = np.searchsorted(known, labels)[truth]
    right = truth == predicted
    each = np.eye(len(known))
    hits = weights @ (each[truth] * right[:, None])
    support, claimed = weights @ each[truth], weights @ each[predicted]
    with np.errstate(divide="ignore", invalid="ignore"):
        recall = hits / support
        f1 = 2 * hits / (support + claimed)
        found = {
            "accuracy": weights @ right / weights.sum(axis=1),
            # A class that a resample lacks does not count there.
            "balanced_accuracy": np.nanmean(np.where(support > 0, recall, np.nan), axis=1),
            "f1_macro": np.nanmean(np.where(support + claimed > 0, f1, np.nan), axis=1),
        }
    if made.probabilities is not None and made.classes is not None and set(labels) <= set(made.classes):
        column = np.searchsorted(made.classes, made.truth)
        given = made.probabilities[np.arange(len(truth)), column]
        loss = -np.log(np.clip(given, np.finfo(made.probabilities.dtype).eps, 1))
        found["log_loss"] = weights @ loss / weights.sum(axis=1)
        binary = len(made.classes) == 2  # noqa: PLR2004
        judged = range(1, 2) if binary else range(len(made.classes))
        areas = [_area(column == number, made.probabilities[:, number], weights) for number in judged]
        found["roc_auc"] = np.mean(areas, axis=0)
    return found


def _area(positive: np.ndarray, chance: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve of each resample: the share of pairs in the right order, ties half."""
    order = np.argsort(chance)
    begins = np.flatnonzero(np.diff(chance[order], prepend=-1))
    sums = [np.add.reduceat(weights[:, order] * chosen[order], begins, axis=1) for chosen in (positive, ~positive)]
    positives, negatives = sums
    below = np.cumsum(negatives, axis=1) - negatives / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        area: np.ndarray = (positives * below).sum(axis=1) / (positives.sum(axis=1) * negatives.sum(axis=1))
    return area
