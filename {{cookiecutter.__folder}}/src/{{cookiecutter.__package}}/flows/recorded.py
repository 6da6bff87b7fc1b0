"""Predictions that scoring or the service has recorded, and labels that came later, as frames to compare."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from ..config import Problem
from ..errors import ProjectError
from ..ops.predictions import ORIGIN, PREDICTION, find, probability
from ..ops.tracking.registry import CHALLENGER
from ..steps import evaluate
from ..steps.evaluate import Outputs, Predictions

# What identifies a recorded prediction.
KEYS = ["request_id", "row"]
# So many rows with labels are enough to compare metrics.
JUDGED_ROWS = 100_000


class Shadow(NamedTuple):
    """How a challenger answered the champion's requests: the share of equal answers, or the mean differences."""

    version: int
    rows: int
    values: dict[str, float]
    metrics: dict[str, tuple[float, float]]

    def sentences(self) -> list[str]:
        """Describe it."""
        words = ", ".join(f"{name} {value:.4g}" for name, value in self.values.items())
        scores = [f"{name} {new:.4g}, the champion's is {old:.4g}" for name, (old, new) in self.metrics.items()]
        found = [f"Challenger, version {self.version}, in {self.rows} rows of the champion: {words}."]
        return [*found, f"With labels, its {'; its '.join(scores)}."] if scores else found


def is_recorded(columns: Sequence[str]) -> bool:
    """Tell whether a table has recorded predictions."""
    return all(find(name, columns) for name in (PREDICTION, *ORIGIN))


def of_champion(table: pl.LazyFrame, version: int) -> pl.LazyFrame:
    """Return the rows that this version has predicted, as champion or by its number."""
    names = table.collect_schema().names()
    version_column, role = (pl.col(str(find(name, names))) for name in ("model_version", "role"))
    return table.filter(version_column == version, role != CHALLENGER)


def outputs(rows: pl.DataFrame, classes: np.ndarray | None) -> Outputs:
    """Return the predictions that the rows carry; probabilities if those of all classes were recorded."""
    columns = [find(probability(name), rows.columns) for name in ([] if classes is None else classes.tolist())]
    found = [column for column in columns if column]
    complete = bool(found) and len(found) == len(columns)
    predicted = rows[str(find(PREDICTION, rows.columns))].to_numpy()
    return Outputs(predicted, classes, rows.select(found).to_numpy() if complete else None)


def shadow(table: pl.LazyFrame, version: int, problem: Problem, target: str) -> Shadow | None:
    """Compare the newest challenger's answers with the champion's to the same rows; None if there are none."""
    names = table.collect_schema().names()
    keys, prediction = [str(find(name, names)) for name in KEYS], str(find(PREDICTION, names))
    version_column, role = (pl.col(str(find(name, names))) for name in ("model_version", "role"))
    challengers = table.filter(role == CHALLENGER)
    newest = challengers.select(version_column.max()).collect(engine="streaming").item()
    if newest is None:
        return None
    theirs = challengers.filter(version_column == newest).select(*keys, new=prediction)
    truth = pl.col(target) if target in names else pl.lit(None)
    ours = of_champion(table, version).select(*keys, old=prediction, truth=truth)
    both = ours.join(theirs, on=keys)
    equal, difference = pl.col("old") == pl.col("new"), pl.col("new") - pl.col("old")
    values = (
        {"share of equal answers": equal.mean()}
        if problem == "classification"
        else {"mean difference": difference.mean(), "mean absolute difference": difference.abs().mean()}
    )
    named = (value.alias(name) for name, value in values.items())
    rows, *found = both.select(pl.len(), *named).collect(engine="streaming").row(0)
    if not rows:
        return None
    judged = both.drop_nulls("truth").head(JUDGED_ROWS).collect(engine="streaming")
    old, new = (
        evaluate.metrics(problem, Predictions(judged["truth"].to_numpy(), judged[name].to_numpy(), None, None))
        if judged.height
        else {}
        for name in ("old", "new")
    )
    metrics = {name: (value, new[name]) for name, value in old.items() if name in new}
    return Shadow(newest, rows, dict(zip(values, found, strict=True)), metrics)


def with_labels(rows: pl.LazyFrame, labels: pl.LazyFrame, on: Sequence[str], target: str) -> pl.LazyFrame:
    """Give the rows the target of the labels that have the same key; other rows have none."""
    schema, others = rows.collect_schema(), labels.collect_schema()
    for name, names, needed in [("rows", schema, on), ("labels", others, [*on, target])]:
        if missing := [column for column in needed if column not in names]:
            raise ProjectError(f"The {name} lack the column(s) {', '.join(missing)}; they have {', '.join(names)}.")
    keyed = labels.select(*(pl.col(name).cast(schema[name], strict=False) for name in on), target).drop_nulls(on)
    repeated = keyed.group_by(on).len().filter(pl.col("len") > 1).head(1).collect(engine="streaming")
    if repeated.height:
        key = ", ".join(f"{name} {value!r}" for name, value in repeated.select(on).row(0, named=True).items())
        raise ProjectError(f"The labels have more than one row with {key}: keep one, or join by more columns (--on).")
    return rows.drop(target, strict=False).join(keyed, on=on, how="left", maintain_order="left")
