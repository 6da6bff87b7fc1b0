"""The candidates of a search, and the score of one."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from scipy.stats import loguniform, randint, uniform
from sklearn.base import clone
from sklearn.model_selection import ParameterGrid, ParameterSampler
from sklearn.pipeline import Pipeline

from ..config import Distribution, Search
from ..errors import ProjectError
from . import evaluate, train
from .evaluate import LOWER_IS_BETTER


class Candidate(NamedTuple):
    """A candidate and what became of it: a score per fold, or the reason of its failure."""

    params: dict[str, Any]
    scores: list[float]
    failure: str | None = None
    chosen: bool = False

    @property
    def mean(self) -> float:
        """The score by which candidates are compared."""
        return float(np.mean(self.scores))

    @property
    def std(self) -> float:
        """How much the folds differ."""
        return float(np.std(self.scores))

    def __str__(self) -> str:
        """Say it in a log."""
        return self.failure or f"{self.mean:.4g} ± {self.std:.2g}"


def draw_candidates(search: Search, seed: int) -> list[dict[str, Any]]:
    """Draw the candidates, each other than the rest: all that lists combine to if they are few, else at random."""
    lists = {name: values for name, values in search.params.items() if isinstance(values, list)}
    if len(lists) == len(search.params) and len(grid := ParameterGrid(lists)) <= search.candidates:
        return list(grid)
    drawn = {
        name: _Drawn(values) if isinstance(values, Distribution) else values for name, values in search.params.items()
    }
    found = ParameterSampler(drawn, search.candidates, random_state=seed)
    return list({repr(candidate): candidate for candidate in found}.values())


class _Drawn:
    """A distribution as scikit-learn asks it for values; they are Python's, for JSON."""

    def __init__(self, values: Distribution) -> None:
        self.whole = isinstance(values.low, int) and isinstance(values.high, int)
        self.low, self.high = values.low, values.high
        low, high = values.low, values.high + self.whole
        if values.log:
            self.drawn = loguniform(low, high)
        else:
            self.drawn = randint(low, high) if self.whole else uniform(low, high - low)

    def rvs(self, random_state: np.random.RandomState) -> float:
        """Draw one value."""
        value = self.drawn.rvs(random_state=random_state)
        # Four digits say enough, and can be read.
        return int(value) if self.whole else min(max(float(f"{value:.4g}"), self.low), self.high)


def score(
    pipeline: Pipeline,
    rows: pl.DataFrame,
    target: pl.Series,
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    judge: Callable[[evaluate.Predictions], float],
) -> list[float]:
    """Fit the unfitted pipeline on each fold's rows, and judge it on those left out."""
    scores = []
    for training, validation in folds:
        fitted = train.fit(clone(pipeline), rows[training], target[training])
        scores.append(judge(evaluate.predict(fitted, rows[validation], target[validation])))
    return scores


def best(candidates: Sequence[Candidate], metric: str) -> Candidate:
    """Return the candidate with the best mean, the first of equals; raise ProjectError if all failed."""
    sign = 1 if metric in LOWER_IS_BETTER else -1
    scored = [candidate for candidate in candidates if not candidate.failure]
    if not scored:
        raise ProjectError(f"All {len(candidates)} candidates of the search failed; the first: {candidates[0].failure}")
    return min(scored, key=lambda candidate: sign * candidate.mean)


def outcome(candidates: Sequence[Candidate]) -> dict[str, float]:
    """Sum a search up in metrics; none if nothing was searched."""
    sums = {
        f"search.{name}": value
        for candidate in candidates
        if candidate.chosen
        for name, value in (("score", candidate.mean), ("std", candidate.std))
    }
    failed = sum(candidate.failure is not None for candidate in candidates)
    return sums | {"search.candidates": len(candidates), "search.failed": failed} if candidates else {}


def check_names(pipeline: Pipeline, search: Search) -> None:
    """Raise ProjectError for a parameter that the pipeline does not have, or that is named twice."""
    full = [train.full_name(pipeline, name, "search.params") for name in search.params]
    if twice := [name for name, path in zip(search.params, full, strict=True) if full.count(path) > 1]:
        raise ProjectError(f"params.yaml: search.params names one parameter twice: {', '.join(twice)}.")
