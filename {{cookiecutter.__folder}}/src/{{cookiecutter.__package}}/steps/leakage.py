"""Find columns that give the target away: a code of it, its logarithm, the number that its classes were cut from.

Nothing is fitted but a sum. Chance is ruled out as in minimum description length: with the column, the target must be
shorter by CHANCE nats, after those that describe the finding.
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from ..config import Problem
from .sentences import few

# How many rows and values are looked at.
ROWS, VALUES = 20_000, 2_000_000
# Chance explains a finding in one of e^11 columns, about 60,000.
CHANCE = 11
# What may be left unexplained: a share of the errors of the most frequent class, or of the variance of the ranks.
ERRORS, VARIANCE = 0.005, 0.001
# The fewest rows that show a rank correlation, and the most categories that may be ranges of a number.
FEWEST, CATEGORIES = 20, 50
# The correlation of the steps of two numbers of which one is a function of the other.
ALIKE = 0.9
# Of a sum: the most columns, the share of the variance that rounding leaves, and the least weight of a part.
ADDENDS, ROUNDING, ADDS = 100, 1e-6, 1e-3
TIME = re.compile(r"(.*[\W_])?(year|jahr|month|week|day|date|datum|hour|time|datetime|timestamp|epoch)", re.IGNORECASE)


def notes(rows: pl.LazyFrame, columns: Sequence[str], target: str, problem: Problem) -> list[str]:
    """Return a sentence for each column that alone determines the target."""
    return [
        f"{finding}: if it is not known at prediction time, add it to data.drop in params.yaml."
        for finding in giveaways(rows, columns, target, problem).values()
    ]


def giveaways(rows: pl.LazyFrame, columns: Sequence[str], target: str, problem: Problem) -> dict[str, str]:
    """Return the columns that alone determine the target, each with how, or with the order that both follow."""
    times = [name for name, dtype in rows.collect_schema().items() if name != target and _is_time(name, dtype)]
    sample = _sample(rows.select(*dict.fromkeys([*columns, target, *times])).drop_nulls(target))
    order = None if problem == "classification" else _followed(sample, target, times)
    findings: dict[str, str] = {}
    for name, how in _determining(sample.select(*columns, target), target, problem):
        findings[name] = f"'{name}' alone determines '{target}' ({how})"
        if order and not _moves_alike(sample.select(name, target).drop_nulls()):
            claim = f"'{name}' follows {order}, as '{target}' does, and may determine '{target}' only for that reason"
            findings[name] = f"{claim} ({how})"
    if problem == "regression" and not findings and (parts := _parts(sample.select(*columns, target))):
        shown = few([f"'{name}'" for name in parts], 5)
        findings[parts[0]] = f"{shown} together determine '{target}' (by a sum)"
    return findings


@np.errstate(all="ignore")
def _parts(sample: pl.DataFrame) -> list[str]:
    """Return the numbers of which the target, the last column, is a weighted sum."""
    *names, target = sample.columns
    parts = [name for name in names if sample.schema[name].is_numeric()][:ADDENDS]
    for _ in ("all", "those that count"):
        values = sample.select(*parts, target).drop_nulls().cast(pl.Float64).to_numpy()
        # With hardly more rows than columns, chance explains a sum.
        if len(parts) < 2 or len(values) < 2 * len(parts) + FEWEST:  # noqa: PLR2004 - of a sum
            return []
        values = (values - values.mean(axis=0)) / values.std(axis=0)
        if not np.isfinite(values).all():
            return []
        weights, *_ = np.linalg.lstsq(values[:, :-1], values[:, -1])
        if np.square(values[:, :-1] @ weights - values[:, -1]).mean() > ROUNDING:
            return []
        parts = [name for name, weight in zip(parts, weights, strict=True) if abs(weight) > ADDS]
    return parts


def _determining(sample: pl.DataFrame, target: str, problem: Problem) -> Iterator[tuple[str, str]]:
    labels, different, columns = encode(sample[target]), sample.n_unique(), sample.columns[:-1]
    determines = _determines_class if problem == "classification" else _determines_number
    for name in columns:
        missing, dtype = sample[name].is_null(), sample.schema[name]
        if problem == "classification" and _determines_class(encode(missing), labels, different) == "one-to-one":
            yield name, "by whether it is missing"
            continue
        values, seen = encode(sample[name].filter(~missing)), labels[~missing.to_numpy()]
        if 2 * len(values) < len(labels) or len(np.unique(seen)) == 1:
            continue
        # Copies of a row are no evidence, unless few values are spread over many rows.
        evidence = len(values) if 2 * (values.max() + 1) <= different else min(different, len(values))
        # Many numbers grow with time.
        ordered = dtype.is_numeric() or dtype.is_temporal()
        ordered &= problem == "classification" or not _is_time(name, dtype)
        how = determines(values, seen, evidence, ordered=ordered)
        if not how and problem == "classification" and dtype == pl.String and labels.max() < CATEGORIES:
            how = _names(sample[name], sample[target])
        if how:
            yield name, f"{how}, where it is present" if missing.any() else how


def _names(texts: pl.Series, labels: pl.Series) -> str | None:
    """Tell whether the first label that is a word of a text is that of its row, in most texts."""
    words = [pl.escape_regex(word.lower()) for word in labels.cast(pl.String).unique()]
    found = texts.str.to_lowercase().str.extract(rf"\b({'|'.join(words)})\b")
    values, seen = encode(found.drop_nulls()), encode(labels.filter(found.is_not_null()))
    often = 2 * len(values) >= len(labels)
    return "it names it" if often and _determines_class(values, seen, len(values)) == "one-to-one" else None


def _determines_class(values: np.ndarray, labels: np.ndarray, evidence: int, *, ordered: bool = False) -> str | None:
    classes, distinct = len(np.unique(labels)), values.max() + 1
    majority, correct = _majority(values, labels)
    cost = distinct * np.log(classes)
    each_value = 2 * distinct <= len(values) and _explains(labels, correct.sum(), cost, evidence)
    if each_value and distinct == classes:
        return "one-to-one"
    if ordered:
        ranges, within = _ranges(majority, correct, labels)
        if ranges <= 2 * classes and _explains(labels, within, ranges * np.log(classes * distinct), evidence):
            return f"by {ranges - 1} threshold" + ("s" if ranges > 2 else "")  # noqa: PLR2004
    return "each value has one class" if each_value else None


def _determines_number(values: np.ndarray, labels: np.ndarray, evidence: int, *, ordered: bool = False) -> str | None:
    rows, distinct, rank = len(values), values.max() + 1, _ranks(labels)
    spread = ((rank - rank.mean()) ** 2).sum()
    if ordered and min(evidence, distinct) >= FEWEST:
        correlation = _correlation(values, rank)
        if correlation**2 >= 1 - VARIANCE:
            return f"rank correlation {correlation:.4g}"
    if 2 * distinct <= rows and evidence - distinct >= FEWEST:
        means = np.bincount(values, rank) / np.bincount(values)
        unexplained = ((rank - means[values]) ** 2).sum()
        if unexplained / (rows - distinct) <= VARIANCE * spread / (rows - 1):
            return "each value has one number"
    # Of two categories, such as two makes, each may well be a range.
    if 2 < distinct <= CATEGORIES:  # noqa: PLR2004
        majority, correct = _majority(labels, values)
        ranges, within = _ranges(majority, correct, values)
        cost = ranges * np.log(distinct * (labels.max() + 1))
        if ranges <= distinct and _explains(values, within, cost, evidence):
            return "each value is a range of it"
    return None


def _is_time(name: str, dtype: pl.DataType) -> bool:
    return dtype.is_temporal() or (dtype.is_numeric() and TIME.fullmatch(name) is not None)


@np.errstate(divide="ignore", invalid="ignore")
def _followed(sample: pl.DataFrame, target: str, times: Sequence[str]) -> str | None:
    """Return what the target rises or falls with: the order of the rows, or a column of times."""
    orders = {"the order of the rows": np.arange(sample.height)} | {f"'{name}'": encode(sample[name]) for name in times}
    rank = _ranks(encode(sample[target]))
    return next((name for name, order in orders.items() if _correlation(order, rank) ** 2 >= 1 - VARIANCE), None)


@np.errstate(divide="ignore", invalid="ignore")
def _moves_alike(pair: pl.DataFrame) -> bool:
    """Tell whether two numbers take larger steps in the same places: functions do, trends of their own do not.

    A step is the place of a value between its neighbours, from 0 to 1, in the order of the target.
    """
    if not all(dtype.is_numeric() for dtype in pair.dtypes):
        return False
    values = pair.cast(pl.Float64).to_numpy().T
    values = values[:, np.lexsort(values)]
    within, between = values[:, 1:-1] - values[:, :-2], values[:, 2:] - values[:, :-2]
    places = (within / between)[:, between.all(axis=0)]
    return bool(places.shape[1] > FEWEST // 2 and np.corrcoef(places)[0, 1] > ALIKE)


def _correlation(codes: np.ndarray, rank: np.ndarray) -> float:
    return float(np.corrcoef(_ranks(codes), rank)[0, 1])


def _explains(labels: np.ndarray, correct: float, cost: float, evidence: int) -> bool:
    """Tell whether so many correct labels of rows are nearly all, and more than chance explains."""
    shares = np.bincount(labels) / len(labels)
    shares = shares[shares > 0]
    wrong = len(labels) - correct <= ERRORS * len(labels) * (1 - shares.max())
    return bool(wrong and -evidence * (shares * np.log(shares)).sum() - cost > CHANCE)


def _majority(values: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the most frequent label of each value, in the order of values, and in how many rows it has that."""
    classes = labels.max() + 1
    pairs, counts = np.unique(values * classes + labels, return_counts=True)
    order = np.lexsort((counts, pairs // classes))
    pairs, counts = pairs[order], counts[order]
    last = np.diff(pairs // classes, append=-1) != 0
    return pairs[last] % classes, counts[last]


def _ranges(majority: np.ndarray, correct: np.ndarray, labels: np.ndarray) -> tuple[int, int]:
    """Count the ranges of values with one label, and the rows in them; a range with hardly a row is noise."""
    starts = np.flatnonzero(np.diff(majority, prepend=-1))
    rows, label = np.add.reduceat(correct, starts), majority[starts]
    kept = rows >= 2 * ERRORS * np.bincount(labels)[label]
    return int(np.count_nonzero(np.diff(label[kept], prepend=-1))), int(rows[kept].sum())


def _ranks(codes: np.ndarray) -> np.ndarray:
    """Return the rank of each row; equal values share the mean of their ranks."""
    counts = np.bincount(codes)
    ranks: np.ndarray = (np.cumsum(counts) - (counts - 1) / 2)[codes]
    return ranks


def _sample(rows: pl.LazyFrame) -> pl.DataFrame:
    height, wanted = height_of(rows), rows_wanted(rows)
    if height > wanted:
        rows = rows.filter(pl.Series(np.random.default_rng(0).random(height) < wanted / height))
    return rows.collect(engine="streaming")


def encode(values: pl.Series) -> np.ndarray:
    """Return the number of each value, from 0 in their order; a missing value comes first."""
    ranks = values.rank("dense").cast(pl.Int64).fill_null(0)
    return (ranks if values.null_count() else ranks - 1).to_numpy()


def height_of(rows: pl.LazyFrame) -> int:
    """Count the rows."""
    height: int = rows.select(pl.len()).collect(engine="streaming").item()
    return height


def rows_wanted(rows: pl.LazyFrame) -> int:
    """Return how many rows to look at: fewer, if they are wide."""
    return max(ROWS // 10, min(ROWS, VALUES // len(rows.collect_schema())))
