"""Search: draw candidates, score each on folds, and choose the best."""

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


class Candidate(NamedTuple):
    """Parameters, and their score per fold, or why they failed."""

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
        """How much the scores differ between folds."""
        return float(np.std(self.scores))

    def __str__(self) -> str:
        return self.failure or f"{self.mean:.4g} ± {self.std:.2g}"


def draw_candidates(search: Search, seed: int) -> list[dict[str, Any]]:
    """Draw different candidates: all combinations of lists if they are few enough, else at random."""
    lists = {name: values for name, values in search.params.items() if isinstance(values, list)}
    if len(lists) == len(search.params) and len(grid := ParameterGrid(lists)) <= search.candidates:
        return list(grid)
    values = {
        name: _Sampler(value) if isinstance(value, Distribution) else value for name, value in search.params.items()
    }
    sampled = ParameterSampler(values, search.candidates, random_state=seed)
    return list({repr(candidate): candidate for candidate in sampled}.values())


class _Sampler:
    """A distribution for scikit-learn to draw from; values are Python's own numbers, for JSON."""

    def __init__(self, values: Distribution) -> None:
        self.whole = isinstance(values.low, int) and isinstance(values.high, int)
        self.low, self.high = values.low, values.high
        low, high = values.low, values.high + self.whole
        if values.log:
            self.distribution = loguniform(low, high)
        else:
            self.distribution = randint(low, high) if self.whole else uniform(low, high - low)

    def rvs(self, random_state: np.random.RandomState) -> float:
        """Draw one value."""
        value = self.distribution.rvs(random_state=random_state)
        # Four digits are precise enough, and easy to read.
        return int(value) if self.whole else min(max(float(f"{value:.4g}"), self.low), self.high)


def score(
    pipeline: Pipeline,
    rows: pl.DataFrame,
    target: pl.Series,
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    judge: Callable[[evaluate.Predictions], float],
) -> list[float]:
    """Fit the pipeline on the rows of each fold, and score it on the others."""
    scores = []
    for training, validation in folds:
        fitted = train.fit(clone(pipeline), rows[training], target[training])
        scores.append(judge(evaluate.predict(fitted, rows[validation], target[validation])))
    return scores


def best(candidates: Sequence[Candidate], metric: str) -> Candidate:
    """Return the candidate with the best mean, the first of equals; raise ProjectError if all failed."""
    scored = [candidate for candidate in candidates if not candidate.failure]
    if not scored:
        raise ProjectError(f"All {len(candidates)} candidates of the search failed; the first: {candidates[0].failure}")
    return max(scored, key=lambda candidate: evaluate.gain(metric, candidate.mean, 0))


def outcome(candidates: Sequence[Candidate]) -> dict[str, float]:
    """Return the metrics of a search; none if nothing was searched."""
    if not candidates:
        return {}
    failed = sum(candidate.failure is not None for candidate in candidates)
    metrics = {"search.candidates": float(len(candidates)), "search.failed": float(failed)}
    for candidate in candidates:
        if candidate.chosen:
            metrics |= {"search.score": candidate.mean, "search.std": candidate.std}
    return metrics


def check_names(pipeline: Pipeline, search: Search) -> None:
    """Raise ProjectError for a parameter that the pipeline does not have, or that occurs twice."""
    full = [train.full_name(pipeline, name, "search.params") for name in search.params]
    if twice := [name for name, path in zip(search.params, full, strict=True) if full.count(path) > 1]:
        raise ProjectError(f"params.yaml: search.params names one parameter twice: {', '.join(twice)}.")
