"""Dockerfile and compose.yaml pass their linters and follow the rules for a team's servers. Fast."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from stack import ENV, interpolate, read
from template import Bake

SCHEMA = ("npx", "--yes", "dclint@3.1.0", "--quiet")


@pytest.fixture(params=["docker", "kubernetes"])
def dockerfile(request: pytest.FixtureRequest, bake: Bake) -> Path:
    """Return the Dockerfile of a project."""
    return bake(deployment=request.param).path / "Dockerfile"


def test_hadolint_finds_nothing_and_would(dockerfile: Path, tmp_path: Path) -> None:
    done = subprocess.run(["hadolint", str(dockerfile)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    broken = tmp_path / "Dockerfile"
    broken.write_text(re.sub(r"uv==\S+", "uv", dockerfile.read_text(encoding="utf-8")))
    assert subprocess.run(["hadolint", str(broken)], capture_output=True, check=False).returncode


def test_images_are_pinned_by_tag_and_digest(bake: Bake) -> None:
    project = bake(deployment="docker").path
    pinned = r"(python|postgres):[\d.]+-\S+@sha256:[0-9a-f]{64}"
    [base] = re.findall(r"^FROM (\S+) AS base$", (project / "Dockerfile").read_text(), re.MULTILINE)
    assert re.fullmatch(pinned, base)
    images = {name: service["image"] for name, service in read(project, ENV)["services"].items()}
    assert re.fullmatch(pinned, images.pop("postgres"))
    assert set(images.values()) == {"penguin-model:latest"}


@pytest.mark.parametrize("missing", ENV)
def test_stack_requires_every_secret(bake: Bake, missing: str) -> None:
    project = bake(deployment="docker").path
    with pytest.raises(KeyError, match=f"{missing}.* missing in .env"):
        read(project, {name: value for name, value in ENV.items() if name != missing})
    text = (project / "compose.yaml").read_text(encoding="utf-8")
    assert not re.search(rf"\$\{{?{missing}(?!:\?|\w| |\()", text)
    assert f"#{missing}=" in (project / ".env.example").read_text(encoding="utf-8")


def test_secrets_are_in_the_environment_only(bake: Bake) -> None:
    services = read(bake(deployment="docker").path, ENV)["services"]
    for service in services.values():
        rest = yaml.safe_dump({name: part for name, part in service.items() if name != "environment"})
        assert not [secret for secret in ENV.values() if len(secret) > 4 and secret in rest]


def test_services_have_few_privileges(bake: Bake) -> None:
    stack = read(bake(deployment="docker").path, ENV)
    for name, service in stack["services"].items():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        once = service.get("profiles") == ["gc"]
        assert once == (name == "gc")
        assert service["restart"] == ("no" if once else "unless-stopped")
        assert once or service["healthcheck"]["test"]
        assert service.get("read_only", False) == (name != "worker")
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        assert not service.get("privileged")
    assert "database" not in stack["services"]["worker"].get("networks", [])
    assert stack["networks"]["database"]["internal"]
    assert not stack["services"]["postgres"].get("ports")


def test_service_is_in_the_stack_if_it_is_chosen(bake: Bake) -> None:
    keyless = {name: value for name, value in ENV.items() if name != "SERVE_API_KEY"}
    services = read(bake(deployment="docker", serving="none").path, keyless)["services"]
    assert set(services) == {"postgres", "prefect", "mlflow", "worker", "gc"}
    assert "PREDICTION_LOG" not in services["gc"]["environment"]
    project = bake(deployment="docker")
    serving = read(project.path, ENV)["services"]["serving"]
    assert serving["command"] == ["penguin-model", "serve"]
    [port] = serving["ports"]
    assert port == "127.0.0.1:8000:8000"
    # Every setting can be set in .env, but not where it listens or a folder, which an image lacks.
    settings = set(re.findall(r"^#(SERVE_\w+)=", project.texts()[".env.example"], re.MULTILINE))
    assert settings - serving["environment"].keys() == {"SERVE_PORT", "SERVE_MODEL"}


def test_prediction_log_is_one_volume_for_service_monitor_and_gc(bake: Bake) -> None:
    project = bake(deployment="docker")
    off = read(project.path, ENV)["services"]["serving"]["environment"]
    assert (off["PREDICTION_LOG"], off["SHADOW"]) == ("", "")
    stack = read(project.path, ENV | {"PREDICTION_LOG": "/anywhere", "SHADOW": "challenger"})
    serving, gc = (stack["services"][name] for name in ("serving", "gc"))
    folder = serving["environment"]["PREDICTION_LOG"]
    assert (folder, serving["environment"]["SHADOW"]) == ("prediction_log", "challenger")
    assert gc["environment"]["PREDICTION_LOG"] == folder
    # It is a folder of the image, so that the volume is the user's and not root's.
    dockerfile = (project.path / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(rf"^RUN .*&& mkdir {folder}$", dockerfile, re.MULTILINE)
    assert re.search(r"^COPY --from=build --chown=app:app /app /app$", dockerfile, re.MULTILINE)
    assert serving["volumes"] == gc["volumes"] == [f"{folder}:/app/{folder}"]
    [flows] = yaml.safe_load(project.texts()["prefect.yaml"])["definitions"]["work_pool"]["job_variables"][
        "volumes"
    ]
    assert flows == f"{stack['volumes'][folder]['name']}:/app/{folder}:ro"


def test_variables_are_filled_in_as_compose_does() -> None:
    assert interpolate("${A:-b}:${C:?missing}", {"C": "d"}) == "b:d"
    assert interpolate("${A:+b}:${C:+e}", {"C": "d"}) == ":e"
    with pytest.raises(KeyError, match="missing"):
        interpolate("${C:?missing}", {"C": ""})


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npx") is None, reason="npx, which runs dclint, is not installed here")
def test_compose_file_keeps_the_schema_and_breaking_it_is_seen(bake: Bake, tmp_path: Path) -> None:
    file = bake(deployment="docker").path / "compose.yaml"
    done = subprocess.run([*SCHEMA, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    broken = tmp_path / "compose.yaml"
    broken.write_text(file.read_text(encoding="utf-8").replace("healthcheck:", "health_check:", 1))
    assert subprocess.run([*SCHEMA, str(broken)], capture_output=True, check=False).returncode
