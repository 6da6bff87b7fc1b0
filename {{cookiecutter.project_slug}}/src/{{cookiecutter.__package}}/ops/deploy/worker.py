"""A worker that leaves nothing behind: what it ran when it was stopped is ended, and recorded as crashed."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from uuid import UUID

import psutil
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.states import Crashed

from ...errors import ProjectError
from ..orchestration import prefect_server
from ..settings import read_settings

STOPPED: State[None] = Crashed(message="Its worker was stopped.")
# Where Prefect tells the process of a flow run which run it is.
RUN = "PREFECT__FLOW_RUN_ID"


def work(pool: str) -> None:
    """Run Prefect's worker for a work pool until Ctrl-C or SIGTERM, or until it or the server of `ui` ends."""
    # A shell script starts its background jobs with SIGINT ignored, which Prefect's worker would inherit.
    for stopping in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stopping, signal.default_int_handler)
    # In a session of its own: Ctrl-C in a terminal is for us, who end the runs first.
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool]
    worker = subprocess.Popen(command, start_new_session=True)
    try:
        sys.exit(_wait(worker))
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _record(_stop(worker, signal.SIGTERM))
    except ProjectError:
        # Without a server it has nobody to say farewell to, and would complain.
        _stop(worker, signal.SIGKILL)
        raise


def _wait(worker: subprocess.Popen[bytes]) -> int:
    """Wait until the worker ends; raise ProjectError if the server of `ui` ends first.

    The next server has another password. Until then anybody may take the port, and tell a worker what to run.
    """
    home = read_settings().prefect_home
    server = prefect_server.announced(home)
    own = server and server[0] == os.environ["PREFECT_API_URL"]
    while worker.poll() is None:
        if own and prefect_server.announced(home) != server:
            raise ProjectError("The server of `ui` has ended, and so has this worker: start both again.")
        time.sleep(1)
    return worker.returncode


def _stop(worker: subprocess.Popen[bytes], how: signal.Signals) -> list[UUID]:
    """End the worker by a signal, then the runs that it has started; return these."""
    runs = _runs(worker.pid)
    worker.send_signal(how)
    for process in runs:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs([*runs, psutil.Process(worker.pid)], timeout=15)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    worker.wait()
    return list(runs.values())


def _record(stopped: list[UUID]) -> None:
    """Record runs that were stopped as crashed."""
    with get_client(sync_client=True) as client:
        for run in map(client.read_flow_run, stopped):
            if run.state and not run.state.is_final():
                client.set_flow_run_state(run.id, STOPPED, force=True)


def _runs(worker: int) -> dict[psutil.Process, UUID]:
    """Return the processes below a worker that run a flow, each with its flow run."""
    found = {}
    for process in psutil.Process(worker).children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if run := process.environ().get(RUN):
                found[process] = UUID(run)
    return found
