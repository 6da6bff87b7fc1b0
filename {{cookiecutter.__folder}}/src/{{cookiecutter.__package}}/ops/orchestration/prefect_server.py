"""Prefect's server on loopback, for one run or for `ui`: `running` starts this file as a process."""

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
from typing import Any, NamedTuple

from . import child_process

HOST = "127.0.0.1"
# The file in which the server of `ui` announces its address and password to flow runs.
ANNOUNCED = "server.url"
# Settings of a server that lives for one run.
EMBEDDED = {
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "200",
    # Only pages list the types of blocks, so the server of `ui` registers them. Two servers that do so at the same
    # time break each other's start.
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
    # Otherwise Prefect would note that they are registered.
    "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
}


class Server(NamedTuple):
    """A server that is starting: the address of its API, its password and its process."""

    url: str
    password: str
    process: subprocess.Popen[bytes]


@contextmanager
def running(home: Path, port: int | None = None) -> Iterator[Server]:
    """Start a server with database and log in `home`; stop it at the end of the block.

    With a port it has pages, runs schedules, and is `announced`. Without, it takes a free port and serves a single run.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    password = secrets.token_urlsafe()
    # In the environment, because other users can read the arguments of a process.
    env = {"PREFECT_SERVER_API_AUTH_STRING": password}
    env |= {"PREFECT_SERVER_API_PORT": str(port), "PREFECT_SERVER_UI_API_URL": "/api"} if port else EMBEDDED
    # The child inherits the open socket, so that no other program can take the port in between.
    listener = socket.create_server((HOST, port or 0))
    url, fd = f"http://{HOST}:{listener.getsockname()[1]}/api", listener.fileno()
    module = [__spec__.name, str(fd), *([str(home / ANNOUNCED)] if port else [])]
    with child_process.running(module, env, home / "server.log", (fd,)) as process:
        listener.close()
        yield Server(url, password, process)


def announced(home: Path) -> tuple[str, str] | None:
    """Return address and password of the server of `ui`, or None if it is not running.

    Its file is locked while it runs. If the server was killed, another program may have its port by now, and must not
    get the password.
    """
    with suppress(OSError, ValueError), (home / ANNOUNCED).open(encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            url, password = file.read().split()
            return url, password
    return None


def announce(file: Path, url: str, password: str) -> None:
    """Write address and password so that only this user can read them, and lock the file until this process ends."""
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(descriptor, f"{url}\n{password}\n".encode())
    fcntl.flock(descriptor, fcntl.LOCK_EX)


def main() -> None:
    """Serve on the socket whose file descriptor is the first argument, until stdin is closed.

    The second argument, if there is one, is the file in which the server announces itself.
    """
    # Start-up creates no garbage; looking for it takes a sixth of the time.
    gc.disable()
    servers: list[Any] = []

    def stop_with_parent() -> None:
        sys.stdin.buffer.read()
        if not servers:  # it is still importing: the user of an interrupted run need not wait for that
            os._exit(0)
        servers[0].should_exit = True

    threading.Thread(target=stop_with_parent, daemon=True).start()
    import uvicorn  # noqa: PLC0415
    from prefect.server.api.server import create_app  # noqa: PLC0415
    from prefect.server.utilities.messaging.memory import Topic  # noqa: PLC0415

    from .guard import PREFECT, Guard  # noqa: PLC0415

    listener, files = socket.socket(fileno=int(sys.argv[1])), [Path(name) for name in sys.argv[2:]]
    url = f"http://{HOST}:{listener.getsockname()[1]}/api"
    password = os.environ["PREFECT_SERVER_API_AUTH_STRING"]

    class Uvicorn(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            """Announce the server once it has started."""
            await super().startup(sockets)
            for file in files:
                announce(file, url, password)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
            """Wait for the recorder of task runs, which would drop the events in its queue."""
            for file in files:
                file.unlink(missing_ok=True)
            queues = [subscription._queue for subscription in Topic.by_name("events")._subscriptions]  # noqa: SLF001
            end = time.monotonic() + 10
            while any(queue.qsize() for queue in queues) and time.monotonic() < end:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            # Not super().shutdown(), which takes a tenth of a second to close connections that nobody uses any more.
            await self.lifespan.shutdown()

    server = Uvicorn(uvicorn.Config(Guard(create_app(ephemeral=not files), PREFECT), log_level="error"))
    servers.append(server)
    gc.enable()

    def warm_up() -> None:
        """Send the first request, on which FastAPI builds all its routes, while the parent still imports."""
        headers = {"Authorization": f"Basic {base64.b64encode(password.encode()).decode()}"}
        with suppress(OSError):
            urllib.request.urlopen(urllib.request.Request(f"{url}/admin/version", headers=headers)).close()  # noqa: S310

    threading.Thread(target=warm_up, daemon=True).start()
    server.run(sockets=[listener])
    # The parent waits, everything is written, and Python would take two seconds to clean up.
    os._exit(0)


if __name__ == "__main__":
    main()
