"""The search: each candidate is a task in Prefect and a child run in MLflow."""

import time
from functools import partial
from typing import Any

from prefect import get_run_logger, task, unmapped
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.futures import PrefectFuture, as_completed
from pydantic import BaseModel

from ..config import Model, Params, Split
from ..model.predictor import Recipe
from ..ops.files import File
from ..ops.orchestration.policies import CACHED, RETRY
from ..ops.settings import artifact_key
from ..ops.tracking import runs
from ..steps import evaluate, search, split, train
from ..steps.search import Candidate


def search_parameters(run_id: str, training: File, recipe: Recipe, params: Params) -> tuple[Model, list[Candidate]]:
    """Try the candidates of params.yaml; return the model with the best parameters, and all candidates.

    A candidate that fails drops out; if all fail, ProjectError gives the reason of the first.
    """
    if not params.search.params:
        return params.model, []
    model, seed, metric = params.model, params.split.seed, params.search.metric or params.gate.metric
    search.check_names(train.build_pipeline(recipe.data.problem, model.estimator, model.params, seed), params.search)
    drawn = search.draw_candidates(params.search, seed)
    trial = TrialConfig(recipe=recipe, model=model, split=params.split, folds=params.search.folds, metric=metric)
    futures = try_candidate.map(drawn, training=unmapped(training), trial=unmapped(trial))
    candidates = _record_each(run_id, drawn, futures, metric)
    best = search.best(candidates, metric)
    get_run_logger().info("The search chose %s: %s %s", best.params, metric, best)
    chosen = model.model_copy(update={"params": model.params | best.params})
    return chosen, [candidate._replace(chosen=candidate is best) for candidate in candidates]


class TrialConfig(BaseModel):
    """What the score of every candidate depends on, besides its parameters and the training rows."""

    recipe: Recipe
    model: Model
    split: Split
    folds: int
    metric: str


# No timeout: Prefect cannot stop a thread, and logs a warning for every task that has one.
@task(name="candidate", task_run_name="candidate {candidate}", **RETRY, **CACHED)
def try_candidate(candidate: dict[str, Any], training: File, trial: TrialConfig) -> dict[str, Any]:
    """Score a candidate on every fold. The result is cached, so that a killed search resumes where it stopped."""
    start = time.monotonic()
    recipe, model, target = trial.recipe, trial.model, trial.recipe.data.target
    pipeline = train.build_pipeline(recipe.data.problem, model.estimator, model.params | candidate, trial.split.seed)
    table = training.scan().collect()
    units = split.find_units(table.lazy(), trial.split, list(recipe.inputs.columns), target)
    folds = split.folds(units, trial.split, trial.folds)
    judge = partial(evaluate.metric, recipe.data.problem, trial.metric)
    scores = search.score(pipeline, table.select(recipe.columns), table[target], folds, judge)
    return {"scores": scores, "seconds": time.monotonic() - start}


def _record_each(
    run_id: str, drawn: list[dict[str, Any]], futures: list[PrefectFuture[dict[str, Any]]], metric: str
) -> list[Candidate]:
    """Record each candidate when it ends: in MLflow, in the log, and in Prefect's progress bar."""
    ended: dict[int, Candidate] = {}
    numbers = {future: number for number, future in enumerate(futures)}
    progress: Any = create_progress_artifact(
        0.0, key=artifact_key("search"), description="Finished candidates of the search"
    )
    for future in as_completed(list(futures)):
        number, seconds = numbers[future], 0.0
        try:
            result = future.result()
            candidate, seconds = Candidate(drawn[number], result["scores"]), result["seconds"]
        except Exception as error:  # noqa: BLE001 - whatever it was, even a killed worker, the others go on
            candidate = Candidate(drawn[number], [], str(error))
        ended[number] = candidate
        runs.log_candidate(run_id, number, candidate, metric, seconds)
        scored = [candidate for candidate in ended.values() if not candidate.failure]
        best = search.best(scored, metric) if scored else "none"
        score = f"failed: {candidate}" if candidate.failure else f"{metric} {candidate}"
        get_run_logger().info("%d/%d %s: %s; best so far: %s", len(ended), len(futures), candidate.params, score, best)
        update_progress_artifact(progress, 100 * len(ended) / len(futures))
    return [candidate for _, candidate in sorted(ended.items())]
