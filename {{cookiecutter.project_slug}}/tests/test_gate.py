"""The gate: which model becomes the champion, and what is said of it."""

import math

import numpy as np
import polars as pl
import pytest

from penguin_model.config import Gate
from penguin_model.errors import ProjectError
from penguin_model.steps.evaluate import Predictions
from penguin_model.steps.gate import (
    Evaluation,
    NotComparable,
    Slice,
    decide,
    evaluate_slices,
)

OTHER = NotComparable("it predicts another column", replaced=True)
BROKEN = NotComparable("it cannot be loaded", replaced=False)


@pytest.mark.parametrize(
    ("gate", "new", "old", "alias", "reason"),
    [
        ({"metric": "accuracy"}, 0.8, None, "champion", "the first champion, accuracy 0.8"),
        ({"metric": "accuracy"}, 0.8, 0.7, "champion", "accuracy 0.8 is better than the champion's 0.7 by 0.1"),
        ({"metric": "accuracy"}, 0.8, 0.8, "challenger", "accuracy 0.8 is not better than the champion's 0.8"),
        ({"metric": "accuracy"}, 0.8, 0.9, "challenger", "is not better"),
        ({"metric": "rmse"}, 2.0, 3.0, "champion", "rmse 2 is better than the champion's 3 by 1"),
        ({"metric": "rmse"}, 3.0, 2.0, "challenger", "rmse 3 is not better than the champion's 2"),
        ({"metric": "accuracy", "improvement": 0.1}, 0.3, 0.2, "champion", "by 0.1"),
        ({"metric": "accuracy", "improvement": 0.1}, 0.29, 0.2, "challenger", "by 0.09, less than the 0.1"),
        ({"metric": "rmse", "improvement": 2}, 5.0, 6.0, "challenger", "by 1, less than the 2"),
        ({"metric": "accuracy", "minimum": 0.9}, 0.8, None, "challenger", "0.8 does not reach the minimum of 0.9"),
        ({"metric": "accuracy", "minimum": 0.9}, 0.9, None, "champion", "the first"),
        ({"metric": "rmse", "minimum": 10}, 11.0, 12.0, "challenger", "11 does not reach the minimum of 10"),
        ({"metric": "rmse", "minimum": 10}, 9.0, 12.0, "champion", "better"),
        ({"metric": "accuracy"}, math.nan, None, "challenger", "accuracy is nan"),
        (
            {"metric": "accuracy"},
            0.1,
            math.nan,
            "challenger",
            "the champion has no accuracy here, so nothing was compared",
        ),
        ({"metric": "accuracy"}, 0.1, OTHER, "champion", "it predicts another column; the new model has accuracy 0.1"),
        ({"metric": "accuracy", "minimum": 0.2}, 0.1, OTHER, "challenger", "the minimum"),
        ({"metric": "accuracy"}, 0.9, BROKEN, "challenger", "it cannot be loaded; the new model has accuracy 0.9"),
    ],
)
def test_gate_decides_and_says_why(gate, new, old, alias, reason):
    metric = gate["metric"]
    champion = Evaluation({metric: old}) if isinstance(old, float) else old
    decision = decide(Gate(**gate), Evaluation({metric: new}), champion)
    assert decision.alias == alias
    assert reason in decision.reason


@pytest.mark.parametrize(("metric", "new", "dummy"), [("accuracy", 0.6, 0.62), ("rmse", 3.0, 3.0), ("r2", -0.1, 0.0)])
def test_model_that_does_not_beat_the_dummy_is_no_champion_unless_it_may(metric, new, dummy):
    judged = Evaluation({metric: new, f"dummy.{metric}": dummy})
    for champion in (
        None,
        Evaluation({metric: new - 1 if metric != "rmse" else new + 1}),
        NotComparable("it predicts another column", replaced=True),
    ):
        decision = decide(Gate(metric=metric), judged, champion)
        assert decision.alias == "challenger"
        assert f"{metric} {new:.6g} does not beat the {dummy:.6g} of a dummy" in decision.reason
        allowed = decide(Gate(metric=metric, allow_worse_than_dummy=True), judged, champion)
        assert allowed.alias == "champion"


def test_metric_that_the_model_does_not_give_is_one_sentence():
    with pytest.raises(ProjectError, match=r"gate\.metric is 'log_loss', which .* does not give; it gives accuracy"):
        decide(Gate(metric="log_loss"), Evaluation({"accuracy": 1.0}), None)


@pytest.mark.parametrize(("metric", "fall"), [("accuracy", -0.2), ("rmse", 0.2)])
def test_no_slice_may_fall(metric, fall):
    gate = Gate(metric=metric, slices=["island"])
    old = Evaluation(
        {metric: 0.5}, {"island a": Slice(30, 0.5), "island b": Slice(40, 0.5), "island c": Slice(3, None)}
    )
    better = Evaluation({metric: 0.5 - fall}, {**old.slices, "island a": Slice(30, 0.5 - fall)})
    decision = decide(gate, better, old)
    assert decision.alias == "champion"
    assert decision.reason.endswith(
        "falls in none of 2 slices; not compared, for want of 20 rows or of a class: island c (3 rows)"
    )
    uneven = Evaluation(better.metrics, {**better.slices, "island b": Slice(40, 0.5 + fall)})
    decision = decide(gate, uneven, old)
    assert decision.alias == "challenger"
    assert f"for island b (40 rows) it falls from 0.5 to {0.5 + fall:.6g}" in decision.reason


def test_slices_are_the_categories_with_enough_rows():
    rows = pl.DataFrame({"kind": ["a"] * 25 + [None] * 30 + ["rare"] * 5})
    truth = np.array(["x", "y"] * 30)
    predicted = truth.copy()
    predicted[:25] = "x"
    probabilities = np.where(predicted[:, None] == ["x", "y"], 0.9, 0.1)
    made = Predictions(truth, predicted, np.array(["x", "y"]), probabilities)
    found = evaluate_slices("classification", Gate(metric="accuracy", slices=["kind"]), rows, made)
    assert found == {"kind a": Slice(25, 13 / 25), "kind missing": Slice(30, 1.0), "kind rare": Slice(5, None)}
