"""Monitoring: the verdict, its page and record, and the retraining that repeated drift starts, but not in a loop."""

import json
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import Mock

import mlflow
import polars as pl
import pytest
from conftest import COPY
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.context import TagsContext
from prefect.states import Crashed

from penguin_model.errors import ProjectError
from penguin_model.flows import retrain_on_drift
from penguin_model.flows.monitoring import monitoring, write_page
from penguin_model.flows.retrain_on_drift import (
    ASKED,
    FAILED,
    NOTHING_NEW,
    REFUSED,
    Policy,
    obstacle,
)
from penguin_model.ops.orchestration.results import TrainingResult
from penguin_model.ops.settings import PACKAGE, artifact_key, read_contract
from penguin_model.ops.tracking import comparisons, registry, runs
from penguin_model.ops.tracking.comparisons import Comparison
from penguin_model.report import drift
from penguin_model.steps.profile import Profile

NOW = datetime(2026, 11, 27, tzinfo=UTC)


def past(verdict: str = "drifted", retraining: str = "", days: float = 0) -> Comparison:
    return Comparison("run", NOW - timedelta(days=days), 1, verdict, retraining, {})


@pytest.mark.parametrize(
    ("verdicts", "attempts", "policy", "refusal"),
    [
        (["drifted", "drifted"], [], {}, ""),
        (["drifted", "fine", "drifted"], [], {}, ""),
        (["drifted"], [], {}, "1 of the last 1"),
        (["drifted", "watch", "fine"], [], {}, "1 of the last 3"),
        (["drifted"], [], {"drifted": 1, "last": 1}, ""),
        (["drifted"] * 3, [("Started", 6.9)], {}, "No retraining before 2026-11-27 02:24 UTC"),
        (["drifted"] * 3, [("Started", 7.1)], {}, ""),
        (["drifted"] * 3, [("Started", 1)], {"cooldown_days": 0}, ""),
        (["drifted"] * 3, [("Started", days) for days in (8, 12, 16, 20, 29)], {}, "5 on drift in 30 days"),
        (["drifted"] * 3, [("Started", days) for days in (8, 12, 16, 20, 31)], {}, ""),
        (["drifted"] * 3, [], {"most": 0}, "0 are allowed"),
        # One that failed, or was killed, counts; where there was nothing to train on, there was no training.
        (["drifted"] * 3, [(f"{REFUSED}: 5 on drift", 0)] * 9, {}, ""),
        (["drifted"] * 3, [(f"{FAILED}: OSError", 0), (ASKED, 0)], {}, ""),
        (["drifted"] * 3, [(ASKED, 0)], {"most": 1}, "1 on drift in 30 days"),
        (["drifted"] * 3, [(f"{NOTHING_NEW} to train on", 0)] * 9, {}, ""),
    ],
)
def test_repeated_drift_is_due_unless_there_was_a_retraining(verdicts, attempts, policy, refusal):
    asked = [past(retraining=retraining, days=days) for retraining, days in attempts]
    said = obstacle([past(verdict) for verdict in verdicts], asked, Policy(**policy), NOW)
    assert refusal in said
    assert bool(said) == bool(refusal)


@pytest.fixture
def shifted(champion, tmp_path) -> str:
    """Return a table that has drifted: a thousand copies of a row."""
    raw = pl.read_parquet(COPY / "data/processed/table.parquet")
    pl.concat([raw.head(1)] * 1000).write_parquet(tmp_path / "shifted.parquet")
    return str(tmp_path / "shifted.parquet")


@pytest.fixture
def forgotten(champion):
    """Delete what other tests have recorded."""
    client = runs.connect()
    if experiment := client.get_experiment_by_name(comparisons.EXPERIMENT):
        for run in client.search_runs([experiment.experiment_id]):
            client.delete_run(run.info.run_id)


def page() -> str:
    return (COPY / "reports/drift.html").read_text(encoding="utf-8")


@pytest.fixture
def retrained(forgotten, monkeypatch) -> list[str]:
    """Replace the retraining; return the causes that it gets."""
    causes = []

    @flow(name="retraining")
    def retraining(cause: str = "") -> TrainingResult | None:
        causes.append(cause)
        # If it is killed, the page stays like this.
        assert "<b>Retraining:</b> Asked for; it has not ended." in page()
        if len(causes) == 1:
            return None
        if len(causes) == 2:
            raise ProjectError("The origin does not answer.")
        return TrainingResult({}, 9, "challenger", "it is not better", cause)

    monkeypatch.setattr(retrain_on_drift, "retraining", retraining)
    return causes


