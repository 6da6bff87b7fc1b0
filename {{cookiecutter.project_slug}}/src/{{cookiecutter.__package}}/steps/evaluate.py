"""Judge a fitted pipeline on the holdout: metrics and plots."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.figure import Figure
from sklearn import metrics as skm
from sklearn.pipeline import Pipeline

from ..settings import Problem


def metrics(problem: Problem, pipeline: Pipeline, table: pl.DataFrame, target: str) -> dict[str, float]:
    """Return the problem's holdout metrics; those that need probabilities only if the model gives them."""
    rows, truth = table.drop(target), table.get_column(target).to_numpy()
    predicted = pipeline.predict(rows)
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
    if hasattr(pipeline, "predict_proba"):
        classes, chances = pipeline.classes_, pipeline.predict_proba(rows)
        scores["log_loss"] = float(skm.log_loss(truth, chances, labels=classes))
        if set(truth) == set(classes):  # the area is undefined for a class that the holdout lacks
            chances = chances[:, 1] if len(classes) == 2 else chances  # noqa: PLR2004 - scikit-learn's binary form
            scores["roc_auc"] = float(skm.roc_auc_score(truth, chances, multi_class="ovr", labels=classes))
    return scores


def plots(problem: Problem, pipeline: Pipeline, table: pl.DataFrame, target: str, folder: Path) -> None:
    """Write the plots that fit the problem into the folder, as PNG files."""
    truth = table.get_column(target).to_numpy()
    predicted = pipeline.predict(table.drop(target))
    folder.mkdir(parents=True, exist_ok=True)
    if problem == "classification":
        _confusion(truth, predicted, pipeline.classes_).savefig(folder / "confusion_matrix.png")
    else:
        _errors(truth, predicted, "actual_vs_predicted").savefig(folder / "predicted_against_actual.png")
        _errors(truth, predicted, "residual_vs_predicted").savefig(folder / "residuals.png")


def _confusion(truth: np.ndarray, predicted: np.ndarray, classes: np.ndarray) -> Figure:
    figure = Figure(layout="constrained")
    matrix = skm.confusion_matrix(truth, predicted, labels=classes)
    display = skm.ConfusionMatrixDisplay(matrix, display_labels=classes)
    display.plot(ax=figure.subplots(), cmap=mpl.colormaps["Blues"], colorbar=False)
    return figure


def _errors(truth: np.ndarray, predicted: np.ndarray, kind: str) -> Figure:
    figure = Figure(layout="constrained")
    skm.PredictionErrorDisplay(y_true=truth, y_pred=predicted).plot(ax=figure.subplots(), kind=kind)
    return figure
