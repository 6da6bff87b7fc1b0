"""Processes: what the project starts, it stops, also when it is killed."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from {{ cookiecutter.__package }} import cli, embedded_server, orchestration, ui
from {{ cookiecutter.__package }}.errors import ProjectError
from {{ cookiecutter.__package }}.settings import root

PACKAGE = orchestration.__package__


@pytest.fixture
def prepared(trained) -> dict[str, str]:
    """Return an environment in which the copy of the project, databases and all, is on its own: no server is named."""
    return {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start processes that are killed when the test ends, also when it fails."""
    with ExitStack() as started:

        def start(command: list[str], env: dict[str, str]) -> subprocess.Popen[str]:
            process = started.enter_context(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True))
            started.callback(process.kill)
            return process

        yield start


def run(*verb: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a verb of the project as a command."""
    return subprocess.run([sys.executable, "-m", PACKAGE, *verb], env=env, capture_output=True, text=True, check=False)


def gone(url: str, seconds: float = 20) -> bool:
    """Tell whether nothing answers at an address any more."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except OSError:
            return True
        time.sleep(0.1)
    return False


def test_unreachable_api_is_one_sentence_within_seconds():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    done = run("train", env=os.environ | {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api"})
    assert done.returncode == 1
    assert f"No Prefect API answers at http://127.0.0.1:{port}/api" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_embedded_server_ends_with_its_parent(how, prepared, start):
    code = f"""if True:
        import os, time
        from {PACKAGE} import orchestration
        with orchestration.api() as session, session():
            print(os.environ["PREFECT_API_URL"], flush=True)
            time.sleep(99)
    """
    parent = start([sys.executable, "-c", code], prepared)
    url = parent.stdout.readline().strip()
    urllib.request.urlopen(f"{url}/health", timeout=20).close()
    parent.send_signal(how)
    parent.wait(timeout=20)
    assert gone(f"{url}/health")


def test_server_that_cannot_start_is_one_sentence(monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr(embedded_server, "EMBEDDED", {"PREFECT_API_DATABASE_CONNECTION_URL": "nonsense"})
    with (
        pytest.raises(ProjectError, match=r"server ended while it started; .*server\.log says why"),
        orchestration.api() as session,
        session(),
    ):
        pass


def test_taken_port_is_said_and_the_next_is_used(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert ui.free_port(port, "It") > port
    assert f"Port {port} is taken, so It is on" in capsys.readouterr().out


def test_ui_serves_both_pages_until_ctrl_c_and_leaves_nothing_running(prepared, monkeypatch, capsys):
    monkeypatch.delenv("PREFECT_API_URL")
    announced = root() / ".prefect" / orchestration.ANNOUNCED
    addresses: dict[str, str] = {}

    def look_and_press_ctrl_c(seconds: float) -> None:
        if seconds < 1:
            return wait(seconds)
        said = capsys.readouterr().out.splitlines()
        addresses.update(line.split() for line in said if line.startswith(("Prefect ", "MLflow ")))
        for address in addresses.values():
            with urllib.request.urlopen(address, timeout=60) as page:
                assert b"<html" in page.read().lower()
        assert announced.read_text() == f"{addresses['Prefect']}/api"
        assert "training" in run("prefect", "flow", "ls", env=prepared | {"COLUMNS": "200"}).stdout
        return signal.raise_signal(signal.SIGINT)

    wait = time.sleep
    monkeypatch.setattr(ui.time, "sleep", look_and_press_ctrl_c)
    ui.serve()
    monkeypatch.undo()
    assert len(addresses) == 2
    assert all(gone(address) for address in addresses.values())
    assert not announced.exists()
    assert "No Prefect server is running" in run("prefect", "flow", "ls", env=prepared).stderr


def test_verb_trains_with_a_server_of_its_own(prepared):
    done = run("train", env=prepared)
    assert done.returncode == 0, done.stderr
    assert "Finished in state Completed()" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("verb", "said"), [("prepare", ""), ("status", f"{PACKAGE} version"), ("--help", "train")])
def test_verb_answers(verb, said, trained, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [PACKAGE, verb])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert said in capsys.readouterr().out


def test_error_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [PACKAGE, "train"])
    monkeypatch.setenv("PROJECT_ROOT", str(tmp_path))
    with pytest.raises(SystemExit, match=r"params\.yaml is missing in"):
        cli.main()
