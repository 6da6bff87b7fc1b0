"""Build the pipeline and fit it."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import polars as pl
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.pipeline import Pipeline
from skrub import tabular_pipeline
from threadpoolctl import threadpool_limits

from ..config import Problem
from ..errors import ProjectError

# Up to so many rows one thread of OpenMP is faster than several.
SINGLE_THREAD_ROWS = 10_000


def build_pipeline(problem: Problem, estimator: str, params: Mapping[str, Any], seed: int | None = None) -> Pipeline:
    """Return an unfitted pipeline around the estimator that handles categories, dates and missing values.

    Parameters are the estimator's or, with a dot or two underscores (`tablevectorizer.cardinality_threshold`), those of
    another step. Every `random_state` that is not set gets the seed, so that the same data make the same model.
    """
    where = f"params.yaml: model.estimator is '{estimator}'"
    module, _, name = estimator.rpartition(".")
    try:
        estimator_class = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        raise ProjectError(f"{where}, which cannot be imported; use a path like sklearn.svm.SVC.") from None
    try:
        model = estimator_class(**{name: value for name, value in params.items() if "__" not in _path(name)})
    except TypeError as error:
        raise ProjectError(f"params.yaml: model.params do not fit {estimator}: {error}.") from None
    fits_problem = is_classifier if problem == "classification" else is_regressor
    if not isinstance(model, BaseEstimator) or not fits_problem(model):
        raise ProjectError(f"{where}, which does not do {problem} (data.problem).")
    pipeline: Pipeline = tabular_pipeline(model)
    nested = {name: value for name, value in params.items() if "__" in _path(name)}
    pipeline.set_params(**{full_name(pipeline, name, "model.params"): value for name, value in nested.items()})
    unseeded = [key for key, value in pipeline.get_params().items() if key.endswith("random_state") and value is None]
    return pipeline.set_params(**dict.fromkeys(unseeded, seed))


def full_name(pipeline: Pipeline, name: str, key: str) -> str:
    """Return the name of a parameter in the pipeline; raise ProjectError, naming the key, if there is none."""
    last, estimator = pipeline.steps[-1]
    path = _path(name)
    full = path if path.partition("__")[0] in pipeline.named_steps else f"{last}__{path}"
    if full not in pipeline.get_params():
        before = ", ".join(f"{step}.…" for step in list(pipeline.named_steps)[:-1])
        raise ProjectError(
            f"params.yaml: {key} names '{name}', which is not a parameter; {type(estimator).__name__} has "
            f"{', '.join(estimator.get_params(deep=False))}; other steps have more ({before})."
        )
    return full


def _path(name: str) -> str:
    return name.replace(".", "__")


def fit(pipeline: Pipeline, rows: pl.DataFrame, target: pl.Series) -> Pipeline:
    """Fit the pipeline on rows and their target."""
    try:
        with threadpool_limits(1 if rows.height <= SINGLE_THREAD_ROWS else None, user_api="openmp"):
            fitted: Pipeline = pipeline.fit(rows, target.to_numpy())
    except ValueError as error:
        raise ProjectError(f"The model of params.yaml could not be fitted: {error}") from error
    return fitted
