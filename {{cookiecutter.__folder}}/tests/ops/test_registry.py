"""The registry: the alias `champion`, its journal and rollback; also when killed, and when two commands run at once."""

import json
import math
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import mlflow
import pytest
from filelock import FileLock
from mlflow.store.db.utils import _get_latest_schema_revision
from prefect.states import Failed

from penguin_model import cli
from penguin_model.errors import ProjectError
from penguin_model.ops.orchestration.policies import is_transient
from penguin_model.ops.settings import PACKAGE
from penguin_model.ops.tracking import (
    mlflow_store,
    registry,
    runs,
    status,
    store,
)
from penguin_model.ops.tracking.history import History, new_entry

# Imports MLflow once, then forks a process for each piece of code, which may be killed.
WARM = """
import json, os, shutil, signal, sys, traceback
from importlib import import_module

history, registry, runs, settings, store = (
    import_module(f"{sys.argv[1]}.ops.{name}")
    for name in ("tracking.history", "tracking.registry", "tracking.runs", "settings", "tracking.store")
)
registry.reconcile()
for line in sys.stdin:
    folder, code, arguments = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        os.environ |= {"PROJECT_ROOT": folder, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
        exec(code)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
os._exit(0)
"""

# Forks a process for each point at which it is killed.
KILLED = """
def look():
    client = runs.connect()
    model = client.get_registered_model(settings.PACKAGE)
    return {"aliases": model.aliases, "tags": model.tags}

def fork(work):
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL)
    return code

def die_at(point):
    left = [point]
    def killing(change):
        def call(*args, **kwargs):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return change(*args, **kwargs)
        return call
    for name in ("add_tag", "set_tag", "set_alias"):
        setattr(store.SqlStore, name, killing(getattr(store.SqlStore, name)))

def at_point():
    die_at(point)
    exec(command)

def afterwards():
    killed = look()
    registry.reconcile()
    with open("seen.jsonl", "a") as seen:
        seen.write(json.dumps([point, killed, look()]) + "\\n")

for command in arguments:
    for point in range(99):
        shutil.copy("before.db", "mlflow.db")
        if fork(at_point) == 0:
            break
        fork(afterwards)
"""

# Runs verbs in one process, and prints what they have imported.
VERBS = """
import sys
from contextlib import suppress
from importlib import import_module

cli = import_module(f"{sys.argv[1]}.cli")
for words in (["status"], ["journal"], ["promote", "2", "--reason", "to go back"], ["rollback"]):
    sys.argv = ["verb", *words]
    with suppress(SystemExit):
        cli.main()
print(*sys.modules, sep="\\n")
"""

# Both processes have read the same champion before either moves the alias.
AT_ONCE = """
gates = [os.pipe(), os.pipe()]
children = []
for version in (2, 3):
    child = os.fork()
    if child == 0:
        move = history.new_entry("promote", "test", registry.reconcile().champion, version, "at once", {})
        os.write(gates[0][1], b"x")
        os.read(gates[1][0], 1)
        try:
            registry.promote(move)
            line = f"won {version}"
        except registry.OvertakenError as error:
            line = f"told {error}"
        with open("said", "a") as file:
            file.write(line + "\\n")
        os._exit(0)
    children.append(child)
for _ in children:
    os.read(gates[0][0], 1)
os.write(gates[1][1], b"xx")
for child in children:
    os.waitpid(child, 0)
"""


@pytest.fixture(scope="module")
def three_versions(tmp_path_factory) -> Path:
    """Make a database with three versions and no champion."""
    file = tmp_path_factory.mktemp("registry") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{file}")
        client = runs.connect()
        client.create_registered_model(PACKAGE)
        for score in (0.7, 0.8, 0.9):
            with runs.run({}) as run_id:
                mlflow.log_metric("score", score)
            client.create_model_version(PACKAGE, file.parent.as_uri(), run_id, tags={"reason": "made"})
    return file


