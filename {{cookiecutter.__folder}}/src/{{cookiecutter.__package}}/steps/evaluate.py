"""Evaluate a fitted pipeline on rows that it has not seen: predictions and metrics."""

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

import numpy as np
import polars as pl
from sklearn import metrics as skm
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.pipeline import Pipeline

from ..config import DUMMY, Problem
from ..errors import ProjectError
from ..model.predictor import failures_explained
from .sentences import few

LOWER_IS_BETTER = frozenset({"log_loss", "mae", "rmse"})
# With fewer rows a metric means next to nothing.
MIN_HOLDOUT_ROWS = 10
# These predict the most probable class. To ask them again takes as long as for the probabilities.
MOST_PROBABLE = (ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier)
TIE = 1e-9


class Outputs(NamedTuple):
    """What a model predicts for rows; with probabilities, a column per class."""

    predicted: np.ndarray
    classes: np.ndarray | None
    probabilities: np.ndarray | None


class Predictions(NamedTuple):
    """The true target of rows, and what a model predicts for them."""

    truth: np.ndarray
    predicted: np.ndarray
    classes: np.ndarray | None
    probabilities: np.ndarray | None

    def take(self, rows: Any) -> Self:
        """Return the predictions of some rows: those of an index or a slice."""
        probabilities = None if self.probabilities is None else self.probabilities[rows]
        return self._replace(truth=self.truth[rows], predicted=self.predicted[rows], probabilities=probabilities)


def predict(model: BaseEstimator, rows: pl.DataFrame, truth: pl.Series) -> Predictions:
    """Predict rows of which the target is known."""
    return Predictions(truth.to_numpy(), *outputs(model, rows))


def outputs(model: BaseEstimator, rows: pl.DataFrame) -> Outputs:
    """Predict rows with a fitted pipeline."""
    if isinstance(model, Pipeline):  # transform once, for classes and probabilities
        with failures_explained(model, "predict", rows):
            return outputs(model[-1], model[:-1].transform(rows))
    classes = getattr(model, "classes_", None)
    probabilities = model.predict_proba(rows) if hasattr(model, "predict_proba") else None
    if classes is not None and len(classes) == 1:
        probabilities = None  # HistGradientBoostingClassifier returns two columns for its only class
    return Outputs(_labels(model, rows, probabilities), classes, probabilities)


def _labels(model: BaseEstimator, rows: Any, probabilities: np.ndarray | None) -> np.ndarray:
    """Return what the model predicts: of classes with about the same probability, it knows which it prefers."""
    if isinstance(model, MOST_PROBABLE) and probabilities is not None:
        second, first = np.partition(probabilities, -2, axis=1)[:, -2:].T
        if (first - second > TIE).all():
            return np.asarray(model.classes_[probabilities.argmax(axis=1)])
    return np.asarray(model.predict(rows))


def judge_dummy(problem: Problem, metric: str, known: pl.Series, truth: pl.Series) -> dict[str, float]:
    """Return the metrics, prefixed with `dummy.`, of a model that knows only the target of the training rows.

    It predicts the most frequent class, with the shares of the classes as probabilities, or guesses by these shares if
    that has a better F1 score; for numbers the mean, or the median if the metric is the mean absolute error.
    """
    if problem == "classification":
        model = DummyClassifier(strategy="prior")
    else:
        model = DummyRegressor(strategy="median" if metric == "mae" else "mean")
    model.fit(np.zeros((len(known), 1)), known.to_numpy())
    predictions = predict(model, pl.DataFrame({"nothing": np.zeros(len(truth))}), truth)
    values = metrics(problem, predictions)
    if "f1_macro" in values:
        values["f1_macro"] = max(values["f1_macro"], _guessed_f1(known, truth))
    return {f"{DUMMY}{name}": value for name, value in values.items()}


def _guessed_f1(known: pl.Series, truth: pl.Series) -> float:
    """Return the F1 score, averaged over classes, to expect of guesses by the shares of the known classes."""
    shares = [labels.alias("class").value_counts(normalize=True, name="share") for labels in (known, truth)]
    both = shares[0].join(shares[1], on="class", how="full", coalesce=True).fill_null(0)
    guessed, true = pl.col("share"), pl.col("share_right")
    return float(both.select((2 * guessed * true / (guessed + true)).mean()).item())


def gain(metric: str, new: float, old: float) -> float:
    """Return by how much the new value is better; 0 if they differ by rounding only."""
    if math.isclose(new, old, rel_tol=1e-12):
        return 0
    return old - new if metric in LOWER_IS_BETTER else new - old


