"""How much each column matters: how much worse the model gets when the column is shuffled."""

from typing import NamedTuple

import numpy as np
import polars as pl
from sklearn.base import BaseEstimator

from ..config import Params
from ..steps import evaluate
from ..steps.evaluate import LOWER_IS_BETTER

SHUFFLES, MAX_ROWS, ROWS_AT_ONCE = 5, 1000, 100_000


class Importance(NamedTuple):
    """How much worse the metric gets without a column: mean and standard deviation over the shuffles."""

    column: str
    mean: float
    std: float


def importance(model: BaseEstimator, rows: pl.DataFrame, truth: pl.Series, params: Params) -> list[Importance]:
    """Return the importance of each column by the gate's metric, the greatest first; none if the metric is undefined.

    Unlike scikit-learn's, it takes Polars frames and predicts many shuffled copies at once, which is much faster.
    """
    problem, metric, seed = params.data.problem, params.gate.metric, params.split.seed
    random = np.random.default_rng(seed)
    if rows.height > MAX_ROWS:
        sample = np.sort(random.choice(rows.height, MAX_ROWS, replace=False))
        rows, truth = rows[sample], truth[sample]
    base = evaluate.metric_or_none(problem, metric, evaluate.predict(model, rows, truth))
    if base is None:
        return []
    sign = -1 if metric in LOWER_IS_BETTER else 1
    orders = [random.permutation(rows.height) for _ in range(SHUFFLES)]
    shuffled = [(name, rows.with_columns(rows[name][order])) for name in rows.columns for order in orders]
    drops: dict[str, list[float]] = {name: [] for name in rows.columns}
    size = max(1, ROWS_AT_ONCE // rows.height)
    for begin in range(0, len(shuffled), size):
        batch = shuffled[begin : begin + size]
        shuffled_rows, same_truth = pl.concat(copy for _, copy in batch), pl.concat([truth] * len(batch))
        actual, predicted, classes, probabilities = evaluate.predict(model, shuffled_rows, same_truth)
        for number, (name, _) in enumerate(batch):
            here = slice(number * rows.height, (number + 1) * rows.height)
            given = None if probabilities is None else probabilities[here]
            part = evaluate.Predictions(actual[here], predicted[here], classes, given)
            drops[name].append(sign * (base - evaluate.metric(problem, metric, part)))
    importances = [Importance(name, float(np.mean(values)), float(np.std(values))) for name, values in drops.items()]
    return sorted(importances, key=lambda importance: -importance.mean)