@pytest.fixture
def client(three_versions, tmp_path, monkeypatch):
    """Connect to a copy of that database."""
    shutil.copy(three_versions, tmp_path / "mlflow.db")
    monkeypatch.setenv("PROJECT_ROOT", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    return runs.connect()


@pytest.fixture(scope="module")
def forked(three_versions, tmp_path_factory) -> Iterator[Callable[..., None]]:
    """Run code, in a folder with a database, in a process that may fork and be killed."""
    folder = tmp_path_factory.mktemp("warm")
    shutil.copy(three_versions, folder / "mlflow.db")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    env = os.environ | {"PROJECT_ROOT": str(folder), "MLFLOW_TRACKING_URI": uri}
    command = [sys.executable, "-c", WARM, PACKAGE]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as warm:

        def forked(where: Path, code: str, *arguments: str) -> None:
            print(json.dumps([str(where), code, arguments]), file=warm.stdin, flush=True)
            assert warm.stdout.readline() == "0\n"

        yield forked


def promote(version: int, reason: str = "because") -> None:
    registry.promote(new_entry("promote", "test", registry.reconcile().champion, version, reason, {"score": 1}))


def aliases(client) -> dict[str, int]:
    return {name: int(version) for name, version in client.get_registered_model(PACKAGE).aliases.items()}


def moves() -> list[tuple]:
    return [(entry.how, entry.old, entry.new) for entry in registry.reconcile().history.entries]


def register(client, monkeypatch, inputs: str, fails_with: type[Exception] | None = None) -> int:
    """Register a version in a run of its own, which may fail after that; return its number."""
    with suppress(OSError), runs.run({}) as run_id:
        monkeypatch.setattr(
            mlflow,
            "register_model",
            lambda uri, name, tags: client.create_model_version(name, uri, run_id, tags=tags),
        )
        version = registry.register("file:///model", {"dvc.lock": json.dumps({"deps": {"table.csv": inputs}})})
        if fails_with:
            raise fails_with
    return version


def test_version_of_a_failed_run_is_replaced_by_that_of_the_next_run_of_the_same_training(client, monkeypatch):
    assert [register(client, monkeypatch, "a", OSError), register(client, monkeypatch, "a", OSError)] == [4, 5]
    # Other data, a run that ended well, or a version that was champion: these stay.
    assert [register(client, monkeypatch, inputs) for inputs in ("b", "b")] == [6, 7]
    promote(register(client, monkeypatch, "b", OSError))
    promote(7)
    assert register(client, monkeypatch, "b") == 9
    assert sorted(int(each.version) for each in client.search_model_versions()) == [1, 2, 3, 5, 6, 7, 8, 9]


def test_every_move_is_in_the_journal(client):
    assert registry.reconcile().champion is None
    assert aliases(client) == {"challenger": 3}
    promote(1, "it is the first")
    promote(3)
    assert aliases(client) == {"champion": 3}
    assert moves() == [("promote", None, 1), ("promote", 1, 3)]
    entry = registry.reconcile().history.entries[0]
    assert (entry.by, entry.reason, entry.metrics) == ("test", "it is the first", {"score": 1})
    assert "none → version 1  (promote, test)\n   it is the first" in str(registry.reconcile().history)


def test_reading_changes_nothing_and_reports_what_is_pending(client, tmp_path):
    file = tmp_path / "mlflow.db"
    promote(1)
    assert registry.champion() == registry.reconcile()
    client.set_registered_model_alias(PACKAGE, "champion", "2")
    before = file.read_bytes()
    state = registry.champion()
    assert (state.champion, state.history.champion, state.pending) == (2, 1, True)
    assert str(status.read()).endswith(registry.PENDING)
    assert file.read_bytes() == before
    assert not registry.reconcile().pending


def test_verbs_that_train_nothing_need_neither_mlflow_nor_scikit_learn(client):
    promote(1)
    done = subprocess.run([sys.executable, "-c", VERBS, PACKAGE], capture_output=True, text=True, check=True)
    assert aliases(client) == {"champion": 1, "challenger": 3}
    assert moves()[1:] == [("promote", 1, 2), ("rollback", 2, 1)]
    assert not {"mlflow", "sklearn", "prefect", "polars", "pandas"} & set(done.stdout.splitlines())


def test_sql_writes_and_reads_as_mlflow_does(client, three_versions, tmp_path, monkeypatch):
    assert _get_latest_schema_revision() == store.REVISION
    client.set_model_version_tag(PACKAGE, "2", "reason", "because")
    client.log_metric(registry.get(2).run_id, "no number", math.nan)
    client.create_model_version(PACKAGE, tmp_path.as_uri())  # has no run
    shutil.copy(tmp_path / "mlflow.db", tmp_path / "before.db")
    seen = []
    for way, revision in ((store.SqlStore, store.REVISION), (mlflow_store.MlflowStore, "another")):
        shutil.copy(tmp_path / "before.db", tmp_path / "mlflow.db")
        monkeypatch.setattr(store, "REVISION", revision)
        opened = store.open_store()
        assert isinstance(opened, way)
        for text in ("first", "second"):
            opened.set_tag("journal.000001", text)
        assert [opened.add_tag("journal.000001", "third"), opened.add_tag("journal.000002", "new")] == [False, True]
        for alias, version in (("champion", 1), ("champion", 2), ("challenger", 3), ("challenger", None)):
            opened.set_alias(alias, version)
        with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
            rows = sorted(line for line in database.iterdump() if line.startswith("INSERT"))
        assert (opened.alias("champion"), opened.alias("challenger")) == (2, None)
        seen.append((rows, opened.model(), [str(opened.version(number)) for number in (2, 4, 5, None)]))
    assert seen[0] == seen[1]
    assert seen[0][1] == ({"journal.000001": "second", "journal.000002": "new"}, {"champion": 2})


def test_database_that_does_not_exist_is_empty_and_not_created(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'none.db'}")
    assert registry.reconcile().champion is None
    with pytest.raises(ProjectError, match=r"no version 1 of .*; none is registered yet"):
        registry.get(1)
    assert not (tmp_path / "none.db").exists()


def test_database_that_fails_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "mlflow.db").write_text("no database" * 99)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    with pytest.raises(ProjectError, match=r"MLflow's database .* is damaged .*not a database"):
        registry.champion()


