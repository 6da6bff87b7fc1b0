"""The search: candidates as mapped tasks on the task runner, and as child runs in MLflow."""

import time
from functools import partial
from typing import Any

import polars as pl
from prefect import get_run_logger, task, unmapped
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.futures import PrefectFuture, as_completed
from pydantic import BaseModel

from ..config import Model, Params, Split
from ..model.predictor import Recipe
from ..ops.files import File
from ..ops.orchestration.policies import CACHED, RETRY
from ..ops.tracking.child_runs import log_candidate
from ..steps import evaluate, search, split, train
from ..steps.search import Candidate


class TrialConfig(BaseModel):
    """What all candidates have in common, and a score depends on."""

    recipe: Recipe
    model: Model
    split: Split
    folds: int
    metric: str


# No timeout: it cannot stop a thread, and Prefect says so for each.
@task(name="candidate", task_run_name="candidate {candidate}", **RETRY, **CACHED)
def try_candidate(candidate: dict[str, Any], training: File, trial: TrialConfig) -> dict[str, Any]:
    """Score one candidate on every fold. Its result is kept, so that a search that was killed goes on where it was."""
    begin = time.monotonic()
    recipe, model, target = trial.recipe, trial.model, trial.recipe.data.target
    pipeline = train.build_pipeline(recipe.data.problem, model.estimator, model.params | candidate, trial.split.seed)
    table = pl.read_parquet(training.full)
    units = split.find_units(table.lazy(), trial.split, list(recipe.inputs.columns), target)
    folds = split.folds(units, trial.split, trial.folds)
    judge = partial(evaluate.metric, recipe.data.problem, trial.metric)
    scores = search.score(pipeline, table.select(recipe.columns), table[target], folds, judge)
    return {"scores": scores, "seconds": time.monotonic() - begin}


def search_parameters(run_id: str, training: File, recipe: Recipe, params: Params) -> tuple[Model, list[Candidate]]:
    """Try the candidates of params.yaml; return the model with the winner's parameters, and all candidates.

    A candidate that fails is out; if all fail, ProjectError says why the first one did.
    """
    if not params.search.params:
        return params.model, []
    model, seed, metric = params.model, params.split.seed, params.search.metric or params.gate.metric
    search.check_names(train.build_pipeline(recipe.data.problem, model.estimator, model.params, seed), params.search)
    drawn = search.draw_candidates(params.search, seed)
    trial = TrialConfig(recipe=recipe, model=model, split=params.split, folds=params.search.folds, metric=metric)
    futures = try_candidate.map(drawn, training=unmapped(training), trial=unmapped(trial))
    candidates = _await(run_id, drawn, futures, metric)
    best = search.best(candidates, metric)
    get_run_logger().info("The search chose %s: %s %s", best.params, metric, best)
    chosen = model.model_copy(update={"params": model.params | best.params})
    return chosen, [candidate._replace(chosen=candidate is best) for candidate in candidates]


def _await(
    run_id: str, drawn: list[dict[str, Any]], futures: list[PrefectFuture[dict[str, Any]]], metric: str
) -> list[Candidate]:
    """Record each candidate as it ends: in MLflow, in the terminal, and as Prefect's progress."""
    ended: dict[int, Candidate] = {}
    numbers = {future: number for number, future in enumerate(futures)}
    progress: Any = create_progress_artifact(0.0, key="search", description="Candidates of the search that have ended")
    for future in as_completed(list(futures)):
        number, seconds = numbers[future], 0.0
        try:
            result = future.result()
            candidate, seconds = Candidate(drawn[number], result["scores"]), result["seconds"]
        except Exception as fault:  # noqa: BLE001 - whatever befell it, or the worker that it killed, the others go on
            candidate = Candidate(drawn[number], [], str(fault))
        ended[number] = candidate
        log_candidate(run_id, number, candidate, metric, seconds)
        best = (
            search.best(list(ended.values()), metric) if any(not other.failure for other in ended.values()) else "none"
        )
        done = f"{len(ended)}/{len(futures)}"
        said = f"failed: {candidate}" if candidate.failure else f"{metric} {candidate}"
        get_run_logger().info("%s %s: %s; best so far %s", done, candidate.params, said, best)
        update_progress_artifact(progress, 100 * len(ended) / len(futures))
    return [ended[number] for number in sorted(ended)]
