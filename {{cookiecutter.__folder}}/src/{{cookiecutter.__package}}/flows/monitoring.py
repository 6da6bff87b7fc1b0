"""The monitoring flow: compares rows with what the champion was trained on; repeated drift starts the retraining."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.runtime import flow_run
from pydantic import PositiveFloat

from ..errors import ProjectError
from ..ops.files import write_text
from ..ops.markdown import escape
from ..ops.notify.channel import NOTIFIED
from ..ops.orchestration.policies import STEP
from ..ops.orchestration.results import MonitoringResult
from ..ops.paths import DRIFT, DRIFT_PAGE, LABELS, PROFILE, ROWS
from ..ops.predictions import find
from ..ops.settings import PACKAGE, artifact_key, project_root
from ..ops.tracking import comparisons, runs
from ..ops.tracking.comparisons import Comparison
from ..ops.versioning.provenance import FLOW_RUN
from ..report import drift, drift_page
from ..report.drift import Drift
from . import recorded
from .retrain_on_drift import DEFAULT, DRIFTED, Policy, respond
from .scoring import Rows, champion_version, contract_of, load, read_rows

# How many columns MLflow and Prefect get; drift.json has all.
MAX_COLUMNS = 200
NOTHING_MOVED = "No column has moved further than chance explains."


@flow(name="monitoring", **NOTIFIED)
def monitoring(
    source: str | None = None,
    labels: str | None = None,
    on: list[str] | None = None,
    threshold: PositiveFloat = 0.2,
    policy: Policy = DEFAULT,
) -> MonitoringResult:
    """Compare rows with the champion's training data; the verdict is fine, watch, drifted, or too few rows.

    `source` is as for scoring, or has predictions that scoring or the service recorded: those of the champion are
    compared as they are, and with those of a challenger. The target of the rows, or of `labels`, a table that is joined
    by the columns `on`, gives metrics. A column has drifted if its PSI is above `threshold` and above what chance
    explains. `policy` says when drift starts the retraining.
    """
    version = champion_version()
    rows = read_rows(source, None, contract_of(version), ROWS)
    known = read_labels(labels, on, rows, version) if labels else None
    result = compare_rows(rows, known, version, threshold, labelled=source is None and labels is None)
    origin = {
        "source": rows.source,
        "MD5": rows.md5,
        "time": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "Prefect flow run": str(flow_run.name),
    }
    write = partial(write_page, result, comparisons.recent(drift_page.MAX_COMPARISONS - 1), origin)
    write()
    comparison = record(result, origin)

    def publish(outcome: str) -> None:
        write(outcome)
        comparisons.note(comparison.run_id, outcome, [project_root() / DRIFT_PAGE])

    level = logging.WARNING if result.verdict == DRIFTED else logging.INFO
    get_run_logger().log(level, "%s: %s", result.verdict.capitalize(), " ".join(result.reasons) or NOTHING_MOVED)
    for note in result.notes:
        get_run_logger().info(note)
    retraining = ""
    if result.verdict == DRIFTED:
        retraining = respond(comparison, cause(result), policy, publish)
        get_run_logger().info(retraining)
    show(result, retraining, runs.link(comparison.run_id, DRIFT_PAGE.name))
    return MonitoringResult(result.version, result.verdict, result.reasons, result.drifted, retraining)


def read_labels(labels: str, on: Sequence[str] | None, rows: Rows, version: int) -> tuple[Rows, list[str]]:
    """Read a table of labels; return it and the columns that join it, of recorded predictions by default their keys."""
    names = rows.scan().collect_schema().names()
    if not on and not recorded.is_recorded(names):
        raise ProjectError(
            f"--labels needs --on, the column(s) that join it to the rows; these have {', '.join(names)}."
        )
    known = read_rows(labels, None, contract_of(version), LABELS)
    return known, list(on) if on else [str(find(name, names)) for name in recorded.KEYS]


@task(name="compare", **STEP)
def compare_rows(
    rows: Rows, labels: tuple[Rows, list[str]] | None, version: int, threshold: float, *, labelled: bool
) -> Drift:
    """Compare the rows, or those of them that the version has predicted, with its profile."""
    predictor, profile = load(version)
    if profile is None:
        raise ProjectError(f"Version {version} has no {PROFILE} of its training data; newly trained versions have it.")
    table = rows.scan()
    data = predictor.recipe.data
    if labels:
        table = recorded.with_labels(table, labels[0].scan(), labels[1], data.target)
    compare = partial(drift.compare_table, version=version, threshold=threshold, labelled=labelled)
    if not recorded.is_recorded(table.collect_schema().names()):
        return compare(table, predictor, profile)
    classes = getattr(predictor.pipeline, "classes_", None)
    recordings = partial(recorded.outputs, classes=classes)
    result = compare(recorded.of_champion(table, version), predictor, profile, recorded=recordings)
    challenger = recorded.shadow(table, version, data.problem, data.target)
    notes = [*result.notes, *(challenger.sentences() if challenger else [])]
    return result.model_copy(update={"notes": notes})


def write_page(result: Drift, history: Sequence[Comparison], origin: dict[str, str], retraining: str = "") -> None:
    """Write the page and all numbers into the folder of reports; `retraining` is what came of it so far."""
    past = [
        drift_page.Comparison(each.when, each.version, each.verdict, each.of(result.values), each.retraining)
        for each in reversed(history)
    ]
    this = drift_page.Comparison(datetime.now(UTC), result.version, result.verdict, result.values, retraining)
    findings = drift_page.Findings(PACKAGE, result, [*past, this], origin)
    write_text(DRIFT, result.model_dump_json(indent=2) + "\n")
    write_text(DRIFT_PAGE, drift_page.render(findings))


@task(name="record", **STEP)
def record(result: Drift, origin: dict[str, str]) -> Comparison:
    """Record the comparison in MLflow."""
    tags = {
        comparisons.VERSION: str(result.version),
        comparisons.VERDICT: result.verdict,
        comparisons.REASONS: " ".join(result.reasons),
        FLOW_RUN: str(flow_run.id),
        **{f"monitoring.{key}": value for key, value in origin.items()},
    }
    few = result.model_copy(update={"columns": result.columns[:MAX_COLUMNS]})
    values = {"rows": float(result.rows), **few.values}
    return comparisons.record(tags, values, [project_root() / DRIFT_PAGE, project_root() / DRIFT])


def show(result: Drift, retraining: str, link: str) -> None:
    """Show the verdict, the columns and a link to the page in Prefect."""
    table = [
        {
            "column": escape(each.column),
            "PSI": round(each.psi, 4),
            "limit": round(each.limit, 4),
            "verdict": each.verdict,
            "missing": f"{each.missing_before:.1%} → {each.missing_now:.1%}",
        }
        for each in [*result.predictions, *result.columns[:MAX_COLUMNS]]
    ]
    create_table_artifact(
        table, key=artifact_key("drift"), description=f"PSI against the training data of version {result.version}"
    )
    sentences = " ".join(map(escape, [*result.reasons, retraining]))
    verdict = f"Version {result.version} of {PACKAGE}: **{result.verdict}**. {sentences}"
    create_markdown_artifact(
        verdict, key=artifact_key("verdict"), description="Have the rows drifted from the training data?"
    )
    create_link_artifact(
        link, "Drift", key=artifact_key("drift-page"), description="Columns, pictures, and the last comparisons"
    )


def cause(result: Drift) -> str:
    """Say in a few words why the verdict is "drifted", for the lineage of the next model."""
    drifted = [each for each in [*result.columns, *result.predictions] if each.drifted][:3]
    words = [f"{each.column} PSI {each.psi:.2f} > {each.limit:.2f}" for each in drifted]
    worse = [each for each in result.metrics if each.drifted]
    words += [f"{each.metric} {each.current:.4g} instead of {each.holdout:.4g}" for each in worse]
    return ", ".join(words)