def test_training_data_has_not_drifted(forgotten):
    result = monitoring(source=str(COPY / "data/processed/training.parquet"))
    assert result.verdict in {"fine", "too few rows"}
    assert (result.drifted, result.retraining) == ({}, "")


def test_verdict_is_recorded_and_shown_everywhere(retrained, shifted):
    before = registry.champion(), registry.newest()
    state = monitoring(source=shifted, return_state=True)
    result = state.result()
    assert (result.verdict, retrained) == ("drifted", [])
    assert result.retraining.startswith("No retraining: 1 of the last 1 comparison(s)")
    report = json.loads((COPY / "reports/drift.json").read_text(encoding="utf-8"))
    columns, predictions = (
        {each["column"]: each["psi"] for each in report[part] if each["drifted"]} for part in ("columns", "predictions")
    )
    assert columns | predictions == result.drifted
    assert not re.search(r"(src|href)=|https?://|url\(|@import", page())
    [recorded] = comparisons.recent(5)
    assert (recorded.verdict, recorded.version) == ("drifted", result.version)
    values = {f"psi.{name}": value for name, value in columns.items()}
    assert recorded.of(values) == pytest.approx(values)
    of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id]))
    with get_client(sync_client=True) as client:
        artifacts = {artifact.key: artifact.data for artifact in client.read_artifacts(artifact_filter=of_run)}
    assert artifacts.keys() == set(map(artifact_key, ("drift", "verdict", "drift-page")))
    assert "**drifted**" in artifacts[artifact_key("verdict")]
    # Models know nothing of it.
    assert (registry.champion(), registry.newest()) == before


def test_csv_value_of_another_type_breaks_the_contract(champion, tmp_path):
    column = next((name for name, column in read_contract().columns.items() if column.type == "float"), None)
    if column is None:
        pytest.skip("no column is a float")
    raw = pl.read_parquet(COPY / "data/processed/table.parquet").cast({column: pl.String})
    wrong = pl.when(pl.int_range(pl.len()) == 2).then(pl.lit("?")).otherwise(column)
    raw.with_columns(wrong.alias(column)).write_csv(tmp_path / "wrong.csv")
    result = monitoring(source=str(tmp_path / "wrong.csv"))
    assert any(f"'{column}' breaks 'type: " in reason and "in 1 row(s)" in reason for reason in result.reasons)


def test_repeated_drift_retrains_once(retrained, shifted):
    said = [monitoring(source=shifted).retraining for _ in range(2)]
    assert said[1].startswith("Nothing new to train on: ")
    # That was no training, and one that fails is not the last.
    with pytest.raises(ProjectError, match="The origin does not answer"):
        monitoring(source=shifted)
    assert "<b>Retraining:</b> Failed: The origin does not answer." in page()
    said += [monitoring(source=shifted).retraining for _ in range(2)]
    assert said[2] == "The retraining made version 9 challenger: it is not better."
    assert said[3].startswith("No retraining before ")
    assert len(retrained) == 3
    # The page of a comparison shows what came of it, and of those before.
    lines = ["No retraining before", "The retraining made version 9 challenger: it is not better."]
    lines += ["Failed: The origin does not answer.", "Nothing new to train on: ", "No retraining: 1 of the last 1"]
    assert f"<b>Retraining:</b> {lines[0]}" in page()
    history = page().partition("Last comparisons</h2>")[2]
    assert re.search(".*".join(map(re.escape, lines)), history, re.DOTALL)
    [last] = comparisons.recent(1)
    assert mlflow.artifacts.load_text(f"runs:/{last.run_id}/drift.html") == page()
    assert re.fullmatch(r"drift: .* PSI [\d.]+ > [\d.]+.* in 3 of the last 3 comparisons", retrained[2])


def test_deployed_retraining_records_its_outcome_with_the_comparison(forgotten, monkeypatch):
    run_id = comparisons.record({comparisons.VERSION: "1", comparisons.VERDICT: "drifted"}, {}, []).run_id
    trained = TrainingResult({}, 2, "champion", "it is better")
    outcomes = {
        "The retraining made version 2 champion: it is better.": Mock(return_value=trained),
        "Nothing new to train on: ": Mock(return_value=None),
        "Failed: The origin does not answer.": Mock(side_effect=ProjectError("The origin does not answer.")),
        "Failed: ZeroDivisionError": Mock(side_effect=ZeroDivisionError("secret")),
        # A flow that it calls is marked if it is killed, as it has the tag of the project.
        f"The retraining made version 2 champion: {PACKAGE}.": lambda _: trained._replace(
            reason=" and ".join(TagsContext.get().current_tags)
        ),
    }
    module = "penguin_model.flows.retraining"
    for outcome, retrain in outcomes.items():
        monkeypatch.setattr(f"{module}.retrain", retrain)
        retrain_on_drift.retraining("drift", run_id, return_state=True)
        assert [each.retraining.startswith(outcome) for each in comparisons.recent(1)] == [True]


