"""Searches on Dask and on Ray clusters that are started separately, as in production. Slow."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pytest
from running import Running, free_port
from template import Bake
from tiers import in_turn

pytestmark = pytest.mark.slow

# Small and quick; candidates are drawn at random, so that no two are equal.
SEARCHED = """model:
  estimator: sklearn.ensemble.RandomForestClassifier
  params: {n_estimators: 5}
  trusted: []

search:
  params: {max_depth: {low: 2, high: 9}, max_features: {low: 0.2, high: 1.0}, min_samples_leaf: [1, 2, 4]}
  candidates: 24
  folds: 2

gate:"""
# The search of the training flow alone, on the project's task runner or on threads.
SEARCH = """if True:
    import json, sys
    from {package}.ops.orchestration.session import api
    with api() as session:
        from prefect import flow
        from prefect.task_runners import ThreadPoolTaskRunner
        from {package}.ops.settings import PACKAGE as NAME
        from {package}.ops.tracking import runs
        from {package}.ops.settings import read_contract
        from {package}.ops.files import File
        from {package}.flows.search import search_parameters
        from {package}.ops.paths import TRAINING
        from {package}.ops.settings import read_params
        from {package}.model.predictor import Recipe
        from {package}.ops.orchestration.task_runner import task_runner

        @flow(task_runner=ThreadPoolTaskRunner(max_workers=2) if sys.argv[1] == "threads" else task_runner())
        def searching():
            params = read_params()
            with runs.run({{}}) as run_id:
                recipe = Recipe.of(params, read_contract())
                return search_parameters(run_id, File.at(TRAINING), recipe, params)[1]

        with session():
            tried = searching()
    print(json.dumps([[one.params, one.scores, one.chosen] for one in tried]))
"""
# The states of the last flow run's candidates in Prefect.
TASKS = """if True:
    import json
    from {package}.ops.orchestration.session import api
    with api() as session, session():
        from prefect.client.orchestration import get_client
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
        from prefect.client.schemas.sorting import FlowRunSort
        with get_client(sync_client=True) as client:
            [last] = client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=1)
            of_last = FlowRunFilter(id=FlowRunFilterId(any_=[last.id]))
            tasks = client.read_task_runs(flow_run_filter=of_last, limit=200)
    print(json.dumps([task.state_name for task in tasks if task.name.startswith("candidate")]))
