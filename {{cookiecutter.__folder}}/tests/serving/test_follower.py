"""The service follows its location: it tries a model before it serves it, and keeps the old one if that fails."""

import logging
import shutil
import time
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from conftest import COPY
from prometheus_client import REGISTRY

from penguin_model.config import Contract
from penguin_model.errors import ProjectError
from penguin_model.ops.paths import LOCK
from penguin_model.ops.tracking import registry
from penguin_model.ops.versioning.content import md5
from penguin_model.serving import follower as followers
from penguin_model.serving import locations
from penguin_model.serving.example import TEXT
from penguin_model.serving.follower import Follower, _pause
from penguin_model.serving.locations import FILES, Alias, Folder
from penguin_model.serving.schema import RequestSchema


class Model(SimpleNamespace):
    """A served model that fails on its example if it is told to."""

    def try_example(self):
        if self.fault:
            raise self.fault


class Shelf:
    """A location with a model of each number, some of which fail."""

    def __init__(self):
        self.number, self.faults, self.loads = 1, {}, []

    def current(self):
        if isinstance(self.number, Exception):
            raise self.number
        return self.number

    def load(self, number):
        self.loads.append(number)
        if isinstance(self.faults.get(number), OSError):
            raise self.faults[number]
        fault = self.faults.get(number)
        return Model(identity=number, name=f"version {number}", version=number, trained=1.5, fault=fault)


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture(autouse=True)
def _no_garbage(monkeypatch):
    """Looking for garbage in a process that has run all tests takes longer than the tests here."""
    monkeypatch.setattr(followers, "gc", Mock())


@pytest.fixture
def follower(shelf):
    """A follower that looks every millisecond, until the test ends."""
    follower = Follower(shelf, poll=0.001)
    follower.start()
    yield follower
    end(follower)


def end(follower):
    """Stop the follower, and wait until it no longer writes the metrics that the next test reads."""
    follower.stop()
    follower._thread.join(60)  # noqa: SLF001
    assert not follower._thread.is_alive()  # noqa: SLF001


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_champion_is_followed_and_logged(shelf, follower, caplog):
    with caplog.at_level(logging.INFO):
        for number in (1, 3, 2):
            shelf.number = number
            until(lambda: follower.served and follower.served.version == shelf.number)
    assert follower.problem == ""
    assert [record.message for record in caplog.records if record.name == followers.LOGGER.name][-2:] == [
        "Serving version 3 instead of version 1",
        "Serving version 2 instead of version 3",
    ]


@pytest.mark.parametrize("fails", [False, True])
def test_loading_that_hangs_is_reported_until_it_ends(fails, shelf, follower, monkeypatch, caplog):
    until(lambda: follower.served)
    monkeypatch.setattr(followers, "SLOW", 0.05)
    arrived, load = Event(), shelf.load

    def hang(number):
        assert arrived.wait(10)
        return load(number)

    monkeypatch.setattr(shelf, "load", hang)
    if fails:
        shelf.faults[2] = OSError("connection lost")
    shelf.number = 2
    until(lambda: follower.problem.startswith("The model is still loading after 0.05 seconds: "))
    assert follower.served.version == 1
    assert "storage of its files does not answer; version 1 goes on serving" in caplog.text
    arrived.set()
    until(lambda: follower.problem == ("OSError: connection lost" if fails else ""))
    assert follower.served.version == (1 if fails else 2)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (OSError("connection lost"), "OSError: connection lost"),
        (ProjectError("Version 2 cannot predict its example."), "Version 2 cannot predict its example."),
        (ValueError("two\nlines"), "ValueError: two"),
    ],
)
def test_model_that_fails_is_not_served_and_tried_less_and_less(shelf, follower, caplog, fault, said):
    until(lambda: follower.served)
    failures = REGISTRY.get_sample_value("serving_follow_failures_total")
    shelf.faults[2], shelf.number = fault, 2
    until(lambda: shelf.loads.count(2) >= 3)
    assert follower.served.version == 1
    assert follower.problem == said
    assert REGISTRY.get_sample_value("serving_follow_failures_total") >= failures + 2
    assert REGISTRY.get_sample_value("serving_model_version") == 1
    [warned] = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warned == f"{said.rstrip('.')}; version 1 goes on serving"
    # Mended, it is served without a restart; so is another version, at once.
    shelf.number = 3
    until(lambda: follower.served.version == 3 and follower.problem == "")
    del shelf.faults[2]
    shelf.number = 2
    until(lambda: follower.served.version == 2)


