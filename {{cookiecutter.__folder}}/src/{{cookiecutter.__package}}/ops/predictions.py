"""Predictions as rows of a table: the one schema of scoring and of the service's log, which monitoring reads.

A row has the raw columns, then `prediction`, `probability_<class>` for each class, and where the prediction comes from.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from ..steps import evaluate

PREDICTION = "prediction"
# Where a prediction comes from: the model, the request or the run of scoring, and the row in it.
ORIGIN: dict[str, pl.DataType] = {
    "model_version": pl.Int64(),  # null for a model from a folder
    "role": pl.String(),  # champion, challenger or version
    "request_id": pl.String(),
    "row": pl.Int64(),  # from 0
    "predicted_at": pl.Datetime("us", "UTC"),
    "flow_run": pl.String(),  # null in the service
}


class Origin(NamedTuple):
    """Which model predicts, for which request of the service or which run of scoring."""

    model_version: int | None
    role: str
    request_id: str
    flow_run: str | None = None


def predict(predictor: Any, rows: pl.DataFrame) -> pl.DataFrame:
    """Return `prediction` and, for a classifier with probabilities, `probability_<class>` for each raw row.

    The predictor offers what `packaging` documents. A row's values are those of the holdout's evaluation and of MLflow.
    """
    columns = predictor.columns(rows)
    outputs = evaluate.outputs(predictor.pipeline, columns) if rows.height else _example(predictor.pipeline)
    values = {PREDICTION: outputs.predicted}
    if outputs.probabilities is not None and outputs.classes is not None:
        values |= dict(zip(map(probability, outputs.classes.tolist()), outputs.probabilities.T, strict=True))
    return pl.DataFrame({name: pl.Series(value) for name, value in values.items()}).head(rows.height)


def _example(pipeline: Any) -> evaluate.Outputs:
    """Return outputs of the right types, as scikit-learn refuses to predict no rows."""
    classes = getattr(pipeline, "classes_", None)
    if classes is None:
        return evaluate.Outputs(np.zeros(1), None, None)
    probable = hasattr(pipeline, "predict_proba") and len(classes) > 1
    return evaluate.Outputs(classes, classes, np.eye(len(classes)) if probable else None)


def probability(class_: object) -> str:
    """Return the name of the column with the probability of a class."""
    return f"probability_{class_}"


def record(rows: pl.DataFrame, predictions: pl.DataFrame, origin: Origin, at: datetime | None = None) -> pl.DataFrame:
    """Return raw rows with their predictions and the origin of these."""
    numbers = pl.int_range(rows.height, eager=True)
    return join(rows, predictions, {**origin._asdict(), "row": numbers, "predicted_at": at or datetime.now(UTC)})


def join(rows: pl.DataFrame, predictions: pl.DataFrame, origin: Mapping[str, Any]) -> pl.DataFrame:
    """Return raw rows with their predictions and a value, or a series, for each column of ORIGIN."""
    added = predictions.with_columns(pl.lit(origin[name]).cast(dtype).alias(name) for name, dtype in ORIGIN.items())
    return rows.hstack(added.rename(lambda name: unused(name, rows.columns)))


def unused(name: str, raw: Iterable[str]) -> str:
    """Return the name with more underscores in front than a raw column that is the same otherwise has.

    Upper and lower case are the same to some databases.
    """
    same = [_underscores(column) for column in raw if column.lstrip("_").lower() == name.lower()]
    return f"{'_' * (max(same) + 1) if same else ''}{name}"


def find(name: str, columns: Iterable[str]) -> str | None:
    """Return the column of a recorded table that `unused` named so, None if there is none."""
    return max((column for column in columns if column.lstrip("_") == name), key=_underscores, default=None)


def _underscores(column: str) -> int:
    return len(column) - len(column.lstrip("_"))
