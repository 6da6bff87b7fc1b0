"""Deployed flows run when they are due, and killed runs are marked and reported. Slow."""

import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import running
from running import Running
from template import CHOICES, Bake
from tiers import nightly

pytestmark = pytest.mark.slow

# A flow besides the project's own that runs as long as a file exists.
WAITING = '''
"""A flow that waits."""

import time

from prefect import flow

from ..ops.settings import project_root


@flow(name="waiting")
def waiting() -> None:
    """Run as long as the file exists."""
    while (project_root() / "hold").exists():
        time.sleep(0.2)
'''
DEPLOYED = """
  - name: waiting
    entrypoint: {package}.flows.waiting.waiting
    schedules: []
    work_pool: *work_pool
"""


FOREIGN = {"Origin": "http://example.org"}


class TestProcessDeployments:
    """A project with a channel, whose flows are deployed to the server of `ui`."""

    @pytest.fixture(scope="class")
    @classmethod
    def pages(cls) -> dict[str, tuple[str, str]]:
        """Return sites and passwords of the pages, once `ui` has printed them."""
        return {}

    @pytest.fixture(scope="class")
    @classmethod
    def deployed(
        cls,
        bake: Bake,
        told: tuple[str, list[str]],
        pages: dict[str, tuple[str, str]],
        tmp_path_factory: pytest.TempPathFactory,
    ) -> Iterator[Running]:
        """Set up a project, start its server, and deploy."""
        folder = tmp_path_factory.mktemp("deployed")
        made = Running.copy_of(bake(notifications="slack"), folder, "3.13")
        made.prepare()
        (made.path / ".env").write_text(f"NOTIFY_WEBHOOK_URL={told[0]}\n")
        (made.path / f"src/{made.package}/flows/waiting.py").write_text(WAITING)
        plan = made.path / "prefect.yaml"
        text = plan.read_text().replace('"0 3 * * 1"', '"* * * * *"')
        plan.write_text(text + DEPLOYED.format(package=made.package))
        with made.ui(*cls.project(made), "ui") as (_, said):
            pages |= running.pages(said)
            assert re.search(r"retraining/\S+: next on .*\n.*scoring/\S+: next on", made.make("deploy"))
            yield made

    @staticmethod
    def project(deployed: Running) -> list[str]:
        return [str(deployed.environment / "bin/python"), "-m", deployed.package]

    def test_deploying_twice_changes_nothing(self, deployed: Running) -> None:
        assert "unchanged" in deployed.make("deploy")
        said = deployed.run(*self.project(deployed), "prefect", "automation", "ls")
        assert said.count("Proactive") == 1

    def command(self, pages: dict[str, tuple[str, str]]) -> tuple[str, dict[str, Any], dict[str, str]]:
        """Return the request that runs a command for those who know the password: address, body, headers."""
        site, password = pages["Prefect"]
        url, known = f"{site}/api/deployments", {"Authorization": running.basic(password)}
        status, said = running.ask(f"{url}/name/waiting/waiting", **known)
        assert status == 200, said
        body = {"state": {"type": "SCHEDULED"}, "job_variables": {"command": "touch made-by-others"}}
        return f"{url}/{json.loads(said)['id']}/create_flow_run", body, known

    @pytest.mark.usefixtures("deployed")
    def test_pages_of_others_are_refused(self, pages: dict[str, tuple[str, str]]) -> None:
        url, body, known = self.command(pages)
        simple = FOREIGN | {"Content-Type": "text/plain"}
        asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "content-type"}
        assert running.ask(url, method="OPTIONS", **FOREIGN, **asked)[0] == 403
        # Pages of other sites do not have the password; with it they are refused, too.
        for headers in ({}, known):
            assert running.ask(url, body, **simple, **headers)[0] == 403
            assert running.ask(url, body, Origin=pages["MLflow"][0], **headers)[0] == 403
            assert running.ask(url, body, Host="example.org:4200", **headers)[0] == 400
        assert self.websocket(*pages["Prefect"], **FOREIGN) == 403
        for site, _ in pages.values():
            assert running.ask(f"{site}/open", **FOREIGN)[0] == 403
            assert running.ask(f"{site}/open", Host="example.org:4200")[0] == 400

    def test_other_users_are_refused(self, deployed: Running, pages: dict[str, tuple[str, str]]) -> None:
        url, body, known = self.command(pages)
        (site, password), (mlflow, _) = pages["Prefect"], pages["MLflow"]
        for headers in ({}, {"Authorization": running.basic("guessed")}):
            assert running.ask(url, body, **headers)[0] == 401
            assert running.ask(f"{site}/api/flows/filter", {}, **headers)[0] == 401
            assert running.ask(f"{mlflow}/", **headers)[0] == 401
        assert self.websocket(site, "guessed") == "closed"
        home = deployed.path / ".prefect"
        modes = [path.stat().st_mode & 0o777 for path in (home, home / "server.url")]
        assert modes == [0o700, 0o600]
        processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        assert not [name for name, (_, secret) in pages.items() if secret in processes]
        # Only the password was missing.
        assert self.websocket(site, password) == "accepted"
        status, said = running.ask(url, body, **known)
        assert status == 201, said
        run = f"{site}/api/flow_runs/{json.loads(said)['id']}"
        assert running.ask(run, method="DELETE", **known)[0] == 204

    def test_printed_addresses_open_the_pages(
        self, deployed: Running, pages: dict[str, tuple[str, str]]
    ) -> None:
        """Without a browser: the entrance pages do what Prefect's own form and a dialog do."""
        site, password = pages["Prefect"]
        assert 'localStorage.setItem("prefect-password", btoa(' in running.ask(f"{site}/open")[1]
        installed = deployed.environment.glob("lib/python*/site-packages/prefect/server/ui-v2/assets/*.js")
        assert any(
            "`prefect-password`" in text and "btoa(" in text for text in map(Path.read_text, installed)
        )
        assert json.loads(running.ask(f"{site}/ui-settings")[1])["api_url"] == "/api"
        assert "<html" in running.ask(f"{site}/", Accept="text/html")[1]
        known = {"Authorization": running.basic(password), "Origin": site}
        assert "waiting" in running.ask(f"{site}/api/deployments/filter", {}, **known)[1]
        site, password = pages["MLflow"]
        assert 'request.open("GET", "/version", true, "ui", ' in running.ask(f"{site}/open")[1]
        known = {"Authorization": running.basic(f"ui:{password}"), "Origin": site}
        assert "<html" in running.ask(f"{site}/", **known)[1]
        search = f"{site}/ajax-api/2.0/mlflow/experiments/search"
        assert running.ask(search, {"max_results": 5}, **known)[0] == 200

    @staticmethod
    def websocket(site: str, password: str, **headers: str) -> int | str:
        """Open a websocket and send the password; return the status, or what happens to an open one."""
        host, _, port = site.removeprefix("http://").partition(":")
        said = {"Host": f"{host}:{port}", "Upgrade": "websocket", "Connection": "Upgrade"}
        said |= {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
        said |= {"Sec-WebSocket-Protocol": "prefect"} | headers
        lines = "".join(f"{name}: {value}\r\n" for name, value in said.items())
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            connection.sendall(f"GET /api/events/in HTTP/1.1\r\n{lines}\r\n".encode())
            answer = connection.makefile("rb")
            status = int(answer.readline().split()[1])
            if status != 101:
                return status
            while answer.readline().strip():
                pass
            message = json.dumps({"type": "auth", "token": password}).encode()
            # One text frame of less than 126 bytes, masked by zeros.
            connection.sendall(bytes([0x81, 0x80 | len(message), 0, 0, 0, 0]) + message)
            return {0x81: "accepted", 0x88: "closed"}[answer.read(1)[0]]

    def test_runs_by_hand_and_by_cron_complete_and_a_stopped_worker_marks_its_run(
        self, deployed: Running
    ) -> None:
        by_hand = deployed.run_deployment(f"training/{deployed.path.name}")
        worker = deployed.start(*self.project(deployed), "worker", "--pool", deployed.path.name)
        try:
            fired = deployed.wait_for_scheduled_run(seconds=150)
            assert fired["state_name"] == "Completed", fired
            assert deployed.wait_for_run(by_hand)["state_name"] == "Completed"
            mlflow = deployed.ask(running.MLFLOW)
            assert (mlflow["status"], mlflow["champion"] in range(1, mlflow["versions"] + 1)) == (
                "FINISHED",
                True,
            )
            assert mlflow["tags"]["prefect.flow_run_id"]
            assert json.loads(deployed.uv("run", "dvc", "status", "--json")) == {}
            (deployed.path / "hold").touch()
            held = deployed.run_deployment("waiting/waiting")
            deployed.wait_for_run(held, "RUNNING")
        finally:
            worker.terminate()
            worker.communicate(timeout=60)
        assert worker.returncode == 0
        # Sooner than the server would mark a run whose heartbeats have stopped.
        assert deployed.wait_for_run(held, "CRASHED", seconds=30)

    def test_drift_starts_the_deployed_retraining(self, deployed: Running) -> None:
        """The champion is that of the test before; without a worker the run stays scheduled."""
        code = f"from {deployed.package}.ops.orchestration.session import use_server; use_server()\n"
        code += f"from {deployed.package}.flows.monitoring import monitoring\n"
        code += "at_once = {'drifted': 1, 'last': 1, 'cooldown_days': 0}\n"
        code += "print(monitoring('data/new/penguins-shifted.csv', policy=at_once).retraining)"
        said = deployed.run(str(deployed.environment / "bin/python"), "-c", code)
        name = re.search(r"^Started the retraining as flow run (.+)\.$", said, re.MULTILINE)
        assert name, said
        [run] = [run for run in deployed.flow_runs("SCHEDULED") if run["name"] == name[1]]
        assert re.match(r"drift: bill_length_mm PSI \d", run["parameters"]["cause"])

    @staticmethod
    def runs_with_heartbeats(deployed: Running) -> set[str]:
        """Return the ids of all runs whose heartbeats have reached the server."""
        query = "SELECT resource_id FROM events WHERE event = 'prefect.flow-run.heartbeat'"
        rows = deployed.rows(".prefect/prefect.db", query)
        return {str(resource).removeprefix("prefect.flow-run.") for (resource,) in rows}

    def test_killed_run_is_marked_and_told_of_by_the_server(
        self, deployed: Running, told: tuple[str, list[str]]
    ) -> None:
        told[1].clear()
        (deployed.path / "hold").touch()
        code = f"from {deployed.package}.ops.orchestration.session import use_server; use_server()\n"
        code += f"from prefect import tags\nfrom {deployed.package}.flows.waiting import waiting\n"
        code += f"with tags('{deployed.package}'): waiting()"
        before = self.runs_with_heartbeats(deployed)
        flow = deployed.start(str(deployed.environment / "bin/python"), "-c", code)
        try:
            end = time.monotonic() + 120
            new: set[str] = set()
            # The server cannot miss the heartbeats of a run before it has got the first one.
            while not new and time.monotonic() < end:
                # A heartbeat of an earlier run may arrive late; only this run is running.
                running_now = {run["id"] for run in deployed.flow_runs("RUNNING")}
                new = (self.runs_with_heartbeats(deployed) - before) & running_now
                time.sleep(0.2)
            [run] = new
        finally:
            flow.kill()
            flow.communicate()
        crashed = deployed.wait_for_run(run, "CRASHED", seconds=150)
        assert (crashed["state_name"], "heartbeats" in crashed["state"]["message"]) == ("Crashed", True)
        end = time.monotonic() + 30
        while not told[1] and time.monotonic() < end:
            time.sleep(0.5)
        [body] = told[1]
        blocks = json.loads(body)["blocks"]
        assert blocks[0]["text"]["text"] == "waiting: Crashed"
        assert f"/runs/flow-run/{run}|" in body


@nightly
@pytest.mark.parametrize("deployment", CHOICES["deployment"][1:])
def test_own_tests_hold_where_flows_run_elsewhere(bake: Bake, tmp_path: Path, deployment: str) -> None:
    project = Running.copy_of(bake(deployment=deployment), tmp_path, "3.13")
    project.install()
    said = project.with_databases().uv("run", "pytest", "tests/ops/test_deployments.py")
    assert re.search(r"=+ \d+ passed", said)
