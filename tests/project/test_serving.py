"""The service of a generated project, as a real process on loopback."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from running import Running, ask, free_port, set_up
from template import Bake

pytestmark = pytest.mark.slow


@contextmanager
def served(project: Running, **settings: str) -> Iterator[str]:
    """Start the service on a free port, yield its address once it is ready, and stop it after the block."""
    port = free_port()
    (project.path / ".env").write_text(
        "".join(f"{key}={value}\n" for key, value in {"SERVE_PORT": str(port), **settings}.items())
    )
    with project.started("-m", project.package, "serve") as process:
        address, end = f"http://127.0.0.1:{port}", time.monotonic() + 120
        while time.monotonic() < end and process.poll() is None:
            try:
                if ask(f"{address}/health/ready")[0] == 200:
                    break
            except OSError:
                time.sleep(0.2)
        yield address
        process.terminate()
        said = process.communicate(timeout=20)[0]
        assert process.returncode in {0, 143, -15}, said
        assert "Traceback" not in said


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
