"""Trainings that are killed or fail: what they leave behind, and that the next one completes. Slow."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest
from running import SHARED, Running, set_up
from template import Bake
from tiers import in_turn

pytestmark = pytest.mark.slow

# Train with a fault at a named point. Prefect may only be imported after `configure`.
FAULT = """
import os, resource, signal, sys
from pathlib import Path
from {package} import cli
from {package}.ops.orchestration import session
session.configure()
from prefect.task_engine import SyncTaskRunEngine
call, replace = SyncTaskRunEngine.call_task_fn, Path.replace

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def in_task(engine, transaction):
    if engine.task.name != {task!r}:
        return call(engine, transaction)
    if {fault!r} == "killed before":
        die()
    if {fault!r} == "disk full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    if {fault!r} == "server gone":
        import psutil
        [server] = psutil.Process().children()
        server.kill()
    if {fault!r} == "clock jumps":
        Path(os.environ["FAKETIME_TIMESTAMP_FILE"]).write_text(os.environ["JUMP"])
    if {fault!r} == "mlflow gone":
        os.killpg(int(os.environ["SERVER"]), signal.SIGKILL)
    try:
        return call(engine, transaction)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        if {fault!r} == "killed after":
            die()

SyncTaskRunEngine.call_task_fn = in_task
if {fault!r} == "killed in a write":
    Path.replace = lambda *_: die()
if {fault!r} == "killed between":  # the model is logged, but not yet registered
    from {package}.ops.tracking import registry
    registry.register = lambda *_: die()
sys.argv = ["train", "train"]
cli.main()
"""
ASKED = """
import json
from {package}.ops.orchestration.session import api
with api() as session, session():
    from {package}.ops.tracking import registry
    from {package}.ops.tracking.connection import connect
    from prefect.client.orchestration import get_client
    with get_client(sync_client=True) as client:
        flows = [run.state_name for run in client.read_flow_runs()]
    state = registry.reconcile()
    client = connect()
    of_champion = client.get_run(registry.get(state.champion).run_id)
    runs = client.search_runs([of_champion.info.experiment_id])
    print(json.dumps({{
        "flows": sorted(flows),
        "runs": sorted(run.info.status for run in runs),
        "versions": registry.newest().number,
        "agree": state.champion == state.history.champion,
        "champion": of_champion.info.status,
    }}))
