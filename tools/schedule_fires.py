"""Fail unless a schedule fires: with some versions of libraries Prefect runs all but what is scheduled.

Runs in the environment that is tried, with a server and a home folder of its own.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from prefect import flow

SECONDS = 90  # for the server to start, and again for a scheduled run to complete: each takes about ten


@flow
def tick() -> None:
    """Do nothing."""


def main() -> None:
    """Start a server, serve the flow with a schedule, and wait until a scheduled run has completed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    api = f"http://127.0.0.1:{port}/api"
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {
            "PREFECT_HOME": home,
            "PREFECT_API_URL": api,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        }
        log = Path(home) / "log"
        commands = {
            "the server does not answer": [
                sys.executable,
                "-m",
                "prefect",
                "server",
                "start",
                f"--port={port}",
            ],
            "no scheduled run has completed": [sys.executable, __file__, "serve"],
        }
        processes: list[subprocess.Popen[bytes]] = []
        try:
            for (complaint, command), reached in zip(commands.items(), (healthy, fired), strict=True):
                with log.open("ab") as output:
                    processes.append(subprocess.Popen(command, stdout=output, stderr=output))
                if not within(SECONDS, processes[-1], lambda: reached(api)):  # noqa: B023 - called at once
                    print(log.read_text(errors="replace"))
                    sys.exit(f"Within {SECONDS} s {complaint}.")
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait(30)


def within(seconds: float, process: subprocess.Popen[bytes], condition: Callable[[], bool]) -> bool:
    """Tell whether a condition becomes true in this time, while the process runs."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end or process.poll() is not None:
            return False
        time.sleep(0.5)
    return True


def healthy(api: str) -> bool:
    """Tell whether the server answers."""
    try:
        return httpx.get(f"{api}/health").is_success
    except httpx.TransportError:
        return False


def fired(api: str) -> bool:
    """Tell whether a run that a schedule made has completed."""
    completed = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
    runs = httpx.post(f"{api}/flow_runs/filter", json=completed).raise_for_status().json()
    return any(run["auto_scheduled"] for run in runs)


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        tick.serve(name="tick", interval=5, limit=1)
    else:
        main()
