"""Predictions in folders and databases: complete or not there, never twice, and one sentence where they cannot go."""

import hashlib
import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, date, datetime, time
from decimal import Decimal

import polars as pl
import pytest
from conftest import COPY

from penguin_model.errors import ProjectError
from penguin_model.ops import destinations, predictions
from penguin_model.ops.predictions import Origin

RAW = pl.DataFrame(
    {
        "name (%)": ["a", 'it\'s "b"', None],
        "n": [1, None, 2**40],
        "day": [date(2026, 1, 2), None, date(2026, 1, 3)],
        "at": [datetime(2026, 1, 2, 3, 4), None, datetime(2026, 1, 2)],
        "clock": [time(1, 2), None, time(3)],
        "price": [Decimal("1.50"), None, Decimal("2.25")],
        "yes": [True, None, False],
        "kind": pl.Series(["x", None, "y"], dtype=pl.Categorical),
    }
)


def parts(folder, request_id: str, rows: pl.DataFrame = RAW, run: str = "run") -> list:
    """Write predictions as two files; return these."""
    predicted = pl.DataFrame({"prediction": ["p"] * rows.height, "probability_p": [1.0] * rows.height})
    origin = Origin(3, "champion", request_id, run)
    table = predictions.record(rows, predicted, origin, at=datetime(2026, 1, 1, tzinfo=UTC))
    files = [folder / f"{request_id}-{number}.parquet" for number in range(2)]
    for file, part in zip(files, (table[:2], table[2:]), strict=True):
        part.write_parquet(file)
    return files


def names(folder) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def in_table(file, query: str = "SELECT request_id, row FROM predictions ORDER BY 1, 2") -> list:
    with closing(sqlite3.connect(file)) as database:
        return database.execute(query).fetchall()


def test_folder_has_the_predictions_of_the_last_request_only(tmp_path):
    for request_id in ("one", "two", "two"):
        destinations.write(str(tmp_path / "new/out"), "", parts(tmp_path, request_id), request_id)
    assert names(tmp_path / "new") == ["out"]
    read = pl.read_parquet(tmp_path / "new/out")
    assert read.equals(pl.concat(map(pl.read_parquet, parts(tmp_path, "two"))))


def test_folder_keeps_other_files_and_loses_those_of_earlier_versions(tmp_path):
    for name in ("mine.parquet", "000000000000.parquet"):
        RAW.write_parquet(tmp_path / name)
    destinations.write(str(tmp_path), "", parts(COPY, "one"), "one")
    assert names(tmp_path) == ["mine.parquet", destinations.FILE]


def test_table_has_each_request_once_with_all_values(tmp_path):
    to = f"sqlite:///{tmp_path}/t.db"
    for request_id in ("one", "two", "one"):
        destinations.write(to, "predictions", parts(tmp_path, request_id), request_id)
    assert in_table(tmp_path / "t.db") == [(name, row) for name in ("one", "two") for row in range(3)]
    first, second = in_table(tmp_path / "t.db", "SELECT * FROM predictions WHERE request_id = 'one' AND row < 2")
    raw = ("a", 1, "2026-01-02", "2026-01-02 03:04:00.000000", "01:02:00.000000", 1.5, 1, "x")
    assert first[: len(raw)] == raw
    assert second[: len(raw)] == ('it\'s "b"', *[None] * 7)


def test_table_of_others_with_more_columns_gets_rows(tmp_path):
    to, files = f"sqlite:///{tmp_path}/t.db", parts(tmp_path, "one", RAW.select("n"))
    destinations.write(to, "scores", files, "one")
    with closing(sqlite3.connect(tmp_path / "t.db")) as database, database:
        database.execute("ALTER TABLE scores ADD COLUMN note TEXT")
    destinations.write(to, "main.scores", parts(tmp_path, "two", RAW.select("n")), "two")
    assert in_table(tmp_path / "t.db", "SELECT count(*), count(note) FROM scores") == [(6, 0)]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("n INTEGER", r"The table 't' lacks the column\(s\) prediction, .* choose another with --table"),
        ("{} , extra INTEGER NOT NULL", r"Cannot write predictions into sqlite:///.*t.db: NOT NULL constraint failed"),
        ("n TEXT, {}", r"The column 'n' of the table 't' is TEXT, the predictions have BIGINT; choose another"),
    ],
)
def test_table_with_other_columns_is_refused(tmp_path, columns, message):
    files = parts(tmp_path, "one", RAW.select("n"))
    ours = ", ".join(f"{name} {'' if name == 'n' else 'TEXT'}" for name in pl.read_parquet_schema(files[0]))
    types = {"probability_p": "REAL", "model_version": "INTEGER", "row": "INTEGER", "predicted_at": "DATETIME"}
    for name, kind in types.items():
        ours = ours.replace(f"{name} TEXT", f"{name} {kind}")
    ours = ours.replace("n ,", "n INTEGER," if columns.startswith("{}") else "", 1)
    with closing(sqlite3.connect(tmp_path / "t.db")) as database, database:
        database.execute(f"CREATE TABLE t ({columns.format(ours)})")
    with pytest.raises(ProjectError, match=message):
        destinations.write(f"sqlite:///{tmp_path}/t.db", "t", files, "one")
    assert in_table(tmp_path / "t.db", "SELECT count(*) FROM t") == [(0,)]


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("s3://bucket/folder", r"--to is 's3://bucket/folder': give a folder, or a database"),
        ("https://host/x", r"give a folder, or a database"),
        (
            "postgresql://user:pass@host/db",
            r"--to is 'postgresql://host/db' with a password or key.* PREDICTIONS_URL in",
        ),
        ("//user:pass@host", r"--to is '…' with a password or key"),
        ("out.parquet", r"--to is 'out.parquet', but has to be a folder"),
        ("params.yaml", r"--to is 'params.yaml', but has to be a folder"),
        ("PREDICTIONS_URL", r"--to is PREDICTIONS_URL, which is not set in .env"),
    ],
)
def test_destination_that_cannot_be_is_refused_before_anything_starts(to, message):
    with pytest.raises(ProjectError, match=message) as refused:
        destinations.address(to)
    assert "pass@" not in str(refused.value)


