"""The search as a flow: what Prefect and MLflow record of it."""

import pytest
from conftest import change, task_states
from prefect import flow

from penguin_model.errors import ProjectError
from penguin_model.flows.search import search_parameters
from penguin_model.flows.training import TRAINING, training
from penguin_model.model.predictor import Recipe
from penguin_model.ops.orchestration.policies import File
from penguin_model.ops.orchestration.task_runner import task_runner
from penguin_model.ops.settings import (
    PACKAGE,
    project_root,
    read_contract,
    read_params,
)
from penguin_model.ops.tracking import runs

FOREST = {"classification": "RandomForestClassifier", "regression": "RandomForestRegressor"}


def forest(**params):
    """Let the project search for a small random forest, which any table allows."""
    estimator = f"sklearn.ensemble.{FOREST[read_params().data.problem]}"
    change("model", estimator=estimator, params={"n_estimators": 5, "max_depth": 3})
    change("search", folds=2, candidates=4, metric=None, params=params)


@flow(task_runner=task_runner())
def searching() -> str:
    """Search as the training flow does; return the id of the MLflow run."""
    params = read_params()
    with runs.run({}) as run_id:
        search_parameters(run_id, File.at(TRAINING), Recipe.of(params, read_contract()), params)
    return run_id


def child_runs(parent: str):
    """Return the child runs of a search by their parameters."""
    client = runs.connect()
    experiment = client.get_experiment_by_name(PACKAGE).experiment_id
    found = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
    return {tuple(sorted(run.data.params.items())): run for run in found}


def newest_run():
    client = runs.connect()
    experiment = client.get_experiment_by_name(PACKAGE).experiment_id
    found = client.search_runs([experiment], order_by=["start_time DESC"], max_results=100)
    return next(run for run in found if "mlflow.parentRunId" not in run.data.tags)


def test_winner_is_fitted_and_a_failed_candidate_fails_alone(quick):
    forest(max_depth=[2, 4, -3])
    state = training(return_state=True)
    assert state.is_completed()
    assert task_states(state, 10)["candidate"] == ["Completed", "Completed", "Failed"]
    parent = newest_run()
    children = {run.data.params["model.params.max_depth"]: run for run in child_runs(parent.info.run_id).values()}
    assert {depth: run.info.status for depth, run in children.items()} == {
        "2": "FINISHED",
        "4": "FINISHED",
        "-3": "FAILED",
    }
    assert "max_depth" in children["-3"].data.tags["failure"]
    chosen = parent.data.params["model.params.max_depth"]
    assert chosen in {"2", "4"}
    assert (parent.data.metrics["search.candidates"], parent.data.metrics["search.failed"]) == (3, 1)
    metric = f"search.{read_params().gate.metric}"
    assert parent.data.metrics["search.score"] == children[chosen].data.metrics[metric]
    assert "Candidates of the search" in (project_root() / "reports/report.html").read_text()
    assert (project_root() / "reports/plots/search.svg").exists()


def test_finished_candidate_is_cached_and_scores_are_reproducible(quick):
    forest(max_depth={"low": 2, "high": 6}, max_features={"low": 0.2, "high": 1.0})
    first = searching(return_state=True)
    again = searching(return_state=True)
    assert task_states(first, 4) == {"candidate": ["Completed"] * 4}
    assert task_states(again, 4) == {"candidate": ["Cached"] * 4}
    # Without the cache each is fitted again; the order in which the threads end does not matter.
    for kept in (project_root() / ".prefect/storage").glob("*"):
        kept.unlink()
    afresh = searching(return_state=True)
    assert task_states(afresh, 4) == {"candidate": ["Completed"] * 4}
    scores = [
        {tried: run.data.metrics for tried, run in child_runs(state.result()).items()}
        for state in (first, again, afresh)
    ]
    assert len(scores[0]) == 4
    assert scores[0] == scores[1] == scores[2]


def test_all_failed_is_one_sentence_and_leaves_no_run_open(quick):
    forest(max_depth=[-1, -2])
    with pytest.raises(ProjectError, match=r"All 2 candidates of the search failed; the first: .*max_depth"):
        searching()
    assert newest_run().info.status == "FAILED"
    assert [run.info.status for run in child_runs(newest_run().info.run_id).values()] == ["FAILED", "FAILED"]


def test_unknown_parameter_is_refused_before_anything_is_fitted(quick):
    forest(depth=[1, 2])
    state = searching(return_state=True)
    with pytest.raises(ProjectError, match=r"search\.params names 'depth'"):
        state.result()
    assert task_states(state, 0) == {}