def worse_than_dummy(metric: str, scores: Mapping[str, float]) -> str | None:
    """Say so if a model is not better than the dummy; return None if it is."""
    new, dummy = scores.get(metric), scores.get(f"{DUMMY}{metric}")
    if new is None or dummy is None or gain(metric, new, dummy) > 0:
        return None
    return f"{metric} {new:.6g} does not beat the {dummy:.6g} of a dummy model, which ignores every column"


def doubt(metric: str, scores: Mapping[str, float], interval: tuple[float, float] | None) -> list[str]:
    """Return a sentence if a model, with the confidence interval of its score, is not clearly better than the dummy."""
    if worse := worse_than_dummy(metric, scores):
        return [f"{worse}."]
    dummy = scores.get(f"{DUMMY}{metric}")
    if dummy is None or interval is None or not interval[0] <= dummy <= interval[1]:
        return []
    span = f"{metric} {scores[metric]:.4g} ({interval[0]:.4g} to {interval[1]:.4g})"
    return [f"{span} may beat the {dummy:.4g} of a dummy model, which ignores every column, only by chance."]


def compared(scores: Mapping[str, float]) -> list[str]:
    """Show each metric of a model beside that of the dummy."""
    return [
        f"{name} {value:.4g}" + (f" (dummy {dummy:.4g})" if (dummy := scores.get(f"{DUMMY}{name}")) is not None else "")
        for name, value in scores.items()
        if not name.startswith(DUMMY)
    ]


def metrics(problem: Problem, predictions: Predictions) -> dict[str, float]:
    """Return the problem's metrics, except those that are undefined for these rows or without probabilities."""
    values = {name: metric_or_none(problem, name, predictions) for name in _scorers(problem, predictions)}
    return {name: value for name, value in values.items() if value is not None}


def metric(problem: Problem, name: str, predictions: Predictions) -> float:
    """Return one metric; raise ProjectError if it is undefined."""
    value = metric_or_none(problem, name, predictions)
    if value is None:
        raise ProjectError(
            f"The metric {name} is undefined: the rows to evaluate on are too few, lack a class or have one that the "
            "model has never seen, or the model gives no probabilities. "
            f"Defined are {', '.join(metrics(problem, predictions))}."
        )
    return value


def metric_or_none(problem: Problem, name: str, predictions: Predictions) -> float | None:
    """Return one metric, None if it is undefined."""
    scorer = _scorers(problem, predictions).get(name)
    with warnings.catch_warnings():
        # scikit-learn warns of undefined metrics, which are left out here.
        warnings.simplefilter("ignore")
        value = float(scorer()) if scorer else math.nan
    return value if math.isfinite(value) else None


def notes(problem: Problem, predictions: Predictions) -> list[str]:
    """Return sentences about what these predictions cannot show."""
    sentences, rows = [], len(predictions.truth)
    if rows < MIN_HOLDOUT_ROWS:
        sentences.append(f"The holdout has only {rows} row(s): too few to trust a metric, or for confidence intervals.")
    if problem == "classification" and predictions.classes is not None:
        present, known = set(predictions.truth), set(predictions.classes)
        if absent := sorted(map(str, known - present)):
            sentences.append(f"The holdout lacks {len(absent)} class(es), so roc_auc is undefined: {few(absent)}.")
        if new := sorted(map(str, present - known)):
            sentences.append(f"The holdout has {len(new)} class(es) that the model has never seen: {few(new)}.")
        if predictions.probabilities is None:
            sentences.append("The model gives no probabilities: there is no log_loss, no roc_auc and no curve.")
    return sentences


def _scorers(problem: Problem, predictions: Predictions) -> dict[str, Callable[[], float]]:
    truth, predicted = predictions.truth, predictions.predicted
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
    if predictions.probabilities is not None and predictions.classes is not None:
        classes, probabilities = predictions.classes, predictions.probabilities
        if set(truth) <= set(classes):
            scorers["log_loss"] = lambda: skm.log_loss(truth, probabilities, labels=classes)
        if set(truth) == set(classes):  # the area is undefined for a class that the rows lack
            scores = probabilities[:, 1] if len(classes) == 2 else probabilities  # noqa: PLR2004 - as scikit-learn wants
            scorers["roc_auc"] = lambda: skm.roc_auc_score(truth, scores, multi_class="ovr", labels=classes)
    return scorers
