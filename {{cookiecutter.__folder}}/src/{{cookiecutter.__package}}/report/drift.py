"""Compare new rows, and what a model makes of them, with those that it was trained and evaluated on.

The verdict is
- "too few rows" if there are fewer than MIN_ROWS: nothing could be told from chance;
- "drifted" if a column of the model, or its predictions, moved: the population stability index (PSI) is above the
  threshold, and above what chance explains; or if a metric is worse than on the holdout by more than chance explains;
- "watch" if that is so with half the threshold and a looser limit of chance, or if rows break the contract;
- "fine" otherwise.
Of comparisons without drift at most 1 % say "drifted", and at most 5 % "watch" or "drifted", however many columns there
are; a test holds that. Rows that break the contract are a fact, not a guess: these rates do not cover them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, computed_field
from scipy.stats import chi2

from ..config import Contract
from ..errors import ProjectError, printable
from ..model import casting
from ..steps import evaluate, profile, validate
from ..steps.evaluate import LOWER_IS_BETTER, Outputs, Predictions
from ..steps.profile import Column, Holdout, Profile
from .intervals import Interval, intervals, resampled
from .page import number

MIN_ROWS = 50


class Level(NamedTuple):
    """What a verdict needs: a share of the threshold, and rates of Benjamini and Hochberg for columns and metrics."""

    threshold: float
    columns: float
    metrics: float


# The rate of the columns is lower than what the verdict promises: with few rows the index exceeds its limit up to five
# times as often as a chi-squared variable.
DRIFTED, WATCH = Level(1, 0.001, 0.005), Level(0.5, 0.008, 0.02)
# A bin has at least so many rows of the smaller sample, or it is joined with the next: of fewer, the index is not
# chi-squared.
BIN_ROWS = 20
# Where so large a share of the training rows has a value of its own, many unseen values are to be expected, but how
# many is only roughly known: the variance is up to three times that of a count.
OPEN_SHARE, OPEN_VARIANCE = 0.05, 3
# What an empty bin counts as: zero would make the index infinite.
EMPTY_BIN = 0.5
# What looks like zero: an edge may be the largest number below it.
TINY = 1e-300
# With more digits it would not look like that number.
MAX_DIGITS = 15
# How many unseen categories are named.
UNSEEN = 10
# Of more rows, so many are predicted.
PREDICTED_ROWS = 100_000
PERMUTATIONS, SEED = 1999, 0
CONFIDENCE = "confidence"
# How the names of a comparison's values begin: PSI of columns, PSI of predictions, metrics with labels.
PSI, PREDICTIONS, METRIC = "psi.", "psi_of_model.", "metric."

Verdict = Literal["fine", "watch", "drifted", "too few rows"]


class Result(BaseModel):
    """A part of the result, which does not change."""

    model_config = ConfigDict(frozen=True)


class Part(Result):
    """A column or metric with its own verdict."""

    verdict: Verdict = "fine"

    @computed_field  # type: ignore[prop-decorator]
    @property
    def drifted(self) -> bool:
        """Whether it makes the verdict of the comparison "drifted"."""
        return self.verdict == "drifted"


class ColumnDrift(Part):
    """How far a column moved: its population stability index (PSI), and the limit that it exceeds if it drifted.

    `limit` is the larger of the threshold and of what chance explains; `p_value` is the probability of such an index by
    chance. `reference` and `current` are the shares of rows in each of `bins`, the first of which has missing values;
    bins with few rows are joined before the index is computed. Means are those of numbers. `unseen` are values of a
    category that no training row has, the most frequent first.
    """

    column: str
    kind: Literal["number", "category"]
    psi: float
    limit: float
    p_value: float
    missing_before: float
    missing_now: float
    mean_before: float | None
    mean_now: float | None
    unseen: dict[str, int]
    bins: list[str]
    reference: list[float]
    current: list[float]


class MetricChange(Part):
    """A metric on the holdout and on the current rows, each with a 95 % confidence interval if there is one.

    `p_value` is the probability that chance makes it so much worse, None if the metric is undefined.
    """

    metric: str
    holdout: float
    holdout_interval: Interval | None
    current: float
    current_interval: Interval | None
    p_value: float | None


class Drift(Result):
    """The result of a comparison; `columns` come sorted by how far they moved beyond their limit.

    `predictions` has the drift of the `prediction` and, of classifiers, of their `confidence`: the probability of the
    class that is predicted. `metrics` are those of the rows with a label. `violations` has how many rows break which
    rule of the contract. `reasons` say what led to the verdict, and `notes` what could not be compared.
    """

    version: int
    rows: int
    columns: list[ColumnDrift]
    predictions: list[ColumnDrift] = []
    violations: dict[str, int] = {}
    metrics: list[MetricChange] = []
    verdict: Verdict
    reasons: list[str]
    notes: list[str] = []

    @property
    def drifted(self) -> dict[str, float]:
        """What has drifted, with its index: columns, and the model's predictions."""
        return {each.column: each.psi for each in [*self.columns, *self.predictions] if each.drifted}

    @property
    def values(self) -> dict[str, float]:
        """The index of each column and of the predictions, and each metric: what is followed over time."""
        values = {f"{PSI}{each.column}": each.psi for each in self.columns}
        values |= {f"{PREDICTIONS}{each.column}": each.psi for each in self.predictions}
        return values | {f"{METRIC}{each.metric}": each.current for each in self.metrics}