def test_locked_database_is_one_sentence_and_worth_another_try(client, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}?timeout=0.1")
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(ProjectError, match=r"cannot be used: .*database is locked") as caught:
            promote(1)
    assert is_transient(None, None, Failed(data=caught.value))
    promote(1)


def test_rollback_returns_step_by_step_and_is_in_the_journal(client):
    for version in (1, 2, 3):
        promote(version)
    assert registry.rollback("test", "worse").new == 2
    assert aliases(client) == {"champion": 2, "challenger": 3}
    assert registry.rollback("test", "worse still").new == 1
    assert moves()[3:] == [("rollback", 3, 2), ("rollback", 2, 1)]
    with pytest.raises(ProjectError, match="no earlier champion"):
        registry.rollback("test", "further")
    promote(3)
    assert registry.rollback("test", "again").new == 1


def test_rollback_skips_a_deleted_version(client):
    for version in (1, 2, 3):
        promote(version)
    client.delete_model_version(PACKAGE, "2")
    assert registry.rollback("test", "worse").new == 1


def test_alias_moved_by_other_means_is_recorded(client):
    promote(1)
    client.set_registered_model_alias(PACKAGE, "champion", "3")
    assert registry.reconcile().champion == 3
    client.delete_model_version(PACKAGE, "3")
    assert registry.reconcile().champion is None
    assert moves()[1:] == [("found", 1, 3), ("found", 3, None)]
    assert registry.rollback("test", "it was deleted").new == 1


