"""What a Dockerfile says, done natively: no engine runs here, so a folder stands in for a root."""

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
from running import uv_cache

# Folders of its own that a container has; the rest (/bin, /usr/bin) is this machine's.
OWN = re.compile(r"(?<![\w./-])/(?:app|mlartifacts|opt/venv|etc/mlflow-auth\.ini|tmp)(?![\w-])")
# What would change this machine, and not the image, does nothing.
OF_THE_MACHINE = ("useradd", "install")
# How this machine reaches the registry of packages is no part of the container.
ACCESS = ("UV_", "PIP_", "SSL_", "REQUESTS_", "http_", "https_", "HTTP_", "HTTPS_")
REACHED = {name: value for name, value in os.environ.items() if name.startswith(ACCESS)}
# Compiling and copying everything costs minutes, and proves nothing.
FASTER = {"UV_COMPILE_BYTECODE": "false", "UV_LINK_MODE": "hardlink", "PYTHONDONTWRITEBYTECODE": ""}
SYSTEM = "/usr/local/bin:/usr/bin:/bin"


@dataclass
class Image:
    """A folder that stands in for the root, and what the instructions have set."""

    root: Path
    python: str
    env: dict[str, str] = field(default_factory=lambda: {"PATH": SYSTEM})
    labels: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = ""
    command: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)

    def native(self, text: str) -> str:
        """Lead the paths of the container that a text holds into the folder."""
        return OWN.sub(lambda path: f"{self.root}{path[0]}", text)

    def path(self, name: str) -> Path:
        """Return a path of the container, from its working folder, as one of this machine."""
        return Path(os.path.normpath(f"{self.root}/{self.workdir if name[0] != '/' else ''}/{name}"))

    def environment(self, **more: str) -> dict[str, str]:
        """Return all the environment that a process of the container has: nothing of this machine's."""
        home = REACHED | {
            "HOME": str(self.root / "home"),
            "UV_CACHE_DIR": uv_cache(),
            "UV_PYTHON": self.python,
        }
        said = self.env | more
        path = {
            "PATH": f"{self.root}/bin:"
            + ":".join(
                f"{self.root}{place}" if place.startswith(("/opt", "/usr/local")) else place
                for place in said.pop("PATH").split(":")
            )
        }
        return home | {name: self.native(value) for name, value in said.items()} | path | FASTER

    def run(self, command: list[str], **more: str) -> str:
        """Run a command in the container; fail with all that it says."""
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
    """Do every instruction of a Dockerfile, and return the last stage.

    The stage that is built lies in `root`, and in a folder of its name when the next begins: the paths it has
    written stay true when the next copies it.
    """
    found = ["uv", "python", "find", "--no-project", version]
    python = subprocess.run(found, capture_output=True, text=True, check=True).stdout.strip()
    root, name, stages, known = folder / "root", "", {}, dict(args)
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
                based(root, python)
        elif instruction == "RUN":
            image.run(["sh", "-c", re.sub(r"--mount=\S+\s+", "", value)])
        elif instruction == "COPY":
            copy(image, value, context, folder)
        elif instruction == "ARG":
            key, _, default = value.partition("=")
            known.setdefault(key, default)
        else:
            settle(image, instruction, value, known)
    return image


def settle(image: Image, instruction: str, value: str, known: dict[str, str]) -> None:
    """Do an instruction that only says how the container is."""
    match instruction:
        case "ENV" | "LABEL":
            variables = known | image.env
            said = re.sub(r"\$\{?(\w+)\}?", lambda found: variables[found[1]], value)
            pairs = dict(word.split("=", 1) for word in shlex.split(said))
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
            assert instruction == "COMMENT", f"{instruction} is not understood"


def based(root: Path, python: str) -> None:
    """Make what the image of Python is: that Python with pip in /usr/local, and empty folders."""
    for name in ("bin", "home", "tmp"):
        (root / name).mkdir(parents=True)
    for name in OF_THE_MACHINE:
        (root / "bin" / name).symlink_to("/bin/true")
    (root / "mlartifacts").mkdir()
    subprocess.run([python, "-m", "venv", str(root / "usr/local")], check=True)


def copy(image: Image, value: str, context: Path, folder: Path) -> None:
    """Copy from another stage, or from the context what .dockerignore lets in."""
    words = value.split()
    options = dict(word.removeprefix("--").split("=") for word in words if word.startswith("--"))
    *sources, target = [word for word in words if not word.startswith("--")]
    to = image.path(target)
    if "from" in options:
        for source in sources:
            stage = folder / f"stage-{options['from']}" / source.lstrip("/")
            shutil.copytree(stage, to, symlinks=True, copy_function=os.link, dirs_exist_ok=True)
        return
    allowed = let_in(context)
    for source in sources:
        for file in allowed:
            if source == "." or fnmatch(file, source):
                (to / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(context / file, to / file)


def let_in(context: Path) -> list[str]:
    """Return the files that .dockerignore leaves in: of its lines the last that fits decides."""
    lines = (context / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    kept = []
    for path in sorted(context.rglob("*")):
        name = path.relative_to(context)
        places = [str(name), *map(str, name.parents)][:-1]
        out = False
        for rule in rules:
            pattern = rule.removeprefix("!").rstrip("/")
            if any(fits(place, pattern) for place in places):
                out = not rule.startswith("!")
        if path.is_file() and not out:
            kept.append(str(name))
    return kept


def fits(place: str, pattern: str) -> bool:
    """Tell whether a pattern names a place; `*` stays in its folder, and `**/` is any folders, or none."""
    if pattern.startswith("**/"):
        return fnmatch(place.rpartition("/")[2], pattern.removeprefix("**/"))
    return place.count("/") == pattern.count("/") and fnmatch(place, pattern)
