"""Processes: what the project starts, it stops, also when it is killed."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from {{ cookiecutter.__package }} import orchestration, ui
from {{ cookiecutter.__package }}.errors import ProjectError

PROJECT = Path(__file__).parents[1]
PACKAGE = orchestration.__package__


def run(*verb: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a verb of the project as a command."""
    return subprocess.run(
        [sys.executable, "-m", PACKAGE, *verb],
        cwd=PROJECT,
        env=os.environ | env,
        capture_output=True,
        text=True,
        check=False,
    )


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


def test_verbs_without_work_answer_at_once():
    assert "train" in run("--help").stdout


def test_error_is_one_sentence_and_no_traceback(tmp_path):
    done = run("train", PROJECT_ROOT=str(tmp_path))
    assert done.returncode == 1
    assert "params.yaml is missing" in done.stderr
    assert "Traceback" not in done.stderr


def test_unreachable_api_is_one_sentence_within_seconds():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    done = run("train", PREFECT_API_URL=f"http://127.0.0.1:{port}/api")
    assert done.returncode == 1
    assert f"No Prefect API answers at http://127.0.0.1:{port}/api" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_embedded_server_ends_with_its_parent(how, tmp_path):
    code = f"""if True:
        import os, time
        from {PACKAGE} import orchestration
        with orchestration.api() as session, session():
            print(os.environ["PREFECT_API_URL"], flush=True)
            time.sleep(99)
    """
    env = os.environ | {"PROJECT_ROOT": str(tmp_path)}
    env.pop("PREFECT_API_URL", None)
    env.pop("PREFECT_HOME", None)
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=PROJECT, env=env, stdout=subprocess.PIPE, text=True
    ) as parent:
        url = parent.stdout.readline().strip()
        urllib.request.urlopen(f"{url}/health", timeout=20).close()
        parent.send_signal(how)
        parent.wait(timeout=20)
    assert gone(f"{url}/health")


def test_server_that_cannot_start_is_one_sentence(monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr(orchestration, "EMBEDDED", {"PREFECT_API_DATABASE_CONNECTION_URL": "nonsense"})
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


def test_ui_serves_both_pages_and_leaves_nothing_running(tmp_path):
    env = os.environ | {"PROJECT_ROOT": str(tmp_path)}
    for name in ("PREFECT_API_URL", "PREFECT_HOME", "MLFLOW_TRACKING_URI", "MLFLOW_ARTIFACT_ROOT"):
        env.pop(name, None)
    with subprocess.Popen(
        [sys.executable, "-m", PACKAGE, "ui"], cwd=PROJECT, env=env, stdout=subprocess.PIPE, text=True
    ) as pages:
        said: list[str] = []
        while not said or not said[-1].startswith("Ctrl-C"):
            said.append(pages.stdout.readline())
            assert said[-1], "".join(said)
        addresses = dict(line.split() for line in said if line.startswith(("Prefect ", "MLflow ")))
        for address in addresses.values():
            with urllib.request.urlopen(address, timeout=60) as page:
                assert b"<html" in page.read().lower()
        assert (tmp_path / ".prefect" / orchestration.ANNOUNCED).read_text() == f"{addresses['Prefect']}/api"
        pages.send_signal(signal.SIGINT)
        assert pages.wait(timeout=30) == 0
    assert len(addresses) == 2
    assert all(gone(address) for address in addresses.values())
    assert not (tmp_path / ".prefect" / orchestration.ANNOUNCED).exists()
