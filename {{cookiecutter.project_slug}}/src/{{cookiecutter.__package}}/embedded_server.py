"""A Prefect server for one run: serves on the socket whose file descriptor it is given until its stdin is closed."""

import asyncio
import gc
import os
import socket
import sys
import threading


def main() -> None:
    """Start, serve, and end with the parent."""
    # Nothing that start-up makes is garbage; to look for some takes a sixth of it.
    gc.disable()
    import uvicorn  # noqa: PLC0415
    from prefect.server.api.server import create_app  # noqa: PLC0415
    from prefect.server.utilities.messaging.memory import Topic  # noqa: PLC0415

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            """Let the recorder catch up first: what waits in its queue at the end would be dropped."""
            queues = [subscription._queue for subscription in Topic.by_name("events")._subscriptions]  # noqa: SLF001
            while any(queue.qsize() for queue in queues):  # noqa: ASYNC110 - the queues are not ours to signal
                await asyncio.sleep(0.02)
            await super().shutdown(sockets)

    server = Server(uvicorn.Config(create_app(), log_level="error", timeout_graceful_shutdown=5))
    gc.enable()

    def stop_with_parent() -> None:
        sys.stdin.buffer.read()
        server.should_exit = True

    threading.Thread(target=stop_with_parent, daemon=True).start()
    server.run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
    # All is written, and the parent waits: Python would take two seconds to take apart what the system frees at once.
    os._exit(0)


if __name__ == "__main__":
    main()
