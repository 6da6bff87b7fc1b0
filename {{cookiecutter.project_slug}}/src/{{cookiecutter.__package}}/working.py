"""A worker that leaves nothing behind: what it ran when it was stopped is ended, and recorded as crashed."""

import signal
import subprocess
import sys
from contextlib import suppress
from uuid import UUID

import psutil
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.states import Crashed

STOPPED: State[None] = Crashed(message="Its worker was stopped.")
# Where Prefect tells the process of a flow run which run it is.
RUN = "PREFECT__FLOW_RUN_ID"


def work(pool: str) -> None:
    """Run Prefect's worker for a work pool until Ctrl-C or SIGTERM, or until it ends by itself."""
    # In a session of its own: Ctrl-C in a terminal is for us, who end the runs first.
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool]
    worker = subprocess.Popen(command, start_new_session=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(worker.wait())
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _stop(worker)


def _stop(worker: subprocess.Popen[bytes]) -> None:
    """End the worker, then the runs that it has started, and record these."""
    runs = _runs(worker.pid)
    worker.terminate()
    for process in runs:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs([*runs, psutil.Process(worker.pid)], timeout=15)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    worker.wait()
    with get_client(sync_client=True) as client:
        for run in map(client.read_flow_run, runs.values()):
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