def test_location_that_is_away_is_asked_again(shelf, caplog):
    shelf.number = ProjectError("No MLflow server answers.")
    follower = Follower(shelf, poll=0.001)
    follower.start()
    until(lambda: follower.problem == "No MLflow server answers.")
    assert follower.served is None
    shelf.number = 1
    until(lambda: follower.served and follower.problem == "")
    shelf.number = ProjectError("No MLflow server answers.")
    until(lambda: follower.problem)
    assert follower.served.version == 1
    shelf.number = 1
    until(lambda: follower.problem == "")
    end(follower)


def test_pauses_double_up_to_the_longest():
    assert [_pause(5, failures, 30) for failures in (1, 2, 3, 4, 5000)] == [5, 10, 20, 30, 30]
    assert _pause(60, 3, 30) == 60


@pytest.fixture
def folder(trained, tmp_path, monkeypatch):
    """Return a copy of the trained model with the dvc.lock that lists it, in a project of its own."""
    monkeypatch.setattr(locations, "project_root", lambda: tmp_path)
    shutil.copytree(COPY / "models", tmp_path / "models")
    lock(tmp_path)
    return tmp_path / "models"


def lock(project: Path) -> None:
    outs = "".join(f"    - path: models/{name}\n      md5: {md5(project / 'models' / name)}\n" for name in FILES)
    (project / LOCK).write_text(f"schema: '2.0'\nstages:\n  training:\n    outs:\n{outs}")


def test_model_of_a_folder_answers_its_example(folder):
    location = Folder(Path("models"), max_rows=10)
    served = location.load(location.current())
    served.try_example()
    assert served.version is None
    assert md5(folder / "pipeline.skops") in served.name
    assert md5(folder / "pipeline.skops") in served.about["lineage"].values()


@pytest.mark.parametrize("name", FILES)
def test_folder_is_used_only_as_dvc_lock_lists_it(folder, name):
    location = Folder(Path("models"), max_rows=10)
    before = location.current()
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    with pytest.raises(ProjectError, match=f"models has no {name} yet"):
        location.current()
    (folder / name).write_bytes(content + b"\n")
    with pytest.raises(ProjectError, match=f"models/{name} is not the file that dvc.lock lists"):
        location.current()
    with pytest.raises(ProjectError, match="is being written"):
        location.load(before)
    lock(folder.parent)
    assert location.current() != before


def test_folder_without_lock_is_used_when_it_has_not_changed_for_a_while(folder, monkeypatch):
    (folder.parent / LOCK).unlink()
    location = Folder(folder, max_rows=10)
    with pytest.raises(ProjectError, match="it is used after 5"):
        location.current()
    monkeypatch.setattr(locations, "QUIET", 0)
    assert location.load(location.current()).version is None


def test_champion_of_the_registry_answers_its_example(champion):
    location = Alias(registry.CHAMPION, max_rows=10)
    served = location.load(location.current())
    served.try_example()
    assert (served.version, served.name) == (1, "version 1")
    assert served.about["lineage"]["git.commit"]


def test_model_that_cannot_predict_its_example_is_refused(champion):
    location = Alias(registry.CHAMPION, max_rows=10)
    served = location.load(location.current())
    broken = served._replace(predictor=None)
    with pytest.raises(ProjectError, match="Version 1 cannot predict its example: AttributeError"):
        broken.try_example()


def test_invented_text_does_not_keep_a_model_from_serving(champion, caplog):
    location = Alias(registry.CHAMPION, max_rows=10)
    served = location.load(location.current())

    def refuse(rows):
        raise ProjectError("'text' is not a number")

    picky = SimpleNamespace(columns=refuse, pipeline=None)
    with pytest.raises(ProjectError, match="cannot predict its example: 'text'"):
        served._replace(predictor=picky).try_example()
    free = Contract.model_validate({"columns": {"code": {"type": "string"}}})
    schema = RequestSchema(free, [], [], max_rows=1)
    served._replace(predictor=picky, schema=schema, example={"code": TEXT}).try_example()
    assert "refuses its example, which may be due to its text: 'text' is not a number" in caplog.text
