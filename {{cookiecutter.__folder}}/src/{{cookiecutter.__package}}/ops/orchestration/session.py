"""The Prefect API of a run: the server of .env or of `ui`, or one that is started for the run."""

import gc
import logging
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from tempfile import gettempdir
from typing import Any

from ...errors import ProjectError, printable
from .. import faults
from ..addresses import shown
from ..private import protect
from ..settings import cloud_options, read_settings
from . import prefect_server
from .child_process import answers

DEFAULTS = {
    # No telemetry, and no advertisements.
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "PREFECT_CLI_PROMPT": "false",
    # Skrub creates this folder when it is imported, by default in the home of the user.
    "SKB_DATA_DIRECTORY": gettempdir(),
    # Wait half a minute for a server that restarts; the defaults are four minutes and more.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
    "PREFECT_CLIENT_MAX_RETRIES": "4",
    # Not only old events, but also old flow runs with their logs and artifacts; RETENTION_DAYS says how old.
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    # Seconds. `deploy` tells the server to mark runs whose heartbeats stop.
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    # Idle threads of scikit-learn sleep. By default they spin, and next to other work fitting takes ten times longer.
    "OMP_WAIT_POLICY": "passive",
    # Row groups of a Parquet file that are read ahead, rows of a chunk, and bytes of a chunk of a CSV file: with the
    # defaults, each takes up to 0.3 GB more for ten million rows.
    "POLARS_ROW_GROUP_PREFETCH_SIZE": "1",
    "POLARS_IDEAL_MORSEL_SIZE": "20000",
    "POLARS_CSV_CHUNK_SIZE": "1000000",
}


def configure() -> None:
    """Set the environment from .env and DEFAULTS; variables that are already set stay.

    Prefect reads it when it is imported; DVC, MLflow and their child processes find the keys of the storage in it.
    """
    settings = read_settings().model_dump(mode="json", exclude_none=True)
    kept = {"PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": f"P{settings['retention_days']}D"}
    passed = ("prefect_", "mlflow_", "dask_", "ray_")
    chosen = {name.upper(): value for name, value in settings.items() if name.startswith(passed)}
    for name, value in {**chosen, **cloud_options(), **DEFAULTS, **kept}.items():
        os.environ.setdefault(name, value)
    protect()