def test_decision_against_an_earlier_champion_is_overtaken(client):
    promote(1)
    late = new_entry("promote", "test", 1, 3, "late", {})
    promote(2)
    with pytest.raises(
        registry.OvertakenError, match=r"compared with version 1, and .* has made version 2 the champion"
    ):
        registry.promote(late)
    assert aliases(client) == {"champion": 2, "challenger": 3}


def test_entry_never_replaces_another_whatever_number_is_missing(client):
    for version in (1, 2, 3):
        promote(version)
    for missing, number in (("000002", 4), ("000004", 5), ("000001", 6)):
        before = client.get_registered_model(PACKAGE).tags
        client.delete_registered_model_tag(PACKAGE, f"journal.{missing}")
        promote(1 if registry.champion().champion != 1 else 2)
        after = client.get_registered_model(PACKAGE).tags
        assert {
            key: text for key, text in before.items() if key in after and "settled" not in key
        }.items() <= after.items()
        assert f"journal.{number:06}" in after
    for key, text in (("journal.999999", after["journal.000003"]), ("journal.settled", "999999")):
        client.set_registered_model_tag(PACKAGE, key, text)
    registry.reconcile()  # the alias does not match the last entry any more
    promote(3)
    assert list(registry.champion().history.moves)[-2:] == [1000000, 1000001]
    assert str(registry.champion().history).splitlines()[-2].startswith("1000001  ")
    assert not registry.champion().pending


def test_entry_of_another_machine_is_not_replaced(client):
    promote(1)
    opened, history = store.open_store(), registry.champion().history
    promote(2)  # by another machine, which this one's lock does not keep out
    with pytest.raises(registry.OvertakenError, match="at the same moment"):
        registry._write(opened, history, new_entry("promote", "test", 1, 3, "late", {}))  # noqa: SLF001
    assert (moves()[-1], aliases(client)["champion"]) == (("promote", 1, 2), 2)


def test_gap_neither_carries_a_move_out_again_nor_forgets_one(client):
    for version in (1, 2, 3):
        promote(version)
    client.delete_registered_model_tag(PACKAGE, "journal.000001")
    client.set_registered_model_alias(PACKAGE, "champion", "2")  # where the last move came from
    assert registry.reconcile().champion == 2
    assert moves()[-1] == ("found", 3, 2)
    entry = new_entry("promote", "test", 2, 1, "killed before the alias moved", {})
    client.set_registered_model_tag(PACKAGE, "journal.000005", entry.model_dump_json(by_alias=True))
    assert registry.reconcile().champion == 1
    assert registry.champion().history.settled == 5


ENTRY = {"when": "2999-01-01T00:00:00Z", "by": "x", "how": "promote", "from": 1, "to": 2, "reason": "y", "metrics": {}}
UNREADABLE = [
    "",
    "{",
    "[]",
    "null",
    json.dumps(ENTRY)[:-1],
    *(
        json.dumps(ENTRY | change)
        for change in (
            {"how": "guess"},
            {"from": "one"},
            {"from": "1"},
            {"to": 2.5},
            {"to": True},
            {"to": -1},
            {"to": 0},
            {"when": "yesterday"},
            {"when": "9999-12-31T23:59:59-14:00"},
            {"reason": None},
            {"by": 3},
            {"metrics": [1]},
            {"metrics": {"a": "b"}},
        )
    ),
    json.dumps({key: value for key, value in ENTRY.items() if key != "to"}),
]


def test_tag_that_spells_a_number_otherwise_replaces_no_entry():
    tags = {"journal.000007": json.dumps(ENTRY), "journal.0000007": "null", "journal.7": json.dumps(ENTRY | {"to": 9})}
    for given in (tags, dict(reversed(tags.items()))):
        history = History.read(given)
        assert (list(history.moves), history.champion, history.damage) == ([7], ENTRY["to"], "")


