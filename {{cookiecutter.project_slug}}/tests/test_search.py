"""The search: what is drawn, who wins, and what Prefect and MLflow say of it, also after a kill."""

import pytest
from conftest import change, task_states
from prefect import flow
from ruamel.yaml import YAML

from penguin_model import tracking
from penguin_model.contract import read_contract
from penguin_model.errors import ProjectError
from penguin_model.flows.policies import File
from penguin_model.flows.search import search_parameters
from penguin_model.flows.training import TRAINING, training
from penguin_model.params import Search, read_params
from penguin_model.predictor import Recipe
from penguin_model.settings import root
from penguin_model.steps import search, train
from penguin_model.steps.search import Tried
from penguin_model.task_runner import task_runner

FOREST = {"classification": "RandomForestClassifier", "regression": "RandomForestRegressor"}


def forest(**params):
    """Make the project search a forest: any table, and quick."""
    estimator = f"sklearn.ensemble.{FOREST[read_params().data.problem]}"
    change("model", estimator=estimator, params={"n_estimators": 5, "max_depth": 3})
    change("search", folds=2, candidates=4, metric=None, params=params)


@flow(task_runner=task_runner())
def searching() -> str:
    """Do what the training flow does until the model is chosen; return the MLflow run."""
    params = read_params()
    with tracking.run({}) as run_id:
        search_parameters(run_id, File.at(TRAINING), Recipe.of(params, read_contract()), params)
    return run_id


def runs(parent: str):
    """Return the candidates of a search, by what was tried."""
    client = tracking.connect()
    experiment = client.get_experiment_by_name(tracking.NAME).experiment_id
    found = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
    return {tuple(sorted(run.data.params.items())): run for run in found}


def newest_run():
    client = tracking.connect()
    experiment = client.get_experiment_by_name(tracking.NAME).experiment_id
    found = client.search_runs([experiment], order_by=["start_time DESC"], max_results=100)
    return next(run for run in found if "mlflow.parentRunId" not in run.data.tags)


def test_few_combinations_are_all_tried_and_many_are_drawn():
    few = Search.model_validate({"params": {"a": [1, 2], "b": [True, None]}})
    assert len(search.candidates(few, seed=1)) == 4
    many = {"a": {"low": 1, "high": 3}, "b": {"low": 0.01, "high": 1.0, "log": True}, "c": ["x", "y"]}
    drawn = search.candidates(Search.model_validate({"params": many, "candidates": 30}), seed=1)
    assert drawn == search.candidates(Search.model_validate({"params": many, "candidates": 30}), seed=1)
    assert drawn != search.candidates(Search.model_validate({"params": many, "candidates": 30}), seed=2)
    assert {type(one["a"]) for one in drawn} == {int}
    assert {one["a"] for one in drawn} == {1, 2, 3}
    assert all(0.01 <= one["b"] <= 1 for one in drawn)
    assert sum(one["b"] < 0.1 for one in drawn) > 8  # half of them, as the logarithm is even


def test_no_candidate_is_tried_twice():
    narrow = Search.model_validate({"params": {"a": {"low": 1, "high": 3}}, "candidates": 50})
    assert sorted(one["a"] for one in search.candidates(narrow, seed=1)) == [1, 2, 3]


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("x: 3", r"`search\.params\.x` is 3; give a list like .* or a distribution like"),
        ("x: []", r"`search\.params\.x` is \[\]; list should have at least 1 item"),
        ("x: {low: 1}", r"`search\.params\.x\.high` is missing"),
        ("x: {low: 1, high: 2, hihg: 2}", r"`search\.params\.x\.hihg` is not a key here; allowed are low, high, log"),
        ("x: {low: 5, high: 2}", r"search\.params\.x goes from low 5 to high 2; low must be below high"),
        ("x: {low: 0, high: 2, log: true}", "low must be above 0 and below high"),
        ("x: {low: a, high: 2}", r"`search\.params\.x\.low` is 'a'; input should be a valid number"),
    ],
)
def test_wrong_entry_is_one_sentence(entry, sentence, edited):
    change("search", params=YAML(typ="safe").load(entry))
    with pytest.raises(ProjectError, match=sentence) as refused:
        read_params()
    assert len(str(refused.value).splitlines()) == 1


