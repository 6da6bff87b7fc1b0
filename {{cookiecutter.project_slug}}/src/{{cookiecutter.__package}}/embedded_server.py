"""A Prefect server for one run: `running` starts this file as a process, which serves until its stdin is closed."""

import asyncio
import gc
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# A server that lives as long as one run records in bulk.
EMBEDDED = {
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "200",
}


@contextmanager
def running(home: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Start a server on a free port, its database and log in `home`; stop it at the end of the block."""
    home.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as listener, (home / "server.log").open("wb") as log:
        # The child inherits the open socket, so that no other program can take the port. It ends when its stdin is
        # closed: by us, or by the system when we are killed.
        server = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, str(listener.fileno())],
            env=os.environ | EMBEDDED,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
    try:
        yield url, server
    finally:
        server.communicate()


def main() -> None:
    """Serve on the socket whose file descriptor is the first argument, and end with the parent."""
    # Nothing that start-up makes is garbage; to look for some takes a sixth of it.
    gc.disable()
    import uvicorn  # noqa: PLC0415
    from prefect.server.api.server import create_app  # noqa: PLC0415
    from prefect.server.utilities.messaging.memory import Topic  # noqa: PLC0415

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
            """Let the recorder catch up first: what waits in its queue at the end would be dropped."""
            queues = [subscription._queue for subscription in Topic.by_name("events")._subscriptions]  # noqa: SLF001
            end = time.monotonic() + 10
            while any(queue.qsize() for queue in queues) and time.monotonic() < end:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            # The parent waits, or is gone: there is no connection whose end would be worth a tenth of a second.
            await self.lifespan.shutdown()

    server = Server(uvicorn.Config(create_app(ephemeral=True), log_level="error"))
    gc.enable()

    listener = socket.socket(fileno=int(sys.argv[1]))

    def stop_with_parent() -> None:
        sys.stdin.buffer.read()
        server.should_exit = True

    def warm_up() -> None:
        """Ask the first question, for which FastAPI builds all its routes, while the parent still imports."""
        with suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{listener.getsockname()[1]}/api/admin/version").close()

    for beside in (stop_with_parent, warm_up):
        threading.Thread(target=beside, daemon=True).start()
    server.run(sockets=[listener])
    # All is written, and the parent waits: Python would take two seconds to take apart what the system frees at once.
    os._exit(0)


if __name__ == "__main__":
    main()
