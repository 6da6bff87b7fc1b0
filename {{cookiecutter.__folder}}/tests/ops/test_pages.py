"""Reports of any model: intervals and curves as scikit-learn's, odd cases are named and drawn, links to the report."""

import xml.etree.ElementTree as ET

import numpy as np
import polars as pl
import pytest
from conftest import TREE
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from sklearn import metrics as skm

from penguin_model.config import Contract, Params
from penguin_model.errors import ProjectError
from penguin_model.ops.settings import PACKAGE
from penguin_model.ops.tracking import runs
from penguin_model.report import curves, intervals, plots, slices
from penguin_model.report.importance import Importances
from penguin_model.report.page import Findings, number, render
from penguin_model.steps import evaluate
from penguin_model.steps.evaluate import Predictions
from penguin_model.steps.search import Candidate

BOUNDED = {"type": "float", "nullable": True, "min": 1, "max": 2.5}
RANDOM = np.random.default_rng(0)


def predictions(truth) -> Predictions:
    """Predict the classes: more often right than not, and with ties."""
    random = np.random.default_rng(0)
    truth = np.array(truth)
    classes = np.unique(truth)
    probabilities = random.dirichlet(np.ones(len(classes)), len(truth)) + (truth[:, None] == classes)
    probabilities = np.round(10 * probabilities) + 1
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    predicted = classes[(probabilities + random.normal(0, 0.3, probabilities.shape)).argmax(axis=1)]
    return Predictions(truth, predicted, classes, probabilities)


def select(made: Predictions, rows) -> Predictions:
    """Return the predictions of some rows."""
    truth, predicted, classes, probabilities = made
    probabilities = None if probabilities is None else probabilities[rows]
    return Predictions(truth[rows], predicted[rows], classes, probabilities)


def draw(problem: str, made: Predictions, folder, candidates=()) -> Findings:
    """Draw and write everything about these predictions."""
    params = {
        "data": {"source": "t.csv", "problem": problem, "target": "y"},
        "split": {"holdout": 0.25, "seed": 1},
        "model": {"estimator": TREE[problem]},
        "gate": {"metric": "f1_macro" if problem == "classification" else "rmse"},
    }
    metrics = evaluate.metrics(problem, made)
    rows = pl.DataFrame({"a": range(len(made.truth))})
    findings = Findings(
        name="name",
        params=Params.model_validate(params),
        contract=Contract.model_validate({"columns": {"a": {"type": "string", "allowed": ["<x>", "y"]}, "b": BOUNDED}}),
        rows={"training": 3, "holdout": len(made.truth)},
        columns=rows.columns,
        metrics=metrics,
        intervals=intervals.intervals(problem, made, metrics, seed=1),
        notes=evaluate.notes(problem, made),
        slices=slices.worst(problem, rows, made),
        importance=Importances([], ""),
        candidates=candidates,
        origin={"git commit": "abc"},
    )
    plots.draw(problem, made, [], folder)
    plots.draw_search(candidates, "f1_macro", folder)
    curves.write(problem, made, folder / "curves")
    (folder / "report.html").write_text(render(findings, folder), encoding="utf-8")
    for plot in folder.glob("*.svg"):
        ET.parse(plot)  # noqa: S314 - drawn above
    return findings


@pytest.mark.parametrize(
    "truth",
    [["x", "y"] * 40, ["x", "y", "z", "x"] * 20, [True, False, True] * 30, list(range(12)) * 9],
    ids=["binary", "three", "boolean", "twelve"],
)
def test_unweighted_resample_has_scikit_learns_metrics(truth):
    made = predictions(truth)
    metrics = evaluate.metrics("classification", made)
    assert len(metrics) == 5
    whole = intervals.resampled("classification", made, np.ones((1, len(truth))))
    assert {name: pytest.approx(value[0]) for name, value in whole.items()} == metrics
    ranges = intervals.intervals("classification", made, metrics, seed=1)
    assert list(ranges) == list(metrics)
    assert all(ranges[name].low < value < ranges[name].high for name, value in metrics.items() if value != 1)
    assert ranges == intervals.intervals("classification", made, metrics, seed=1)


def test_intervals_of_regression_shrink_with_the_root_of_the_rows():
    truth = RANDOM.normal(size=20000)
    made = Predictions(truth, truth + RANDOM.normal(size=20000), None, None)
    metrics = evaluate.metrics("regression", made)
    whole = intervals.resampled("regression", made, np.ones((1, 20000)))
    assert {name: pytest.approx(value[0]) for name, value in whole.items()} == metrics
    few = intervals.intervals("regression", select(made, slice(200)), metrics, seed=1)["rmse"]
    many = intervals.intervals("regression", made, metrics, seed=1)["rmse"]
    assert 6 < (few.high - few.low) / (many.high - many.low) < 16  # the root of 100 is 10


def test_areas_are_not_computed_where_every_resample_lacks_a_class(monkeypatch):
    made = predictions([f"class {number}" for number in range(100)] * 2)
    monkeypatch.setattr(intervals, "_area", None)
    found = intervals.intervals("classification", made, {"accuracy": 0.5, "roc_auc": 0.5}, seed=0)
    assert set(found) == {"accuracy"}


