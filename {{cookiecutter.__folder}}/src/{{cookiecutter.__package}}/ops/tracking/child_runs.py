"""MLflow's child runs: one for each candidate of a search, below the run of the training."""

import time

from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from ...steps.search import Candidate
from .keys import as_keys


def log_candidate(parent: str, number: int, candidate: Candidate, metric: str, seconds: float) -> None:
    """Record a candidate: FINISHED with its scores, or FAILED with the reason as a tag."""
    client = MlflowClient()
    now = int(time.time() * 1000)
    tags = {MLFLOW_PARENT_RUN_ID: parent} | ({"failure": candidate.failure} if candidate.failure else {})
    experiment = client.get_run(parent).info.experiment_id
    begin = now - int(seconds * 1000)
    run = client.create_run(experiment, start_time=begin, tags=tags, run_name=f"candidate-{number}")
    named = {f"model.params.{name}": str(value) for name, value in candidate.params.items()}
    params = [Param(key, value) for key, value in as_keys(named).items()]
    # One metric holds the score of each fold as a step.
    scores = [Metric(f"search.{metric}_of_fold", value, now, fold) for fold, value in enumerate(candidate.scores)]
    if not candidate.failure:
        scores += [
            Metric(f"search.{metric}", candidate.mean, now, 0),
            Metric(f"search.{metric}_std", candidate.std, now, 0),
        ]
    client.log_batch(run.info.run_id, scores, params)
    client.set_terminated(run.info.run_id, "FAILED" if candidate.failure else "FINISHED", now)
