"""Run the instructions of a Dockerfile without an engine: a folder stands in for the root."""

import json
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path

from dockerfile_parse import DockerfileParser
from running import FIND_PYTHON, uv_cache

# Folders that belong to a container; the rest (/bin, /usr/bin) is this machine's.
OWN = re.compile(r"(?<![\w./-])/(?:app|mlartifacts|opt/venv|etc/mlflow-auth\.ini|tmp)(?![\w-])")
# Programs that would change this machine, not the image: they do nothing.
DISABLED = ("useradd", "install")
# A container does not have this machine's access to a package registry; the tests pass it on.
ACCESS = ("UV_", "PIP_", "SSL_", "REQUESTS_", "http_", "https_", "HTTP_", "HTTPS_")
ACCESS_VARIABLES = {name: value for name, value in os.environ.items() if name.startswith(ACCESS)}
# Compiling and copying everything takes minutes and proves nothing.
FASTER = {"UV_COMPILE_BYTECODE": "false", "UV_LINK_MODE": "hardlink", "PYTHONDONTWRITEBYTECODE": ""}
SYSTEM = "/usr/local/bin:/usr/bin:/bin"


@dataclass
class Image:
    """A folder that stands in for the root, and the settings of the instructions."""

    root: Path
    python: str
    env: dict[str, str] = field(default_factory=lambda: {"PATH": SYSTEM})
    labels: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = ""
    command: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)

    def native(self, text: str) -> str:
        """Replace a container's paths in a text by paths of the folder."""
        return OWN.sub(lambda path: f"{self.root}{path[0]}", text)

    def path(self, name: str) -> Path:
        """Return a container's path, relative to its working folder, as a path of this machine."""
        return Path(os.path.normpath(f"{self.root}/{self.workdir if name[0] != '/' else ''}/{name}"))

    def environment(self, **more: str) -> dict[str, str]:
        """Return the whole environment of a process in the container."""
        home = ACCESS_VARIABLES | {
            "HOME": str(self.root / "home"),
            "UV_CACHE_DIR": uv_cache(),
            "UV_PYTHON": self.python,
        }
        env = self.env | more
        path = {
            "PATH": f"{self.root}/bin:"
            + ":".join(
                f"{self.root}{place}" if place.startswith(("/opt", "/usr/local")) else place
                for place in env.pop("PATH").split(":")
            )
        }
        return home | {name: self.native(value) for name, value in env.items()} | path | FASTER

    def run(self, command: list[str], **more: str) -> str:
        """Run a command in the container; on failure show its whole output."""
        done = subprocess.run(
            [self.native(word) for word in command],
            cwd=self.path("."),
            env=self.environment(**more),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout


def build(context: Path, folder: Path, version: str, **args: str) -> Image:
    """Run all instructions of a Dockerfile; return the last stage.

    The current stage is in `root`, and moves to a folder of its name when the next one begins: the paths that
    it has written are still right when the next stage copies them.
    """
    python = subprocess.run(
        [*FIND_PYTHON, version], capture_output=True, text=True, check=True
    ).stdout.strip()
    root, name, stages, variables = folder / "root", "", {}, dict(args)
    image = Image(root, python)
    parser = DockerfileParser(str(context / "Dockerfile"))
    steps = [(step["instruction"], step["value"]) for step in parser.structure]
    for instruction, value in steps:
        if instruction == "FROM":
            if root.exists():
                stages[name] = image
                root.rename(folder / f"stage-{name}")
            source, _, name = value.partition(" AS ")
            image = replace(stages.get(source, Image(root, python)))
            if source in stages:
                shutil.copytree(folder / f"stage-{source}", root, symlinks=True)
            else:
                create_base(root, python)
        elif instruction == "RUN":
            image.run(["sh", "-c", re.sub(r"--mount=\S+\s+", "", value)])
        elif instruction == "COPY":
            copy(image, value, context, folder)
        elif instruction == "ARG":
            key, _, default = value.partition("=")
            variables.setdefault(key, default)
        else:
            configure(image, instruction, value, variables)
    return image


def configure(image: Image, instruction: str, value: str, args: dict[str, str]) -> None:
    """Run an instruction that only changes settings of the container."""
    match instruction:
        case "ENV" | "LABEL":
            variables = args | image.env
            filled = re.sub(r"\$\{?(\w+)\}?", lambda found: variables[found[1]], value)
            pairs = dict(word.split("=", 1) for word in shlex.split(filled))
            name = "env" if instruction == "ENV" else "labels"
            setattr(image, name, getattr(image, name) | pairs)
        case "WORKDIR":
            image.workdir = value
            image.path(".").mkdir(parents=True, exist_ok=True)
        case "USER":
            image.user = value
        case "CMD":
            image.command = json.loads(value)
        case "HEALTHCHECK":
            image.healthcheck = json.loads(value.partition(" CMD ")[2])
        case _:
            assert instruction == "COMMENT", f"Unknown instruction: {instruction}"


def create_base(root: Path, python: str) -> None:
    """Build Python's image: Python with pip in /usr/local, and empty folders."""
    for name in ("bin", "home", "tmp"):
        (root / name).mkdir(parents=True)
    for name in DISABLED:
        (root / "bin" / name).symlink_to("/bin/true")
    (root / "mlartifacts").mkdir()
    subprocess.run(
        ["uv", "venv", "--quiet", "--seed", "--python", python, str(root / "usr/local")], check=True
    )


def copy(image: Image, value: str, context: Path, folder: Path) -> None:
    """Copy from another stage, or from the context the files that .dockerignore allows."""
    words = value.split()
    options = dict(word.removeprefix("--").split("=") for word in words if word.startswith("--"))
    *sources, target = [word for word in words if not word.startswith("--")]
    to = image.path(target)
    if "from" in options:
        for source in sources:
            stage = folder / f"stage-{options['from']}" / source.lstrip("/")
            shutil.copytree(stage, to, symlinks=True, copy_function=os.link, dirs_exist_ok=True)
        return
    allowed = allowed_files(context)
    for source in sources:
        for file in allowed:
            if source == "." or fnmatch(file, source):
                (to / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(context / file, to / file)


def allowed_files(context: Path) -> list[str]:
    """Return the files that .dockerignore allows: the last matching line decides."""
    lines = (context / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    files = []
    for path in sorted(context.rglob("*")):
        name = path.relative_to(context)
        places = [str(name), *map(str, name.parents)][:-1]
        out = False
        for rule in rules:
            pattern = rule.removeprefix("!").rstrip("/")
            if any(matches(place, pattern) for place in places):
                out = not rule.startswith("!")
        if path.is_file() and not out:
            files.append(str(name))
    return files


def matches(path: str, pattern: str) -> bool:
    """Tell whether a pattern matches a path; `*` matches within a folder, `**/` any number of folders."""
    if pattern.startswith("**/"):
        return fnmatch(path.rpartition("/")[2], pattern.removeprefix("**/"))
    return path.count("/") == pattern.count("/") and fnmatch(path, pattern)
