"""How much each column matters: how much worse the model gets when the column is shuffled."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from skrub import TableVectorizer

from ..config import Params
from ..steps import evaluate

SHUFFLES, MAX_ROWS, MIN_ROWS, ROWS_AT_ONCE = 5, 1000, 100, 100_000
# The work is bounded: one row costs a cell per column and, as many models have trees per class, so many per class.
# What is predicted at once stays small enough for its memory to be used again.
MAX_CELLS, CELLS_AT_ONCE, CELLS_PER_CLASS = 600_000_000, 3_000_000, 20
# How many columns are shuffled one by one where all would be too many.
CHOSEN = 30


class Importance(NamedTuple):
    """How much worse the metric gets without a column: mean and standard deviation over the shuffles."""

    column: str
    mean: float
    std: float


class Importances(NamedTuple):
    """The importance of each column, the greatest first, and a sentence about what was sampled."""

    columns: list[Importance]
    note: str


# Returns how much worse the metric gets when the columns of a group are shuffled together, per group and shuffle.
Measure = Callable[[Sequence[Sequence[str]], int], list[list[float]]]


def importance(model: BaseEstimator, rows: pl.DataFrame, truth: pl.Series, params: Params) -> Importances:
    """Return the importance of each column by the gate's metric; none if the metric is undefined.

    Unlike scikit-learn's, it takes Polars frames and predicts many shuffled copies at once, which is much faster.
    Of wide tables only some columns are shuffled one by one, and all others together.
    """
    width, available = rows.width, rows.height
    cells = width + CELLS_PER_CLASS * len(getattr(model, "classes_", ()))
    copies, choose = SHUFFLES * width, False
    if copies * cells * min(available, MAX_ROWS) > MAX_CELLS and width > 2 * CHOSEN:
        rounds = 1 + math.ceil(math.log2(math.ceil(width / (2 * CHOSEN))))
        copies, choose = 2 * CHOSEN * rounds + SHUFFLES * (CHOSEN + 1), True
    random = np.random.default_rng(params.split.seed)
    most = min(MAX_ROWS, max(MIN_ROWS, MAX_CELLS // (copies * cells)))
    if available > most:
        sample = np.sort(random.choice(available, most, replace=False))
        rows, truth = rows[sample], truth[sample]
    orders = [random.permutation(rows.height) for _ in range(SHUFFLES)]
    measure = _measure(model, rows, truth, params, orders, CELLS_AT_ONCE // cells)
    if measure is None:
        return Importances([], "")
    note = f"Each column is shuffled {SHUFFLES} times, in {rows.height:,} of the {available:,} rows of the holdout."
    if not choose:
        return Importances(_summarised(rows.columns, measure([[name] for name in rows.columns], SHUFFLES)), note)
    chosen = choose_columns(rows.columns, measure)
    others = [name for name in rows.columns if name not in set(chosen)]
    *single, together = measure([*([name] for name in chosen), others], SHUFFLES)
    note += (
        f" Of {width:,} columns, {len(chosen)} were chosen: groups of columns were shuffled together, and the "
        "groups that matter most were halved until they were single columns. The last line is for all others together."
    )
    rest = _summarised([f"the other {len(others):,} columns together"], [together])
    return Importances(_summarised(chosen, single) + rest, note)


def choose_columns(columns: Sequence[str], measure: Measure) -> list[str]:
    """Return the CHOSEN columns that seem to matter most.

    Groups of columns are shuffled together, the better half of the groups is halved, and so on. A column that matters
    makes its group matter, so this takes as many shuffles as the logarithm of the number of columns.
    """
    groups = [columns[start :: 2 * CHOSEN] for start in range(2 * CHOSEN)]
    while True:
        drops = [drop for [drop] in measure(groups, 1)]
        best = [groups[number] for number in np.argsort(np.negative(drops), kind="stable")[:CHOSEN]]
        if all(len(group) == 1 for group in best):
            return [name for [name] in best]
        halves = [half for group in best for half in (group[::2], group[1::2])]
        groups = [half for half in halves if half]


def _measure(  # noqa: PLR0913, PLR0917 - what it closes over
    model: BaseEstimator,
    rows: pl.DataFrame,
    truth: pl.Series,
    params: Params,
    orders: Sequence[np.ndarray],
    rows_at_once: int,
) -> Measure | None:
    """Return the function that measures groups of columns; None if the metric is undefined."""
    problem, metric = params.data.problem, params.gate.metric
    parts = {name: [name] for name in rows.columns}
    # skrub makes its columns of each column by itself: it is enough to do that once, and to shuffle what it made.
    if isinstance(model, Pipeline) and isinstance(model[0], TableVectorizer):
        rows, made = model[0].transform(rows), model[0].input_to_outputs_
        kept = set(rows.columns)  # a column that skrub drops is still listed
        parts = {name: [part for part in made[name] if part in kept] for name in parts}
        model = model[1:] if len(model) > 2 else model[1]  # noqa: PLR2004 - an empty pipeline transforms nothing
    base = evaluate.metric_or_none(problem, metric, evaluate.predict(model, rows, truth))
    if base is None:
        return None
    size = max(1, min(ROWS_AT_ONCE, rows_at_once) // rows.height)

    def measure(groups: Sequence[Sequence[str]], shuffles: int) -> list[list[float]]:
        drops = []
        shuffled = [(group, order) for group in groups for order in orders[:shuffles]]
        for begin in range(0, len(shuffled), size):
            batch = shuffled[begin : begin + size]
            copies = pl.concat(
                rows.with_columns(pl.col([part for name in group for part in parts[name]]).gather(order))
                for group, order in batch
            )
            predictions = evaluate.predict(model, copies, pl.concat([truth] * len(batch)))
            for number in range(len(batch)):
                part = predictions.take(slice(number * rows.height, (number + 1) * rows.height))
                drops.append(evaluate.gain(metric, base, evaluate.metric(problem, metric, part)))
        return [drops[begin : begin + shuffles] for begin in range(0, len(drops), shuffles)]

    return measure


def _summarised(names: Sequence[str], drops: Sequence[Sequence[float]]) -> list[Importance]:
    found = [
        Importance(name, float(np.mean(part)), float(np.std(part))) for name, part in zip(names, drops, strict=True)
    ]
    return sorted(found, key=lambda importance: -importance.mean)
