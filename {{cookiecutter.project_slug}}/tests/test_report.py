"""Intervals, curves, importance, slices, plots and report: right where they can be told, plain where they cannot."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import polars as pl
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from sklearn import metrics as skm

from penguin_model.config import Contract, Params
from penguin_model.errors import ProjectError
from penguin_model.ops.settings import PACKAGE, project_root, read_params
from penguin_model.ops.tracking import runs
from penguin_model.report import curves, intervals, plots, slices
from penguin_model.report.importance import importance
from penguin_model.report.page import Findings, render
from penguin_model.steps import evaluate, train
from penguin_model.steps.evaluate import Predictions
from penguin_model.steps.search import Candidate

RANDOM = np.random.default_rng(0)
TREE = {"classification": "sklearn.tree.DecisionTreeClassifier", "regression": "sklearn.tree.DecisionTreeRegressor"}


def predictions(truth, seed: int = 0) -> Predictions:
    """Let a model say something about the truth: right more often than not."""
    random = np.random.default_rng(seed)
    truth = np.array(truth)
    classes = np.unique(truth)
    probabilities = random.dirichlet(np.ones(len(classes)), len(truth)) + (truth[:, None] == classes)
    probabilities = np.round(10 * probabilities) + 1  # so that there are ties
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return Predictions(
        truth,
        classes[(probabilities + random.normal(0, 0.3, probabilities.shape)).argmax(axis=1)],
        classes,
        probabilities,
    )


def params(problem: str, target: str = "y", **model) -> Params:
    metric = "f1_macro" if problem == "classification" else "rmse"
    return Params.model_validate(
        {
            "data": {"source": "t.csv", "problem": problem, "target": target},
            "split": {"holdout": 0.25, "seed": 1},
            "model": {"estimator": TREE[problem]} | model,
            "gate": {"metric": metric},
        }
    )


def draw(problem: str, made: Predictions, folder, table: pl.DataFrame | None = None, candidates=()) -> Findings:
    """Draw and write everything about these predictions."""
    found = evaluate.metrics(problem, made)
    rows = pl.DataFrame({"a": range(len(made.truth))}) if table is None else table
    findings = Findings(
        name="name",
        params=params(problem),
        contract=Contract.model_validate({"columns": {"a": {"type": "string", "allowed": ["<x>", "y"]}}}),
        rows={"training": 3, "holdout": len(made.truth)},
        columns=rows.columns,
        metrics=found,
        intervals=intervals.intervals(problem, made, found, seed=1),
        notes=evaluate.notes(problem, made),
        slices=slices.worst(problem, rows, made),
        importance=[],
        candidates=candidates,
        origin={"git commit": "abc"},
    )
    plots.draw(problem, made, [], folder)
    plots.draw_search(candidates, "f1_macro", folder)
    curves.write(problem, made, folder / "curves")
    (folder / "report.html").write_text(render(findings, folder))
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
    found = evaluate.metrics("classification", made)
    assert len(found) == 5
    whole = intervals.resampled("classification", made, np.ones((1, len(truth))))
    assert {name: pytest.approx(value[0]) for name, value in whole.items()} == found
    ranges = intervals.intervals("classification", made, found, seed=1)
    assert list(ranges) == list(found)
    assert all(ranges[name].low < value < ranges[name].high for name, value in found.items() if value != 1)
    assert ranges == intervals.intervals("classification", made, found, seed=1)


def test_regression_has_intervals_and_a_part_tells_of_the_whole():
    truth = RANDOM.normal(size=20000)
    made = Predictions(truth, truth + RANDOM.normal(size=20000), None, None)
    found = evaluate.metrics("regression", made)
    whole = intervals.resampled("regression", made, np.ones((1, 20000)))
    assert {name: pytest.approx(value[0]) for name, value in whole.items()} == found
    few = intervals.intervals("regression", Predictions(truth[:200], made.predicted[:200], None, None), found, seed=1)
    many = intervals.intervals("regression", made, found, seed=1)
    assert (
        6 < (few["rmse"].high - few["rmse"].low) / (many["rmse"].high - many["rmse"].low) < 16
    )  # the root of 100 is 10


def test_curves_are_scikit_learns():
    made = predictions(["x", "y"] * 40)
    found = curves.per_class(made, curves.roc)
    assert list(found) == ["y"]
    assert found["y"].area == pytest.approx(skm.roc_auc_score(made.truth == "y", made.probabilities[:, 1]))
    three = curves.per_class(predictions(["x", "y", "z"] * 30), curves.precision_recall)
    assert list(three) == ["x", "y", "z"]
    said = curves.calibration("regression", Predictions(np.arange(100.0), np.arange(100.0), None, None))
    assert np.allclose(said.x, said.y)
    assert len(said.x) == 10
    assert curves.errors(Predictions(np.arange(5.0), np.zeros(5), None, None)).y[-1] == 4


def test_the_column_that_decides_is_the_important_one():
    rows = pl.DataFrame({"noise": RANDOM.normal(size=300), "signal": RANDOM.normal(size=300)})
    truth = rows["signal"].rename("y") * 10
    fitted = train.fit(train.build_pipeline("regression", TREE["regression"], {"max_depth": 5}, 1), rows, truth)
    found = importance(fitted, rows, truth, params("regression"))
    assert [one.column for one in found] == ["signal", "noise"]
    assert found[0].mean > 5
    assert abs(found[1].mean) < 1
    assert found == importance(fitted, rows, truth, params("regression"))


def test_worst_slice_comes_first():
    rows = pl.DataFrame(
        {"kind": ["a"] * 30 + ["b"] * 30 + [None] * 30 + ["few"] * 3, "id": [str(n) for n in range(93)]}
    )
    made = Predictions(np.array(["x"] * 93), np.array(["x"] * 30 + ["y"] * 30 + ["x"] * 20 + ["y"] * 13), None, None)
    found = slices.worst("classification", rows, made)
    assert [(one.value, one.rows, round(one.error, 2)) for one in found] == [
        ("b", 30, 1),
        ("missing", 30, 0.33),
        ("a", 30, 0),
    ]


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_tiny_holdout_is_said_to_be_one(rows, tmp_path):
    for problem, made in {
        "classification": predictions(["x", "y", "z"])._replace(truth=np.array(["x", "y", "z"][:rows])),
        "regression": Predictions(np.arange(rows) + 0.5, np.arange(rows) * 1.0, None, None),
    }.items():
        part = Predictions(
            made.truth,
            made.predicted[:rows],
            made.classes,
            None if made.probabilities is None else made.probabilities[:rows],
        )
        said = draw(problem, part, tmp_path / problem)
        assert said.intervals == {}
        assert said.notes[0].startswith(f"The holdout has only {rows} row(s)")
        assert said.metrics


def test_class_that_the_holdout_lacks_or_the_model_does_not_know_is_named(tmp_path):
    made = predictions(["x", "y", "z"] * 20)
    lacking = Predictions(
        *(column[made.truth != "z"] for column in (made.truth, made.predicted)),
        made.classes,
        made.probabilities[made.truth != "z"],
    )
    said = draw("classification", lacking, tmp_path / "lacking")
    assert "lacks 1 class(es), so roc_auc is undefined: z" in said.notes[0]
    assert "roc_auc" not in said.metrics
    with pytest.raises(ProjectError, match=r"The metric roc_auc is undefined.*Defined are f1_macro"):
        evaluate.metric("classification", "roc_auc", lacking)
    new = made._replace(truth=np.where(np.arange(60) == 0, "new", made.truth))
    said = draw("classification", new, tmp_path / "new")
    assert "has 1 class(es) that the model has never seen: new" in said.notes[0]
    assert set(said.metrics) == {"f1_macro", "accuracy", "balanced_accuracy"}


def test_model_without_chances_has_no_curves(tmp_path):
    said = draw("classification", predictions(["x", "y"] * 20)._replace(probabilities=None), tmp_path)
    assert "gives no probabilities" in said.notes[0]
    assert {plot.name for plot in tmp_path.glob("*.svg")} == {"confusion_matrix.svg"}


def test_many_classes_and_odd_names_are_drawn(tmp_path):
    labels = [f"<b>{number}</b> & $x_1$ 漢字 and a long way to go" for number in range(60)]
    tried = [
        Candidate({"C": 0.001, "p": None}, [0.1, 0.2]),
        Candidate({"C": 1.0, "p": "<l2>"}, [0.5, 0.6], chosen=True),
    ]
    draw(
        "classification",
        predictions(labels * 5),
        tmp_path,
        candidates=[*tried, Candidate({"C": -1.0, "p": 1}, [], "<why>")],
    )
    assert {plot.stem for plot in tmp_path.glob("*.svg")} == {
        "confusion_matrix",
        "roc",
        "precision_recall",
        "calibration",
        "search",
    }
    text = (tmp_path / "report.html").read_text()
    assert "others" in (tmp_path / "confusion_matrix.svg").read_text()
    assert "&lt;why&gt;" in text
    assert "<why>" not in text


def test_drawn_again_it_is_the_same(tmp_path):
    for name in ("one", "two"):
        draw("classification", predictions(["x", "y", "z"] * 20), tmp_path / name)
    for plot in (tmp_path / "one").glob("*.svg"):
        assert plot.read_bytes() == (tmp_path / "two" / plot.name).read_bytes()


def test_projects_report_says_all_and_loads_nothing(trained):
    text = (project_root() / "reports/report.html").read_text()
    plain = re.sub(r'src="data:[^"]+"', "", text)
    assert not re.search(r"(src|href)=|https?://|url\(|@import", plain)
    asked = read_params()
    for said in (
        asked.data.target,
        asked.model.estimator,
        *(name.removeprefix("dummy.") for name in trained.result().metrics),
        *(f"dummy {value:.4g}" for name, value in trained.result().metrics.items() if name.startswith("dummy.")),
        "contract",
        "git commit",
        "(MD5)",
    ):
        assert said in plain
    drawn = {plot.name for plot in (project_root() / "reports/plots").iterdir()}
    assert text.count("data:image/svg+xml") == len(drawn)
    expected = {"confusion_matrix.svg", "roc.svg"} if asked.data.problem == "classification" else {"residuals.svg"}
    assert expected | {"calibration.svg"} <= drawn
    assert pl.read_csv(project_root() / "reports/series/curves/calibration.csv").columns == ["x", "y"]


def test_report_is_linked_in_prefect_and_kept_in_mlflow(trained):
    with get_client(sync_client=True) as client:
        of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[trained.state_details.flow_run_id]))
        [link] = [one for one in client.read_artifacts(artifact_filter=of_run) if one.key == "report"]
    client = runs.connect()
    run_id = client.get_model_version(PACKAGE, str(trained.result().version)).run_id
    assert client.get_run(run_id).info.artifact_uri + "/report.html" in link.data
    assert "report.html" in {file.path for file in client.list_artifacts(run_id)}
