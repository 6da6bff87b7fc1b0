"""Prefect's server on loopback, for one run or for `ui`: `running` starts this file as a process of its own."""

import asyncio
import base64
import fcntl
import gc
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

HOST = "127.0.0.1"
# Where the server of `ui` keeps its address and its password, for flow runs to use.
ANNOUNCED = "server.url"
# A server that lives as long as one run records in bulk.
EMBEDDED = {
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "200",
    # Only pages list the types of blocks, so `ui` registers them. Servers that do so at once stop each other.
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
    # Or Prefect would note that they are registered.
    "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
}


class Server(NamedTuple):
    """A server that is starting: the address of its API, the password that it asks for, and its process."""

    url: str
    password: str
    process: subprocess.Popen[bytes]


@contextmanager
def running(home: Path, port: int | None = None) -> Iterator[Server]:
    """Start a server, its database and log in `home`; stop it at the end of the block.

    With a port it has pages, keeps schedules, and is `announced`. Without one it is on a free port, for a single run.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    password = secrets.token_urlsafe()
    # Other users see the arguments of a process, but not its environment.
    own = {"PREFECT_SERVER_API_AUTH_STRING": password}
    own |= {"PREFECT_SERVER_API_PORT": str(port), "PREFECT_SERVER_UI_API_URL": "/api"} if port else EMBEDDED
    with socket.create_server((HOST, port or 0)) as listener, (home / "server.log").open("wb") as log:
        # The child inherits the open socket, so that no other program can take the port. It ends when its stdin is
        # closed: by us, or by the system when we are killed.
        process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, str(listener.fileno()), *([str(home / ANNOUNCED)] if port else [])],
            env=os.environ | own,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
        url = f"http://{HOST}:{listener.getsockname()[1]}/api"
    try:
        yield Server(url, password, process)
    finally:
        process.communicate()


def announced(home: Path) -> tuple[str, str] | None:
    """Return address and password of the server of `ui`, None if there is none.

    A file whose lock is free was left by a server that was killed. Whoever has its port now is not told the password.
    """
    with suppress(OSError), (home / ANNOUNCED).open(encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            url, password = file.read().split()
            return url, password
    return None


def announce(file: Path, url: str, password: str) -> None:
    """Write address and password for this user alone, and lock the file until this process ends."""
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(descriptor, f"{url}\n{password}\n".encode())
    fcntl.flock(descriptor, fcntl.LOCK_EX)


def main() -> None:
    """Serve on the socket whose file descriptor is the first argument, and end with the parent.

    The second argument, if there is one, is the file to announce a server with pages in.
    """
    # Nothing that start-up makes is garbage; to look for some takes a sixth of it.
    gc.disable()
    import uvicorn  # noqa: PLC0415
    from prefect.server.api.server import create_app  # noqa: PLC0415
    from prefect.server.utilities.messaging.memory import Topic  # noqa: PLC0415

    from .guard import PREFECT, Guard  # noqa: PLC0415

    listener, files = socket.socket(fileno=int(sys.argv[1])), [Path(name) for name in sys.argv[2:]]
    url = f"http://{HOST}:{listener.getsockname()[1]}/api"
    password = os.environ["PREFECT_SERVER_API_AUTH_STRING"]

    class Uvicorn(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            """Start, and only then be found."""
            await super().startup(sockets)
            for file in files:
                announce(file, url, password)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
            """Let the recorder catch up first: what waits in its queue at the end would be dropped."""
            for file in files:
                file.unlink(missing_ok=True)
            queues = [subscription._queue for subscription in Topic.by_name("events")._subscriptions]  # noqa: SLF001
            end = time.monotonic() + 10
            while any(queue.qsize() for queue in queues) and time.monotonic() < end:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            # The parent waits, or is gone: there is no connection whose end would be worth a tenth of a second.
            await self.lifespan.shutdown()

    server = Uvicorn(uvicorn.Config(Guard(create_app(ephemeral=not files), PREFECT), log_level="error"))
    gc.enable()

    def stop_with_parent() -> None:
        sys.stdin.buffer.read()
        server.should_exit = True

    def warm_up() -> None:
        """Ask the first question, for which FastAPI builds all its routes, while the parent still imports."""
        known = {"Authorization": f"Basic {base64.b64encode(password.encode()).decode()}"}
        with suppress(OSError):
            urllib.request.urlopen(urllib.request.Request(f"{url}/admin/version", headers=known)).close()  # noqa: S310

    for beside in (stop_with_parent, warm_up):
        threading.Thread(target=beside, daemon=True).start()
    server.run(sockets=[listener])
    # All is written, and the parent waits: Python would take two seconds to take apart what the system frees at once.
    os._exit(0)


if __name__ == "__main__":
    main()
