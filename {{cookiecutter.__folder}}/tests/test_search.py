"""The search: what is drawn, what is refused, and which candidate wins."""

import pytest
from conftest import change
from ruamel.yaml import YAML

from penguin_model.config import Search
from penguin_model.errors import ProjectError
from penguin_model.ops.settings import read_params
from penguin_model.steps import search, train
from penguin_model.steps.search import Candidate


def draw(params: dict, candidates: int = 20, seed: int = 1) -> list[dict]:
    return search.draw_candidates(Search.model_validate({"params": params, "candidates": candidates}), seed)


def test_few_combinations_are_all_tried_and_many_are_drawn():
    assert len(draw({"a": [1, 2], "b": [True, None]})) == 4
    many = {"a": {"low": 1, "high": 3}, "b": {"low": 0.01, "high": 1.0, "log": True}, "c": ["x", "y"]}
    drawn = draw(many, 30)
    assert drawn == draw(many, 30)
    assert drawn != draw(many, 30, seed=2)
    assert {type(candidate["a"]) for candidate in drawn} == {int}
    assert {candidate["a"] for candidate in drawn} == {1, 2, 3}
    assert all(0.01 <= candidate["b"] <= 1 for candidate in drawn)
    assert sum(candidate["b"] < 0.1 for candidate in drawn) > 8  # half of them, as the logarithm is uniform


def test_no_candidate_is_tried_twice():
    assert sorted(candidate["a"] for candidate in draw({"a": {"low": 1, "high": 3}}, 50)) == [1, 2, 3]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("x: 3", r"`search\.params\.x` is 3; use a list like .* or a distribution like"),
        ("x: []", r"`search\.params\.x` is \[\]; list should have at least 1 item"),
        ("x: {low: 1}", r"`search\.params\.x\.high` is missing"),
        ("x: {low: 1, high: 2, hihg: 2}", r"`search\.params\.x\.hihg` is not a key here; did you mean `high`"),
        ("x: {low: 5, high: 2}", r"search\.params\.x has low 5 and high 2; low must be below high"),
        ("x: {low: 0, high: 2, log: true}", "low must be above 0 and below high"),
        ("x: {low: a, high: 2}", r"`search\.params\.x\.low` is 'a'; input should be a valid number"),
    ],
)
def test_wrong_entry_is_one_sentence(entry, message, edited):
    change("search", params=YAML(typ="safe").load(entry))
    with pytest.raises(ProjectError, match=message) as refused:
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


def test_best_mean_wins_whether_high_or_low_is_better():
    scores = [[0.1, 0.3], [0.9, 0.7], [0.8]]
    candidates = [Candidate({"a": number}, score) for number, score in enumerate(scores)]
    candidates.insert(1, Candidate({"a": 3}, [], "failed"))
    assert search.best(candidates, "accuracy").params == {"a": 1}
    assert search.best(candidates, "rmse").params == {"a": 0}


def test_projects_own_search_names_parameters_of_its_model():
    params = read_params()
    model = params.model
    pipeline = train.build_pipeline(params.data.problem, model.estimator, model.params, params.split.seed)
    search.check_names(pipeline, params.search)
    assert search.draw_candidates(params.search, params.split.seed)
