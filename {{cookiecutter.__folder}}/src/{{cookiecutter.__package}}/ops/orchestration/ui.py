"""The pages of Prefect and MLflow for the project's own data, on loopback."""

import secrets
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from ...errors import ProjectError
from ..addresses import redacted
from ..settings import Settings, read_settings
from . import child_process, prefect_server
from .guard import HEALTH, OPEN
from .prefect_server import HOST
from .session import configure, wait_for


def serve() -> None:
    """Serve both pages until Ctrl-C; where .env names a server, print its address instead."""
    # A shell script starts its background jobs with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    configure()
    settings = read_settings()
    settings.prefect_home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as servers, suppress(KeyboardInterrupt):
        prefect = servers.enter_context(_prefect(settings))
        mlflow = servers.enter_context(_mlflow(settings))
        print(f"Prefect  {prefect}\nMLflow   {mlflow}")  # noqa: T201
        print("Ctrl-C stops both. The part after # is a password, which is valid until then.", flush=True)  # noqa: T201
        signal.pause()


@contextmanager
def _prefect(settings: Settings) -> Iterator[str]:
    if settings.prefect_api_url:
        yield str(settings.prefect_api_url).removesuffix("/api")
        return
    with prefect_server.running(settings.prefect_home, free_port(4200, "Prefect")) as server:
        wait_for(server.url, server.process)
        yield f"{server.url.removesuffix('/api')}{OPEN}#{server.password}"


@contextmanager
def _mlflow(settings: Settings) -> Iterator[str]:
    if not settings.mlflow_tracking_uri.startswith("sqlite:"):
        yield redacted(settings.mlflow_tracking_uri)
        return
    port, password = free_port(5000, "MLflow"), secrets.token_urlsafe()
    address, log = f"http://{HOST}:{port}", settings.prefect_home / "mlflow.log"
    command = ["mlflow", "server", "--backend-store-uri", settings.mlflow_tracking_uri, "--app-name", "guarded"]
    command += ["--host", HOST, "--port", str(port), "--workers", "1"]
    # Nothing here uses MLflow's background jobs, whose processes would have to be stopped as well.
    env = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PAGES_PASSWORD": password}
    with child_process.running([child_process.__name__, *command], env, log) as process:
        if not child_process.answers(f"{address}{HEALTH}", 120, process):
            raise ProjectError(f"MLflow's server did not start; see {log}.")
        yield f"{address}{OPEN}#{password}"


def free_port(wanted: int, name: str) -> int:
    """Return the wanted port, or the next free one, and print which."""
    for port in range(wanted, wanted + 100):
        with suppress(OSError), socket.create_server((HOST, port)):
            if port != wanted:
                print(f"Port {wanted} is in use, so {name} uses {port}.", flush=True)  # noqa: T201
            return port
    raise ProjectError(f"All ports from {wanted} to {wanted + 99} are in use; free one of them for {name}.")