@pytest.mark.parametrize(
    ("to", "message"),
    [
        (
            "postgresql://u:s3cret@127.0.0.1:1/db",
            r"Cannot write predictions into postgresql://127.0.0.1:1/db: ",
        ),
        ("sqlite:///no/such/folder/t.db", r"unable to open database file"),
        ("sqlite://", r"A database in memory is lost"),
        ("oracle9://host/db", r"Unsupported database address"),
        ("params.yaml/out", r"Nothing can be written into .*params.yaml is not a folder"),
    ],
)
def test_destination_that_does_not_answer_is_one_sentence(to, message):
    with pytest.raises(ProjectError, match=message) as refused:
        destinations.check(to, "predictions", RAW.schema)
    assert "s3cret" not in str(refused.value)


def test_address_with_a_secret_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("PREDICTIONS_URL", "postgresql://user:s3cret@host/db")
    assert destinations.address("PREDICTIONS_URL") == "postgresql://user:s3cret@host/db"


# Writes in a process for each point at which that is killed; prints how it ended and what is there then.
KILLED = """
import hashlib, json, os, shutil, signal, sqlite3, sys
from pathlib import Path
import polars as pl
from sqlalchemy import Connection
from penguin_model.ops import destinations

to, before, files = sys.argv[1], sys.argv[2], [Path(file) for file in sys.argv[3:]]
place = Path(to.removeprefix("sqlite:///"))

def die_before(call):
    def killing(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **kwargs)
    return killing

def look():
    if place.is_dir():
        return [file.name + hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(place.iterdir())]
    database = sqlite3.connect(place)
    tables = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    rows = database.execute("SELECT flow_run, row FROM predictions ORDER BY 1, 2").fetchall() if tables[0] else None
    return rows and [list(row) for row in rows]

for point in range(1, 99):
    shutil.rmtree(place, ignore_errors=True) if place.is_dir() else place.unlink(missing_ok=True)
    if os.path.exists(before):
        (shutil.copytree if os.path.isdir(before) else shutil.copy)(before, place)
    left = point
    if (child := os.fork()) == 0:
        for owner, names in (
            (pl.LazyFrame, ["sink_parquet"]),
            (Path, ["replace"]),
            (Connection, ["execute", "exec_driver_sql", "_commit_impl"]),
        ):
            for name in names:
                setattr(owner, name, die_before(getattr(owner, name)))
        destinations.write(to, "predictions", files, "two")
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(json.dumps([status, look()]), flush=True)
    if status == 0:
        break
"""


def killed(*arguments) -> list:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, arguments)], check=True, capture_output=True, text=True, timeout=300
    )
    *rest, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert last[0] == 0
    assert {status for status, _ in rest} == {-signal.SIGKILL}
    return [state for _, state in rest], last[1]


@pytest.mark.parametrize("exists", [True, False])
def test_killed_write_leaves_a_table_as_it_was(tmp_path, exists):
    before, old = tmp_path / "before.db", None
    if exists:
        destinations.write(f"sqlite:///{before}", "predictions", parts(tmp_path, "two", run="old"), "two")
        old = [["old", row] for row in range(3)]
    states, last = killed(f"sqlite:///{tmp_path}/t.db", before, *parts(tmp_path, "two", run="new"))
    assert len(states) >= 4
    assert all(state == old for state in states)
    assert last == [["new", row] for row in range(3)]


def test_killed_write_leaves_a_folder_as_it_was(tmp_path):
    destinations.write(str(tmp_path / "before"), "", parts(tmp_path, "two", run="old"), "two")
    old, new = tmp_path / "before/predictions.parquet", parts(tmp_path, "two", run="new")
    states, last = killed(tmp_path / "out", tmp_path / "before", *new)
    assert len(states) == 2
    assert states == [[f"{old.name}{hashlib.sha256(old.read_bytes()).hexdigest()}"]] * 2
    assert len(last) == 1
    assert last != states[0]
    assert not list(tmp_path.glob(".*"))
