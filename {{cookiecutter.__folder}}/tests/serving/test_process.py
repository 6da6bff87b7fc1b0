"""The service as a process of its own: it follows the champion under load, and ends and starts as it should."""

import asyncio
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import polars as pl
import pytest
from conftest import COPY

from penguin_model.flows.monitoring import compare_rows
from penguin_model.flows.scoring import contract_of, read_rows
from penguin_model.ops.paths import ROWS
from penguin_model.ops.settings import PACKAGE
from penguin_model.ops.tracking import digests, registry, runs
from penguin_model.ops.tracking.history import new_entry
from penguin_model.ops.tracking.registry import CHALLENGER
from penguin_model.ops.tracking.store import open_store

CONNECTIONS, TAMPERED = 16, 10
# Shared, because each new client reads all certificates.
CLIENT = httpx.Client(timeout=60)


class Service(NamedTuple):
    """A service that runs, and its log."""

    url: str
    process: subprocess.Popen
    log: Path

    def ready(self) -> dict | str:
        """Return what /health/ready says, or why it says nothing."""
        try:
            answer = CLIENT.get(f"{self.url}/health/ready").json()
        except httpx.TransportError as error:
            return repr(error)
        return answer.get("detail", answer)

    def wait_for(self, condition) -> dict:
        """Wait until the condition holds for the answer of /health/ready, and return that."""
        end = time.monotonic() + 120
        while not condition(answer := self.ready()):
            assert time.monotonic() < end, (answer, self.log.read_text())
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.2)
        return answer


@contextmanager
def serving(folder: Path, port: int, **settings: str) -> Iterator[Service]:
    """Start a service for the block; it is stopped however the block ends."""
    variables = {"SERVE_PORT": str(port), "SERVE_POLL_SECONDS": "0.2", "SERVE_TIMEOUT": "60", **settings}
    log = folder / "service.log"
    with log.open("a") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", PACKAGE, "serve"], env=os.environ | variables, stdout=output, stderr=output
        )
    try:
        yield Service(f"http://127.0.0.1:{port}", process, log)
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in log.read_text()


def free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


@pytest.fixture(scope="module")
def database(trained, tmp_path_factory) -> Iterator[Path]:
    """Copy the registry, in which the model is ten versions; the files of the last are not as registered."""
    file = tmp_path_factory.mktemp("registry") / "mlflow.db"
    shutil.copy(COPY / "mlflow.db", file)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{file}")
        first, client = registry.get(1), runs.connect()
        # Tests before may have registered more versions; these are counted from 1 again.
        with closing(sqlite3.connect(file)) as opened, opened:
            for table in ("model_version_tags", "model_versions"):
                opened.execute(f"DELETE FROM {table} WHERE version > 1")  # noqa: S608
            opened.execute("DELETE FROM registered_model_aliases")
        for number in range(2, TAMPERED + 1):
            tags = dict(first.tags) | ({digests.TAG: "{}"} if number == TAMPERED else {})
            client.create_model_version(PACKAGE, first.source, first.run_id, tags)
        assert registry.newest().number == TAMPERED
        move(1)
        yield file
    runs.connect()


def move(version: int) -> int:
    """Make a version the champion; 0 rolls back. Return who is champion."""
    champion = registry.reconcile().champion
    if version == 0:
        return registry.rollback("a test", "a test").new
    if version != champion:
        registry.promote(new_entry("promote", "a test", champion, version, "a test", {}))
    return version


@pytest.fixture(scope="module")
def service(database) -> Iterator[Service]:
    with serving(database.parent, free_port()) as service:
        service.wait_for(is_version(1))
        yield service


@pytest.fixture(scope="module")
def rows(trained) -> list[dict]:
    return json.loads(pl.read_parquet(COPY / "data/processed/table.parquet").write_json())


def is_version(number: int):
    return lambda answer: isinstance(answer, dict) and answer["model_version"] == number


class Answer(NamedTuple):
    """When a request was sent and answered, and by which version."""

    start: float
    end: float
    version: int


async def ask(client: httpx.AsyncClient, rows: list[dict] | dict) -> Answer:
    start = time.monotonic()
    response = await client.post("/predict", json=rows)
    assert response.status_code == 200, response.text
    return Answer(start, time.monotonic(), response.json()["model_version"])


def test_ten_changes_under_load_fail_no_request_and_never_go_back(service, rows):
    # 0 is a rollback.
    moves, history, answers = [2, 3, 4, 0, 0, 5, 6, 1, 7, 8], [1], []

    async def load(client, over):
        last = False
        while not last:
            last = over.is_set()  # once more, or the last version may get no request
            answers.append(await ask(client, rows[0]))
            await asyncio.sleep(0.05)  # so that this process and the service do not keep both cores busy

    async def change(over):
        for number in moves:
            await asyncio.sleep(0.1)
            history.append(await asyncio.to_thread(move, number))
            await asyncio.to_thread(service.wait_for, is_version(history[-1]))
        over.set()

    async def both():
        over = asyncio.Event()
        limits = httpx.Limits(max_connections=CONNECTIONS)
        async with httpx.AsyncClient(base_url=service.url, limits=limits, timeout=60) as client:
            await asyncio.gather(change(over), *(load(client, over) for _ in range(CONNECTIONS)))

    asyncio.run(both())
    assert history == [1, 2, 3, 4, 3, 2, 5, 6, 1, 7, 8]
    assert {answer.version for answer in answers} == set(history)
    # The place of each answer in the history: not before those that had arrived when its request was sent.
    places = []
    for answer in sorted(answers):
        earliest = max((place for place, end in places if end <= answer.start), default=0)
        places.append((history.index(answer.version, earliest), answer.end))


