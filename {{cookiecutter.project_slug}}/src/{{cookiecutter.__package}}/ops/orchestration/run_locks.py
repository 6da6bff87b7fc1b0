"""Which trainings run now, and what is said of those that were killed: by a lock that ends with its process."""

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
LATE: State[None] = Completed(message="It ended while the server was away.")


@contextmanager
def marked(flow_run_id: str) -> Iterator[None]:
    """Hold a lock named like the flow run for the block; before, bury those whose lock nobody holds any more."""
    folder = read_settings().prefect_home / "running"
    folder.mkdir(parents=True, exist_ok=True)
    for left in sorted(folder.glob("*.lock")):
        _mark_crashed(left)
    mark = folder / f"{flow_run_id}.lock"
    with FileLock(mark):
        yield


@contextmanager
def alone() -> Iterator[None]:
    """Keep every other training out of this folder for the block; wait for the end of one that is there."""
    folder = project_root() / "data/processed"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        get_run_logger().warning("Another training is running in this folder; this one waits for its end")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _mark_crashed(mark: Path) -> None:
    """Record a flow run as Crashed and its MLflow run as KILLED, if its process is gone."""
    with suppress(Timeout), FileLock(mark, timeout=0):
        fate = LATE if runs.end_killed(mark.stem) else KILLED
        # Not found: it ran on another server.
        with get_client(sync_client=True) as client, suppress(ObjectNotFound):
            run = client.read_flow_run(UUID(mark.stem))
            if run.state and not run.state.is_final():
                client.set_flow_run_state(run.id, fate, force=True)
                get_run_logger().warning("An earlier run, %s, is recorded as %s: %s", run.name, fate.name, fate.message)
        mark.unlink(missing_ok=True)
