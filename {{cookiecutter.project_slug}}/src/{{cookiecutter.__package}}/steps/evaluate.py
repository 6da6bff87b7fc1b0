"""Judge a fitted pipeline on rows that it has not seen: predictions and metrics."""

import math
import warnings
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import polars as pl
from sklearn import metrics as skm
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.pipeline import Pipeline

from ..config import DUMMY, Problem
from ..errors import ProjectError

LOWER_IS_BETTER = frozenset({"log_loss", "mae", "rmse"})
# With fewer rows a metric says next to nothing.
MIN_HOLDOUT_ROWS = 10


class Predictions(NamedTuple):
    """What a model predicts for rows whose target is known; a classifier with probabilities has a column per class."""

    truth: np.ndarray
    predicted: np.ndarray
    classes: np.ndarray | None
    probabilities: np.ndarray | None


def predict(model: BaseEstimator, rows: pl.DataFrame, truth: pl.Series) -> Predictions:
    """Let a fitted pipeline predict rows."""
    if isinstance(model, Pipeline):  # the way to the estimator is long, and gone twice by asking the pipeline twice
        rows, model = model[:-1].transform(rows), model[-1]
    probabilities = model.predict_proba(rows) if hasattr(model, "predict_proba") else None
    return Predictions(truth.to_numpy(), model.predict(rows), getattr(model, "classes_", None), probabilities)


def judge_dummy(problem: Problem, metric: str, known: pl.Series, truth: pl.Series) -> dict[str, float]:
    """Return the metrics, behind `dummy.`, of a model that ignores the rows and only knows the training's target.

    It gives each class its share in the training, and predicts the most frequent; for numbers it predicts the mean, or
    the median where the mean absolute error is what counts.
    """
    if problem == "classification":
        model = DummyClassifier(strategy="prior")
    else:
        model = DummyRegressor(strategy="median" if metric == "mae" else "mean")
    model.fit(np.zeros((len(known), 1)), known.to_numpy())
    made = predict(model, pl.DataFrame({"nothing": np.zeros(len(truth))}), truth)
    return {f"{DUMMY}{name}": value for name, value in metrics(problem, made).items()}


def gain(metric: str, new: float, old: float) -> float:
    """Return by how much the new value is better; 0 for a difference that is only rounding."""
    if math.isclose(new, old, rel_tol=1e-12):
        return 0
    return old - new if metric in LOWER_IS_BETTER else new - old


def worse_than_dummy(metric: str, scores: Mapping[str, float]) -> str | None:
    """Return a sentence if a model, by its metrics and the dummy's, is no better than the dummy; None if it is."""
    new, dummy = scores.get(metric), scores.get(f"{DUMMY}{metric}")
    if new is None or dummy is None or gain(metric, new, dummy) > 0:
        return None
    return f"{metric} {new:.6g} does not beat the {dummy:.6g} of a dummy, which ignores every column"


def compared(scores: Mapping[str, float]) -> list[str]:
    """Show each metric of a model beside the dummy's."""
    return [
        f"{name} {value:.4g}" + (f" (dummy {dummy:.4g})" if (dummy := scores.get(f"{DUMMY}{name}")) is not None else "")
        for name, value in scores.items()
        if not name.startswith(DUMMY)
    ]


def metrics(problem: Problem, made: Predictions) -> dict[str, float]:
    """Return the problem's metrics, except those that these rows or a model without probabilities leave undefined."""
    found = {name: one(problem, name, made) for name in _scorers(problem, made)}
    return {name: value for name, value in found.items() if value is not None}


def metric(problem: Problem, name: str, made: Predictions) -> float:
    """Return one metric; raise ProjectError if these rows or this model leave it undefined."""
    value = one(problem, name, made)
    if value is None:
        raise ProjectError(
            f"The metric {name} is undefined: the rows to judge on are too few, or lack a class, or have one that the "
            "model has never seen, or the model gives no probabilities. "
            f"Defined here: {', '.join(metrics(problem, made))}."
        )
    return value


def one(problem: Problem, name: str, made: Predictions) -> float | None:
    """Return one metric, None if it is undefined."""
    scorer = _scorers(problem, made).get(name)
    with warnings.catch_warnings():
        # What scikit-learn warns of is undefined, and so is left out here.
        warnings.simplefilter("ignore")
        value = float(scorer()) if scorer else math.nan
    return value if math.isfinite(value) else None


def notes(problem: Problem, made: Predictions) -> list[str]:
    """Say in a sentence each what cannot be told of these predictions."""
    said, rows = [], len(made.truth)
    if rows < MIN_HOLDOUT_ROWS:
        said.append(f"Only {rows} row(s) are kept back: too few to trust any number, and for confidence intervals.")
    if problem == "classification" and made.classes is not None:
        present, known = set(made.truth), set(made.classes)
        if lacking := known - present:
            said.append(f"The rows kept back lack {_listed(lacking)}; roc_auc is undefined without them.")
        if unseen := present - known:
            said.append(f"The rows kept back have {_listed(unseen)}, which the model has never seen.")
        if made.probabilities is None:
            said.append("The model gives no probabilities, so there is neither log_loss nor roc_auc, and no curve.")
    return said


def _listed(classes: set[object]) -> str:
    names = sorted(map(str, classes))
    return f"{len(names)} class(es): {', '.join(names[:5])}{', …' if len(names) > 5 else ''}"  # noqa: PLR2004


def _scorers(problem: Problem, made: Predictions) -> dict[str, Callable[[], float]]:
    """Return what computes each metric that is defined."""
    truth, predicted = made.truth, made.predicted
    if problem == "regression":
        return {
            "rmse": lambda: skm.root_mean_squared_error(truth, predicted),
            "mae": lambda: skm.mean_absolute_error(truth, predicted),
            "r2": lambda: skm.r2_score(truth, predicted),
        }
    scorers: dict[str, Callable[[], float]] = {
        "f1_macro": lambda: skm.f1_score(truth, predicted, average="macro"),
        "accuracy": lambda: skm.accuracy_score(truth, predicted),
        "balanced_accuracy": lambda: skm.balanced_accuracy_score(truth, predicted),
    }
    if made.probabilities is not None and made.classes is not None:
        classes, probabilities = made.classes, made.probabilities
        if set(truth) <= set(classes):
            scorers["log_loss"] = lambda: skm.log_loss(truth, probabilities, labels=classes)
        if set(truth) == set(classes):  # the area is undefined for a class that the rows lack
            form = probabilities[:, 1] if len(classes) == 2 else probabilities  # noqa: PLR2004 - scikit-learn's binary form
            scorers["roc_auc"] = lambda: skm.roc_auc_score(truth, form, multi_class="ovr", labels=classes)
    return scorers
