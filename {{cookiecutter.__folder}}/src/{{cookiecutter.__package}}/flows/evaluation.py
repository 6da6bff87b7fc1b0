"""The task that judges the model and writes metrics, plots and series for DVC, the report, and the model's profile."""

import json
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import polars as pl
from prefect import get_run_logger, task

from ..config import Params
from ..model.predictor import Predictor
from ..ops.files import File
from ..ops.orchestration.policies import STEP
from ..ops.paths import METRICS, MODELS, PLOTS, PROFILE, REPORT, SERIES
from ..ops.settings import PACKAGE, project_root
from ..ops.versioning.provenance import Provenance
from ..report import curves, page, plots
from ..report.importance import Importance, importance
from ..report.intervals import intervals
from ..report.slices import worst
from ..steps import evaluate, grouping, leakage
from ..steps.profile import Holdout, Profile
from ..steps.search import Candidate


@task(name="evaluate", **STEP)
def evaluate_model(
    predictor: Predictor,
    files: Sequence[File],
    params: Params,
    candidates: Sequence[Candidate],
    origin: tuple[str, Provenance],
) -> dict[str, float]:
    """Judge the model on the holdout, the second file; write the metrics, plots, series, report and profile."""
    training_file, holdout_file = files
    problem, target, seed = params.data.problem, params.data.target, params.split.seed
    holdout = holdout_file.scan().collect()
    rows, truth = predictor.columns(holdout), holdout[target]
    predictions = evaluate.predict(predictor.pipeline, rows, truth)
    metrics = evaluate.metrics(problem, predictions)
    labels = training_file.scan().select(target).collect()[target]
    metrics |= evaluate.judge_dummy(problem, params.gate.metric, labels, truth)
    spans = intervals(problem, predictions, metrics, seed)
    doubt = evaluate.doubt(params.gate.metric, metrics, spans.get(params.gate.metric))
    columns = [name for name in predictor.recipe.columns if name != params.split.column]
    leaks = leakage.notes(training_file.scan(), columns, target, problem)
    if params.split.column is None:
        leaks += grouping.notes(training_file.scan(), target)
    findings = page.Findings(
        name=PACKAGE,
        params=params,
        contract=predictor.recipe.contract,
        rows={"training": len(labels), "holdout": holdout.height},
        columns=predictor.recipe.columns,
        metrics=metrics,
        intervals=spans,
        notes=[*evaluate.notes(problem, predictions), *doubt, *leaks],
        slices=worst(problem, holdout.drop(target), predictions),
        importance=importance(predictor.pipeline, rows, truth, params),
        candidates=candidates,
        origin=_origin(*origin),
    )
    for folder in (PLOTS, SERIES):
        shutil.rmtree(project_root() / folder, ignore_errors=True)
    plots.draw(problem, predictions, findings.importance.columns, project_root() / PLOTS)
    plots.draw_search(candidates, params.search.metric or params.gate.metric, project_root() / PLOTS)
    curves.write(problem, predictions, project_root() / SERIES / "curves")
    write_importance(findings.importance.columns, project_root() / SERIES / "importance.csv")
    (project_root() / REPORT).write_text(page.render(findings, project_root() / PLOTS), encoding="utf-8")
    (project_root() / METRICS).write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    made = Holdout.of(problem, predictions, metrics, findings.intervals)
    profile = Profile.of(training_file.scan().select(predictor.recipe.columns), made)
    (project_root() / MODELS / PROFILE).write_text(profile.model_dump_json(exclude_none=True), encoding="utf-8")
    for note in findings.notes:
        get_run_logger().warning(note)
    get_run_logger().info("Holdout: %s", ", ".join(evaluate.compared(metrics)))
    return metrics


def write_importance(importances: Sequence[Importance], file: Path) -> None:
    """Write the importance of each column as CSV."""
    table = pl.DataFrame(importances, schema=["column", "importance", "spread"], orient="row")
    # A spreadsheet would read such a name as a formula.
    table.with_columns(pl.col("column").str.replace(r"^[=+\-@\t\r\n]", "'${0}")).write_csv(file)


def _origin(run_id: str, origin: Provenance) -> dict[str, str]:
    """Return the run, code, data and libraries for the report."""
    return {
        "MLflow run": run_id,
        "time": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "git commit": origin.code,
        "Prefect flow run": origin.flow_run_name,
        **{f"{path} (MD5)": md5 for path, md5 in origin.inputs.items()},
        **{name: version(name) for name in ("scikit-learn", "skrub", "polars")},
    }
