"""Which columns the model lives on: how much worse it judges rows in which one column is shuffled."""

from typing import NamedTuple

import numpy as np
import polars as pl
from sklearn.base import BaseEstimator

from ..config import Params
from ..steps import evaluate
from ..steps.evaluate import LOWER_IS_BETTER

REPEATS, MOST_ROWS, AT_ONCE = 5, 1000, 100_000


class Importance(NamedTuple):
    """How much worse the metric becomes without a column: mean and spread over the shuffles."""

    column: str
    mean: float
    std: float


def importance(model: BaseEstimator, rows: pl.DataFrame, truth: pl.Series, params: Params) -> list[Importance]:
    """Return the importance of every column by the metric of the gate, the greatest first; none if it is undefined.

    Unlike scikit-learn's, it takes Polars frames, and predicts shuffled copies together, which is many times faster.
    """
    problem, metric, seed = params.data.problem, params.gate.metric, params.split.seed
    random = np.random.default_rng(seed)
    if rows.height > MOST_ROWS:
        drawn = np.sort(random.choice(rows.height, MOST_ROWS, replace=False))
        rows, truth = rows[drawn], truth[drawn]
    worse = -1 if metric in LOWER_IS_BETTER else 1
    base = evaluate.metric_or_none(problem, metric, evaluate.predict(model, rows, truth))
    if base is None:
        return []
    orders = [random.permutation(rows.height) for _ in range(REPEATS)]
    shuffled = [(name, rows.with_columns(rows[name][order])) for name in rows.columns for order in orders]
    drops: dict[str, list[float]] = {name: [] for name in rows.columns}
    together = max(1, AT_ONCE // rows.height)
    for begin in range(0, len(shuffled), together):
        batch = shuffled[begin : begin + together]
        made = evaluate.predict(model, pl.concat(frame for _, frame in batch), pl.concat([truth] * len(batch)))
        for number, (name, _) in enumerate(batch):
            here = slice(number * rows.height, (number + 1) * rows.height)
            probabilities = None if made.probabilities is None else made.probabilities[here]
            part = evaluate.Predictions(made.truth[here], made.predicted[here], made.classes, probabilities)
            drops[name].append(worse * (base - evaluate.metric(problem, metric, part)))
    found = [Importance(name, float(np.mean(values)), float(np.std(values))) for name, values in drops.items()]
    return sorted(found, key=lambda one: -one.mean)
