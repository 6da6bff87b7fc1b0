"""A real MLflow server with accounts, on a project's own registry."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from running import Running, ask, basic, free_port

ACCOUNTS = """
[mlflow]
default_permission = READ
database_uri = sqlite:///{folder}/accounts.db
admin_username = admin
"""


@contextmanager
def serve(project: Running) -> Iterator[dict[str, str]]:
    """Serve the registry for the block; yield the environment of an account that may only read."""
    folder, port, password = project.path.parent, free_port(), "an-administrator"
    url = f"http://127.0.0.1:{port}"
    (folder / "accounts.ini").write_text(ACCOUNTS.format(folder=folder), encoding="utf-8")
    env = {
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "accounts.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "for-this-test",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = ["uv", "run", "--quiet", "--with=flask-wtf", "mlflow", "server", "--app-name=basic-auth"]
    command += ["--backend-store-uri=sqlite:///mlflow.db", "--workers=1", f"--port={port}"]
    with (
        (folder / "server.log").open("w") as log,
        subprocess.Popen(
            command, cwd=project.path, env=project.env() | env, stdout=log, stderr=log, start_new_session=True
        ) as server,
    ):
        try:
            wait_for(f"{url}/health", server)
            guest = {"username": "guest", "password": "may-only-read"}
            by_admin = basic(f"admin:{password}")
            status, answer = ask(f"{url}/api/2.0/mlflow/users/create", guest, Authorization=by_admin)
            assert status == 200, answer
            account = {f"MLFLOW_TRACKING_{name.upper()}": value for name, value in guest.items()}
            yield {"MLFLOW_TRACKING_URI": url, **account}
        finally:
            os.killpg(server.pid, signal.SIGTERM)


def wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    """Wait until a server answers."""
    end = time.monotonic() + 120
    while time.monotonic() < end and server.poll() is None:
        with suppress(OSError):
            if ask(url)[0] == 200:
                return
        time.sleep(0.5)
    message = f"{url} does not answer"
    raise AssertionError(message)