def test_parameters_of_any_step_are_known_and_others_refused():
    pipeline = train.build_pipeline("regression", "sklearn.linear_model.Ridge", {"tablevectorizer.n_jobs": 1}, seed=5)
    assert pipeline.get_params()["tablevectorizer__n_jobs"] == 1
    assert pipeline.get_params()["ridge__random_state"] == 5
    for name, full in {"alpha": "ridge__alpha", "simpleimputer__strategy": "simpleimputer__strategy"}.items():
        assert train.full_name(pipeline, name, "search.params") == full
    with pytest.raises(ProjectError, match=r"search\.params names 'depth'.*Ridge has alpha, .*tablevectorizer"):
        search.check_names(pipeline, Search.model_validate({"params": {"depth": [1]}}))
    with pytest.raises(ProjectError, match=r"names one parameter twice: alpha, ridge\.alpha"):
        search.check_names(pipeline, Search.model_validate({"params": {"alpha": [1], "ridge.alpha": [2]}}))


def test_best_mean_wins_whichever_way_the_metric_goes():
    tried = [
        Tried({"a": 1}, [0.1, 0.3]),
        Tried({"a": 2}, [], "no"),
        Tried({"a": 3}, [0.9, 0.7]),
        Tried({"a": 4}, [0.8]),
    ]
    assert search.best(tried, "accuracy").params == {"a": 3}
    assert search.best(tried, "rmse").params == {"a": 1}


def test_projects_own_search_is_of_its_own_parameters():
    params = read_params()
    model = params.model
    pipeline = train.build_pipeline(params.data.problem, model.estimator, model.params, params.split.seed)
    search.check_names(pipeline, params.search)
    assert search.candidates(params.search, params.split.seed)


def test_winner_is_fitted_and_a_failed_candidate_fails_alone(quick):
    forest(max_depth=[2, 4, -3])
    state = training(return_state=True)
    assert state.is_completed()
    assert task_states(state, 10)["candidate"] == ["Completed", "Completed", "Failed"]
    parent = newest_run()
    children = {run.data.params["model.params.max_depth"]: run for run in runs(parent.info.run_id).values()}
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
    assert "Candidates of the search" in (root() / "reports/report.html").read_text()
    assert (root() / "reports/plots/search.svg").exists()


def test_finished_candidate_is_not_fitted_again_and_would_score_the_same(quick):
    forest(max_depth={"low": 2, "high": 6}, max_features={"low": 0.2, "high": 1.0})
    first = searching(return_state=True)
    again = searching(return_state=True)
    assert task_states(first, 4) == {"candidate": ["Completed"] * 4}
    assert task_states(again, 4) == {"candidate": ["Cached"] * 4}
    # Forgotten, it is fitted again, in whatever order the threads end.
    for kept in (root() / ".prefect/storage").glob("*"):
        kept.unlink()
    afresh = searching(return_state=True)
    assert task_states(afresh, 4) == {"candidate": ["Completed"] * 4}
    scores = [
        {tried: run.data.metrics for tried, run in runs(state.result()).items()} for state in (first, again, afresh)
    ]
    assert len(scores[0]) == 4
    assert scores[0] == scores[1] == scores[2]


def test_all_failed_is_one_sentence_and_leaves_no_run_open(quick):
    forest(max_depth=[-1, -2])
    with pytest.raises(ProjectError, match=r"All 2 candidates of the search failed; the first: .*max_depth"):
        searching()
    assert newest_run().info.status == "FAILED"
    assert [run.info.status for run in runs(newest_run().info.run_id).values()] == ["FAILED", "FAILED"]


def test_unknown_parameter_is_refused_before_anything_is_fitted(quick):
    forest(depth=[1, 2])
    state = searching(return_state=True)
    with pytest.raises(ProjectError, match=r"search\.params names 'depth'"):
        state.result()
    assert task_states(state, 0) == {}
