"""The template: its questions with their choices, and a generated project."""

import json
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "{{cookiecutter.__folder}}"
IGNORED = shutil.ignore_patterns("__pycache__")
TEMPLATE: dict[str, Any] = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))

# Every question with choices: a new one is tested without a new test.
CHOICES: dict[str, list[Any]] = {
    name: values if isinstance(values, list) else [values, not values]
    for name, values in TEMPLATE.items()
    if isinstance(values, list | bool) and not name.startswith("_")
}
FREE_TEXT = [
    name
    for name, value in TEMPLATE.items()
    if isinstance(value, str) and not name.startswith("_") and name != "project_slug"
]
OTHER_VALUES = [
    pytest.param({name: value}, id=f"{name}={value}")
    for name, values in CHOICES.items()
    for value in values[1:]
]
EVERY_VALUE = [pytest.param({}, id="defaults"), *OTHER_VALUES]

# Names that are allowed: the shortest, the longest, with digits, hyphens and underscores.
SLUGS = ["a", "x2", "snow-petrel_2", "a" * 58, "ab-" * 19 + "c", "ab_" * 19 + "c"]

PARSERS: dict[str, Callable[[str], Any]] = {
    ".json": json.loads,
    ".dvc": yaml.safe_load,
    ".md": MarkdownIt().parse,
    ".py": lambda text: compile(text, "<generated>", "exec"),
    ".toml": tomllib.loads,
    ".yaml": lambda text: list(yaml.safe_load_all(text)),
    ".yml": lambda text: list(yaml.safe_load_all(text)),
}


class Project(NamedTuple):
    """A generated project and the answers it was generated from."""

    path: Path
    answers: dict[str, Any]

    def texts(self) -> dict[str, str]:
        """Every file that Cookiecutter rendered, by its path from the project's root."""
        names = (path.relative_to(self.path) for path in self.path.rglob("*") if path.is_file())
        rendered = (name for name in names if name.parts[0] != ".git" and name.parts[0] != "data")
        return {str(name): (self.path / name).read_text(encoding="utf-8") for name in sorted(rendered)}


def copy_template(folder: Path) -> None:
    """Copy what generates a project into a folder, as a git repository with one commit."""
    shutil.copytree(PROJECT, folder / PROJECT.name, ignore=IGNORED)
    shutil.copytree(ROOT / "hooks", folder / "hooks", ignore=IGNORED)
    for name in ("cookiecutter.json", "CHANGELOG.md"):
        shutil.copy(ROOT / name, folder)
    command = "git init -q -b main && git add --force . && git commit -q -m new"
    subprocess.run(["sh", "-c", command], cwd=folder, check=True)


Bake = Callable[..., Project]
Refuse = Callable[..., str]
