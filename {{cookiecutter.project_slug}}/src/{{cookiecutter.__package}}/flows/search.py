"""The search: candidates as mapped tasks on the task runner, and as child runs in MLflow."""

import time
from functools import partial
from typing import Any

import polars as pl
from prefect import get_run_logger, task, unmapped
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.futures import PrefectFuture, as_completed
from pydantic import BaseModel

from ..child_runs import log_candidate
from ..params import Model, Params, Split
from ..predictor import Recipe
from ..steps import evaluate, search, split, train
from ..steps.search import Tried
from .policies import RETRIED, REUSED, File


class Trial(BaseModel):
    """What all candidates have in common, and a score depends on."""

    recipe: Recipe
    model: Model
    split: Split
    folds: int
    metric: str


# No timeout: it cannot stop a thread, and Prefect says so for each.
@task(name="candidate", task_run_name="candidate {candidate}", **RETRIED, **REUSED)
def try_candidate(candidate: dict[str, Any], training: File, trial: Trial) -> dict[str, Any]:
    """Score one candidate on every fold. Its result is kept, so that a search that was killed goes on where it was."""
    begin = time.monotonic()
    recipe, model, target = trial.recipe, trial.model, trial.recipe.data.target
    pipeline = train.build_pipeline(recipe.data.problem, model.estimator, model.params | candidate, trial.split.seed)
    table = pl.read_parquet(training.full)
    units = split.units(table.lazy(), trial.split, list(recipe.inputs.columns), target)
    folds = split.folds(units, trial.split, trial.folds)
    judge = partial(evaluate.metric, recipe.data.problem, trial.metric)
    scores = search.score(pipeline, table.select(recipe.columns), table[target], folds, judge)
    return {"scores": scores, "seconds": time.monotonic() - begin}


def search_parameters(run_id: str, training: File, recipe: Recipe, params: Params) -> tuple[Model, list[Tried]]:
    """Try the candidates of params.yaml; return the model with the winner's parameters, and all that was tried.

    A candidate that fails is out; if all fail, ProjectError says why the first one did.
    """
    if not params.search.params:
        return params.model, []
    model, seed, metric = params.model, params.split.seed, params.search.metric or params.gate.metric
    search.check_names(train.build_pipeline(recipe.data.problem, model.estimator, model.params, seed), params.search)
    candidates = search.candidates(params.search, seed)
    trial = Trial(recipe=recipe, model=model, split=params.split, folds=params.search.folds, metric=metric)
    futures = try_candidate.map(candidates, training=unmapped(training), trial=unmapped(trial))
    tried = _await(run_id, candidates, futures, metric)
    won = search.best(tried, metric)
    get_run_logger().info("The search chose %s: %s %s", won.params, metric, won)
    chosen = model.model_copy(update={"params": model.params | won.params})
    return chosen, [one._replace(chosen=one is won) for one in tried]


def _await(
    run_id: str, candidates: list[dict[str, Any]], futures: list[PrefectFuture[dict[str, Any]]], metric: str
) -> list[Tried]:
    """Record each candidate as it ends: in MLflow, in the terminal, and as Prefect's progress."""
    tried: dict[int, Tried] = {}
    numbers = {future: number for number, future in enumerate(futures)}
    progress: Any = create_progress_artifact(0.0, key="search", description="Candidates of the search that have ended")
    for future in as_completed(list(futures)):
        number, seconds = numbers[future], 0.0
        try:
            made = future.result()
            one, seconds = Tried(candidates[number], made["scores"]), made["seconds"]
        except Exception as fault:  # noqa: BLE001 - whatever befell it, or the worker that it killed, the others go on
            one = Tried(candidates[number], [], str(fault))
        tried[number] = one
        log_candidate(run_id, number, one, metric, seconds)
        best = (
            search.best(list(tried.values()), metric) if any(not other.failure for other in tried.values()) else "none"
        )
        done = f"{len(tried)}/{len(futures)}"
        said = f"failed: {one}" if one.failure else f"{metric} {one}"
        get_run_logger().info("%s %s: %s; best so far %s", done, one.params, said, best)
        update_progress_artifact(progress, 100 * len(tried) / len(futures))
    return [tried[number] for number in sorted(tried)]
