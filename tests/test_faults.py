"""What a killed or failing training leaves behind, and that the next one completes. Slow."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
from conftest import Bake
from running import Running

pytestmark = pytest.mark.slow

# Train with a fault at a named point; Prefect may be imported only after it was configured.
FAULT = """
import os, resource, signal, sys
from pathlib import Path
from {package} import cli, orchestration
orchestration.configure()
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
    try:
        return call(engine, transaction)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        if {fault!r} == "killed after":
            die()

SyncTaskRunEngine.call_task_fn = in_task
if {fault!r} == "killed in a write":
    Path.replace = lambda *_: die()
sys.argv = ["train", "train"]
cli.main()
"""
LEFT = """
import json
from {package} import orchestration
with orchestration.api() as session, session():
    from {package} import tracking
    from prefect.client.orchestration import get_client
    with get_client(sync_client=True) as client:
        flows = [run.state_name for run in client.read_flow_runs()]
    client = tracking.connect()
    runs = client.search_runs([client.get_experiment_by_name(tracking.NAME).experiment_id])
    champion = client.get_model_version_by_alias(tracking.NAME, "champion")
    print(json.dumps({{
        "flows": flows,
        "runs": [run.info.status for run in runs],
        "versions": len(client.search_model_versions(f"name = '{{tracking.NAME}}'")),
        "champion": client.get_run(champion.run_id).info.status,
    }}))
"""
ENDED = {"Completed", "Failed", "Crashed"}


class TestFaults:
    """A project that has trained once, and then meets one fault after the other."""

    versions: ClassVar[int] = 1

    @pytest.fixture(scope="class")
    @classmethod
    def project(cls, bake: Bake, tmp_path_factory: pytest.TempPathFactory) -> Running:
        """Set a project up and train it."""
        folder = tmp_path_factory.mktemp("running")
        made = Running.copy_of(bake(), folder, "3.12", "faults")
        made.make("setup")
        made.make("train")
        return made

    def fail(self, project: Running, task: str, fault: str) -> subprocess.CompletedProcess[str]:
        """Train with changed parameters and a fault."""
        params = project.path / "params.yaml"
        text = params.read_text(encoding="utf-8")
        seed = re.search(r"random_state: (\d+)", text)
        assert seed
        if "write" in fault:  # only what is not cached is written
            text = re.sub(r"  seed: (\d+)", lambda found: f"  seed: {int(found[1]) + 1}", text)
        params.write_text(text.replace(seed[0], f"random_state: {int(seed[1]) + 1}"), encoding="utf-8")
        code = FAULT.format(package=project.package, task=task, fault=fault)
        command = [str(project.environment / "bin/python"), "-c", code]
        return subprocess.run(
            command,
            cwd=project.path,
            env=project.env(),
            check=False,
            capture_output=True,
            text=True,
        )

    def complete(self, project: Running, made: int) -> dict[str, Any]:
        """See the next training complete, nothing left of the fault, and this many versions more."""
        project.make("train")
        assert not list((project.path / "data/processed").glob("*.unfinished"))
        left: dict[str, Any] = project.ask(LEFT)
        assert set(left["flows"]) <= ENDED
        assert "RUNNING" not in left["runs"]
        assert left["champion"] == "FINISHED"
        assert left["versions"] == self.versions + made
        TestFaults.versions += made
        return left

    @pytest.mark.parametrize(
        ("task", "fault"),
        [
            ("ingest", "killed before"),
            ("validate", "killed before"),
            ("features", "killed before"),
            ("features", "killed in a write"),
            ("train", "killed before"),
            ("train", "killed after"),
            ("evaluate", "killed before"),
            ("promote", "killed before"),
            ("register", "killed before"),
            ("register", "killed after"),
        ],
    )
    def test_killed_training_leaves_nothing_half_done(self, project: Running, task: str, fault: str) -> None:
        lock = (project.path / "dvc.lock").read_bytes()
        assert self.fail(project, task, fault).returncode == -9
        assert (project.path / "dvc.lock").read_bytes() == lock
        # A version is registered whole, or not at all.
        whole = int((task, fault) == ("register", "killed after"))
        assert self.complete(project, made=whole + 1)["flows"].count("Crashed") > 0

    def test_full_disk_is_said_and_nothing_is_lost(self, project: Running) -> None:
        failed = self.fail(project, "train", "disk full")
        assert failed.returncode == 1
        assert re.search("Training failed: .*File too large", failed.stderr)
        assert "Failed" in self.complete(project, made=1)["flows"]

    def test_server_that_goes_away_takes_nothing_along(self, project: Running) -> None:
        failed = self.fail(project, "train", "server gone")
        assert failed.returncode == 1
        assert re.search(r"The Prefect API at http://127\.0\.0\.1:\d+/api went away", failed.stderr)
        assert "Traceback" not in failed.stderr
        self.complete(project, made=2)

    def test_locked_mlflow_is_waited_for(self, project: Running) -> None:
        hold = """if True:
            import sqlite3, time
            held = sqlite3.connect("mlflow.db", isolation_level=None)
            held.execute("BEGIN EXCLUSIVE")
            print("held", flush=True)
            time.sleep(25)
        """
        with self.held(project, hold):
            assert self.fail(project, "none", "").returncode == 0
        self.complete(project, made=2)

    def test_held_dvc_lock_is_waited_for(self, project: Running) -> None:
        hold = """if True:
            import time
            from dvc.repo import Repo
            with Repo().lock:
                print("held", flush=True)
                time.sleep(15)
        """
        with self.held(project, hold) as holder:
            project.make("train")
            assert holder.poll() == 0

    @contextmanager
    def held(self, project: Running, code: str) -> Iterator[subprocess.Popen[str]]:
        """Run a program that holds something for a while; go on when it does."""
        with project.start(str(project.environment / "bin/python"), "-c", code) as holder:
            try:
                assert holder.stdout
                assert holder.stdout.readline() == "held\n"
                yield holder
            finally:
                holder.kill()
