"""Drift: the rate of false alarms over many tables, and an alarm on each kind of shift."""

import numpy as np
import polars as pl

from penguin_model.report import drift
from penguin_model.steps import profile
from penguin_model.steps.evaluate import Predictions
from penguin_model.steps.profile import Holdout, Profile

SIZES = (50, 60, 100, 250, 1000, 5000)


def sample(random: np.random.Generator, rows: int, columns: int) -> pl.LazyFrame:
    """Return correlated numbers, skewed ones, ties, and categories of few, of many and of ever new values."""
    common = random.normal(size=rows)
    kinds = [
        lambda: random.normal(size=rows),
        lambda: common + 0.5 * random.normal(size=rows),
        lambda: np.exp(2 * random.normal(size=rows)),
        lambda: np.round(2 * random.normal(size=rows)),
        lambda: np.where(random.random(rows) < 0.7, 0, common),
        lambda: random.choice(list("abcde"), rows, p=[0.5, 0.3, 0.15, 0.04, 0.01]),
        lambda: random.integers(0, 50, rows).astype(str),
        lambda: random.zipf(1.5, rows).clip(0, 5000).astype(str),
        lambda: random.integers(0, 10**9, rows).astype(str),
        lambda: random.random(rows) < 0.1,
    ]
    table = pl.DataFrame({f"c{i}": kinds[i % len(kinds)]() for i in range(columns)})
    missing = (pl.lit(pl.Series(random.random(rows) < 0.02 * (i % 4))) for i in range(columns))
    return table.lazy().select(pl.when(~gap).then(f"c{i}") for i, gap in enumerate(missing))


def regression(random: np.random.Generator, rows: int, error: float = 1) -> Predictions:
    """Return predictions with errors of a heavy tail."""
    truth = random.normal(size=rows)
    return Predictions(truth, truth + error * random.standard_t(3, rows), None, None)


def of_holdout(problem, predictions: Predictions) -> Holdout:
    metrics = {"rmse": 1.0, "mae": 1.0, "r2": 0.5} if problem == "regression" else {"accuracy": 1.0, "log_loss": 0.1}
    return Holdout.of(problem, predictions, metrics, {})


def test_without_drift_at_most_one_in_a_hundred_alarms():
    random = np.random.default_rng(0)
    verdicts = []
    for number in range(40):
        columns = (3, 10, 3, 30, 10, 3, 10, 60)[number % 8]
        holdout = regression(random, int(random.choice([50, 100])))
        reference = Profile.of(sample(random, int(random.choice(SIZES)), columns), of_holdout("regression", holdout))
        for _ in range(5):
            judged = regression(random, int(random.choice([50, 100])))
            rows = sample(random, int(random.choice(SIZES)), columns)
            predictions = profile.outputs("regression", judged).lazy()
            result = drift.compare(rows, reference, version=1, predictions=predictions, judged=judged)
            verdicts.append(result.verdict)
    assert len(verdicts) == 200
    assert verdicts.count("drifted") <= 2
    assert verdicts.count("drifted") + verdicts.count("watch") <= 10