@pytest.mark.parametrize("text", UNREADABLE)
def test_entry_that_cannot_be_read_is_named(text):
    history = History.read({"journal.000007": text, "journal.000006": json.dumps(ENTRY)})
    assert list(history.unreadable) == ["journal.000007"]
    assert list(history.moves) == [6]
    with pytest.raises(ProjectError, match=r"cannot be read: journal.000007 \(.+\)"):
        history.check()


@pytest.mark.parametrize(("number", "text"), list(enumerate(UNREADABLE[:3], start=1)))
def test_unreadable_entry_stops_every_move_until_it_is_repaired(three_moves, monkeypatch, capsys, text, number):
    def say(*words: str) -> str:
        return verb(monkeypatch, capsys, *words)

    key = f"journal.{number:06}"
    three_moves.set_tag(key, text)
    before = three_moves.model()
    for refused in (
        lambda: say("promote", "1", "--reason", "x"),
        lambda: say("rollback"),
    ):
        sentence = refused()
        assert sentence.startswith(f"The journal of the champion has tags that cannot be read: {key} (")
        assert "`journal --repair`" in sentence
        assert len(sentence.splitlines()) == 1
    for shown in (say("journal"), say("status")):
        assert f"{key} (" in shown
    assert say("journal").count("→") == 2
    assert three_moves.model() == before
    assert f"Entry {number} records this repair: {key} could not be read" in say("journal", "--repair")
    tags, aliases = three_moves.model()
    assert tags[f"unreadable.{key}"] == text
    assert {name: tags[name] for name in before[0] if name not in {key, "journal.settled"}}.items() <= before[0].items()
    assert aliases == before[1]
    assert [(entry.how, entry.old, entry.new) for entry in registry.champion().history.entries] == [
        ("repair" if place == number else "promote", place - 1 or None, place) for place in (1, 2, 3)
    ]
    assert "Every entry of the journal can be read" in say("journal", "--repair")
    assert three_moves.model() == (tags, aliases)
    assert "Version 2 is the champion again" in say("rollback")


@pytest.fixture
def three_moves(client, monkeypatch) -> store.Store:
    """Make version 3 the champion after 1 and 2."""
    for version in (1, 2, 3):
        promote(version)
    return store.open_store()


@pytest.mark.parametrize("text", ["", "two", "-1", "3.0", "None", "9" * 4999])
def test_unreadable_number_of_the_last_move_is_repaired_without_a_move(three_moves, text):
    three_moves.set_tag("journal.settled", text)
    with pytest.raises(ProjectError, match=r"journal\.settled \(.* is not a number\)"):
        promote(1)
    [sentence] = registry.repair("test")
    assert sentence.startswith("Entry 4 records this repair: journal.settled could not be read")
    tags, aliases = three_moves.model()
    assert (aliases["champion"], tags["journal.settled"], tags["unreadable.journal.settled"]) == (3, "4", text)
    promote(1)
    assert moves()[-2:] == [("repair", 3, 3), ("promote", 3, 1)]


def test_two_texts_of_one_entry_are_both_kept(three_moves):
    for text in ("first", "second", "second"):
        three_moves.set_tag("journal.000002", text)
        registry.repair("test")
    tags = three_moves.model()[0]
    assert [tags.get(f"unreadable.journal.000002{copy}") for copy in ("", ".1", ".2")] == ["first", "second", None]


def test_metric_that_is_nan_is_kept(client):
    registry.promote(new_entry("promote", "test", None, 1, "x" * 9999, {"score": float("nan")}))
    entry = registry.reconcile().history.entries[0]
    assert str(entry.metrics["score"]) == "nan"
    assert len(entry.model_dump_json()) < 5000


def test_command_that_waits_too_long_is_one_sentence(client, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "LOCK_TIMEOUT", 0.1)
    with (
        FileLock(tmp_path / "mlflow.db.lock"),
        pytest.raises(ProjectError, match=r"Another command has held .*mlflow\.db\.lock"),
    ):
        registry.reconcile()


