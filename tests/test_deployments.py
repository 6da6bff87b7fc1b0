"""Deployed flows run when they are due, killed ones are seen, and wrong ones are refused. Slow."""

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Bake
from running import Running

pytestmark = pytest.mark.slow

# Beside the project's own: a flow that runs for as long as a file is there.
WAITING = '''
"""A flow that waits."""

import time

from prefect import flow

from ..settings import root


@flow(name="waiting")
def waiting() -> None:
    """Run for as long as the file is there."""
    while (root() / "hold").exists():
        time.sleep(0.2)
'''
DEPLOYED = """
  - name: waiting
    entrypoint: {package}.flows.waiting.waiting
    schedules: []
    work_pool: *work_pool
"""
STATE = """
import json, sys
from {package} import orchestration
orchestration.use_server()
from prefect.client.orchestration import get_client
with get_client(sync_client=True) as client:
    runs = client.read_flow_runs()
    print(json.dumps([[str(run.id), run.name, run.state_name, run.state.message] for run in runs]))
"""
FAULTS = {
    (
        "description: Predict",
        "desciption: Predict",
    ): r"scoring\.desciption` is not a key.*`description` is meant",
    ("&work_pool", "&work_pool\n    job_variables: {stream_ouput: true}"): r"stream_ouput` is not a key",
    ("&work_pool", "&work_pool\n    job_variables: {stream_output: 7}"): r"stream_output` is wrong",
    ("&work_pool", '&work_pool\n    job_variables: {env: {A: "{{ $NO_SUCH }}"}}'): r"`NO_SUCH` is not set",
    ("timezone: Etc/UTC", "timezone: Mars/North"): r"timezone` is 'Mars/North'",
    ('"0 5 * * *"', '"0 25 * * *"'): r"scoring\.schedules\.0\.cron` is '0 25",
    ("collision_strategy: ENQUEUE", "collision_strategy: WAIT"): r"collision_strategy` is 'WAIT'",
    (".training.training", ".training.trainin"): r"entrypoint` is .* there is no such flow",
    ("parameters: {}", "parameters: {depth: 3}"): r"parameters\.depth` is not a parameter",
}


class TestProcessDeployments:
    """A default project whose flows are deployed to the server of `ui`."""

    @pytest.fixture(scope="class")
    @classmethod
    def deployed(cls, bake: Bake, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
        """Set a project up, start its server, and deploy."""
        made = Running.copy_of(bake(), tmp_path_factory.mktemp("deployed"), "3.13", "processes")
        made.make("setup")
        (made.path / f"src/{made.package}/flows/waiting.py").write_text(WAITING)
        plan = made.path / "prefect.yaml"
        text = plan.read_text().replace('"0 3 * * 1"', '"* * * * *"')
        plan.write_text(text + DEPLOYED.format(package=made.package))
        with made.ui(*cls.project(made), "ui"):
            assert re.search(r"retraining: next on .*\n.*scoring: next on", made.make("deploy"))
            yield made

    @staticmethod
    def project(deployed: Running) -> list[str]:
        return [str(deployed.environment / "bin/python"), "-m", deployed.package]

    def run_by_hand(self, deployed: Running, name: str) -> str:
        """Ask for a run, and return its id."""
        said = deployed.run(*self.project(deployed), "prefect", "deployment", "run", f"{name}/{name}")
        found = re.search(r"UUID: (\S+)", said)
        assert found, said
        return found[1]

    def wait(self, deployed: Running, run: str, *states: str, seconds: float = 120) -> Any:  # noqa: ANN401 - JSON
        """Wait until a run is in one of the states; return state and message."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = {key: (state, message) for key, _, state, message in deployed.ask(STATE)}
            if found[run][0] in states:
                return found[run]
            time.sleep(1)
        message = f"{found[run]} is none of {states} after {seconds} s"
        raise AssertionError(message)

    @pytest.mark.parametrize("fault", FAULTS, ids=[new.split("\n")[-1].strip() for _, new in FAULTS])
    def test_what_prefect_passes_over_is_refused(self, deployed: Running, fault: tuple[str, str]) -> None:
        plan = deployed.path / "prefect.yaml"
        own = plan.read_text()
        assert fault[0] in own
        plan.write_text(own.replace(*fault))
        command = [*self.project(deployed), "deploy"]
        done = subprocess.run(
            command, cwd=deployed.path, env=deployed.env(), capture_output=True, text=True, check=False
        )
        plan.write_text(own)
        assert (done.returncode, "Traceback" in done.stderr) == (1, False)
        assert re.search(FAULTS[fault], done.stderr), done.stderr

    def test_deploying_twice_changes_nothing(self, deployed: Running) -> None:
        assert "kept as it is" in deployed.make("deploy")
        said = deployed.run(*self.project(deployed), "prefect", "automation", "ls")
        assert said.count("Proactive") == 1

    def test_runs_by_hand_and_by_cron_complete_and_a_stopped_worker_marks_its_run(
        self, deployed: Running
    ) -> None:
        by_hand = self.run_by_hand(deployed, "training")
        worker = deployed.start(*self.project(deployed), "worker", "--pool", deployed.path.name)
        try:
            fired = deployed.wait_for_scheduled_run(seconds=150)
            assert fired["state_name"] == "Completed", fired
            assert self.wait(deployed, by_hand, "Completed", "Failed", "Crashed")[0] == "Completed"
            (deployed.path / "hold").touch()
            held = self.run_by_hand(deployed, "waiting")
            self.wait(deployed, held, "Running")
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.communicate(timeout=60)
        assert worker.returncode == 0
        assert self.wait(deployed, held, "Crashed", seconds=5)

    def test_killed_run_is_marked_by_the_server(self, deployed: Running) -> None:
        (deployed.path / "hold").touch()
        code = f"from {deployed.package} import orchestration; orchestration.use_server()\n"
        code += f"from {deployed.package}.flows.waiting import waiting; waiting()"
        before = {run[0] for run in deployed.ask(STATE)}
        flow = deployed.start(str(deployed.environment / "bin/python"), "-c", code)
        try:
            end = time.monotonic() + 60
            new: list[str] = []
            while not new and time.monotonic() < end:
                new = [
                    run
                    for run, _, state, _ in deployed.ask(STATE)
                    if run not in before and state == "Running"
                ]
        finally:
            flow.kill()
            flow.communicate()
        state, message = self.wait(deployed, new[0], "Crashed", seconds=150)
        assert (state, "heartbeats" in message) == ("Crashed", True)
