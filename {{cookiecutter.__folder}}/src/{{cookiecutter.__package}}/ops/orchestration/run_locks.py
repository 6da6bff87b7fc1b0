"""Locks that end with their process: one training at a time in a folder, and killed trainings recognised."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID

from filelock import FileLock, Timeout
from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed, Crashed

from ..settings import project_root, read_settings
from ..tracking import runs

KILLED: State[None] = Crashed(message="Its process was killed.")
UNREPORTED: State[None] = Completed(message="It finished while the Prefect server was unreachable.")


@contextmanager
def exclusive(flow_run_id: str) -> Iterator[None]:
    """Wait until no other training runs in this folder; hold the locks of this flow run for the block.

    Meanwhile, record how earlier flow runs ended whose processes were killed: their locks are free.
    """
    running, processed = read_settings().prefect_home / "running", project_root() / "data/processed"
    for folder in (running, processed):
        folder.mkdir(parents=True, exist_ok=True)
    # First its own lock: if this run is killed from here on, the next one knows.
    with FileLock(running / f"{flow_run_id}.lock") as own:
        for file in sorted({*running.glob("*.lock")} - {Path(own.lock_file)}):
            _mark_crashed(file)
        lock = FileLock(processed / ".lock")
        try:
            acquired = lock.acquire(timeout=0)
        except Timeout:
            get_run_logger().warning("Another training is running in this folder; waiting for it to end")
            acquired = lock.acquire()
        with acquired:
            yield


def _mark_crashed(file: Path) -> None:
    """If the process of a flow run is gone, record the run as Crashed and its MLflow run as KILLED."""
    with suppress(Timeout), FileLock(file, timeout=0):
        state = UNREPORTED if runs.end_killed(file.stem) else KILLED
        # ObjectNotFound: it ran on another server.
        with get_client(sync_client=True) as client, suppress(ObjectNotFound):
            run = client.read_flow_run(UUID(file.stem))
            if run.state and not run.state.is_final():
                client.set_flow_run_state(run.id, state, force=True)
                get_run_logger().warning("Earlier run %s is now %s: %s", run.name, state.name, state.message)
        file.unlink(missing_ok=True)
