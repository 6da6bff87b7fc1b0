"""Tell rows that are copies of one observation from rows that are equal by chance.

Copies must stay on one side of a split, or the model is evaluated on rows that it has seen. But in a table with few
different values equal rows are different observations: kept together, they would have the model evaluated on
combinations that it has never seen. The target plays no part, or a label would decide the side of its row.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple

import numpy as np
import polars as pl

# Equal rows are copies if there are so many times more of them than expected by chance.
FACTOR = 20
# A column with so many rows per different value holds categories; with fewer, or floats, measurements.
REPEATS = 5
# How many rows are used to estimate chance, and how many of their values in wide tables.
SAMPLE, SAMPLE_CELLS = 200_000, 40_000_000


class Part(NamedTuple):
    """A column, or several that map one-to-one: the hashes of their values in the equal rows and in the sample."""

    equal: np.ndarray
    sample: np.ndarray
    categories: np.ndarray | None


def group(rows: pl.LazyFrame, seen: Sequence[str]) -> np.ndarray:
    """Return the number of each row, from 0; copies, by the columns `seen`, share a number."""
    hashes = rows.select(fingerprint(seen)).collect(engine="streaming").to_series()
    number = np.arange(len(hashes), dtype=np.uint32)
    if hashes.n_unique() == len(hashes):
        return number
    equal = np.flatnonzero(hashes.is_duplicated().to_numpy())
    _, first, group_of, sizes = np.unique(
        hashes.to_numpy()[equal], return_index=True, return_inverse=True, return_counts=True
    )
    copied = ~_by_chance(rows, len(hashes), seen, equal[first], sizes)[group_of]
    number[equal[copied]] = equal[first[group_of[copied]]]
    firsts = np.cumsum(number == np.arange(len(number), dtype=np.uint32), dtype=np.uint32) - np.uint32(1)
    return firsts[number]


def fingerprint(columns: Iterable[str]) -> pl.Expr:
    """Return a hash of a row's values: 64 bits, however wide the table is."""
    return pl.sum_horizontal(pl.col(name).hash(seed) for seed, name in enumerate(columns))


def _by_chance(
    rows: pl.LazyFrame, height: int, seen: Sequence[str], first: np.ndarray, sizes: np.ndarray
) -> np.ndarray:
    """Tell for each group of equal rows, by its first row and its size, whether chance explains it.

    Two estimates of how many rows are equal to a row by chance: as if all columns were independent and, for columns
    that depend on each other, from the rows that differ from it in a single column.
    """
    parts = _parts(rows, height, seen, first)
    whole = np.sum([part.equal for part in parts], axis=0)
    sample = np.sum([part.sample for part in parts], axis=0)
    scale = height / len(sample)
    own = _count(whole, sample)
    independent = np.full(len(first), height - 1.0)
    dependent = np.zeros(len(first))
    for part in parts:
        agreeing = _count(part.equal, part.sample)
        # The values of a measurement hardly ever repeat: the copies themselves do not count.
        share = (agreeing - own if part.categories is None else np.maximum(agreeing, 1)) / len(sample)
        independent *= share
        neighbours = (_count(whole - part.equal, sample - part.sample) - own) * scale
        dependent = np.maximum(dependent, neighbours * share / np.maximum(1 - share, 1 / len(sample)))
    likely: np.ndarray = np.maximum(independent, dependent) * FACTOR >= sizes - 1
    return likely


def _parts(rows: pl.LazyFrame, height: int, seen: Sequence[str], first: np.ndarray) -> list[Part]:
    """Hash the columns in the given rows and in a sample; columns that map one-to-one are one part."""
    schema = rows.collect_schema()
    hashed = rows.select(pl.col(name).hash(seed) for seed, name in enumerate(seen))
    wanted = np.zeros(height, dtype=bool)
    wanted[first] = True
    equal = hashed.filter(pl.Series(wanted)).collect(engine="streaming")[np.argsort(np.argsort(first)).tolist()]
    every = -(-height // max(1, min(SAMPLE, SAMPLE_CELLS // len(seen))))
    sample = hashed.gather_every(every).collect(engine="streaming")
    parts: list[Part] = []
    same: dict[bytes, int] = {}
    for name in seen:
        part = Part(equal[name].to_numpy(), sample[name].to_numpy(), None)
        count = sample[name].n_unique()
        if schema[name].is_float() or count * REPEATS > sample.height:
            parts.append(part)
            continue
        # Numbered in the order of their first rows, values of columns that map one-to-one have the same numbers.
        _, first_rows, codes = np.unique(part.sample, return_index=True, return_inverse=True)
        categories = np.argsort(np.argsort(first_rows))[codes].astype(np.uint32)
        index = same.setdefault(sha256(categories.tobytes()).digest(), len(parts))
        if index == len(parts):
            parts.append(part._replace(categories=categories))
        else:
            parts[index] = Part(parts[index].equal + part.equal, parts[index].sample + part.sample, categories)
    return parts


def _count(wanted: np.ndarray, among: np.ndarray) -> np.ndarray:
    hashes, counts = np.unique(among, return_counts=True)
    place = np.minimum(np.searchsorted(hashes, wanted), len(hashes) - 1)
    return np.where(hashes[place] == wanted, counts[place], 0)
