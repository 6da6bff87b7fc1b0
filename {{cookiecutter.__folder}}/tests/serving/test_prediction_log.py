"""The prediction log holds exactly what was answered, and never hinders an answer."""

import json
import logging
import os
import socket
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import httpx
import polars as pl
import pytest
from conftest import COPY
from fastapi.testclient import TestClient

from penguin_model.ops import predictions
from penguin_model.ops.predictions import ORIGIN, Origin
from penguin_model.ops.settings import read_settings
from penguin_model.serving import prediction_log
from penguin_model.serving.app import create_app
from penguin_model.serving.backlog import Answered, Backlog
from penguin_model.serving.metrics import LOG_DROPPED, LOG_FAILURES, LOGGED
from penguin_model.serving.prediction_log import PredictionLog

AT = datetime(2026, 11, 27, 21, 59, 59, 999_999, tzinfo=UTC)
ONE, TWO = SimpleNamespace(version=1), SimpleNamespace(version=2)


def answered(request_id="r", served=ONE, at=AT, values=(1.5,), **columns) -> Answered:
    rows = pl.DataFrame({"x": values, **{name: [value] * len(values) for name, value in columns.items()}})
    predicted = pl.DataFrame({"prediction": ["a"] * len(values), "probability_a": [1 / 3] * len(values)})
    return Answered(served, "champion", request_id, at, b"{}", rows, predicted)


def logged(folder: Path, *requests: Answered) -> list[pl.DataFrame]:
    """Log requests; return the files, in order."""
    log = PredictionLog(folder)
    log.start()
    for request in requests:
        log.put(request)
    log.stop(10)
    return [pl.read_parquet(file) for file in files(folder)]


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.parquet"))


def count(counter) -> float:
    return sum(metric.samples[0].value for metric in counter.collect())


def test_rows_have_the_schema_of_scoring_and_their_request(tmp_path):
    before = count(LOGGED)
    first, second = answered("r1", values=(1.5, 2.5)), answered("r2", at=AT.replace(minute=0))
    [table] = logged(tmp_path, first, second)
    scored = predictions.record(first.rows, first.predictions, Origin(1, "champion", "r1"), at=AT)
    assert table.schema == scored.schema
    assert table.head(2).equals(scored)
    assert table.select("x", "request_id", "row", "predicted_at").row(2) == (1.5, "r2", 0, second.at)
    assert count(LOGGED) == before + 3


def test_columns_of_the_raw_table_keep_their_names(tmp_path):
    [table] = logged(tmp_path, answered(prediction="raw", row=7, request_id_="x"))
    assert table["prediction"].item() == "raw"
    assert table[predictions.find("prediction", table.columns)].item() == "a"
    assert table[predictions.find("row", table.columns)].item() == 0


def test_hours_have_their_folders(tmp_path):
    logged(tmp_path, answered("r1"), answered("r2", at=AT.replace(hour=23)), answered("r3", at=AT.replace(year=2027)))
    folders = [file.parent.relative_to(tmp_path).as_posix() for file in files(tmp_path)]
    assert folders == ["2026-11-27/21", "2026-11-27/23", "2027-11-27/21"]


def test_versions_with_other_columns_and_types_are_read_together(tmp_path):
    other = answered("r2", TWO, new="value")
    other = other._replace(predictions=pl.DataFrame({"prediction": [7]}), rows=other.rows.cast({"x": pl.Int64}))
    tables = logged(tmp_path, answered("r1"), other, answered("r3"), answered("r4", SimpleNamespace(version=None)))
    assert len(tables) == 2
    scans = [pl.scan_parquet(file, glob=False) for file in files(tmp_path)]
    whole = pl.concat(scans, how="diagonal_relaxed").sort("request_id").collect()
    assert whole["request_id"].to_list() == ["r1", "r2", "r3", "r4"]
    assert whole["model_version"].to_list() == [1, 2, 1, None]
    assert whole["new"].to_list() == [None, "value", None, None]
    assert whole["prediction"].to_list() == ["a", "7", "a", "a"]