def test_curves_are_those_of_the_most_frequent_classes(tmp_path):
    frequent = [number for number in range(300) if number % 3]
    made = predictions([*range(300), *frequent[:100]] * 6)
    assert list(curves.per_class(made, curves.roc)) == [str(number) for number in frequent[:100]]
    draw("classification", made, tmp_path)
    assert "the 8 worst of the 100 most frequent classes" in (tmp_path / "roc.svg").read_text(encoding="utf-8")
    assert "of which 2,000 are drawn" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_curves_are_scikit_learns():
    made = predictions(["x", "y"] * 40)
    by_class = curves.per_class(made, curves.roc)
    assert list(by_class) == ["y"]
    assert by_class["y"].area == pytest.approx(skm.roc_auc_score(made.truth == "y", made.probabilities[:, 1]))
    assert list(curves.per_class(predictions(["x", "y", "z"] * 30), curves.precision_recall)) == ["x", "y", "z"]
    exact = curves.calibration("regression", Predictions(np.arange(100.0), np.arange(100.0), None, None))
    assert np.allclose(exact.x, exact.y)
    assert len(exact.x) == 10
    assert curves.errors(Predictions(np.arange(5.0), np.zeros(5), None, None)).y[-1] == 4


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_tiny_holdout_is_named(rows, tmp_path):
    regression = Predictions(np.arange(3) + 0.5, np.arange(3) * 1.0, None, None)
    for problem, made in {"classification": predictions(["x", "y", "z"]), "regression": regression}.items():
        findings = draw(problem, select(made, slice(rows)), tmp_path / problem)
        assert findings.intervals == {}
        assert findings.notes[0].startswith(f"The holdout has only {rows} row(s)")
        assert findings.metrics


def test_class_that_the_holdout_or_the_model_lacks_is_named(tmp_path):
    made = predictions(["x", "y", "z"] * 20)
    lacking = select(made, made.truth != "z")
    findings = draw("classification", lacking, tmp_path / "lacking")
    assert "lacks 1 class(es), so roc_auc is undefined: z." in findings.notes[0]
    assert "roc_auc" not in findings.metrics
    with pytest.raises(ProjectError, match=r"The metric roc_auc is undefined.*Defined are f1_macro"):
        evaluate.metric("classification", "roc_auc", lacking)
    new = made._replace(truth=np.where(np.arange(60) == 0, "new", made.truth))
    findings = draw("classification", new, tmp_path / "new")
    assert "has 1 class(es) that the model has never seen: new." in findings.notes[0]
    assert set(findings.metrics) == {"f1_macro", "accuracy", "balanced_accuracy"}


def test_model_without_probabilities_has_no_curves(tmp_path):
    findings = draw("classification", predictions(["x", "y"] * 20)._replace(probabilities=None), tmp_path)
    assert "gives no probabilities" in findings.notes[0]
    assert {plot.name for plot in tmp_path.glob("*.svg")} == {"confusion_matrix.svg"}


def test_many_classes_and_odd_names_are_drawn(tmp_path):
    labels = [f"<b>{index}</b> & $x_1$ 漢字 and a long way to go" for index in range(60)]
    candidates = [
        Candidate({"C": 0.001, "p": None}, [0.1, 0.2]),
        Candidate({"C": 1.0, "p": "<l2>"}, [0.5, 0.6], chosen=True),
        Candidate({"C": -1.0, "p": 1}, [], "<why>"),
    ]
    draw("classification", predictions(labels * 5), tmp_path, candidates)
    drawn = {plot.stem for plot in tmp_path.glob("*.svg")}
    assert drawn == {"confusion_matrix", "roc", "precision_recall", "calibration", "search"}
    assert "others" in (tmp_path / "confusion_matrix.svg").read_text(encoding="utf-8")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "nullable; min 1; max 2.5</td>" in page
    assert "&lt;why&gt;" in page
    assert "<why>" not in page


def test_confusion_matrix_counts_every_row(tmp_path):
    truth, predicted = np.array(["x"] * 1234 + ["y"] * 8), np.array(["x"] * 1230 + ["y"] * 12)
    draw("classification", Predictions(truth, predicted, np.array(["x", "y"]), None), tmp_path)
    [*texts] = ET.parse(tmp_path / "confusion_matrix.svg").iter("{http://www.w3.org/2000/svg}text")  # noqa: S314
    assert [text.text for text in texts if text.text.isdigit()] == ["1230", "4", "0", "8"]


def test_same_predictions_give_the_same_plots(tmp_path):
    for name in ("one", "two"):
        draw("classification", predictions(["x", "y", "z"] * 20), tmp_path / name)
    for plot in (tmp_path / "one").glob("*.svg"):
        assert plot.read_bytes() == (tmp_path / "two" / plot.name).read_bytes()


def test_numbers_are_readable():
    assert [number(value) for value in (0.064281, 1, 150234.2, -1502.7)] == ["0.06428", "1", "150,234", "-1,503"]


def test_report_is_linked_in_prefect_and_kept_in_mlflow(trained):
    with get_client(sync_client=True) as client:
        of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[trained.state_details.flow_run_id]))
        artifacts = {artifact.key: artifact.data for artifact in client.read_artifacts(artifact_filter=of_run)}
    # Projects share servers.
    slug = PACKAGE.replace("_", "-")
    assert artifacts.keys() == {f"{slug}-training", f"{slug}-report"}
    client = runs.connect()
    run_id = client.get_model_version(PACKAGE, str(trained.result().version)).run_id
    assert client.get_run(run_id).info.artifact_uri + "/report.html" in artifacts[f"{slug}-report"]
    assert "report.html" in {file.path for file in client.list_artifacts(run_id)}