@contextmanager
def api() -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Find the Prefect API of .env or of `ui`, or start a server for the block.

    Yields a function whose context waits for the API; enter it after the heavy imports and around the flow runs, so
    that the server starts while Python imports. It raises ProjectError if the API does not answer.
    """
    configure()
    faults.check_space()
    # Imports create no garbage; looking for it takes a sixth of their time. `_session` turns it on again.
    gc.disable()
    if configured := os.environ.get("PREFECT_API_URL"):
        wait_for(configured)
        yield lambda: _session(configured)
        return
    home = read_settings().prefect_home
    with ExitStack() as stack:
        if found := prefect_server.announced(home):
            (url, password), process = found, None
        else:
            url, password, process = stack.enter_context(prefect_server.running(home))
        stack.callback(_point_to, None, os.environ.get("PREFECT_API_AUTH_STRING"))
        _point_to(url, password)
        yield lambda: _session(url, process)


def use_server(*, cloud: bool = False) -> None:
    """Point Prefect to the server of .env or of `ui`; raise ProjectError if none. A `cloud` is only in .env."""
    configure()
    if not os.environ.get("PREFECT_API_URL"):
        found = prefect_server.announced(read_settings().prefect_home)
        if not found:
            if cloud:
                raise ProjectError("This needs Prefect Cloud: set PREFECT_API_URL and PREFECT_API_KEY in .env.")
            raise ProjectError("No Prefect server is running: run `make ui`, or set PREFECT_API_URL in .env.")
        _point_to(*found)
    wait_for(os.environ["PREFECT_API_URL"])


def _point_to(url: str | None, password: str | None) -> None:
    """Let Prefect, here and in child processes, use this API."""
    for name, value in {"PREFECT_API_URL": url, "PREFECT_API_AUTH_STRING": password}.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def wait_for(url: str, process: subprocess.Popen[bytes] | None = None) -> None:
    """Wait until an API answers, longer if its server is just starting; raise ProjectError if it does not."""
    if answers(f"{url}/health", 120 if process else 5, process):
        return
    if process:
        faults.check_space()
        log = read_settings().prefect_home / "server.log"
        raise ProjectError(f"Prefect's server did not start; see {log}, or run `make setup`.")
    path = "" if "/api" in url else ", whose path should be /api"
    raise ProjectError(
        f"No Prefect API answers at {url}{path}: start it, or remove PREFECT_API_URL from .env to run without a server."
    )


@contextmanager
def _session(url: str, process: subprocess.Popen[bytes] | None = None) -> Iterator[None]:
    """Wait until the API answers; at the end, wait until it has received everything."""
    wait_for(url, process)
    gc.freeze()
    gc.enable()
    # Imported here, because the caller of `api` imports while the server starts.
    from httpx import TransportError  # noqa: PLC0415
    from prefect.events.worker import EventsWorker  # noqa: PLC0415
    from prefect.exceptions import PrefectHTTPStatusError  # noqa: PLC0415
    from prefect.logging.handlers import APILogWorker  # noqa: PLC0415
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings  # noqa: PLC0415

    for name in ("prefect.flow_runs", "prefect.task_runs"):
        if process:
            # The server of a run has no pages.
            logging.getLogger(name).addFilter(lambda record: not str(record.msg).startswith("View at"))
    for name in ("prefect.events.clients", "prefect._internal.concurrency"):
        logging.getLogger(name).addFilter(Once())
    # Nobody watches the heartbeats of a run with its own server, and Prefect takes a second to stop them.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None} if process else {}):
        try:
            yield
        except PrefectHTTPStatusError as error:
            faults.check_space()
            if not error.response.is_server_error:
                raise
            raise ProjectError(
                f"The Prefect API at {url} failed ({error.response.status_code}); see server.log of the server."
            ) from None
        except TransportError as error:
            faults.check_space()
            raise ProjectError(
                f"The Prefect API at {url} went away ({error}). MLflow keeps what it has recorded; run the same again."
            ) from None
        finally:
            APILogWorker.drain_all(timeout=10)
            EventsWorker.drain_all(timeout=10)


def ends_with_run() -> bool:
    """Tell whether the server ends with this run: only then `_session` stops the heartbeats."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY  # noqa: PLC0415

    return PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value() is None


def one_sentence(record: logging.LogRecord) -> bool:
    """Replace the traceback of an error of the project, the machine or the API by its sentence; show names safely."""
    from httpx import HTTPError  # noqa: PLC0415 - Prefect has it loaded; the verbs without Prefect do not

    error: Any = record.exc_info[1] if record.exc_info else None
    # When Prefect asks for a slot of a concurrency limit, it wraps the lost connection in its own error.
    if isinstance(cause := getattr(error, "__cause__", None), HTTPError):
        error = cause
    known = str(error) if isinstance(error, HTTPError) else error and faults.sentence(error)
    # Logs for debugging keep the traceback.
    if known and os.environ.get("PREFECT_LOGGING_LEVEL") != "DEBUG":
        record.msg, record.args, record.exc_info = known, (), None
    if isinstance(record.args, tuple):
        record.args = tuple(printable(arg) if isinstance(arg, str) else arg for arg in record.args)
    record.msg, record.args = shown(record.getMessage()), ()
    return True


class Once(logging.Filter):
    """Let only the first record through: Prefect logs a lost server for every event that it cannot send."""

    logged = False

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002
        """Tell whether this record is the first."""
        first, self.logged = not self.logged, True
        return first
