"""The end of a training: judge the champion on the same rows, give the new version its alias, and see it in use."""

from pathlib import Path

import polars as pl
from prefect import get_run_logger, task
from prefect.runtime import flow_run
from sklearn.pipeline import Pipeline

from ..config import Data, Gate
from ..errors import ProjectError
from ..model import casting
from ..model.predictor import Predictor, Recipe
from ..ops import service
from ..ops.files import File
from ..ops.orchestration.policies import STEP
from ..ops.settings import PACKAGE, project_root
from ..ops.tracking import digests, packaging, registry, runs
from ..ops.tracking.history import new_entry
from ..ops.versioning.provenance import Provenance
from ..steps import evaluate
from ..steps.gate import Decision, Evaluation, NotComparable, decide, evaluate_slices


@task(name="promote", **STEP)
def choose_alias(
    gate: Gate, predictor: Predictor, metrics: dict[str, float], holdout: File, origin: Provenance
) -> tuple[Decision, int | None]:
    """Check the model against the gate and the champion on the same rows; return the decision and the champion."""
    rows = holdout.scan().collect()
    recipe = predictor.recipe
    challenger = Evaluation(metrics)
    if gate.slices:
        evaluation = _evaluate(gate, recipe.data, predictor.pipeline, predictor.columns(rows), rows)
        challenger = evaluation._replace(metrics=metrics)
    champion = registry.reconcile().champion
    rival = evaluate_champion(champion, gate, recipe, rows) if champion else None
    decision = decide(gate, challenger, rival)
    if champion and isinstance(rival, Evaluation) and _trained_on_other_rows(champion, recipe, origin):
        note = "which was trained on other data or another split, perhaps on some of these rows"
        decision = decision._replace(reason=f"{decision.reason}; the champion is version {champion}, {note}")
    get_run_logger().info("%s: %s", decision.alias.capitalize(), decision.reason)
    return decision, champion


def _evaluate(gate: Gate, data: Data, pipeline: Pipeline, columns: pl.DataFrame, rows: pl.DataFrame) -> Evaluation:
    predictions = evaluate.predict(pipeline, columns, rows.get_column(data.target))
    metrics = evaluate.metrics(data.problem, predictions)
    return Evaluation(metrics, evaluate_slices(data.problem, gate, rows, predictions))


def evaluate_champion(champion: int, gate: Gate, recipe: Recipe, rows: pl.DataFrame) -> Evaluation | NotComparable:
    """Judge the champion on the rows, or return why that is impossible and whether it is replaced for that.

    It is replaced after a decision of the owner: another target, or rows that lack columns or types that it needs.
    Files that cannot be read stop the run: an unreachable storage is no reason to replace a champion. A champion whose
    files are not the ones that were registered is not loaded, and stays.
    """
    try:
        with registry.load(champion) as package:
            return _evaluate_package(package, gate, recipe, rows)
    except digests.TamperedError as error:
        return NotComparable(str(error).rstrip("."), replaced=False)


def _evaluate_package(
    package: packaging.Package, gate: Gate, recipe: Recipe, rows: pl.DataFrame
) -> Evaluation | NotComparable:
    name = f"the champion, version {package.version.number},"
    try:
        with package.loaded() as predictor:
            old, new = predictor.recipe.data, recipe.data
            if (old.problem, old.target) != (new.problem, new.target):
                return NotComparable(f"{name} does {old.problem} of '{old.target}'", replaced=True)
            was, now = (of.contract.columns[new.target].type for of in (predictor.recipe, recipe))
            if was != now and not {was, now} <= {"integer", "float"}:
                return NotComparable(f"{name} predicts '{new.target}' as {was}, and now it is {now}", replaced=True)
            try:
                columns = predictor.columns(rows)
            except Exception as error:
                # The class belongs to the champion's own package.
                if type(error).__name__ != ProjectError.__name__:
                    raise
                reason = f"{name} cannot take these rows: {str(error)[:500].rstrip('.')}"
                return NotComparable(reason, replaced=True)
            return _evaluate(gate, new, predictor.pipeline, columns, rows)
    except OSError:
        raise
    except ProjectError as error:
        return NotComparable(str(error).rstrip("."), replaced=False)
    except Exception as error:  # noqa: BLE001 - its code and pipeline may be of any age
        fault, remedy = packaging.summary(error), digests.REMEDY
        reason = f"{name} failed on these rows ({fault}), so nothing was compared; {remedy}"
        return NotComparable(reason, replaced=False)


def _trained_on_other_rows(champion: int, recipe: Recipe, origin: Provenance) -> bool:
    other, source = Provenance.read(registry.get(champion).tags), recipe.data.source
    return (other.split, other.inputs.get(source)) != (origin.split, origin.inputs.get(source))


@task(name="register", **STEP)
def register_model(
    recipe: Recipe, models: Path, table: File, origin: Provenance, verdict: tuple[Decision, int | None]
) -> tuple[int, Decision]:
    """Log the model, register it as the next version, and make that the champion if it was decided so."""
    example = casting.conform(table.scan().head(5), recipe.inputs).collect()
    uri, recorded = runs.log_model(project_root() / models, recipe, example)
    decision, champion = verdict
    version = registry.register(uri, origin.tags() | recorded | {"reason": decision.reason})
    if decision.alias == "champion":
        decision = _promote(version, decision, champion)
    registry.reconcile()
    get_run_logger().info("Registered %s version %d as %s", PACKAGE, version, decision.alias)
    return version, decision


def _promote(version: int, decision: Decision, champion: int | None) -> Decision:
    """Move the alias; if another command has moved it since the decision, the new version is a challenger."""
    if registry.reconcile().champion == version:
        return decision  # an earlier try did it
    by = f"flow run {flow_run.name} ({flow_run.id})"
    move = new_entry("training", by, champion, version, decision.reason, registry.get(version).metrics)
    try:
        registry.promote(move)
    except registry.OvertakenError as error:
        get_run_logger().warning("%s", error)
        registry.set_tag(version, "reason", str(error))
        return Decision("challenger", str(error))
    return decision


@task(name="deploy", **STEP)
def deploy(version: int) -> str:
    """Wait until the service of .env serves the version, and say so; one that does not is only a warning."""
    log = get_run_logger()
    deployment = service.deployed(version, log.info)
    (log.info if deployment.followed else log.warning)("%s", deployment.text)
    return deployment.text
