"""The service of a generated project, as a real process on loopback."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Running, ask, set_up
from servers import served, started
from template import Bake

pytestmark = pytest.mark.slow


class TestServing:
    """What a program sees that has only the address."""

    @pytest.fixture(scope="class")
    @classmethod
    def project(cls, bake: Bake, tmp_path_factory: pytest.TempPathFactory) -> Running:
        made = set_up(bake, tmp_path_factory.mktemp("serving"), "3.13", "classification")
        made.make("train")
        return made

    @pytest.fixture(scope="class")
    @classmethod
    def address(cls, project: Running) -> Iterator[str]:
        with served(project) as address:
            yield address

    def test_row_is_predicted_by_the_champion(self, address: str) -> None:
        described = json.loads(ask(f"{address}/openapi.json")[1])
        body = described["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
        status, said = ask(f"{address}/predict", body["examples"]["several rows"]["value"])
        answer = json.loads(said)
        assert status == 200, said
        assert answer["model_version"] == 1
        classes = described["components"]["schemas"]["Answer"]["properties"]["predictions"]
        allowed = classes["items"]["properties"]["prediction"]["enum"]
        assert [row["prediction"] in allowed for row in answer["predictions"]] == [True, True]

    def test_sigterm_answers_what_was_accepted_and_nothing_else(self, project: Running) -> None:
        """Requests are half sent when it comes; one of them is never finished."""
        with started(project, SERVE_WORKERS="2") as (address, process):
            # Of both processes: each loads the model for itself.
            seen = [0]
            while seen[-10:] != [200] * 10:
                seen.append(ask(f"{address}/health/ready")[0])
                time.sleep(0.05)
            # Whichever is asked, it counts for both.
            counted = f'serving_requests_total{{route="/health/ready",status="200"}} {seen.count(200) + 1}.0'
            assert counted in ask(f"{address}/metrics")[1].splitlines()
            host, _, port = address.removeprefix("http://").partition(":")
            row = json.loads(ask(f"{address}/openapi.json")[1])["paths"]["/predict"]["post"]["requestBody"]
            body = json.dumps(row["content"]["application/json"]["examples"]["several rows"]["value"])
            head = f"Host: {host}:{port}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            connections = [socket.create_connection((host, int(port)), timeout=20) for _ in range(17)]
            for connection in connections:
                connection.sendall(f"POST /predict HTTP/1.1\r\n{head}\r\n{body[:9]}".encode())
            time.sleep(1)
            process.terminate()
            end = time.monotonic() + 10
            time.sleep(1.5)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((host, int(port)))
            for connection in connections[1:]:
                connection.sendall(body[9:].encode())
            answers = [connection.makefile("rb").readline() for connection in connections]
            said = process.communicate(timeout=end - time.monotonic())[0]
        assert answers == [b"HTTP/1.1 503 Service Unavailable\r\n", *[b"HTTP/1.1 200 OK\r\n"] * 16], said
        assert process.returncode == 0, said
        assert "Traceback" not in said
        for connection in connections:
            connection.close()

    def test_service_does_what_it_describes(self, address: str, tmp_path: Path) -> None:
        # In an environment without the settings of this run.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        schemathesis = Path(os.sys.executable).with_name("schemathesis")  # type: ignore[attr-defined]
        command = [str(schemathesis), "run", f"{address}/openapi.json", "--seed", "1", "--max-examples", "60"]
        done = subprocess.run(
            [*command, "--suppress-health-check", "all"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        said = (done.stdout + done.stderr).splitlines()
        assert done.returncode == 0, "\n".join(line[:400] for line in said)  # bodies are long
