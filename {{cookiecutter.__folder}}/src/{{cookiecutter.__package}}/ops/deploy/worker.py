"""A worker that leaves nothing behind: when it is stopped, its flow runs end and are recorded as crashed."""

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
# The variable that tells a flow run's process which run it is.
RUN_ID = "PREFECT__FLOW_RUN_ID"


def work(pool: str) -> None:
    """Run Prefect's worker for a work pool until Ctrl-C or a signal, or until it or the server of `ui` ends."""
    # A background job of a shell script starts with SIGINT ignored, and Prefect's worker would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # In another session, so that Ctrl-C in a terminal reaches only this process, which ends the runs first.
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool]
    worker = subprocess.Popen(command, start_new_session=True)
    try:
        code = _wait(worker)
    except (KeyboardInterrupt, SystemExit):  # Ctrl-C, and other signals
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _record(_stop(worker, signal.SIGTERM))
        return
    except ProjectError:
        # Without a server the worker cannot sign off, and would only log errors.
        _stop(worker, signal.SIGKILL)
        raise
    sys.exit(code)


def _wait(worker: subprocess.Popen[bytes]) -> int:
    """Wait until the worker ends; raise ProjectError if the server of `ui` ends first.

    The next server has another password, and until it starts anybody may take the port and tell a worker what to run.
    """
    home = read_settings().prefect_home
    server = prefect_server.announced(home)
    uses_it = server and server[0] == os.environ["PREFECT_API_URL"]
    while worker.poll() is None:
        if uses_it and prefect_server.announced(home) != server:
            raise ProjectError("The server of `ui` has ended, so this worker has ended, too: start both again.")
        time.sleep(1)
    return worker.returncode


def _stop(worker: subprocess.Popen[bytes], number: signal.Signals) -> list[UUID]:
    """Stop the worker by a signal, then end the flow runs that it has started; return their ids."""
    runs = _runs(worker.pid)
    worker.send_signal(number)
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
    with get_client(sync_client=True) as client:
        for run in map(client.read_flow_run, stopped):
            if run.state and not run.state.is_final():
                client.set_flow_run_state(run.id, STOPPED, force=True)


def _runs(worker: int) -> dict[psutil.Process, UUID]:
    """Return the processes below a worker that run a flow, each with the id of its flow run."""
    runs = {}
    for process in psutil.Process(worker).children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if run := process.environ().get(RUN_ID):
                runs[process] = UUID(run)
    return runs
