"""Build the pipeline and fit it."""

import zipfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl
import skops.io
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.pipeline import Pipeline
from skops.io.exceptions import UntrustedTypesFoundException
from skrub import tabular_pipeline
from threadpoolctl import threadpool_limits

from ..errors import ProjectError
from ..params import Problem
from .trusted import TRUSTED

# Rows up to which one thread of OpenMP fits faster than several, which wait for each other more than they work.
FEW = 10_000
REMEDY = "If they should be trusted, list them in params.yaml under model.trusted."


def build_pipeline(problem: Problem, estimator: str, params: Mapping[str, Any], seed: int | None = None) -> Pipeline:
    """Return an unfitted pipeline around the estimator that copes with categories, dates and missing values.

    Parameters are the estimator's; with a dot or two underscores (`tablevectorizer.cardinality_threshold`) those of any
    step. What draws at random and has no `random_state` gets the seed, so that the same data make the same model.
    """
    where = f"params.yaml: model.estimator is '{estimator}'"
    module, _, name = estimator.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        raise ProjectError(f"{where}, which cannot be imported; give a path like sklearn.svm.SVC.") from None
    try:
        made = found(**{name: value for name, value in params.items() if "__" not in _path(name)})
    except TypeError as error:
        raise ProjectError(f"params.yaml: model.params do not fit {estimator}: {error}.") from None
    if not isinstance(made, BaseEstimator) or not (is_classifier if problem == "classification" else is_regressor)(
        made
    ):
        raise ProjectError(f"{where}, which does not do {problem} (data.problem).")
    pipeline: Pipeline = tabular_pipeline(made)
    deeper = {name: value for name, value in params.items() if "__" in _path(name)}
    pipeline.set_params(**{full_name(pipeline, name, "model.params"): value for name, value in deeper.items()})
    drawing = [name for name, value in pipeline.get_params().items() if name.endswith("random_state") and value is None]
    return pipeline.set_params(**dict.fromkeys(drawing, seed))


def full_name(pipeline: Pipeline, name: str, key: str) -> str:
    """Return a parameter's name as the pipeline has it; raise ProjectError, naming the key, if it has none."""
    last, estimator = pipeline.steps[-1]
    path = _path(name)
    full = path if path.partition("__")[0] in pipeline.named_steps else f"{last}__{path}"
    if full not in pipeline.get_params():
        before = ", ".join(f"{step}.…" for step in list(pipeline.named_steps)[:-1])
        raise ProjectError(
            f"params.yaml: {key} names '{name}', which is no parameter here; {type(estimator).__name__} has "
            f"{', '.join(estimator.get_params(deep=False))}; the steps before it have their own ({before})."
        )
    return full


def _path(name: str) -> str:
    return name.replace(".", "__")


def fit(pipeline: Pipeline, rows: pl.DataFrame, target: pl.Series) -> Pipeline:
    """Fit the pipeline on rows and their target."""
    try:
        with threadpool_limits(1 if rows.height <= FEW else None, user_api="openmp"):
            fitted: Pipeline = pipeline.fit(rows, target.to_numpy())
    except ValueError as error:
        message = f"The model of params.yaml could not be fitted: {error}"
        raise ProjectError(message) from error
    return fitted


def save(pipeline: Pipeline, path: Path, trusted: Sequence[str] = ()) -> None:
    """Write the fitted pipeline as skops, without pickle; refuse one that could not be loaded again."""
    content = skops.io.dumps(pipeline, compression=zipfile.ZIP_DEFLATED)
    if unknown := set(skops.io.get_untrusted_types(data=content)) - {*TRUSTED, *trusted}:
        raise ProjectError(f"The model contains types that are not trusted: {', '.join(sorted(unknown))}. {REMEDY}")
    path.write_bytes(content)


def load(path: Path, trusted: Sequence[str] = ()) -> Pipeline:
    """Read a fitted pipeline; refuse types outside the allow-list."""
    try:
        pipeline: Pipeline = skops.io.load(path, trusted=[*TRUSTED, *trusted])
    except UntrustedTypesFoundException as error:
        raise ProjectError(f"{path}: {str(error).splitlines()[0]} {REMEDY}") from None
    return pipeline