@pytest.mark.parametrize("crashed", [False, True])
def test_deployed_retraining_starts_once_if_monitors_are_killed_before_their_note(crashed, forgotten, monkeypatch):
    monkeypatch.setattr(retrain_on_drift.session, "ends_with_run", lambda: False)
    policy = Policy(drifted=1, last=1, cooldown_days=0)

    def respond(*, killed: bool) -> str:
        comparison = comparisons.record({comparisons.VERSION: "1", comparisons.VERDICT: "drifted"}, {}, [])

        def note(outcome: str) -> None:
            if killed and outcome.startswith("Started"):
                raise SystemExit
            comparisons.note(comparison.run_id, outcome)

        with suppress(SystemExit):
            retrain_on_drift.respond(comparison, "a PSI", policy, note)
        return comparison.run_id

    with get_client(sync_client=True) as client:
        entrypoint = f"{PACKAGE}.flows.retraining.retraining"
        deployment = client.create_deployment(
            client.create_flow(retrain_on_drift.retraining), "test", entrypoint=entrypoint
        )
        of_deployment = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))

        def started() -> list[FlowRun]:
            return client.read_flow_runs(deployment_filter=of_deployment, sort=FlowRunSort.EXPECTED_START_TIME_ASC)

        first = respond(killed=True)
        if crashed:
            client.set_flow_run_state(started()[0].id, Crashed(), force=True)
        second = respond(killed=True)
        respond(killed=False)
        causes = [first, second] if crashed else [first]
        assert [run.parameters["comparison"] for run in started()] == causes
        # The attempt is over as soon as its outcome is known.
        causes += [respond(killed=False)]
        assert [run.parameters["comparison"] for run in started()] == causes
        client.delete_deployment(deployment)


def test_comparison_whose_process_was_killed_does_not_count(forgotten):
    tags = {comparisons.VERSION: "1", comparisons.VERDICT: "drifted"}
    names = ["a", "\x1b]0;owned\x07", "größe", "x" * 300, "../up"]
    values = {f"psi.{name}": float(number) for number, name in enumerate(names)}
    whole = comparisons.record(tags, values, [])
    client = runs.connect()
    experiment = client.get_experiment_by_name(comparisons.EXPERIMENT).experiment_id
    killed = client.create_run(experiment, tags=tags, start_time=1).info.run_id
    assert comparisons.recent(5) == [whole]
    assert whole.of(values) == values
    comparisons.record(tags, {}, [])
    assert client.get_run(killed).info.status == "KILLED"


def test_comparisons_are_counted_by_version_and_only_with_a_verdict(forgotten):
    for version, verdict in [("1", "drifted"), ("1", "too few rows"), ("2", "drifted"), ("1", "fine")]:
        comparisons.record({comparisons.VERSION: version, comparisons.VERDICT: verdict}, {}, [])
    assert [each.verdict for each in comparisons.recent(9, 1, without="too few rows")] == ["fine", "drifted"]
    assert [each.version for each in comparisons.recent(3)] == [1, 2, 1]
    comparisons.note(comparisons.recent(1)[0].run_id, ASKED)
    assert [each.retraining for each in comparisons.drifted(1)] == [ASKED]


@pytest.mark.parametrize("renamed", [0, 1])
def test_files_are_whole_if_the_process_ends_while_it_writes_them(renamed, tmp_path, monkeypatch):
    monkeypatch.setenv("PROJECT_ROOT", str(tmp_path))
    rows = pl.LazyFrame({"kind": ["a", "b"] * 100})
    old, new = (drift.compare(rows, Profile.of(rows), version=version) for version in (1, 2))
    write_page(old, [], {})
    page, numbers = tmp_path / "reports/drift.html", tmp_path / "reports/drift.json"
    replace, done = Path.replace, []

    def replace_or_die(source: Path, target: Path) -> Path:
        if len(done) == renamed:
            raise SystemExit
        done.append(target)
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", replace_or_die)
    with pytest.raises(SystemExit):
        write_page(new, [], {})
    monkeypatch.setattr(Path, "replace", replace)
    assert "version 1" in page.read_text(encoding="utf-8")
    assert page.read_text(encoding="utf-8").endswith("</html>")
    assert json.loads(numbers.read_text(encoding="utf-8"))["version"] == 1 + renamed
    write_page(new, [], {})
    assert {path.name for path in (tmp_path / "reports").iterdir()} == {"drift.html", "drift.json"}