"""


def listens(port: int) -> bool:
    """Tell whether a program listens on a port."""
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def started(project: Running, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command of the project's environment for the block, without settings of Prefect."""
    program = subprocess.Popen(
        [str(project.environment / "bin" / command[0]), *command[1:]],
        cwd=project.path.parent,
        env=project.env(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield program
    finally:
        program.terminate()
        try:
            program.wait(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(program.pid, signal.SIGKILL)
            program.wait()


def set_up(bake: Bake, folder: Path, compute: str) -> Running:
    """Generate a project whose training searches, and set it up."""
    made = Running.copy_of(bake(compute=compute), folder, "3.13")
    made.prepare()
    file = made.path / "params.yaml"
    text = file.read_text(encoding="utf-8")
    file.write_text(
        re.sub(r"^model:.*^gate:", SEARCHED, text, flags=re.DOTALL | re.MULTILINE), encoding="utf-8"
    )
    return made


def search(project: Running, where: str) -> Any:  # noqa: ANN401 - JSON
    """Search without cached results; return parameters, scores and choice of every candidate."""
    shutil.rmtree(project.path / ".prefect/storage", ignore_errors=True)
    return project.ask(SEARCH, where)


@cache
def on_threads(project: Running) -> Any:  # noqa: ANN401 - JSON
    """Return the result of a search on threads, the reference."""
    return search(project, "threads")


def search_interrupted(project: Running, where: str, interrupt: Callable[[], None]) -> Any:  # noqa: ANN401 - JSON
    """Search as `search` does, and call `interrupt` when four candidates have finished."""
    shutil.rmtree(project.path / ".prefect/storage")
    said = []
    with project.started("-c", SEARCH.format(package=project.package), where) as searching:
        assert searching.stdout
        for line in searching.stdout:
            said.append(line)
            if " 4/24 " in line:
                interrupt()
        assert searching.wait() == 0, "".join(said)
    return json.loads(said[-1])


DASK, RAY = in_turn("dask", "ray")


class TestDask:
    """A scheduler and two workers, each started separately."""

    pytestmark: ClassVar = list(DASK.marks)

    @pytest.fixture(scope="class")
    @classmethod
    def project(cls, bake: Bake, tmp_path_factory: pytest.TempPathFactory) -> Running:
        """Set a project up."""
        return set_up(bake, tmp_path_factory.mktemp("running"), "dask")

    @pytest.fixture
    def workers(self, project: Running, tmp_path: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
        """Run scheduler and workers, and name the scheduler in .env."""
        file = tmp_path / "scheduler.json"
        # As in docs/scaling.md: importing the project takes longer than some of Dask's timeouts.
        preload = ("--preload", f"{project.package}.flows.search")
        alone = ("--scheduler-file", str(file), "--no-dashboard", *preload)
        with ExitStack() as running:
            server = ("dask", "scheduler", "--host", "127.0.0.1", "--port", "0", *alone)
            running.enter_context(started(project, *server))
            while not file.exists():
                time.sleep(0.1)
            worker = ("dask", "worker", "--no-nanny", "--nthreads", "1", *alone)
            found = [running.enter_context(started(project, *worker)) for _ in range(2)]
            address = json.loads(file.read_text(encoding="utf-8"))["address"]
            (project.path / ".env").write_text(f"DASK_SCHEDULER_ADDRESS={address}\n")
            yield found
            (project.path / ".env").unlink()

    def test_training_searches_in_both_workers(
        self, project: Running, workers: list[subprocess.Popen[bytes]]
    ) -> None:
        project.make("train")
        assert project.ask(TASKS) == ["Completed"] * 24
        assert all(worker.poll() is None for worker in workers)
        count = """if True:
            import json
            from {package}.ops.settings import read_settings
            from distributed import Client
            with Client(read_settings().dask_scheduler_address) as client:
                ran = client.run(lambda dask_worker: dask_worker.state.executed_count)
            print(json.dumps(sorted(ran.values())))
        """
        ran = project.ask(count)
        assert len(ran) == 2
        assert sum(ran) == 24
        assert min(ran) > 0

    def test_killed_worker_loses_nothing_and_scores_are_as_on_threads(
        self, project: Running, workers: list[subprocess.Popen[bytes]]
    ) -> None:
        tried = search_interrupted(project, "dask", workers[0].kill)
        assert workers[0].wait() == -signal.SIGKILL
        # Its results are lost with its memory. Dask runs those tasks again, and Prefect finds them cached.
        ended = project.ask(TASKS)
        assert len(ended) == 24
        assert set(ended) <= {"Completed", "Cached"}
        assert tried == on_threads(project)

    def test_unreachable_scheduler_is_reported_in_one_sentence(self, project: Running) -> None:
        shutil.rmtree(project.path / ".prefect/storage", ignore_errors=True)
        environment = project.env() | {"DASK_SCHEDULER_ADDRESS": f"tcp://127.0.0.1:{free_port()}"}
        command = [str(project.environment / "bin" / project.path.name), "train"]
        failed = subprocess.run(
            command, cwd=project.path, env=environment, capture_output=True, text=True, check=False
        )
        assert failed.returncode == 1
        assert re.search(
            r"^Training failed: No Dask scheduler answers at tcp://.* to run on this machine\.$",
            failed.stderr,
            re.MULTILINE,
        )
        assert "Traceback" not in failed.stderr


class TestRay:
    """A head with two CPUs, started separately."""

    pytestmark: ClassVar = list(RAY.marks)

    @pytest.fixture(scope="class")
    @classmethod
    def project(cls, bake: Bake, tmp_path_factory: pytest.TempPathFactory) -> Running:
        """Set a project up."""
        return set_up(bake, tmp_path_factory.mktemp("running"), "ray")

    @pytest.fixture(scope="class")
    @classmethod
    def _head(cls, project: Running) -> Iterator[None]:
        """Run the head, and name it in .env."""
        port = str(free_port())
        # For its sockets, whose paths may have at most 107 characters.
        with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as scratch:
            options = (
                "--node-ip-address",
                "127.0.0.1",
                "--include-dashboard",
                "false",
                "--disable-usage-stats",
            )
            ports = ("--port", port, "--ray-client-server-port", str(free_port()))
            with started(
                project,
                "ray",
                "start",
                "--head",
                "--block",
                "--num-cpus",
                "2",
                *ports,
                *options,
                "--temp-dir",
                scratch,
            ):
                (project.path / ".env").write_text(f"RAY_ADDRESS=127.0.0.1:{port}\n")
                end = time.monotonic() + 60
                while not listens(int(port)) and time.monotonic() < end:
                    time.sleep(0.2)
                yield
                (project.path / ".env").unlink()

    @pytest.mark.usefixtures("_head")
    def test_training_searches_with_the_same_scores_as_on_threads(self, project: Running) -> None:
        project.make("train")
        assert project.ask(TASKS) == ["Completed"] * 24
        assert search(project, "ray") == on_threads(project)

    @pytest.mark.usefixtures("_head")
    def test_killed_worker_loses_nothing(self, project: Running) -> None:
        killed = []

        def kill_one() -> None:
            """Kill a process that runs a candidate; Ray names processes after their task."""
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    if process.read_bytes().startswith(b"ray::candidate"):
                        os.kill(int(process.parent.name), signal.SIGKILL)
                        killed.append(process)
                        return

        tried = search_interrupted(project, "ray", kill_one)
        assert killed
        ended = project.ask(TASKS)
        assert len(ended) == 24
        assert set(ended) <= {"Completed", "Cached"}
        assert tried == on_threads(project)
