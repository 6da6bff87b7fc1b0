"""The databases of Prefect and MLflow: `prepare` runs this file as a process for each, both at once."""

import gc
import os
import subprocess
import sys
from importlib import import_module

from filelock import FileLock

from ..errors import ProjectError
from .orchestration.session import configure, use_server
from .settings import read_settings

ROOMS = {"prefect": "orchestration", "mlflow": "tracking"}


def prepare() -> None:
    """Create both databases or bring them up to date; where a server keeps one, only check that it answers."""
    settings = read_settings()
    own = []
    if settings.prefect_api_url:
        use_server()
    else:
        own.append("prefect")
    if settings.mlflow_tracking_uri.startswith("sqlite:"):
        own.append("mlflow")
    else:
        from .tracking.connection import connect  # noqa: PLC0415 - it takes seconds

        connect()
    settings.prefect_home.mkdir(mode=0o700, parents=True, exist_ok=True)
    # In sessions of their own: Ctrl-C would have each print a traceback.
    processes = [subprocess.Popen([sys.executable, "-m", __spec__.name, name], start_new_session=True) for name in own]
    try:
        failed = [process.wait() for process in processes]
    finally:
        for process in processes:
            process.terminate()
    if any(failed):
        sys.exit(1)  # It has said why.


def main(name: str) -> None:
    """Migrate the database of this name; where that fails, say why in one sentence."""
    # Nothing that imports make is garbage, and looking for some takes a sixth of their time.
    gc.disable()
    configure()
    try:
        # A process whose parent was killed may still be at it.
        with FileLock(read_settings().prefect_home / f"{name}.lock"):
            import_module(f".{ROOMS[name]}.database", __package__).migrate()
    except ProjectError as error:
        sys.exit(str(error))
    # Everything is written; taking the interpreter apart would take half a second.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