"""
ENDED = {"Completed", "Failed", "Crashed"}


def rows(project: Running, database: str, query: str) -> list[Any]:
    """Return the first column of a query on a database."""
    return [row[0] for row in project.rows(database, query)]


class TestFaults:
    """A project that has trained once, and then has one fault after the other."""

    versions: ClassVar[int] = 1
    killed: ClassVar[int] = 0
    impatient: ClassVar[dict[str, str]] = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}

    @pytest.fixture(scope="class")
    @classmethod
    def project(cls, bake: Bake, tmp_path_factory: pytest.TempPathFactory) -> Running:
        """Set a project up and train it."""
        made = set_up(bake, tmp_path_factory.mktemp("running"), "3.13", "classification")
        made.make("train")
        return made

    def fail(
        self, project: Running, task: str, fault: str, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Train with changed parameters and a fault."""
        params = project.path / "params.yaml"
        text = params.read_text(encoding="utf-8")
        seed = re.search(r"random_state: (\d+)", text)
        assert seed
        if "write" in fault:  # a cached task writes no file
            text = re.sub(r"  seed: (\d+)", lambda found: f"  seed: {int(found[1]) + 1}", text)
        params.write_text(text.replace(seed[0], f"random_state: {int(seed[1]) + 1}"), encoding="utf-8")
        code = FAULT.format(package=project.package, task=task, fault=fault)
        command = [str(project.environment / "bin/python"), "-c", code]
        return subprocess.run(
            command,
            cwd=project.path,
            env=project.env() | environment,
            check=False,
            capture_output=True,
            text=True,
        )

    def left(self, project: Running) -> dict[str, Any]:
        """Read the databases of Prefect and MLflow directly, which is quick."""
        return {
            "flows": rows(project, ".prefect/prefect.db", "SELECT state_name FROM flow_run ORDER BY rowid"),
            "runs": rows(project, "mlflow.db", "SELECT status FROM runs"),
            "versions": len(rows(project, "mlflow.db", "SELECT version FROM model_versions")),
        }

    def complete(self, project: Running, new: int) -> dict[str, Any]:
        """Train again: it completes, removes what the fault left, and there are this many new versions."""
        project.make("train")
        assert not list((project.path / "data/processed").glob("*.unfinished"))
        left = self.left(project)
        assert set(left["flows"]) <= ENDED
        assert "RUNNING" not in left["runs"]
        before, TestFaults.versions = self.versions, left["versions"]
        assert left["versions"] == before + new
        return left

    @pytest.mark.parametrize(
        ("task", "fault"),
        [
            *in_turn(
                ("ingest", "killed before"),
                ("validate", "killed before"),
                ("features", "killed before"),
                ("train", "killed before"),
                ("train", "killed after"),
                ("evaluate", "killed before"),
                ("promote", "killed before"),
                ("register", "killed before"),
            ),
            ("features", "killed in a write"),
            ("register", "killed between"),
            ("register", "killed after"),
        ],
    )
    def test_killed_training_leaves_nothing_half_registered(
        self, project: Running, task: str, fault: str
    ) -> None:
        lock = (project.path / "dvc.lock").read_bytes()
        assert self.fail(project, task, fault).returncode == -9
        assert (project.path / "dvc.lock").read_bytes() == lock
        left = self.left(project)
        # Each run has recorded the end of the one before.
        *before, _ = left["flows"]
        assert set(before) <= {"Completed", "Crashed"}
        assert before.count("Crashed") == self.killed
        assert left["runs"].count("RUNNING") <= 1
        # A version is registered completely or not at all.
        assert left["versions"] == self.versions + ((task, fault) == ("register", "killed after"))
        TestFaults.killed, TestFaults.versions = self.killed + 1, left["versions"]

    def test_training_after_killed_ones_completes(self, project: Running) -> None:
        assert self.complete(project, new=1)["flows"].count("Crashed") == self.killed

    def test_full_disk_is_reported_and_nothing_is_lost(self, project: Running) -> None:
        failed = self.fail(project, "train", "disk full")
        assert failed.returncode == 1
        assert re.search("Training failed: The disk is full .*File too large", failed.stderr)
        assert "Failed" in self.complete(project, new=1)["flows"]

    def test_lost_prefect_server_loses_nothing(self, project: Running) -> None:
        failed = self.fail(project, "train", "server gone", PREFECT_CLIENT_MAX_RETRIES="1")
        assert failed.returncode == 1
        assert re.search(r"The Prefect API at http://127\.0\.0\.1:\d+/api went away", failed.stderr)
        assert "Traceback" not in failed.stderr
        # Prefect asks for concurrency limits every five seconds: a slow run fails before it registers.
        registered = self.left(project)["versions"] - self.versions
        assert registered in {0, 1}
        self.complete(project, new=registered + 1)

    def test_unreachable_mlflow_server_is_reported(self, project: Running) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        failed = self.fail(project, "none", "", MLFLOW_TRACKING_URI=address, **self.impatient)
        assert f"Training failed: No MLflow server answers at {address}" in failed.stderr
        assert "Traceback" not in failed.stderr

    def test_lost_mlflow_server_has_no_half_registered_version(self, project: Running) -> None:
        with self.mlflow_server(project) as (address, process):
            server = {"MLFLOW_TRACKING_URI": address, "SERVER": str(process), **self.impatient}
            failed = self.fail(project, "register", "mlflow gone", **server)
        assert f"Training failed: The MLflow server at {address} stopped answering" in failed.stderr
        assert rows(project, "served.db", "SELECT version FROM model_versions") == []
        with self.mlflow_server(project) as (address, _):
            assert self.fail(project, "none", "", MLFLOW_TRACKING_URI=address).returncode == 0
        assert len(rows(project, "served.db", "SELECT version FROM model_versions")) == 1
        states = rows(project, "served.db", "SELECT status FROM runs")
        assert len(states) == 2
        assert "RUNNING" not in states

    @pytest.mark.skipif(shutil.which("cc") is None, reason="libfaketime is built when it is installed")
    @pytest.mark.parametrize("jump", in_turn("-7200", "+7200"))
    def test_jump_of_the_clock_does_no_harm(self, project: Running, tmp_path: Path, jump: str) -> None:
        built = SHARED / "libfaketime"
        project.uv("pip", "install", "--target", str(built), "libfaketime==3.0.1")
        [library] = built.rglob("libfaketime.so.1")
        clock = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(tmp_path / "clock"),
            "FAKETIME_CACHE_DURATION": "1",  # second, for which it does not read the file again
            # The monotonic clock does not jump.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        (tmp_path / "clock").write_text("+0", encoding="utf-8")
        done = self.fail(project, "train", "clock jumps", JUMP=jump, **clock)
        assert done.returncode == 0, done.stderr
        # The clock jumped during the training.
        query = "SELECT end_time - start_time FROM runs ORDER BY rowid DESC LIMIT 1"
        assert rows(project, "mlflow.db", query)[0] / 1000 == pytest.approx(int(jump), abs=200)
        self.complete(project, new=2)

    def test_locked_mlflow_database_is_waited_for_or_reported(self, project: Running) -> None:
        hold = """if True:
            import os, sqlite3, time
            held = sqlite3.connect("mlflow.db", isolation_level=None)
            held.execute("BEGIN EXCLUSIVE")
            print("held", flush=True)
            while not os.path.exists("models/enough"):
                time.sleep(0.1)
            time.sleep(15)
        """
        with self.held(project, hold) as holder:
            impatient = self.fail(project, "none", "", MLFLOW_TRACKING_URI="sqlite:///mlflow.db?timeout=0.1")
            assert impatient.returncode == 1
            assert re.search("Training failed: The MLflow store .*database is locked\n$", impatient.stderr)
            assert "Traceback" not in impatient.stderr
            (project.path / "models/enough").touch()
            project.make("train")
            assert holder.poll() == 0
        self.complete(project, new=1)

    def test_dvc_lock_of_another_process_is_waited_for(self, project: Running) -> None:
        hold = """if True:
            import time
            from dvc.repo import Repo
            with Repo().lock:
                print("held", flush=True)
                time.sleep(8)
        """
        with self.held(project, hold) as holder:
            assert "up to date" in project.make("train")
            assert holder.poll() == 0

    def test_prefect_and_mlflow_agree(self, project: Running) -> None:
        left, asked = self.left(project), project.ask(ASKED)
        assert (asked["flows"], asked["runs"]) == (sorted(left["flows"]), sorted(left["runs"]))
        assert asked["versions"] == left["versions"] == self.versions
        assert asked["agree"]
        assert asked["champion"] == "FINISHED"

    @contextmanager
    def held(self, project: Running, code: str) -> Iterator[subprocess.Popen[str]]:
        """Run a program that holds a lock for the block; start the block when it does."""
        with project.start(str(project.environment / "bin/python"), "-c", code) as holder:
            try:
                assert holder.stdout
                assert holder.stdout.readline() == "held\n"
                yield holder
            finally:
                holder.kill()

    @contextmanager
    def mlflow_server(self, project: Running) -> Iterator[tuple[str, int]]:
        """Run an MLflow server with its own database for the block; yield address and process group."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        store = ["--backend-store-uri", "sqlite:///served.db", "--artifacts-destination", "served"]
        command = [
            str(project.environment / "bin/mlflow"),
            "server",
            *store,
            "--workers",
            "1",
            "--port",
            str(port),
        ]
        with (project.path.parent / "served.log").open("wb") as log:
            server = subprocess.Popen(
                command, cwd=project.path, env=project.env(), stdout=log, stderr=log, start_new_session=True
            )
        try:
            end = time.monotonic() + 120
            while True:
                with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health"):
                    break
                assert server.poll() is None
                assert time.monotonic() < end
                time.sleep(0.5)
            yield f"http://127.0.0.1:{port}", server.pid
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()
