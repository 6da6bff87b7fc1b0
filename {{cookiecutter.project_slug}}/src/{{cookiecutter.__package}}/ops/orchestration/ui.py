"""The pages of Prefect and MLflow over the project's own data, on loopback."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ...errors import ProjectError
from ..settings import Settings, read_settings
from . import prefect_server
from .guard import HEALTH, OPEN
from .prefect_server import HOST
from .session import configure, wait_for


def serve() -> None:
    """Show both pages until Ctrl-C; what runs elsewhere already is not started, its address is printed."""
    # A shell script starts its background jobs with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    configure()
    settings = read_settings()
    settings.prefect_home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as pages, suppress(KeyboardInterrupt):
        prefect = pages.enter_context(_prefect(settings))
        mlflow = pages.enter_context(_mlflow(settings))
        print(f"Prefect  {prefect}\nMLflow   {mlflow}", flush=True)  # noqa: T201 - what it is for
        print("Ctrl-C stops both. What follows a # is a password that ends with them.", flush=True)  # noqa: T201
        while True:
            time.sleep(3600)


@contextmanager
def _prefect(settings: Settings) -> Iterator[str]:
    if settings.prefect_api_url:
        yield str(settings.prefect_api_url).removesuffix("/api")
        return
    with prefect_server.running(settings.prefect_home, free_port(4200, "Prefect")) as server:
        wait_for(server.url, server.process, seconds=120)
        yield f"{server.url.removesuffix('/api')}{OPEN}#{server.password}"


@contextmanager
def _mlflow(settings: Settings) -> Iterator[str]:
    if not settings.mlflow_tracking_uri.startswith("sqlite:"):
        yield settings.mlflow_tracking_uri
        return
    port = free_port(5000, "MLflow")
    address = f"http://{HOST}:{port}"
    command = [
        "mlflow",
        "server",
        "--backend-store-uri",
        settings.mlflow_tracking_uri,
        "--host",
        HOST,
        "--port",
        str(port),
        "--workers",
        "1",
        "--app-name",
        "guarded",
    ]
    password = secrets.token_urlsafe()
    # Nothing here runs MLflow's background jobs, and their workers would have to be stopped as well.
    own = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PAGES_PASSWORD": password}
    with _running(command, own, settings.prefect_home / "mlflow.log", f"{address}{HEALTH}"):
        yield f"{address}{OPEN}#{password}"


@contextmanager
def _running(command: list[str], own: dict[str, str], log: Path, health: str) -> Iterator[None]:
    """Run a server that ends with this process, for the block; return when it answers."""
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.child_process", sys.executable, "-m", *command],
            env=os.environ | own,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        while server.poll() is None:
            with suppress(OSError), urllib.request.urlopen(health, timeout=60):  # noqa: S310 - http, made above
                break
            time.sleep(0.1)
        else:
            raise ProjectError(f"The server of {command[0]} ended while it started; {log} says why.")
        yield
    finally:
        server.communicate()


def free_port(wanted: int, name: str) -> int:
    """Return the wanted port, or the next one that is free, and say so."""
    for port in range(wanted, wanted + 100):
        with suppress(OSError), socket.create_server((HOST, port)):
            if port != wanted:
                print(f"Port {wanted} is taken, so {name} is on {port}.", flush=True)  # noqa: T201
            return port
    raise ProjectError(f"None of the ports {wanted} to {wanted + 99} is free for {name}; stop what holds them.")