def test_journal_and_alias_agree_after_a_kill_at_any_point(client, forked, tmp_path):
    promote(1)
    promote(2)
    before = client.get_registered_model(PACKAGE).tags
    shutil.copy(tmp_path / "mlflow.db", tmp_path / "before.db")
    commands = {
        "registry.promote(history.new_entry('promote', 'test', 2, 3, 'killed', {'score': 0.9}))": 3,
        "registry.rollback('test', 'killed')": 1,
    }
    forked(tmp_path, KILLED, *commands)
    seen = [json.loads(line) for line in (tmp_path / "seen.jsonl").read_text().splitlines()]
    targets = iter(commands.values())
    for point, killed, after in seen:
        if point == 0:  # killed before anything was written
            new = next(targets)
            assert killed["tags"] == before
        champion, entries = (new, 3) if point else (2, 2)
        history = History.read(after["tags"])
        assert after["aliases"]["champion"] == history.champion == champion
        assert len(history.entries) == history.settled == entries
        assert history.entries[-1].reason == ("killed" if point else "because")
        assert after["aliases"].get("challenger", champion) == 3
        # Entries never change.
        assert all(after["tags"][key] == text for key, text in killed["tags"].items() if key != "journal.settled")
    # Each command was killed before each of its changes, so both before and after the alias moved.
    assert not list(targets)
    assert [point for point, _, _ in seen] == [0, 1, 2, 3, 0, 1, 2]
    assert {killed["aliases"]["champion"] for _, killed, _ in seen} == {1, 2, 3}


def test_one_of_two_at_once_wins_and_the_other_is_told(client, forked, tmp_path):
    promote(1)
    forked(tmp_path, AT_ONCE)
    won, told = sorted((tmp_path / "said").read_text().splitlines(), reverse=True)
    winner = int(won.removeprefix("won "))
    assert told == (
        f"told Version {5 - winner} was not promoted: it was compared with version 1, "
        f"and since then another command has made version {winner} the champion."
    )
    assert aliases(client)["champion"] == winner
    assert moves()[1:] == [("promote", 1, winner)]


def verb(monkeypatch, capsys, *words: str) -> str:
    """Run a verb as the command line does; return its output, or the sentence it failed with."""
    monkeypatch.setattr(sys, "argv", [PACKAGE, *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return capsys.readouterr().out if not ended.value.code else str(ended.value.code)


def test_verbs_move_the_alias_and_say_so(client, monkeypatch, capsys):
    def say(*words: str) -> str:
        return verb(monkeypatch, capsys, *words)

    assert "No version has been champion yet" in say("journal")
    assert json.loads(say("status", "--json"))["champion"] is None
    assert "Version 1 is the champion now; before, it was no champion" in say("promote", "1", "--reason", "first")
    assert "is the champion already" in say("promote", "1", "--reason", "first")
    assert "no version 9 of " in say("promote", "9", "--reason", "why not")
    assert "needs a reason: promote 3 --reason" in say("promote", "3", "--reason", " ")
    assert "version 3: challenger of version 1 (made)" in say("status")
    found = json.loads(say("status", "--json"))
    assert (found["newest"]["version"], found["newest"]["reason"], found["problem"]) == (3, "made", "")
    assert found["champion"] == {"version": 1, "reason": "first", "metrics": registry.get(1).metrics}
    assert "Version 3 is the champion now" in say("promote", "3", "--reason", "by request")
    assert "version 3: champion (by request)" in say("status")
    assert "Version 1 is the champion again, instead of version 3" in say("rollback", "--reason", "too slow")
    assert say("journal").splitlines()[-1] == "   too slow"
    assert aliases(client) == {"champion": 1, "challenger": 3}


def test_reason_is_asked_for_where_there_is_a_terminal(client, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.prompt", lambda _: "asked for")
    assert "Version 2 is the champion now" in verb(monkeypatch, capsys, "promote", "2")
    assert registry.reconcile().history.entries[-1].reason == "asked for"
    assert registry.reconcile().history.entries[-1].by
