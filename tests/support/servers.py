"""A project's service, and a webhook that gets its notifications, both on loopback."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from running import Running, ask, free_port


@contextmanager
def started(project: Running, **settings: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Start the service on a free port; yield its address once it is ready, and its process."""
    port = free_port()
    with (
        project.settings(SERVE_PORT=str(port), **settings),
        project.started("-m", project.package, "serve") as process,
    ):
        address, end = f"http://127.0.0.1:{port}", time.monotonic() + 120
        while time.monotonic() < end and process.poll() is None:
            try:
                if ask(f"{address}/health/ready")[0] == 200:
                    break
            except OSError:
                time.sleep(0.2)
        assert process.poll() is None, process.communicate()[0]
        yield address, process


@contextmanager
def served(project: Running, **settings: str) -> Iterator[str]:
    """Start the service, yield its address, and stop it after the block."""
    with started(project, **settings) as (address, process):
        yield address
        process.terminate()
        said = process.communicate(timeout=20)[0]
        assert process.returncode in {0, 143, -15}, said
        assert "Traceback" not in said


@contextmanager
def channel() -> Iterator[tuple[str, list[str]]]:
    """Serve a webhook on loopback for the block; yield its address and the messages that it receives."""
    received: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/secret", received
        finally:
            server.shutdown()
            thread.join()