def test_log_without_its_thread_drops_and_counts_instead_of_waiting(tmp_path):
    log, before = PredictionLog(tmp_path, limit=3 * answered().cost), count(LOG_DROPPED)
    for _ in range(5):
        log.put(answered(values=(1.0, 2.0)))
    assert count(LOG_DROPPED) == before + 4
    log.start()
    log.stop(10)
    assert sum(pl.read_parquet(file).height for file in files(tmp_path)) == 6
    log.put(answered())
    assert count(LOG_DROPPED) == before + 5


def test_a_request_larger_than_the_limit_is_logged_alone():
    backlog, before = Backlog(LOG_DROPPED, limit=1), count(LOG_DROPPED)
    backlog.put(answered())
    backlog.put(answered())
    assert count(LOG_DROPPED) == before + 1
    [taken] = backlog.take(1, 9, 0)
    backlog.put(answered())  # the first counts until it is released
    assert count(LOG_DROPPED) == before + 2
    backlog.release(taken.cost)
    backlog.put(answered())
    assert count(LOG_DROPPED) == before + 2


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(prediction_log, "FLUSH_SECONDS", 0.01)
    monkeypatch.setattr(
        prediction_log, "_hour", lambda time: time.replace(minute=0, second=0, microsecond=0, year=2026)
    )


def messages(caplog) -> list[str]:
    """Return the messages of the service, without those of libraries whose threads still run."""
    own = "penguin_model."
    return [record.message for record in caplog.records if record.name.startswith(own)]


def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_file_grows_until_it_is_full_and_can_be_read_meanwhile(tmp_path, fast, monkeypatch):
    monkeypatch.setattr(prediction_log, "FILE_BYTES", 15_000)
    monkeypatch.setattr(prediction_log, "_hour", lambda _: AT.replace(minute=0, second=0, microsecond=0))
    log = PredictionLog(tmp_path)
    log.start()
    for number in range(5):
        log.put(answered(str(number), note=f"{number}" * 10_000))
        # Polars opens a path twice, and may find two files; their bytes are those of one.
        heights = lambda: [pl.read_parquet(file.read_bytes()).height for file in files(tmp_path)]  # noqa: E731
        until(lambda: sum(heights()) == number + 1)  # noqa: B023
    log.stop(10)
    ids = [pl.read_parquet(file)["request_id"].to_list() for file in files(tmp_path)]
    assert ids == [["0", "1"], ["2", "3"], ["4"]]


def test_folder_that_cannot_be_written_is_reported_once_and_nothing_is_lost(tmp_path, fast, caplog):
    folder, failures, dropped = tmp_path / "log", count(LOG_FAILURES), count(LOG_DROPPED)
    folder.write_text("a file")
    log = PredictionLog(folder)
    with caplog.at_level(logging.INFO):
        log.start()
        until(lambda: messages(caplog))
        for number in range(3):
            log.put(answered(str(number)))
        until(lambda: count(LOG_FAILURES) >= failures + 3)
        folder.unlink()
        until(lambda: files(folder))
        log.put(answered("3"))
        log.stop(10)
    assert sorted(pl.read_parquet(folder / "**/*.parquet")["request_id"]) == ["0", "1", "2", "3"]
    assert count(LOG_DROPPED) == dropped
    warned, solved = messages(caplog)
    assert "cannot be written" in warned
    assert "requests are answered" in warned
    assert solved == "The prediction log is written again"


