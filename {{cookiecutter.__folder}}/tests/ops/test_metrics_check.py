import math
from types import SimpleNamespace

import pytest

from penguin_model.config import Gate
from penguin_model.errors import ProjectError
from penguin_model.ops.versioning import metrics_check


def compare(monkeypatch, check, old, new, gate=Gate(metric="f1_macro")):  # noqa: B008 - immutable
    monkeypatch.setattr(metrics_check, "read_params", lambda: SimpleNamespace(gate=gate))
    monkeypatch.setattr(metrics_check, "_committed", lambda _: old)
    monkeypatch.setattr(metrics_check, "_current", lambda: new)
    return check("main")


@pytest.mark.parametrize(
    "case",
    [
        ("f1_macro", 0.9, 0.9, 0, False),
        ("f1_macro", 0.9, 0.95, 0, False),
        ("f1_macro", 0.9, 0.89, 0, True),
        ("f1_macro", 0.9, 0.89, 0.01, False),
        ("f1_macro", 0.9, 0.88, 0.01, True),
        ("f1_macro", 0.9, math.nan, 0.5, True),
        ("rmse", 300.0, 301.0, 0, True),
        ("rmse", 300.0, 299.0, 0, False),
        ("rmse", 300.0, 301.0, 1, False),
    ],
)
def test_gate_metric_must_not_be_worse_by_more_than_the_tolerance(monkeypatch, case):
    metric, old, new, tolerance, worse = case
    gate = Gate(metric=metric, tolerance=tolerance)
    arguments = (monkeypatch, metrics_check.check, {metric: old}, {metric: new}, gate)
    if worse:
        with pytest.raises(ProjectError, match=f"{metric} is worse than in main"):
            compare(*arguments)
    else:
        assert compare(*arguments).startswith(f"{metric} is ")


def test_a_metric_that_a_training_lost_is_worse_but_a_new_one_has_no_rival(monkeypatch):
    with pytest.raises(ProjectError, match="worse"):
        compare(monkeypatch, metrics_check.check, {"f1_macro": 0.9}, {})
    assert "nothing to compare" in compare(monkeypatch, metrics_check.check, {}, {"f1_macro": 0.9})


@pytest.mark.parametrize("new", [{"a": 1.0}, {"a": 1.0, "b": 2.1}, {"a": 1.0, "b": 2.0, "c": 3.0}])
def test_every_metric_that_differs_is_named(monkeypatch, new):
    with pytest.raises(ProjectError, match=r"- [bc]: .+ instead of"):
        compare(monkeypatch, metrics_check.check_same, {"a": 1.0, "b": 2.0}, new)


def test_rounding_is_no_difference(monkeypatch):
    assert "All 1" in compare(monkeypatch, metrics_check.check_same, {"a": 1.0}, {"a": 1.0 + 1e-9})
