"""The task that judges the model: metrics, plots and series for DVC, and the report."""

import json
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import polars as pl
from prefect import get_run_logger, task
from prefect.artifacts import create_link_artifact
from prefect.cache_policies import NO_CACHE

from .. import tracking
from ..params import Params
from ..predictor import Predictor
from ..settings import root
from ..steps import curves, evaluate, plots, report
from ..steps.importance import importance
from ..steps.intervals import intervals
from ..steps.search import Tried
from ..steps.slices import worst
from .policies import RETRIED, File

METRICS = Path("reports/metrics.json")
PLOTS = Path("reports/plots")
SERIES = Path("reports/series")
REPORT = Path("reports/report.html")


@task(name="evaluate", timeout_seconds=3600, cache_policy=NO_CACHE, **RETRIED)
def evaluate_model(
    predictor: Predictor, files: Sequence[File], params: Params, tried: Sequence[Tried], origin: Mapping[str, str]
) -> dict[str, float]:
    """Judge the model on the second file; write metrics, plots and series for DVC to compare, and the report."""
    learned, kept = files
    problem, target, seed = params.data.problem, params.data.target, params.split.seed
    holdout = pl.read_parquet(kept.full)
    rows, truth = predictor.columns(holdout), holdout[target]
    made = evaluate.predict(predictor.pipeline, rows, truth)
    metrics = evaluate.metrics(problem, made)
    known = pl.read_parquet(learned.full, columns=[target])[target]
    metrics |= evaluate.judge_dummy(problem, params.gate.metric, known, truth)
    worse = evaluate.worse_than_dummy(params.gate.metric, metrics)
    found = report.Findings(
        name=tracking.NAME,
        params=params,
        contract=predictor.recipe.contract,
        rows={"learned": len(known), "judged": holdout.height},
        columns=predictor.recipe.columns,
        metrics=metrics,
        intervals=intervals(problem, made, metrics, seed),
        notes=[*evaluate.notes(problem, made), *([f"{worse}."] if worse else [])],
        slices=worst(problem, holdout.drop(target), made),
        importance=importance(predictor.pipeline, rows, truth, params),
        tried=tried,
        origin=dict(origin) | {name: version(name) for name in ("scikit-learn", "skrub", "polars")},
    )
    for folder in (PLOTS, SERIES):
        shutil.rmtree(root() / folder, ignore_errors=True)
    plots.draw(problem, made, found.importance, root() / PLOTS)
    plots.draw_search(tried, params.search.metric or params.gate.metric, root() / PLOTS)
    curves.write(problem, made, root() / SERIES / "curves")
    listed = pl.DataFrame(found.importance, schema=["column", "importance", "spread"], orient="row")
    listed.write_csv(root() / SERIES / "importance.csv")
    (root() / REPORT).write_text(report.render(found, root() / PLOTS), encoding="utf-8")
    (root() / METRICS).write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    for note in found.notes:
        get_run_logger().warning(note)
    get_run_logger().info("Holdout: %s", ", ".join(evaluate.compared(metrics)))
    return metrics


def link_report(run_id: str) -> None:
    """Link the report, as MLflow keeps it, to the flow run."""
    link = tracking.link(run_id, REPORT.name)
    create_link_artifact(link, "Report", key="report", description="Metrics, plots, and what made the model")
