"""Processes that end with their parent, even if it is killed: they notice that their stdin is closed."""

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def running(
    module: list[str], env: dict[str, str], log: Path, fds: tuple[int, ...] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Python module with arguments for the block; it has to end when its stdin is closed."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *module],
            env=os.environ | env,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            pass_fds=fds,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.communicate()


def answers(url: str, seconds: float, process: subprocess.Popen[bytes] | None = None) -> bool:
    """Wait until a URL answers; return False if it does not in time, or if its process ends."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and (process is None or process.poll() is None):
        with suppress(OSError), urllib.request.urlopen(url, timeout=seconds):  # noqa: S310 - http, by its type
            return True
        time.sleep(0.1)
    return False


def main() -> None:
    """Run the module of the arguments in its own process group, and end the group when stdin is closed."""
    process = subprocess.Popen([sys.executable, "-m", *sys.argv[1:]], stdin=subprocess.DEVNULL, start_new_session=True)

    def end_with_parent() -> None:
        sys.stdin.buffer.read()
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)

    threading.Thread(target=end_with_parent, daemon=True).start()
    sys.exit(process.wait())


if __name__ == "__main__":
    main()
