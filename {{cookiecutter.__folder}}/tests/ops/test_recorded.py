"""Recorded predictions and later labels: whose rows are compared, how a challenger answers, and how keys join."""

import numpy as np
import polars as pl
import pytest

from penguin_model.errors import ProjectError
from penguin_model.flows import recorded
from penguin_model.flows.monitoring import monitoring
from penguin_model.flows.scoring import champion_version, predictor_of
from penguin_model.ops import predictions
from penguin_model.ops.predictions import Origin
from penguin_model.ops.settings import project_root, read_params
from penguin_model.ops.tracking import comparisons

RAW = pl.DataFrame({"row": ["a", "b", "c"], "size": [1.0, 2.0, 3.0]})


def table(*parts: tuple[int, str, list[str]]) -> pl.LazyFrame:
    """Return the recorded predictions of versions in a role."""
    frames = [
        predictions.record(
            RAW, pl.DataFrame({"prediction": answers, "probability_x": 0.25}), Origin(version, role, "r")
        )
        for version, role, answers in parts
    ]
    return pl.concat(frames).lazy()


CHAMPION = (3, "champion", ["x", "y", "x"])


def test_rows_of_the_champion_are_those_that_it_has_predicted():
    log = table((2, "champion", ["y"] * 3), CHAMPION, (3, "version", ["x"] * 3), (4, "challenger", ["x"] * 3))
    assert recorded.is_recorded(log.collect_schema().names())
    assert not recorded.is_recorded([*RAW.columns, "prediction", "model_version"])
    assert recorded.of_champion(log, 3).collect()["prediction"].to_list() == ["x", "y", "x", "x", "x", "x"]


def test_recorded_probabilities_count_if_all_classes_have_them():
    rows = table(CHAMPION).collect()
    whole = recorded.outputs(rows, np.array(["x"]))
    assert whole.predicted.tolist() == ["x", "y", "x"]
    assert whole.probabilities.tolist() == [[0.25]] * 3
    assert recorded.outputs(rows, np.array(["x", "y"])).probabilities is None
    assert recorded.outputs(rows, None).probabilities is None


def test_newest_challenger_is_compared_on_the_same_rows():
    log = table(CHAMPION, (4, "challenger", ["y", "x", "y"]), (5, "challenger", ["x", "y", "y"]))
    assert recorded.shadow(table(CHAMPION), 3, "classification", "kind") is None
    found = recorded.shadow(log, 3, "classification", "kind")
    assert (found.version, found.rows, found.metrics) == (5, 3, {})
    assert found.values == {"share of equal answers": pytest.approx(2 / 3)}
    labelled = log.with_columns(kind=pl.Series(["x", "y", "x"] * 3))
    assert recorded.shadow(labelled, 3, "classification", "kind").metrics["accuracy"] == (1, pytest.approx(2 / 3))
    numbers = log.with_columns(prediction=pl.when(pl.col("model_version") == 5).then(2.0).otherwise(1.5))
    differences = recorded.shadow(numbers, 3, "regression", "kind").values
    assert list(differences.values()) == [0.5, 0.5]


@pytest.mark.parametrize(
    ("labels", "on", "message"),
    [
        ({"row": ["a"], "kind": ["x"]}, ["id"], r"The rows lack the column\(s\) id; they have row, size"),
        ({"id": ["a"], "kind": ["x"]}, ["row"], r"The labels lack the column\(s\) row; they have id, kind"),
        ({"row": ["a"]}, ["row"], r"The labels lack the column\(s\) kind"),
        ({"row": ["a", "a"], "kind": ["x", "y"]}, ["row"], "more than one row with row 'a'"),
    ],
)
def test_labels_that_cannot_be_joined_are_refused(labels, on, message):
    with pytest.raises(ProjectError, match=message):
        recorded.with_labels(RAW.lazy(), pl.LazyFrame(labels), on, "kind")


def test_labels_join_by_key_whatever_its_type():
    labels = pl.LazyFrame({"size": ["3", "1", None, "no"], "kind": ["x", "y", "z", "z"]})
    assert recorded.with_labels(RAW.lazy(), labels, ["size"], "kind").collect()["kind"].to_list() == ["y", None, "x"]


def test_recorded_predictions_are_compared_as_they_are(champion, tmp_path):
    version, target = champion_version(), read_params().data.target
    raw = pl.read_parquet(project_root() / "data/processed/table.parquet").drop_nulls(target)
    rows = raw.drop(target)
    answers = predictions.predict(predictor_of(version), rows)
    wrong = answers.with_columns(pl.col("prediction").first())
    log = [
        predictions.record(rows, answers, Origin(version - 1, "champion", "old")),
        predictions.record(rows, wrong, Origin(version, "champion", "new")),
        predictions.record(rows, answers, Origin(version + 1, "challenger", "new")),
    ]
    pl.concat(log).write_parquet(tmp_path / "log.parquet")
    key = predictions.find("row", log[0].columns)
    labels = raw.select(target).with_columns(request_id=pl.lit("new"), **{key: pl.int_range(pl.len())})
    labels.write_csv(tmp_path / "labels.csv")
    on = ["request_id", key]
    monitoring(source=str(tmp_path / "log.parquet"), labels=str(tmp_path / "labels.csv"), on=on, policy={"most": 0})
    [comparison] = comparisons.recent(1)
    assert comparison.values["rows"] == raw.height
    page = (project_root() / "reports/drift.html").read_text(encoding="utf-8")
    assert f"Challenger, version {version + 1}, in {raw.height} rows" in page
    metric = read_params().gate.metric
    if raw.height >= 50:
        assert comparison.values[f"metric.{metric}"] != pytest.approx(1)
    with pytest.raises(ProjectError, match="--labels needs --on"):
        monitoring(labels=str(tmp_path / "labels.csv"))
