"""Judge a fitted pipeline on the holdout: metrics and plots."""

from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.figure import Figure
from sklearn import metrics as skm
from sklearn.pipeline import Pipeline

from ..params import Problem


class Predictions(NamedTuple):
    """What a model says of rows whose target is known; a classifier with chances has a column (0 to 1) per class."""

    truth: np.ndarray
    predicted: np.ndarray
    classes: np.ndarray | None
    chances: np.ndarray | None


def predict(pipeline: Pipeline, rows: pl.DataFrame, truth: pl.Series) -> Predictions:
    """Let a fitted pipeline predict rows."""
    chances = pipeline.predict_proba(rows) if hasattr(pipeline, "predict_proba") else None
    return Predictions(truth.to_numpy(), pipeline.predict(rows), getattr(pipeline, "classes_", None), chances)


def metrics(problem: Problem, made: Predictions) -> dict[str, float]:
    """Return the problem's metrics; those that need chances only if the model gives them."""
    truth, predicted = made.truth, made.predicted
    if problem == "regression":
        return {
            "rmse": float(skm.root_mean_squared_error(truth, predicted)),
            "mae": float(skm.mean_absolute_error(truth, predicted)),
            "r2": float(skm.r2_score(truth, predicted)),
        }
    scores = {
        "f1_macro": float(skm.f1_score(truth, predicted, average="macro")),
        "accuracy": float(skm.accuracy_score(truth, predicted)),
        "balanced_accuracy": float(skm.balanced_accuracy_score(truth, predicted)),
    }
    if made.chances is not None and made.classes is not None:
        classes, chances = made.classes, made.chances
        scores["log_loss"] = float(skm.log_loss(truth, chances, labels=classes))
        if set(truth) == set(classes):  # the area is undefined for a class that the rows lack
            chances = chances[:, 1] if len(classes) == 2 else chances  # noqa: PLR2004 - scikit-learn's binary form
            scores["roc_auc"] = float(skm.roc_auc_score(truth, chances, multi_class="ovr", labels=classes))
    return scores


def plots(problem: Problem, made: Predictions, folder: Path) -> None:
    """Write the plots that fit the problem into the folder, as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    if problem == "classification":
        _confusion(made).savefig(folder / "confusion_matrix.png")
    else:
        _errors(made, "actual_vs_predicted").savefig(folder / "predicted_against_actual.png")
        _errors(made, "residual_vs_predicted").savefig(folder / "residuals.png")


def _confusion(made: Predictions) -> Figure:
    figure = Figure(layout="constrained")
    matrix = skm.confusion_matrix(made.truth, made.predicted, labels=made.classes)
    display = skm.ConfusionMatrixDisplay(matrix, display_labels=made.classes)
    display.plot(ax=figure.subplots(), cmap=mpl.colormaps["Blues"], colorbar=False)
    return figure


def _errors(made: Predictions, kind: str) -> Figure:
    figure = Figure(layout="constrained")
    skm.PredictionErrorDisplay(y_true=made.truth, y_pred=made.predicted).plot(ax=figure.subplots(), kind=kind)
    return figure
