"""Build the pipeline and fit it."""

from collections.abc import Mapping
from importlib import import_module
from inspect import signature
from typing import Any

import numpy as np
import polars as pl
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.ensemble import VotingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from skrub import tabular_pipeline
from threadpoolctl import threadpool_limits

from ..config import Problem
from ..errors import ProjectError
from ..model.predictor import failures_explained
from .sentences import few

# Up to so many rows one thread of OpenMP is faster than several.
SINGLE_THREAD_ROWS = 10_000
# With more classes, a tree for each takes long.
MANY_CLASSES = 100
# Rare classes that a sentence names.
SHOWN = 5
# The step that translates classes for estimators outside scikit-learn.
LABELS = "labels"


def build_pipeline(problem: Problem, estimator: str, params: Mapping[str, Any], seed: int | None = None) -> Pipeline:
    """Return an unfitted pipeline around the estimator that handles categories, dates and missing values.

    Parameters are the estimator's or, with a dot or two underscores (`tablevectorizer.cardinality_threshold`), those of
    another step. Every `random_state` that is not set gets the seed, so that the same data make the same model.
    """
    estimator_class = _imported(estimator)
    fits_problem = is_classifier if problem == "classification" else is_regressor
    try:
        model = estimator_class(**{name: value for name, value in params.items() if "__" not in _path(name)})
        # Some check their parameters only here.
        fits = hasattr(model, "__sklearn_tags__") and fits_problem(model)
    except Exception as error:
        raise ProjectError(f"params.yaml: model.params do not fit {estimator}: {error}.") from error
    if not fits:
        raise ProjectError(
            f"params.yaml: model.estimator is '{estimator}', which does not do {problem} (data.problem)."
        )
    pipeline: Pipeline = tabular_pipeline(model)
    if not _is_of_scikit_learn(model):
        pipeline = _with_plain_input(pipeline, problem)
    nested = {name: value for name, value in params.items() if "__" in _path(name)}
    pipeline.set_params(**{full_name(pipeline, name, "model.params"): value for name, value in nested.items()})
    unseeded = [key for key, value in pipeline.get_params().items() if key.endswith("random_state") and value is None]
    return pipeline.set_params(**dict.fromkeys(unseeded, seed))


def full_name(pipeline: Pipeline, name: str, key: str) -> str:
    """Return the name of a parameter in the pipeline; raise ProjectError, naming the key, if there is none."""
    last, estimator = _estimator(pipeline)
    path = _path(name)
    full = path if path.partition("__")[0] in pipeline.named_steps else f"{last}__{path}"
    # CatBoost's `get_params` has only the parameters that are set.
    own = {**signature(type(estimator)).parameters, **estimator.get_params(deep=False)}
    if full not in pipeline.get_params() and path not in own:
        before = ", ".join(f"{step}.…" for step in list(pipeline.named_steps)[:-1])
        raise ProjectError(
            f"params.yaml: {key} names '{name}', which is not a parameter; {type(estimator).__name__} has "
            f"{', '.join(own)}; other steps have more ({before})."
        )
    return full


def _path(name: str) -> str:
    return name.replace(".", "__")


def slow(pipeline: Pipeline, classes: int) -> str | None:
    """Say so if the estimator fits a tree per class and there are many classes; else return None."""
    name = type(_estimator(pipeline)[1]).__name__
    if classes <= MANY_CLASSES or not ("Boosting" in name or name.startswith(("LGBM", "XGB"))):
        return None
    return (
        f"{name} fits a tree per class in each iteration, and there are {classes:,} classes: a linear model, for "
        "example sklearn.linear_model.LogisticRegression, takes a fraction of the time."
    )


def fit(pipeline: Pipeline, rows: pl.DataFrame, target: pl.Series) -> Pipeline:
    """Fit the pipeline on rows and their target."""
    threads = 1 if rows.height <= SINGLE_THREAD_ROWS else None
    try:
        with failures_explained(pipeline, "be fitted", rows), threadpool_limits(threads, user_api="openmp"):
            fitted: Pipeline = pipeline.fit(rows, target.to_numpy())
    except ProjectError as error:
        # Estimators that set rows aside to stop early name the classes by numbers of their own.
        if "least populated class" not in str(error):
            raise
        rare = [repr(value) for value, count in target.value_counts().sort(target.name).iter_rows() if count == 1]
        named = f"{few(rare, SHOWN)} {'has' if len(rare) == 1 else 'have'} one"
        raise ProjectError(
            f"{type(_estimator(pipeline)[1]).__name__} stops early, which needs two training rows of each class; "
            f"{named}. Set model.params.early_stopping to false, or leave such rows out."
        ) from error
    return fitted


def _estimator(pipeline: Pipeline) -> tuple[str, BaseEstimator]:
    step, estimator = pipeline.steps[-1]
    if step != LABELS:
        return step, estimator
    [(member, estimator)] = estimator.estimators
    return f"{LABELS}__{member}", estimator


def _imported(estimator: str) -> Any:
    where = f"params.yaml: model.estimator is '{estimator}', which"
    module, _, name = estimator.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (AttributeError, ValueError):
        raise ProjectError(f"{where} does not exist; use a path like sklearn.svm.SVC.") from None
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name != package:
            raise ProjectError(f"{where} cannot be imported: {error}.") from error
        raise ProjectError(f"{where} is not installed: run `uv add {package}`, or correct the path.") from None
    except Exception as error:  # a library of the system that is missing is an OSError
        raise ProjectError(f"{where} cannot be imported: {error}.") from error


def _is_of_scikit_learn(model: BaseEstimator) -> bool:
    """Tell whether the estimator is scikit-learn's or inherits from one that is."""
    bases = (base for base in type(model).__mro__ if issubclass(base, BaseEstimator) and base is not BaseEstimator)
    return any(base.__module__.startswith("sklearn.") for base in bases)


def _with_plain_input(pipeline: Pipeline, problem: Problem) -> Pipeline:
    """Give the estimator arrays without column names, and classes from 0 to n-1; predictions are the user's classes.

    Estimators outside scikit-learn may refuse text and gaps in classes, or `[`, `<` and `:` in names. A vote of one
    translates classes; the winner is the most probable class.
    """
    *before, (name, model) = pipeline.steps
    steps = [*before, ("arrays", FunctionTransformer(np.asarray))]
    if problem == "regression":
        return Pipeline([*steps, (name, model)])
    voting = "soft" if hasattr(model, "predict_proba") else "hard"
    return Pipeline([*steps, (LABELS, VotingClassifier([(name, model)], voting=voting))])
