"""The databases of Prefect and MLflow: `prepare` runs this file as a process for each, both at the same time."""

import gc
import os
import subprocess
import sys
from importlib import import_module

from filelock import FileLock

from ..errors import ProjectError
from .faults import check_space, reported
from .orchestration.session import configure, use_server
from .private import protect
from .settings import read_settings, state_dir

# Characters of a path with which MLflow's addresses, DVC's progress bars or Polars' patterns fail.
UNUSABLE = '%?{}"\\*['
# Each tool's package in `ops`, whose module `database` migrates.
PACKAGES = {"prefect": "orchestration", "mlflow": "tracking"}


def prepare() -> None:
    """Create or upgrade both databases; where .env names a server, only check that it answers."""
    if character := next((character for character in str(state_dir()) if character in UNUSABLE), None):
        raise ProjectError(f"MLflow, DVC or Polars fail in a path with {character!r}: rename or move {state_dir()}.")
    check_space()
    settings = read_settings()
    local = []
    if settings.prefect_api_url:
        use_server()
    else:
        local.append("prefect")
    if settings.mlflow_tracking_uri.startswith("sqlite:"):
        local.append("mlflow")
    else:
        from .tracking.connection import connect  # noqa: PLC0415 - it takes seconds

        connect()
    protect(create=["prefect", "mlflow"])
    # In their own sessions: on Ctrl-C each would print a traceback.
    processes = [
        subprocess.Popen([sys.executable, "-m", __spec__.name, name], start_new_session=True) for name in local
    ]
    try:
        failed = [process.wait() for process in processes]
    finally:
        for process in processes:
            process.terminate()
    if any(failed):
        sys.exit(1)  # The process has printed why.


def main(name: str) -> None:
    """Migrate a database; if that fails, print why in one sentence."""
    # Imports create no garbage; looking for it takes a sixth of their time.
    gc.disable()
    configure()
    # The process of a parent that was killed may still be at work.
    with reported(), FileLock(read_settings().prefect_home / f"{name}.lock"):
        import_module(f".{PACKAGES[name]}.database", __package__).migrate()
    # Everything is written, and Python would take half a second to clean up.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
