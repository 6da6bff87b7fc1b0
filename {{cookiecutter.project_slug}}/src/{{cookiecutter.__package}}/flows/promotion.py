"""The end of a training: the champion is judged on the same rows, and the new version gets its alias."""

from pathlib import Path
from typing import NamedTuple

import polars as pl
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from .. import packed, registry, tracking
from ..params import Gate
from ..predictor import Predictor, Recipe
from ..settings import root
from ..steps import evaluate, ingest, promote
from ..steps.promote import Decision, Judged
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
    challenger = _judge(gate, recipe, predictor, rows) if gate.slices else Judged({})
    challenger = challenger._replace(metrics=metrics)
    champion = registry.reign().champion
    rival = judge_champion(champion, gate, recipe, rows) if champion else None
    decision = promote.decide(gate, challenger, rival)
    if champion and isinstance(rival, Judged) and _learned_elsewhere(champion, recipe, tags):
        note = "whose data or split were others: it may have learned from some of these rows"
        decision = decision._replace(reason=f"{decision.reason}; the champion is version {champion}, {note}")
    get_run_logger().info("%s: %s", decision.alias.capitalize(), decision.reason)
    return Verdict(decision, champion, metrics)


def _judge(gate: Gate, recipe: Recipe, predictor: Predictor, rows: pl.DataFrame) -> Judged:
    data = recipe.data
    made = evaluate.predict(predictor.pipeline, predictor.columns(rows), rows.get_column(data.target))
    return Judged(evaluate.metrics(data.problem, made), promote.slices(data.problem, gate, rows, made))


def judge_champion(champion: int, gate: Gate, recipe: Recipe, rows: pl.DataFrame) -> Judged | str:
    """Judge the champion on the rows, or say why it cannot be.

    What cannot be downloaded stops the run: a storage that is away is no reason to replace the champion.
    """
    with packed.downloaded(registry.get(champion)) as folder:
        try:
            with packed.unpacked(folder) as predictor:
                was, now = predictor.recipe.data, recipe.data
                if (was.problem, was.target) != (now.problem, now.target):
                    return f"the champion, version {champion}, does {was.problem} of '{was.target}'"
                return _judge(gate, recipe, predictor, rows)
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 - its code and its pipeline may be of any age
            said = (str(error).splitlines() or [""])[0]
            return f"the champion, version {champion}, cannot predict these rows ({type(error).__name__}: {said})"


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