def test_full_disk_at_the_end_is_said(tmp_path, monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    before = count(LOG_DROPPED)
    assert logged(tmp_path, answered(values=(1.0, 2.0))) == []
    assert "2 rows of the prediction log are lost: OSError: [Errno 28] No space left on device" in caplog.text
    assert count(LOG_DROPPED) == before + 2
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_rows_that_cannot_be_a_table_do_not_end_the_log(tmp_path, fast, caplog):
    log, before = PredictionLog(tmp_path), count(LOG_DROPPED)
    log.start()
    log.put(answered("bad")._replace(predictions=pl.DataFrame({"prediction": [1, 2]})))
    until(lambda: count(LOG_DROPPED) > before)
    log.put(answered("good"))
    log.stop(10)
    assert [pl.read_parquet(file)["request_id"].to_list() for file in files(tmp_path)] == [["good"]]
    assert "cannot be written" in caplog.text


def test_only_its_user_can_read_it(tmp_path):
    before = os.umask(0)
    try:
        logged(tmp_path / "log", answered())
    finally:
        os.umask(before)
    for path in [tmp_path / "log", *(tmp_path / "log").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_leftovers_of_killed_processes_are_deleted(tmp_path):
    hour = tmp_path / "2026-11-27/21"
    hour.mkdir(parents=True)
    old, new = hour / ".old-0000.parquet.unfinished", hour / ".new-0000.parquet.unfinished"
    for file in (old, new):
        file.write_bytes(b"PAR1")
    os.utime(old, (0, 0))
    logged(tmp_path, answered())
    assert new.exists()
    assert not old.exists()
    assert pl.read_parquet(tmp_path / "**/*.parquet").height == 1


def test_processes_write_side_by_side(tmp_path):
    logs = [PredictionLog(tmp_path) for _ in range(3)]
    for log in logs:
        log.start()
        log.put(answered())
    for log in logs:
        log.stop(10)
    assert len(files(tmp_path)) == 3


def test_origin_is_complete():
    assert set(ORIGIN) <= set(prediction_log.record([answered()]).columns)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("order-17/4", True),
        ("Root=1-67891233-abcdef012345678912345678", True),
        ("a" * 128, True),
        ("a" * 129, False),
        ("", False),
        ("two words", False),
        ("schl\xfcssel".encode("latin-1"), False),
        ('"<script>', False),
        (b"\x1b[31m", False),
    ],
)
def test_request_id_of_the_client_is_kept_if_it_is_sane(given, kept):
    client = TestClient(create_app(read_settings()), base_url="http://127.0.0.1")
    for path in ("/health/live", "/predict"):
        answer = client.get(path, headers={"X-Request-ID": given})
        found = answer.headers["X-Request-ID"]
        assert found == given if kept else uuid.UUID(found)


@contextmanager
def service(folder: Path) -> Iterator[tuple[subprocess.Popen, httpx.Client]]:
    """Start the service as a process; yield it and a client once it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"SERVE_PORT": str(port), "PREDICTION_LOG": str(folder)}
    command = [sys.executable, "-m", "penguin_model", "serve"]
    with subprocess.Popen(command, env=environment) as process, httpx.Client(timeout=60) as client:
        try:
            client.base_url = f"http://127.0.0.1:{port}"
            end = time.monotonic() + 120
            while process.poll() is None and time.monotonic() < end:
                try:
                    if client.get("/health/ready").status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                time.sleep(0.1)
            yield process, client
        finally:
            process.kill()


def ask(client: httpx.Client, request_id: str, rows: list[dict]) -> dict:
    answer = client.post("/predict", json=rows, headers={"X-Request-ID": request_id})
    assert answer.status_code == 200, answer.text
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"] == request_id
    return answer.json()


def test_log_of_a_real_service_is_what_it_answered(trained, tmp_path):
    table = pl.read_parquet(COPY / "data/processed/table.parquet")
    rows = json.loads(table.head(40).write_json())
    with service(tmp_path) as (process, client):
        answers = [ask(client, f"r{number}", rows[: number + 1]) for number in range(3)]
        assert client.post("/predict", json=[{"no": "such field"}]).status_code == 422
        until(lambda: files(tmp_path))
        process.kill()
        process.wait()
    before = pl.read_parquet(tmp_path / "**/*.parquet")
    assert before["request_id"].n_unique() == 3
    with service(tmp_path) as (process, client):
        answers += [ask(client, f"r{number}", rows) for number in range(3, 6)]
        process.terminate()
        start = time.monotonic()
        process.wait(20)
        assert time.monotonic() - start < 10
    log = pl.read_parquet(tmp_path / "**/*.parquet").sort("request_id", "row")
    assert log["prediction"].to_list() == [row["prediction"] for one in answers for row in one["predictions"]]
    shares = [list(row.get("probabilities", {}).values()) for one in answers for row in one["predictions"]]
    assert [list(row) for row in log.select("^probability_.*$").rows()] == (shares if shares[0] else [])
    raw = [name for name in table.columns if name in log.columns]
    assert log.select(raw).schema == table.select(raw).schema
    assert log.filter(request_id="r3").select(raw).equals(table.head(40).select(raw))
