"""The gate: which model becomes the champion, and why."""

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
ACCURACY, RMSE = {"metric": "accuracy"}, {"metric": "rmse"}


@pytest.mark.parametrize(
    ("gate", "new", "old", "alias", "reason"),
    [
        (ACCURACY, 0.8, None, "champion", "the first champion, accuracy 0.8"),
        (ACCURACY, 0.8, 0.7, "champion", "accuracy 0.8 is better than the champion's 0.7 by 0.1"),
        (ACCURACY, 0.8, 0.8, "challenger", "accuracy 0.8 is not better than the champion's 0.8"),
        (ACCURACY, 0.8, 0.9, "challenger", "is not better"),
        (RMSE, 2.0, 3.0, "champion", "rmse 2 is better than the champion's 3 by 1"),
        (RMSE, 3.0, 2.0, "challenger", "rmse 3 is not better than the champion's 2"),
        (ACCURACY | {"improvement": 0.1}, 0.3, 0.2, "champion", "by 0.1"),
        (ACCURACY | {"improvement": 0.1}, 0.29, 0.2, "challenger", "by 0.09, less than gate.improvement (0.1)"),
        (RMSE | {"improvement": 2}, 5.0, 6.0, "challenger", "by 1, less than gate.improvement (2)"),
        (ACCURACY | {"minimum": 0.9}, 0.8, None, "challenger", "0.8 does not reach the minimum of 0.9"),
        (ACCURACY | {"minimum": 0.9}, 0.9, None, "champion", "the first"),
        (RMSE | {"minimum": 10}, 11.0, 12.0, "challenger", "11 does not reach the minimum of 10"),
        (RMSE | {"minimum": 10}, 9.0, 12.0, "champion", "better"),
        (ACCURACY, math.nan, None, "challenger", "accuracy is nan"),
        (ACCURACY, 0.1, math.nan, "challenger", "accuracy is undefined for the champion on this holdout"),
        (ACCURACY, 0.1, OTHER, "champion", "it predicts another column; the new model has accuracy 0.1"),
        (ACCURACY | {"minimum": 0.2}, 0.1, OTHER, "challenger", "the minimum"),
        (ACCURACY, 0.9, BROKEN, "challenger", "it cannot be loaded; the new model has accuracy 0.9"),
    ],
)
def test_gate_decides_and_says_why(gate, new, old, alias, reason):
    champion = Evaluation({gate["metric"]: old}) if isinstance(old, float) else old
    decision = decide(Gate(**gate), Evaluation({gate["metric"]: new}), champion)
    assert decision.alias == alias
    assert reason in decision.reason


@pytest.mark.parametrize(("metric", "new", "dummy"), [("accuracy", 0.6, 0.62), ("rmse", 3.0, 3.0), ("r2", -0.1, 0.0)])
def test_model_that_does_not_beat_the_dummy_is_no_champion_unless_allowed(metric, new, dummy):
    evaluation = Evaluation({metric: new, f"dummy.{metric}": dummy})
    for champion in (None, Evaluation({metric: new + 1 if metric == "rmse" else new - 1}), OTHER):
        decision = decide(Gate(metric=metric), evaluation, champion)
        assert decision.alias == "challenger"
        assert f"{metric} {new:.6g} does not beat the {dummy:.6g} of a dummy model" in decision.reason
        allowed = Gate(metric=metric, allow_worse_than_dummy=True)
        assert decide(allowed, evaluation, champion).alias == "champion"


def test_undefined_metric_is_one_sentence():
    with pytest.raises(ProjectError, match=r"gate\.metric is 'log_loss', which is undefined .* defined are accuracy\."):
        decide(Gate(metric="log_loss"), Evaluation({"accuracy": 1.0, "dummy.accuracy": 0.5}), None)


@pytest.mark.parametrize(("metric", "better"), [("accuracy", 0.7), ("rmse", 0.3)])
def test_no_slice_may_become_worse(metric, better):
    gate, worse = Gate(metric=metric, slices=["island"]), 1 - better
    old = Evaluation({metric: 0.5}, {f"island {name}": Slice(40, 0.5) for name in "ab"} | {"island c": Slice(3, None)})
    new = Evaluation({metric: better}, {**old.slices, "island a": Slice(40, better)})
    decision = decide(gate, new, old)
    assert decision.alias == "champion"
    assert decision.reason.endswith(
        "worse in none of 2 slices; not compared (fewer than 20 rows, or without a class): island c (3 rows)"
    )
    decision = decide(gate, new._replace(slices={**new.slices, "island b": Slice(40, worse)}), old)
    assert decision.alias == "challenger"
    assert f"but worse for island b (40 rows): {worse:.6g} instead of 0.5" in decision.reason


def test_slices_are_the_categories_with_enough_rows():
    rows = pl.DataFrame({"kind": ["a"] * 25 + [None] * 30 + ["rare"] * 5})
    truth = np.array(["x", "y"] * 30)
    predicted = np.where(np.arange(60) < 25, "x", truth)
    probabilities = np.where(predicted[:, None] == ["x", "y"], 0.9, 0.1)
    predictions = Predictions(truth, predicted, np.array(["x", "y"]), probabilities)
    slices = evaluate_slices("classification", Gate(metric="accuracy", slices=["kind"]), rows, predictions)
    assert slices == {"kind a": Slice(25, 13 / 25), "kind missing": Slice(30, 1.0), "kind rare": Slice(5, None)}