def compare_table(  # noqa: PLR0913 - options
    table: pl.LazyFrame,
    predictor: Any,
    reference: Profile,
    *,
    version: int,
    threshold: float = 0.2,
    labelled: bool = False,
    recorded: Callable[[pl.DataFrame], Outputs] | None = None,
) -> Drift:
    """Compare raw rows with the profile of a version, and judge its predictions if the rows have the target.

    `predictor` offers what `packaging` documents. Rows count as in training: not if everything is missing and, where
    all are `labelled`, not without the target. A value of another type than the contract's counts as missing. As in
    scoring, rows that break the contract are not predicted. `recorded` returns the predictions that the rows carry.
    """
    recipe, schema = predictor.recipe, table.collect_schema()
    target = recipe.data.target
    if labelled and target not in schema:
        raise ProjectError(f"The rows lack the target, column '{target}'; they have {', '.join(schema)}.")
    contract = Contract.model_validate(recipe.contract.model_dump())
    used = [*recipe.inputs.columns, *([target] if target in schema else [])]
    contract = Contract(columns={name: contract.columns[name] for name in used})
    present = Contract(columns={name: column for name, column in contract.columns.items() if name in schema})
    values = {name: casting.cast(name, schema[name], column).value for name, column in present.columns.items()}

    def conform(rows: pl.LazyFrame) -> pl.LazyFrame:
        return casting.conform(rows.with_columns(values.values()), contract)

    if values:
        table = table.filter(pl.any_horizontal(value.is_not_null() for value in values.values()))
    table = table.filter(values[target].is_not_null()) if labelled else table
    rows = recipe.build_features(conform(table)).select(recipe.columns)
    _, broken = validate.violations(table, present)
    refused = [rule.broken for rule, _ in broken if rule.column != target]
    accepted = table.filter(~pl.any_horizontal(refused)) if refused else table
    some = accepted.gather_every(-(-_height(accepted) // PREDICTED_ROWS) or 1)
    raw = some.collect(engine="streaming")
    predictions, judged = _predict(predictor, conform(raw.lazy()).collect(), recorded and recorded(raw))
    return compare(
        rows,
        reference,
        version=version,
        threshold=threshold,
        predictions=predictions,
        judged=judged,
        violations={str(rule): count for rule, count in broken},
    )


def compare(  # noqa: PLR0913 - options
    rows: pl.LazyFrame,
    reference: Profile,
    *,
    version: int,
    threshold: float = 0.2,
    predictions: pl.LazyFrame | None = None,
    judged: Predictions | None = None,
    violations: Mapping[str, int] | None = None,
) -> Drift:
    """Compare rows, with the columns of the model, with the profile of a version.

    `predictions` has the columns of `profile.outputs`; `judged` are predictions of rows of which the target is known.
    """
    height, holdout = _height(rows), reference.holdout
    columns, outputs, notes = _moves(rows, reference.columns), [], []
    if holdout is None:
        notes = [f"Version {version} has no profile of its predictions: neither they nor metrics are compared."]
    elif predictions is None or min(holdout.rows, _height(predictions)) < MIN_ROWS:
        notes = [f"Predictions are not compared: now or in the holdout there are fewer than {MIN_ROWS}."]
    else:
        outputs = [_unless_surer(move) for move in _moves(predictions, holdout.columns)]
    metrics = _changes(holdout, judged) if holdout and judged else []
    sizes = {"There are": height, "The model was trained on": reference.rows}
    few = [
        f"{text} only {size} rows; drift takes {MIN_ROWS} to see." for text, size in sizes.items() if size < MIN_ROWS
    ]

    p_values = (
        [move.drift.p_value for move in [*columns, *outputs]],
        [each.p_value for each in metrics if each.p_value is not None],
    )
    cutoffs = {level: [*map(_cutoff, p_values, [level.columns, level.metrics])] for level in (DRIFTED, WATCH)}

    def limit(move: _Move, level: Level) -> float:
        chance = float(chi2.isf(cutoffs[level][0], move.freedom)) * move.scale
        return max(level.threshold * threshold, chance)

    def verdict(is_beyond: Callable[[Level], bool]) -> Verdict:
        return "too few rows" if few else "drifted" if is_beyond(DRIFTED) else "watch" if is_beyond(WATCH) else "fine"

    def judged_move(move: _Move) -> ColumnDrift:
        far = verdict(lambda level: move.drift.p_value < 1 and move.drift.psi > limit(move, level))
        return move.drift.model_copy(update={"limit": limit(move, DRIFTED), "verdict": far})

    def judged_change(change: MetricChange) -> MetricChange:
        worse = verdict(lambda level: change.p_value is not None and change.p_value <= cutoffs[level][1])
        return change.model_copy(update={"verdict": worse})

    column_drifts, output_drifts = (_sorted(map(judged_move, part)) for part in (columns, outputs))
    metrics = [judged_change(change) for change in metrics]
    sentences = [(drift.verdict, _moved(drift)) for drift in _sorted([*column_drifts, *output_drifts])]
    sentences += [(change.verdict, _declined(change)) for change in metrics]
    sentences += [
        ("watch", f"{printable(rule[0].upper() + rule[1:])} in {count} row(s).")
        for rule, count in (violations or {}).items()
    ]
    alarms, signs = ([text for level, text in sentences if level == each] for each in ("drifted", "watch"))
    return Drift(
        version=version,
        rows=height,
        columns=column_drifts,
        predictions=output_drifts,
        violations=dict(violations or {}),
        metrics=metrics,
        verdict="too few rows" if few else "drifted" if alarms else "watch" if signs else "fine",
        reasons=[*few, *alarms, *signs],
        notes=notes,
    )


class _Move(NamedTuple):
    """How a column moved, before it is judged, and what the limit of chance depends on."""

    drift: ColumnDrift
    freedom: int
    scale: float


def _moves(rows: pl.LazyFrame, columns: Mapping[str, Column]) -> list[_Move]:
    moves = []
    for name, now in profile.count(rows, columns).items():
        before, unseen = columns[name], {}
        known = before.levels if before.known is None else before.known
        # Profiles of earlier versions have only the most frequent values, and the count of all others.
        if known is not None and now.counts[-1] and (before.known is not None or not before.counts[-1]):
            unseen = profile.unseen(rows, name, known, UNSEEN)
        psi, freedom, scale = _index(before, now)
        reference, current = ([count / max(sum(part.counts), 1) for count in part.counts] for part in (before, now))
        drift = ColumnDrift(
            column=name,
            kind=before.kind,
            psi=psi,
            limit=0,
            p_value=float(chi2.sf(psi / scale, freedom)),
            missing_before=reference[0],
            missing_now=current[0],
            mean_before=before.mean,
            mean_now=now.mean,
            unseen=unseen,
            bins=_labels(before),
            reference=reference,
            current=current,
        )
        moves.append(_Move(drift, freedom, scale))
    return moves


def _unless_surer(move: _Move) -> _Move:
    """Let a model become more confident, as it is of rows that it has learned from."""
    drift = move.drift
    if drift.column == CONFIDENCE and (drift.mean_now or 0) >= (drift.mean_before or 0):
        return move._replace(drift=drift.model_copy(update={"p_value": 1.0}))
    return move


def _index(before: Column, now: Column) -> tuple[float, int, float]:
    """Return the population stability index, and the degrees of freedom and scale of its chance distribution.

    Of two samples of one distribution it is chi-squared, scaled by their sizes (Yurdakul, 2018).
    """
    counts = np.array([before.counts, now.counts], float).T
    sizes = np.maximum(counts.sum(axis=0), EMPTY_BIN)
    last = len(counts) - (1 if before.others else 0)
    joined = [*counts[:1], *_join(counts[1:last], sizes), *counts[last:]]
    variance = OPEN_VARIANCE if before.known is not None and before.counts[-1] > OPEN_SHARE * sizes[0] else 1
    used = np.array([bin_ for bin_ in joined if bin_.sum()] or [[1, 1]])
    shares = np.maximum(used, EMPTY_BIN)
    old, new = (shares / shares.sum(axis=0)).T
    return float(((new - old) * np.log(new / old)).sum()), max(len(used) - 1, 1), variance * float((1 / sizes).sum())


def _join(counts: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
    """Join neighbouring bins until each has enough rows of both samples together, or of the smaller one alone."""
    joined: list[np.ndarray] = []
    least = BIN_ROWS * sizes.sum() / sizes.min()

    def lacks(bin_: np.ndarray, least: float) -> bool:
        return bool(bin_.sum() < least and bin_[sizes.argmin()] < BIN_ROWS)

    for bin_ in counts:
        if joined and lacks(joined[-1], least):
            joined[-1] = joined[-1] + bin_
        else:
            joined.append(bin_)
    # A single bin would never move: of the last two, a smaller one is enough.
    if joined[1:] and lacks(joined[-1], least if joined[2:] else least / 4):
        joined[-2:] = [joined[-2] + joined[-1]]
    return joined


def _cutoff(p_values: Sequence[float], rate: float) -> float:
    """Return the largest p-value that is significant by Benjamini and Hochberg, which allows for many columns."""
    ordered = np.sort(p_values)
    limits = rate * np.arange(1, len(ordered) + 1) / max(len(ordered), 1)
    significant = np.flatnonzero(ordered <= limits)
    return float(limits[significant[-1]] if significant.size else rate / max(len(ordered), 1))


def _sorted(drifts: Iterable[ColumnDrift]) -> list[ColumnDrift]:
    return sorted(drifts, key=lambda drift: -drift.psi / drift.limit)


def _labels(column: Column) -> list[str]:
    last = ["unseen values" if column.known is not None else "other values"] if column.others else []
    if column.edges is None:
        return ["missing", *(column.levels or []), *last]
    if not column.edges:
        return ["missing", "present", *last]
    edges = _texts(column.edges)
    # A value that many rows share is between two edges that look the same.
    first = "below" if edges[:1] == edges[1:2] else "up to"
    between = [low if low == high else f"{low} to {high}" for low, high in pairwise(edges)]
    return ["missing", f"{first} {edges[0]}", *between, f"above {edges[-1]}", *last]


def _texts(edges: Sequence[float] | Sequence[str]) -> list[str]:
    """Return numbers with at least 6 digits, and as many as tell them apart; texts stay."""
    shown = [0 if isinstance(edge, float) and abs(edge) < TINY else edge for edge in edges]
    if any(isinstance(edge, str) for edge in shown):
        return list(map(str, shown))
    texts = [[f"{edge:.{digits}g}" for edge in shown] for digits in range(6, MAX_DIGITS + 1)]
    return next(each for each in texts if len({*each}) == len({*texts[-1]}))


def _moved(drift: ColumnDrift) -> str:
    """Say how far a column moved, and what changed."""
    changes = [f"PSI {drift.psi:.2f}"]
    if drift.mean_before is not None and drift.mean_now is not None:
        changes.append(f"mean {number(drift.mean_before)}, now {number(drift.mean_now)}")
    if abs(drift.missing_now - drift.missing_before) > 0.01:  # noqa: PLR2004 - less is not worth a word
        changes.append(f"missing {drift.missing_before:.1%}, now {drift.missing_now:.1%}")
    if drift.unseen:
        changes.append("unseen: " + ", ".join(f"{value!r} ({rows} rows)" for value, rows in drift.unseen.items()))
    verb = "drifted" if drift.drifted else "moved"
    return printable(f"'{drift.column}' {verb}: {'; '.join(changes)}.")


def _declined(change: MetricChange) -> str:
    verb = "is" if change.drifted else "may be"
    return f"{change.metric} {verb} worse: {change.holdout:.4g} on the holdout, now {change.current:.4g}."


def _predict(
    predictor: Any, rows: pl.DataFrame, outputs: Outputs | None
) -> tuple[pl.LazyFrame | None, Predictions | None]:
    """Predict conformed rows, unless they are; return what is compared, and the predictions of rows with a target."""
    if rows.is_empty():
        return None, None
    recipe = predictor.recipe
    if outputs is None:
        columns = recipe.build_features(rows.lazy()).select(recipe.columns).collect()
        outputs = evaluate.outputs(predictor.pipeline, columns)
    predictions = profile.outputs(recipe.data.problem, outputs).lazy()
    if recipe.data.target not in rows.columns:
        return predictions, None
    truth, (predicted, classes, probabilities) = rows[recipe.data.target], outputs
    known = truth.is_not_null().to_numpy()
    probabilities = None if probabilities is None else probabilities[known]
    return predictions, Predictions(truth.drop_nulls().to_numpy(), predicted[known], classes, probabilities)


def _changes(holdout: Holdout, judged: Predictions) -> list[MetricChange]:
    """Compare the metrics of rows with a target with those of the holdout."""
    if not len(judged.truth):
        return []
    metrics = evaluate.metrics(holdout.problem, judged)
    found = intervals(holdout.problem, judged, metrics, SEED)
    enough = min(len(holdout.truth), len(judged.truth)) >= MIN_ROWS
    chances = _chances_of_worse(holdout, judged) if enough else {}
    return [
        MetricChange(
            metric=name,
            holdout=value,
            holdout_interval=Interval(*holdout.intervals[name]) if name in holdout.intervals else None,
            current=metrics[name],
            current_interval=found.get(name),
            p_value=chances.get(name),
        )
        for name, value in holdout.metrics.items()
        if name in metrics
    ]


def _chances_of_worse(holdout: Holdout, judged: Predictions) -> dict[str, float]:
    """Return the probability of each metric that chance makes it so much worse, by permutation of all rows.

    Intervals would not do: of a holdout without a single error, for one, that of the accuracy has no width.
    """
    old, new = holdout.predictions, judged.take(slice(None, None, -(-len(judged.truth) // profile.HOLDOUT_ROWS)))
    probabilities = None
    if old.probabilities is not None and new.probabilities is not None:
        probabilities = np.concatenate([old.probabilities, new.probabilities])
    truth, predicted = np.concatenate([old.truth, new.truth]), np.concatenate([old.predicted, new.predicted])
    pooled = Predictions(truth, predicted, judged.classes, probabilities)
    is_new = np.arange(len(truth)) >= len(old.truth)
    shuffled = np.random.default_rng(SEED).permuted(np.tile(is_new, (PERMUTATIONS, 1)), axis=1)
    weights = np.vstack([is_new, shuffled]).astype(float)
    before, now = (resampled(holdout.problem, pooled, part) for part in (1 - weights, weights))
    chances = {}
    for name in before:
        # The area under the curve is left out where a permutation lacks a class.
        if len(before[name]) == len(now[name]) == len(weights) and np.isfinite(before[name][0] - now[name][0]):
            loss = (now[name] - before[name]) * (1 if name in LOWER_IS_BETTER else -1)
            chances[name] = float(np.mean(~(loss < loss[0] - 1e-12)))
    return chances


def _height(rows: pl.LazyFrame) -> int:
    return int(rows.select(pl.len()).collect(engine="streaming").item())
