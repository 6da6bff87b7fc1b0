"""The search: what is drawn, who wins, and what Prefect and MLflow say of it, also after a kill."""

import os
import signal
import subprocess
import sys
import time

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from {{ cookiecutter.__package }} import tracking
from {{ cookiecutter.__package }}.errors import ProjectError
from {{ cookiecutter.__package }}.flows.training import training
from {{ cookiecutter.__package }}.params import Search, read_params
from {{ cookiecutter.__package }}.settings import root
from {{ cookiecutter.__package }}.steps import search, train
from {{ cookiecutter.__package }}.steps.search import Tried

FOREST = {"classification": "RandomForestClassifier", "regression": "RandomForestRegressor"}


def forest(**params):
    """Make the project search a forest: any table, and quick."""
    problem = read_params().data.problem
    wanted = {
        "model": {"estimator": f"sklearn.ensemble.{FOREST[problem]}", "params": {"n_estimators": 5, "max_depth": 3}},
        "search": {"folds": 2, "candidates": 6, "params": params},
    }
    lines, file = [], root() / "params.yaml"
    section = ""
    for line in file.read_text().splitlines():
        section = line.partition(":")[0] if line[:1].isalpha() else section
        if section not in wanted:
            lines.append(line)
    file.write_text(
        "\n".join([*lines, *(f"{name}: {value!r}".replace("None", "null") for name, value in wanted.items())])
    )


def runs(parent: str):
    client = tracking.connect()
    experiment = client.get_experiment_by_name(tracking.NAME).experiment_id
    return client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'", order_by=["start_time"])


def newest_run():
    client = tracking.connect()
    experiment = client.get_experiment_by_name(tracking.NAME).experiment_id
    found = client.search_runs([experiment], order_by=["start_time DESC"], max_results=100)
    return next(run for run in found if "mlflow.parentRunId" not in run.data.tags)


def candidate_states(flow_run_id) -> list[str]:
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    end = time.monotonic() + 20
    while True:
        with get_client(sync_client=True) as client:
            tasks = client.read_task_runs(flow_run_filter=of_run, limit=200)
        states = sorted(task.state_name for task in tasks if task.name.startswith("candidate"))
        if not {"Running", "Pending"} & set(states) or time.monotonic() > end:
            return states
        time.sleep(0.2)


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
    file = edited / "params.yaml"
    before, found, after = file.read_text().partition("\nsearch:\n  params: ")
    assert found
    file.write_text(f"{before}\nsearch:\n  params:\n    {entry}\n{after.partition(chr(10))[2]}")
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


def test_winner_is_fitted_and_a_failed_candidate_fails_alone(trained, edited):
    forest(max_depth=[2, 4, -3])
    state = training(return_state=True)
    assert state.is_completed()
    parent = newest_run()
    children = runs(parent.info.run_id)
    assert sorted(run.info.status for run in children) == ["FAILED", "FINISHED", "FINISHED"]
    assert candidate_states(state.state_details.flow_run_id) == ["Completed", "Completed", "Failed"]
    [failed] = [run for run in children if run.info.status == "FAILED"]
    assert failed.data.params == {"model.params.max_depth": "-3"}
    assert "max_depth" in failed.data.tags["failure"]
    assert parent.data.params["model.params.max_depth"] in {"2", "4"}
    assert (parent.data.metrics["search.candidates"], parent.data.metrics["search.failed"]) == (3, 1)
    metric = f"search.{read_params().gate.metric}"
    scores = {run.data.params["model.params.max_depth"]: run.data.metrics.get(metric) for run in children}
    assert parent.data.metrics["search.score"] == scores[parent.data.params["model.params.max_depth"]]
    page = (root() / "reports/report.html").read_text()
    assert "Candidates of the search" in page
    assert (root() / "reports/plots/search.svg").exists()


def test_all_failed_is_one_sentence_and_leaves_no_run_open(trained, edited):
    forest(max_depth=[-1, -2])
    state = training(return_state=True)
    with pytest.raises(ProjectError, match=r"All 2 candidates of the search failed; the first: .*max_depth"):
        state.result()
    assert newest_run().info.status == "FAILED"
    assert [run.info.status for run in runs(newest_run().info.run_id)] == ["FAILED", "FAILED"]


def test_unknown_parameter_is_refused_before_anything_is_fitted(trained, edited):
    forest(depth=[1, 2])
    state = training(return_state=True)
    with pytest.raises(ProjectError, match=r"search\.params names 'depth'"):
        state.result()
    assert candidate_states(state.state_details.flow_run_id) == []


def test_same_seed_gives_the_same_scores_in_any_order_of_threads(trained, edited):
    forest(max_depth={"low": 2, "high": 6}, max_features={"low": 0.2, "high": 1.0})
    scores = []
    for number in (1, 2):
        for kept in (root() / ".prefect/storage").glob("*"):
            kept.unlink()
        assert training(return_state=True).is_completed()
        found = {run.info.run_name: (run.data.params, run.data.metrics) for run in runs(newest_run().info.run_id)}
        assert len(found) > 2, number
        scores.append(found)
    assert scores[0] == scores[1]


@pytest.fixture
def killed(trained, edited) -> int:
    """Kill a search, as the system would, after some of its candidates; return how many had finished."""
    forest(n_estimators=[10, 11, 12, 13, 14, 15])
    env = os.environ | {"PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", tracking.NAME, "train"]
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if " 2/6 " in line:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    return 2


def test_killed_search_goes_on_where_it_was(killed):
    state = training(return_state=True)
    assert state.is_completed()
    states = candidate_states(state.state_details.flow_run_id)
    assert len(states) == 6
    assert states.count("Cached") >= killed
    assert {run.info.status for run in runs(newest_run().info.run_id)} == {"FINISHED"}
    assert len(runs(newest_run().info.run_id)) == 6