def test_version_with_other_files_is_not_served(service):
    before = service.ready()["model_version"]
    move(TAMPERED)
    answer = service.wait_for(lambda answer: answer["problem"])
    assert answer["model_version"] == before
    assert "not the ones that were registered" in answer["problem"]
    failures = [
        line for line in httpx.get(f"{service.url}/metrics").text.splitlines() if "follow_failures_total" in line
    ]
    assert float(failures[-1].split()[-1]) >= 1
    assert move(0) == before
    service.wait_for(lambda answer: answer["problem"] == "")
    said = service.log.read_text()
    assert f"version {before} goes on serving" in said
    assert "Serving version 1 instead of no model" in said


def test_service_waits_for_its_registry_and_outlives_sigkill_and_sigterm(database, tmp_path, rows):
    port, settings = free_port(), {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    (tmp_path / "mlflow.db").write_text("damaged " * 100)
    with serving(tmp_path, port, **settings) as service:
        answer = service.wait_for(lambda answer: "Not ready" in answer and "no model has been" not in answer)
        assert "damaged" in answer
        assert httpx.get(f"{service.url}/health/live").status_code == 200
        shutil.copy(database, tmp_path / "copy.db")
        (tmp_path / "copy.db").replace(tmp_path / "mlflow.db")
        service.wait_for(lambda answer: isinstance(answer, dict) and answer["problem"] == "")
        service.process.kill()
    with serving(tmp_path, port, **settings) as service:
        service.wait_for(lambda answer: isinstance(answer, dict))
        answered = asyncio.run(ended_under_load(service, (rows * 500)[:500]))
        assert answered == CONNECTIONS
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{service.url}/health/live")
        assert service.process.wait(10) in {0, 128 + signal.SIGTERM}


async def ended_under_load(service: Service, rows: list[dict]) -> int:
    """Send SIGTERM when the first of many requests is answered, and return how many are."""
    async with httpx.AsyncClient(base_url=service.url, timeout=60) as client:
        requests = [asyncio.create_task(ask(client, rows)) for _ in range(CONNECTIONS)]
        await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
        service.process.send_signal(signal.SIGTERM)
        return len(await asyncio.gather(*requests))


@pytest.mark.parametrize(
    ("uri", "reason"),
    [("http://{}", "No MLflow server answers"), ("postgresql+psycopg://x@{}/mlflow", "connection timeout expired")],
)
def test_registry_that_accepts_connections_but_never_answers_is_named_and_delays_no_sigterm(tmp_path, uri, reason):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with serving(tmp_path, free_port(), MLFLOW_TRACKING_URI=uri.format(address)) as service:
            service.wait_for(lambda answer: "Not ready" in answer)
            start = time.monotonic()
            service.wait_for(lambda answer: reason in answer)
            assert time.monotonic() - start < 60  # 8 seconds on an idle machine
            time.sleep(0.5)  # it asks again, and waits
            service.process.send_signal(signal.SIGTERM)
            assert service.process.wait(10) in {0, 128 + signal.SIGTERM}


# A thread that cannot be stopped, as in a download from a storage that hangs.
HANGING = """
import signal, sys, time
from concurrent.futures import ThreadPoolExecutor
from penguin_model.serving.verbs import run
signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
ThreadPoolExecutor().submit(time.sleep, 300)
run(app=print, port=int(sys.argv[1]), lifespan="off", timeout_graceful_shutdown=1)
"""


def test_download_that_hangs_delays_no_sigterm():
    port = free_port()
    with subprocess.Popen([sys.executable, "-c", HANGING, str(port)]) as process:
        try:
            end = time.monotonic() + 60
            while socket.socket().connect_ex(("127.0.0.1", port)):
                assert time.monotonic() < end
                time.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 128 + signal.SIGTERM
        finally:
            process.kill()


def test_challenger_shadows_the_champion_and_the_monitor_compares_them(database, tmp_path, rows):
    move(1)
    assert registry.holder(CHALLENGER) == TAMPERED  # which cannot be loaded
    sent, log = {}, tmp_path / "log"
    with serving(tmp_path, free_port(), SHADOW=CHALLENGER, PREDICTION_LOG=str(log)) as service:
        service.wait_for(is_version(1))
        for challenger in (TAMPERED, 2, 3):
            open_store().set_alias(CHALLENGER, challenger)
            said = "not the ones that were registered" if challenger == TAMPERED else f"with version {challenger} "
            service.wait_for(lambda _, said=said: said in service.log.read_text())
            for number in range(3):
                request_id = f"{challenger}-{number}"
                answer = CLIENT.post(f"{service.url}/predict", json=rows[:20], headers={"X-Request-ID": request_id})
                assert answer.json()["model_version"] == 1
                sent[request_id] = challenger
        service.process.send_signal(signal.SIGTERM)
        service.process.wait(10)
    logged = pl.concat(map(pl.read_parquet, log.rglob("*.parquet")), how="diagonal_relaxed")
    champion, challenger = (logged.filter(role=role).sort("request_id", "row") for role in ("champion", CHALLENGER))
    assert champion.group_by("request_id").len().sort("request_id").rows() == [(name, 20) for name in sorted(sent)]
    # The same requests and rows, by the challenger of that time.
    shadowed = champion.filter(~pl.col("request_id").str.starts_with(f"{TAMPERED}-"))
    changed = ["model_version", "role"]
    assert challenger.drop(changed).equals(shadowed.drop(changed))
    assert challenger["model_version"].to_list() == [sent[name] for name in challenger["request_id"]]
    recorded = read_rows(str(log), None, contract_of(1), ROWS)
    result = compare_rows.fn(recorded, None, 1, 0.2, labelled=False)
    assert result.rows == champion.height
    assert any("Challenger, version 3, in 60 rows of the champion" in note for note in result.notes)
