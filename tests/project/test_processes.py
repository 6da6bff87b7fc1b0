"""A project stops every process that it starts, even if it is killed, and resumes killed runs. Slow."""

import json
import re
import signal
import socket
import subprocess
import time
import urllib.request

import pytest
import running
from running import Running
from template import Bake

pytestmark = pytest.mark.slow

SEARCH = {
    "model": {"estimator": "sklearn.ensemble.RandomForestClassifier", "params": {"max_depth": 3}},
    "search": {"folds": 2, "candidates": 6, "params": {"n_estimators": [10, 11, 12, 13, 14, 15]}},
}
SEARCHED = """
import json
from {package}.ops.orchestration.session import api
with api() as session, session():
    from {package}.ops.settings import PACKAGE as NAME
    from {package}.ops.tracking import runs
    from prefect.client.orchestration import get_client
    with get_client(sync_client=True) as client:
        flows = {{run.id: run.state_name for run in client.read_flow_runs()}}
        tasks = [task for task in client.read_task_runs(limit=200) if task.name.startswith("candidate")]
    ended = [run for run, state in flows.items() if state == "Completed"]
    client = runs.connect()
    champion = client.get_model_version_by_alias(NAME, "champion").run_id
    experiment = client.get_experiment_by_name(NAME).experiment_id
    children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{{champion}}'")
    print(json.dumps({{
        "flows": sorted(flows.values()),
        "candidates": sorted(task.state_name for task in tasks if task.flow_run_id in ended),
        "children": [run.info.status for run in children],
        "others": [run.info.status for run in client.search_runs([experiment], "status = 'RUNNING'")],
    }}))
"""
FLOWS = "SELECT state_name FROM flow_run"
SERVED = """
import os, time
from {package}.ops.orchestration.session import api
with api() as session, session():
    print(os.environ["PREFECT_API_URL"], flush=True)
    time.sleep(999)
"""
NO_SERVER = """
import sys
from {package} import cli
from {package}.ops.orchestration import prefect_server
prefect_server.EMBEDDED["PREFECT_API_DATABASE_CONNECTION_URL"] = "nonsense"
sys.argv = ["train", "train"]
cli.main()
"""


def gone(url: str) -> bool:
    """Tell whether an address stops answering within a minute."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 - http, on loopback
        except OSError:
            return True
        time.sleep(0.1)
    return False


class TestProcesses:
    """A project that is killed and interrupted."""

    @pytest.fixture(scope="class")
    @classmethod
    def project(cls, bake: Bake, tmp_path_factory: pytest.TempPathFactory) -> Running:
        """Set a project up."""
        made = Running.copy_of(bake(), tmp_path_factory.mktemp("running"), "3.13")
        made.prepare()
        return made

    def python(self, project: Running) -> str:
        return str(project.environment / "bin/python")

    def refused(self, project: Running, *arguments: str, **env: str) -> str:
        """Run Python in the project, which has to fail with one sentence; return stderr."""
        done = subprocess.run(
            [self.python(project), *arguments],
            cwd=project.path,
            env=project.env() | env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        return done.stderr

    def test_killed_search_is_resumed(self, project: Running) -> None:
        params = project.path / "params.yaml"
        own = params.read_text(encoding="utf-8")
        kept = re.sub(r"^(model|search):\n(?:(?:[ #].*)?\n)*", "", own, flags=re.MULTILINE)
        params.write_text(kept + "".join(f"\n{key}: {json.dumps(value)}" for key, value in SEARCH.items()))
        with project.started("-m", project.package, "train") as process:
            assert process.stdout
            assert any(" 2/6 " in line for line in process.stdout)
            process.send_signal(signal.SIGKILL)
        project.run(self.python(project), "-m", project.package, "train")
        found = project.ask(SEARCHED)
        assert found["flows"] == ["Completed", "Crashed"]
        assert len(found["candidates"]) == 6
        assert found["candidates"].count("Cached") >= 2
        assert set(found["candidates"]) <= {"Cached", "Completed"}
        assert (found["children"], found["others"]) == (["FINISHED"] * 6, [])

    def test_second_training_in_the_folder_waits_for_the_first(self, project: Running) -> None:
        flows, versions = project.rows(".prefect/prefect.db", FLOWS), project.versions()
        train = ("-m", project.package, "train")
        with project.started(*train) as one, project.started(*train) as other:
            said = [process.communicate(timeout=300)[0] for process in (one, other)]
        assert [one.returncode, other.returncode] == [0, 0], said
        assert sorted(text.count("Another training is running in this folder") for text in said) == [0, 1]
        # Where nobody is notified, nothing is logged about notifications.
        assert not any("hook" in text for text in said)
        recorded = project.recorded()
        assert sorted(recorded["flows"]) == sorted([*(state for (state,) in flows), "Completed", "Completed"])
        assert recorded["versions"] == versions + 2

    @pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
    def test_embedded_server_serves_only_its_parent_and_ends_with_it(
        self, project: Running, how: signal.Signals
    ) -> None:
        with project.started("-c", SERVED.format(package=project.package)) as parent:
            assert parent.stdout
            url = parent.stdout.readline().strip()
            urllib.request.urlopen(f"{url}/health", timeout=60).close()  # noqa: S310
            flows = f"{url}/flows/filter"
            assert running.ask(flows, {})[0] == 401
            assert running.ask(flows, {}, Origin="http://example.org")[0] == 403
            assert running.ask(flows, {}, Host="example.org")[0] == 400
            parent.send_signal(how)
            parent.wait(timeout=60)
        assert gone(f"{url}/health")

    def test_server_that_cannot_start_is_one_sentence(self, project: Running) -> None:
        said = self.refused(project, "-c", NO_SERVER.format(package=project.package))
        assert re.search(r"Prefect's server did not start; see .*server\.log", said)

    def test_unreachable_api_is_one_sentence(self, project: Running) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            url = f"http://127.0.0.1:{taken.getsockname()[1]}/api"
        said = self.refused(project, "-m", project.package, "train", PREFECT_API_URL=url)
        assert f"No Prefect API answers at {url}" in said

    def test_ui_serves_both_pages_until_ctrl_c_and_leaves_nothing_running(self, project: Running) -> None:
        announced = project.path / ".prefect/server.url"
        flows = ["-m", project.package, "prefect", "flow", "ls"]
        with project.ui(self.python(project), "-m", project.package, "ui") as (process, said):
            pages = running.pages(said)
            for site, password in pages.values():
                status, page = running.ask(f"{site}/", Authorization=running.basic(f"ui:{password}"))
                assert (status, "<html" in page.lower()) == (200, True)
            site, password = pages["Prefect"]
            assert announced.read_text(encoding="utf-8").split() == [f"{site}/api", password]
            assert "training" in project.run("env", "COLUMNS=200", self.python(project), *flows)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 0
        assert all(gone(site) for site, _ in pages.values())
        assert not announced.exists()
        assert "No Prefect server is running" in self.refused(project, *flows)

    def test_password_of_a_killed_server_is_not_sent_to_the_program_that_has_its_port(
        self, project: Running
    ) -> None:
        announced = project.path / ".prefect/server.url"
        with socket.create_server(("127.0.0.1", 0)) as taken:
            announced.write_text(f"http://127.0.0.1:{taken.getsockname()[1]}/api\nsecret\n")
            said = self.refused(project, "-m", project.package, "prefect", "flow", "ls")
            announced.unlink()
            taken.settimeout(0)
            with pytest.raises(BlockingIOError):
                taken.accept()
        assert "No Prefect server is running" in said
