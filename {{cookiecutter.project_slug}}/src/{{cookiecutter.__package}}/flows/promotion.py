"""The end of a training: the champion is judged on the same rows, and the new version gets its alias."""

from pathlib import Path
from typing import NamedTuple

import polars as pl
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run
from sklearn.pipeline import Pipeline

from .. import packed, registry, tracking
from ..errors import ProjectError
from ..params import Data, Gate
from ..predictor import Predictor, Recipe
from ..settings import root
from ..steps import evaluate, ingest, promote
from ..steps.promote import Decision, Judged, Unjudged
from .policies import RETRIED, File


class Verdict(NamedTuple):
    """What was decided, against which champion (None: there was none), by which metrics of the new model."""

    decision: Decision
    champion: int | None
    metrics: dict[str, float]


@task(name="promote", timeout_seconds=3600, cache_policy=NO_CACHE, **RETRIED)
def choose_alias(
    gate: Gate, predictor: Predictor, metrics: dict[str, float], holdout: File, tags: dict[str, str]
) -> Verdict:
    """Hold the model against the gate, and against the champion on the same rows."""
    rows = pl.read_parquet(holdout.full)
    recipe = predictor.recipe
    challenger = Judged(metrics)
    if gate.slices:
        judged = _judge(gate, recipe.data, predictor.pipeline, predictor.columns(rows), rows)
        challenger = judged._replace(metrics=metrics)
    champion = registry.reign().champion
    rival = judge_champion(champion, gate, recipe, rows) if champion else None
    decision = promote.decide(gate, challenger, rival)
    if champion and isinstance(rival, Judged) and _learned_elsewhere(champion, recipe, tags):
        note = "whose data or split were others: it may have learned from some of these rows"
        decision = decision._replace(reason=f"{decision.reason}; the champion is version {champion}, {note}")
    get_run_logger().info("%s: %s", decision.alias.capitalize(), decision.reason)
    return Verdict(decision, champion, metrics)


def _judge(gate: Gate, data: Data, pipeline: Pipeline, columns: pl.DataFrame, rows: pl.DataFrame) -> Judged:
    made = evaluate.predict(pipeline, columns, rows.get_column(data.target))
    return Judged(evaluate.metrics(data.problem, made), promote.slices(data.problem, gate, rows, made))


def judge_champion(champion: int, gate: Gate, recipe: Recipe, rows: pl.DataFrame) -> Judged | Unjudged:
    """Judge the champion on the rows, or say why it cannot be, and whether it is replaced for that.

    It is replaced for what the owner has decided: another target, or rows without columns or types that it needs.
    What cannot be read stops the run: a storage that is away says nothing of the champion.
    """
    name = f"the champion, version {champion},"
    with packed.downloaded(registry.get(champion)) as folder:
        try:
            with packed.unpacked(folder, champion) as predictor:
                was, now = predictor.recipe.data, recipe.data
                if (was.problem, was.target) != (now.problem, now.target):
                    return Unjudged(f"{name} does {was.problem} of '{was.target}'", replaced=True)
                try:
                    columns = predictor.columns(rows)
                except Exception as error:
                    # The class is that of the champion's own package.
                    if type(error).__name__ != ProjectError.__name__:
                        raise
                    return Unjudged(f"{name} cannot take these rows: {str(error)[:500].rstrip('.')}", replaced=True)
                return _judge(gate, now, predictor.pipeline, columns, rows)
        except OSError:
            raise
        except ProjectError as error:
            return Unjudged(str(error).rstrip("."), replaced=False)
        except Exception as error:  # noqa: BLE001 - its code and its pipeline may be of any age
            said = f"{name} failed on these rows ({packed.summary(error)}), so nothing was compared; {packed.REMEDY}"
            return Unjudged(said, replaced=False)


def _learned_elsewhere(champion: int, recipe: Recipe, tags: dict[str, str]) -> bool:
    theirs = registry.get(champion).tags
    return any(theirs.get(name) != tags.get(name) for name in ("split", f"input.{recipe.data.source}"))


@task(name="register", timeout_seconds=3600, cache_policy=NO_CACHE, **RETRIED)
def register_model(
    recipe: Recipe, models: Path, table: File, tags: dict[str, str], verdict: Verdict
) -> tuple[int, Decision]:
    """Log the model, make it the next registered version, and make that the champion if it was decided so."""
    example = ingest.conform(pl.scan_parquet(table.full).head(5), recipe.inputs).collect()
    uri = tracking.log_model(root() / models, recipe, example)
    decision = verdict.decision
    version = registry.register(uri, tags | {"reason": decision.reason})
    if decision.alias == "champion":
        decision = _promote(version, verdict)
    registry.reign()
    get_run_logger().info("Registered %s version %d as %s", tracking.NAME, version, decision.alias)
    return version, decision


def _promote(version: int, verdict: Verdict) -> Decision:
    """Move the alias; if another command has moved it since the decision, the new version stays a challenger."""
    if registry.reign().champion == version:
        return verdict.decision  # by an earlier try
    by = f"flow run {flow_run.name} ({flow_run.id})"
    move = registry.entry("training", by, verdict.champion, version, verdict.decision.reason, verdict.metrics)
    try:
        registry.promote(move)
    except registry.OvertakenError as error:
        get_run_logger().warning("%s", error)
        registry.explain(version, str(error))
        return Decision("challenger", str(error))
    return verdict.decision
