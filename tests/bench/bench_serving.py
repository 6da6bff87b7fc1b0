"""Requests a second and their times: the service, its route that does nothing, and `mlflow models serve`.

A part of `make bench`. The load comes from autocannon, which npm installs: it is maintained, and takes less
of the processor than a client in Python would, so that the server remains the bottleneck.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil

CONNECTIONS = (1, 16, 64)
SECONDS = 10
MANY = 100_000
HEADERS = {"Content-Type": "application/json"}


def main(project: Path) -> None:
    """Print a row for each server and number of connections; the project has a champion."""
    row = example(project)
    one, wrapped = json.dumps(row), json.dumps({"dataframe_records": [row]})
    columns = f"{'connections':>12}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'failed':>8}"
    print(f"\n{'single rows':<24}{columns}")
    program = [str(project / ".venv/bin/penguin-model"), "serve"]
    with serving(program, project, "SERVE_PORT", "/health/ready") as (port, process):
        first, tenth = first_and_tenth(port, one)
        for connections in CONNECTIONS:
            show("does nothing", connections, load(port, "/health/live", None, connections))
            show("/predict", connections, load(port, "/predict", one, connections))
        before = process.memory_info().rss
        failed = load(port, "/predict", one, 16, "--amount", str(MANY))["non2xx"]
        grown = (process.memory_info().rss - before) / 2**20
    program = [str(project / ".venv/bin/mlflow"), "models", "serve", "--env-manager", "local"]
    port = free_port()
    program += ["--model-uri", "models:/penguin_model@champion", "--port", str(port)]
    with serving(program, project, None, "/ping", port):
        for connections in CONNECTIONS:
            show("mlflow models serve", connections, load(port, "/invocations", wrapped, connections))
    print(f"\nfirst request after start {first:.1f} ms, tenth {tenth:.1f} ms")
    print(f"{MANY:,} more requests: memory grew by {grown:.0f} MiB, {failed} failed")


def example(project: Path) -> dict[str, Any]:
    """Return the first row of the table without missing values, as JSON has it."""
    code = """
import json, polars as pl
from penguin_model.ops.settings import read_params
rows = pl.read_parquet("data/processed/table.parquet").drop_nulls().drop(read_params().data.target)
print(json.dumps(rows.row(0, named=True)))
"""
    python = str(project / ".venv/bin/python")
    found: dict[str, Any] = json.loads(
        subprocess.run(
            [python, "-c", code], cwd=project, check=True, capture_output=True, text=True
        ).stdout.splitlines()[-1]
    )
    return found


@contextmanager
def serving(
    program: list[str], project: Path, variable: str | None, ready: str, port: int = 0
) -> Iterator[tuple[int, psutil.Process]]:
    """Start a server, wait until it is ready, and stop it and its children after the block."""
    port = port or free_port()
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{project / 'mlflow.db'}"}
    environment |= {variable: str(port)} if variable else {}
    environment["PATH"] = f"{project / '.venv/bin'}:{environment['PATH']}"
    with (
        (project.parent / "serving.log").open("wb") as log,
        subprocess.Popen(program, cwd=project, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            wait_for(port, ready, process)
            yield port, psutil.Process(process.pid)
        finally:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.terminate()
            process.terminate()


def wait_for(port: int, path: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server answers 200."""
    while process.poll() is None:
        try:
            if request(port, "GET", path, None)[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.2)
    sys.exit(f"{process.args!r} ended with {process.returncode}")


def first_and_tenth(port: int, body: str) -> tuple[float, float]:
    """Return the milliseconds of the first and of the tenth request."""
    times = [request(port, "POST", "/predict", body)[1] for _ in range(10)]
    return times[0], times[9]


def request(port: int, method: str, path: str, body: str | None) -> tuple[int, float]:
    """Return the status of a request and its milliseconds."""
    start = time.perf_counter()
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, HEADERS)
    status = connection.getresponse().status
    connection.close()
    return status, (time.perf_counter() - start) * 1000


def load(port: int, path: str, body: str | None, connections: int, *bound: str) -> dict[str, Any]:
    """Return autocannon's measurements."""
    arguments = ["--connections", str(connections), *(bound or ("--duration", str(SECONDS)))]
    if body:
        arguments += ["--method", "POST", "--headers", "content-type=application/json", "--body", body]
    command = ["npx", "--yes", "autocannon@8", "--json", *arguments, f"http://127.0.0.1:{port}{path}"]
    found: dict[str, Any] = json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout
    )
    return found


def show(name: str, connections: int, found: dict[str, Any]) -> None:
    """Print a row."""
    latency, failed = found["latency"], found["non2xx"] + found["errors"]
    rate = found["requests"]["average"]
    print(
        f"{name:<24}{connections:>12}{rate:>12,.0f}{latency['p50']:>9}{latency['p99']:>9}{failed:>8}",
        flush=True,
    )


def free_port() -> int:
    """Return a free port of the loopback."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
