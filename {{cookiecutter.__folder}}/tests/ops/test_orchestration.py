"""A server that nobody waits for any more, and what is logged when one goes away."""

import logging

import pytest
from httpx import ConnectError

from penguin_model.ops.orchestration import prefect_server, run_locks
from penguin_model.ops.orchestration.session import one_sentence


def test_server_of_an_interrupted_run_does_not_start_first(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    with prefect_server.running(tmp_path):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["server.log"]


def test_run_holds_its_lock_while_it_looks_after_killed_ones(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PROJECT_ROOT", str(tmp_path))
    (tmp_path / "home/running").mkdir(parents=True)
    (tmp_path / "home/running/killed.lock").touch()
    found = []
    monkeypatch.setattr(run_locks, "_mark_crashed", lambda file: found.append((file.stem, own.exists())))
    own = tmp_path / "home/running/own.lock"
    with run_locks.exclusive("own"):
        pass
    assert found == [("killed", True)]


@pytest.mark.parametrize("wrapped", [False, True])
def test_lost_connection_is_logged_without_traceback(wrapped):
    fault = ConnectError("All connection attempts failed")
    if wrapped:  # as when Prefect asks for a slot of a concurrency limit
        lost, fault = fault, RuntimeError("Unable to acquire concurrency slots")
        fault.__cause__ = lost
    record = logging.LogRecord("prefect", logging.ERROR, "", 0, "Encountered %s", (), (type(fault), fault, None))
    assert one_sentence(record)
    assert (record.getMessage(), record.exc_info) == ("All connection attempts failed", None)
