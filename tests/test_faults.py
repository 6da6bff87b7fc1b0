"""What a killed training leaves behind, and that the next one completes. Slow."""

import re
import subprocess
from typing import Any, ClassVar

import pytest
from conftest import Bake
from running import Running

pytestmark = pytest.mark.slow

# Train with a fault at a named point; Prefect may be imported only after it was configured.
FAULT = """
import os, signal, sys
from pathlib import Path
from {package} import cli, orchestration
orchestration.configure()
from prefect.task_engine import SyncTaskRunEngine
call = SyncTaskRunEngine.call_task_fn

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def in_task(engine, transaction):
    if engine.task.name != {task!r}:
        return call(engine, transaction)
    if {fault!r} == "killed before":
        die()
    return call(engine, transaction)

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
    """A project that has trained once, and then is killed at one point after the other."""

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
        ],
    )
    def test_killed_training_leaves_nothing_half_done(self, project: Running, task: str, fault: str) -> None:
        lock = (project.path / "dvc.lock").read_bytes()
        assert self.fail(project, task, fault).returncode == -9
        assert (project.path / "dvc.lock").read_bytes() == lock
        assert self.complete(project, made=1)["flows"].count("Crashed") > 0
