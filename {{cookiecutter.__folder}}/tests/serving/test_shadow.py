"""The challenger predicts the same rows as the champion, and whatever fails there, the answers do not notice."""

import json
from datetime import UTC, datetime
from types import SimpleNamespace

import polars as pl
import pytest
from typer.testing import CliRunner

from penguin_model.errors import ProjectError
from penguin_model.serving.backlog import Answered
from penguin_model.serving.metrics import SHADOW_FAILED, SHADOWED
from penguin_model.serving.prediction_log import PredictionLog
from penguin_model.serving.shadow import Shadow
from penguin_model.serving.verbs import app

AT = datetime(2026, 11, 27, 21, 59, 59, tzinfo=UTC)


class Model(SimpleNamespace):
    """A served model of one column, which it multiplies by its version; it fails on negative numbers."""

    def __init__(self, version: int, column: str = "x"):
        super().__init__(version=version, schema=self, column=column)

    def read(self, body: bytes) -> list[dict]:
        rows = json.loads(body)
        if self.column not in rows[0]:
            raise ProjectError(f"Row 0, field '{self.column}': field required")
        return rows

    def frame(self, rows: list[dict]) -> pl.DataFrame:
        return pl.from_dicts(rows).select(self.column)

    def predictions(self, rows: pl.DataFrame) -> pl.DataFrame:
        if rows.min().item() < 0:
            raise ValueError("negative")
        return rows.select(prediction=pl.first() * self.version)


def follower(served: Model | None, problem: str = "") -> SimpleNamespace:
    return SimpleNamespace(served=served, problem=problem, start=lambda: None, stop=lambda: None)


def answered(request_id: str, champion: Model, *rows: dict) -> Answered:
    body = json.dumps(rows).encode()
    table = champion.frame(champion.read(body))
    return Answered(champion, "champion", request_id, AT, body, table, champion.predictions(table))


def logged(tmp_path, followed, *requests: Answered) -> pl.DataFrame:
    """Pass requests on to log and shadow, as the service does; return the log."""
    log = PredictionLog(tmp_path)
    shadow = Shadow(followed, log)
    for listener in (log, shadow):
        listener.start()
    for request in requests:
        for listener in (log, shadow):
            listener.put(request)
    shadow.stop(10)
    log.stop(10)
    files = sorted(tmp_path.rglob("*.parquet"))
    whole = pl.concat([pl.read_parquet(file) for file in files], how="diagonal_relaxed")
    return whole.sort("role", "request_id", "row", descending=[True, False, False])


def count(counter) -> float:
    return counter.collect()[0].samples[0].value


def test_both_are_in_the_log(tmp_path):
    champion, before = Model(1), count(SHADOWED)
    requests = [answered("r1", champion, {"x": 1.5}, {"x": 2.5}), answered("r2", champion, {"x": 3.5})]
    log = logged(tmp_path, follower(Model(2)), *requests)
    same = ["x", "request_id", "row", "predicted_at"]
    by_role = {role: log.filter(role=role) for role in ("champion", "challenger")}
    assert by_role["champion"].select(same).equals(by_role["challenger"].select(same))
    assert by_role["champion"]["prediction"].to_list() == [1.5, 2.5, 3.5]
    assert by_role["challenger"]["prediction"].to_list() == [3.0, 5.0, 7.0]
    assert by_role["challenger"]["model_version"].to_list() == [2, 2, 2]
    assert count(SHADOWED) == before + 3


def test_challenger_reads_the_columns_that_it_needs(tmp_path):
    log = logged(tmp_path, follower(Model(2, "y")), answered("r1", Model(1), {"x": 1.5, "y": 4.0}))
    assert log["prediction"].to_list() == [1.5, 8.0]
    assert log["y"].to_list() == [None, 4.0]


def test_requests_that_the_challenger_cannot_predict_are_counted_and_said_once(tmp_path, caplog):
    champion, before = Model(1), count(SHADOW_FAILED)
    negative = answered("r1", champion, {"x": 1.0})._replace(body=b'[{"x": -1.0}]')
    lacking = answered("r2", champion, {"x": 1.0})._replace(body=b'[{"y": 1.0}]')
    log = logged(tmp_path, follower(Model(2)), negative, lacking, lacking, answered("r3", champion, {"x": 2.0}))
    assert log.filter(role="challenger")["request_id"].to_list() == ["r3"]
    assert count(SHADOW_FAILED) == before + 3
    assert "field required" in caplog.text
    assert "ValueError: negative" in caplog.text


@pytest.mark.parametrize(
    ("followed", "said"),
    [
        (follower(None, "There is no challenger yet."), []),  # which the follower says
        (follower(Model(2), "No MLflow server answers."), []),
        (follower(Model(1)), ["Version 1 is champion and challenger; the shadow waits for another"]),
    ],
)
def test_without_another_version_nothing_happens(tmp_path, caplog, followed, said):
    champion = Model(1)
    log = logged(tmp_path, followed, *[answered(f"r{number}", champion, {"x": 1.0}) for number in range(3)])
    assert log["role"].unique().to_list() == ["champion"]
    assert [record.message for record in caplog.records] == said


def test_shadow_without_log_is_refused(monkeypatch):
    monkeypatch.setenv("SHADOW", "challenger")
    result = CliRunner().invoke(app, [])
    assert isinstance(result.exception, ProjectError)
    assert "PREDICTION_LOG" in str(result.exception)
