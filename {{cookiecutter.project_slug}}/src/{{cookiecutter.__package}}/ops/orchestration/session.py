"""Everything about where Prefect runs: the project's own home, and a server of its own where none is given."""

import gc
import logging
import os
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Any

from ...errors import ProjectError
from ..settings import cloud_options, read_settings
from . import prefect_server

DEFAULTS = {
    # Nobody is told about what runs here, and nobody is asked.
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # As for Prefect below: half a minute for a server that restarts, instead of four.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
    "PREFECT_CLI_PROMPT": "false",
    # Half a minute for a server that restarts; by default a run waits minutes for one that is gone.
    "PREFECT_CLIENT_MAX_RETRIES": "4",
    # Seconds: `deploy` has the server mark runs whose heartbeats stop.
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # Waiting threads of scikit-learn sleep. By default they spin, and beside other work fitting takes ten times longer.
    "OMP_WAIT_POLICY": "passive",
}


def configure() -> None:
    """Set the environment from .env; to be called before Prefect is imported, for it reads it then.

    DVC, MLflow and what they start find the keys of the storage in it. What the environment already says stays.
    """
    settings = read_settings().model_dump(mode="json", exclude_none=True)
    passed = ("prefect_", "mlflow_", "dask_", "ray_")
    chosen = {name.upper(): value for name, value in settings.items() if name.startswith(passed)}
    for name, value in {**chosen, **cloud_options(), **DEFAULTS}.items():
        os.environ.setdefault(name, value)


@contextmanager
def api() -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Find the Prefect API, configured or run by `ui`, or start one that ends with the block.

    Yields a function to call `with` after the heavy imports and around the flow runs: start-up and imports take seconds
    each, and so happen at once. It raises ProjectError if the API does not answer.
    """
    configure()
    if configured := os.environ.get("PREFECT_API_URL"):
        wait_for(configured, None, seconds=5)
        with _without_collection():
            yield lambda: _session(configured)
        return
    home = read_settings().prefect_home
    with ExitStack() as started, _without_collection():
        server: subprocess.Popen[bytes] | None = None
        if found := prefect_server.announced(home):
            url, password = found
        else:
            url, password, server = started.enter_context(prefect_server.running(home))
        started.enter_context(_asking(url, password))
        yield lambda: _session(url, server)


@contextmanager
def _asking(url: str, password: str) -> Iterator[None]:
    """Let all that runs in the block, and what that starts, ask this API; a password of .env is for another."""
    own = {"PREFECT_API_URL": url, "PREFECT_API_AUTH_STRING": password}
    before = {name: os.environ[name] for name in own if name in os.environ}
    os.environ |= own
    try:
        yield
    finally:
        for name in own:
            del os.environ[name]
        os.environ |= before


@contextmanager
def _without_collection() -> Iterator[None]:
    """Collect no garbage: nothing that imports make is any, and to look for some takes a sixth of their time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def use_server() -> None:
    """Point Prefect to the server of .env or of `ui`; raise ProjectError if there is none."""
    configure()
    if not os.environ.get("PREFECT_API_URL"):
        found = prefect_server.announced(read_settings().prefect_home)
        if not found:
            raise ProjectError(
                "No Prefect server is running: start one with `make ui`, or name one as PREFECT_API_URL in .env."
            )
        os.environ["PREFECT_API_URL"], os.environ["PREFECT_API_AUTH_STRING"] = found
    wait_for(os.environ["PREFECT_API_URL"], None, seconds=5)


@contextmanager
def _session(url: str, server: subprocess.Popen[bytes] | None = None) -> Iterator[None]:
    """Wait until the API answers; at the end, wait until it has heard everything."""
    wait_for(url, server, seconds=120 if server else 5)
    gc.freeze()
    gc.enable()
    # Imported now: whoever starts the server earlier, does so to import beside it.
    from httpx import TransportError  # noqa: PLC0415
    from prefect.events.worker import EventsWorker  # noqa: PLC0415
    from prefect.logging.handlers import APILogWorker  # noqa: PLC0415
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings  # noqa: PLC0415

    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(one_sentence)
        if server:
            logging.getLogger(name).addFilter(without_pages)
    for name in ("prefect.events.clients", "prefect._internal.concurrency"):
        logging.getLogger(name).addFilter(Once())
    # Nobody watches the heartbeats of a run that has a server of its own, and to stop them takes Prefect a second.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None} if server else {}):
        try:
            yield
        except TransportError as error:
            raise ProjectError(
                f"The Prefect API at {url} went away ({error}). What MLflow has recorded stays; run the same again."
            ) from None
        finally:
            APILogWorker.drain_all(timeout=10)
            EventsWorker.drain_all(timeout=10)


def wait_for(url: str, server: subprocess.Popen[bytes] | None, seconds: float) -> None:
    """Wait until an API answers; raise ProjectError if it does not in time, or if its server ends."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if server and server.poll() is not None:
            raise ProjectError(
                f"Prefect's server ended while it started; {read_settings().prefect_home}/server.log says why."
            )
        with suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=seconds):  # noqa: S310 - http, by its type
            return
        time.sleep(0.1)
    raise ProjectError(
        f"No Prefect API answers at {url}: start it, or run without by removing PREFECT_API_URL from .env."
    )


def without_pages(record: logging.LogRecord) -> bool:
    """Drop the addresses of pages that an embedded server does not have."""
    return not str(record.msg).startswith("View at")


def one_sentence(record: logging.LogRecord) -> bool:
    """Let a ProjectError or a lost connection through as its sentence: nobody needs their tracebacks."""
    from httpx import TransportError  # noqa: PLC0415 - Prefect has it loaded; the verbs without Prefect do not

    fault: Any = record.exc_info[1] if record.exc_info else None
    # Where Prefect asks for a slot of a concurrency limit, it wraps the lost connection in an error of its own.
    if isinstance(cause := getattr(fault, "__cause__", None), TransportError):
        fault = cause
    if isinstance(fault, ProjectError | TransportError):
        record.msg, record.args, record.exc_info = str(fault), (), None
    return True


class Once(logging.Filter):
    """Let one record of a logger through: that the server is gone is said once, not for every event it misses."""

    said = False

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002
        """Tell whether the record is the first."""
        first, self.said = not self.said, True
        return first
