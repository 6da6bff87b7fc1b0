"""Every combination of answers, rendered in this process.

A file can differ only in the answers that it names, itself or in its conditions in cookiecutter.json. So
it is rendered once for each combination of these, and projects that agree in them share the text.
"""

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from functools import cache, cached_property
from itertools import combinations, product
from pathlib import Path
from typing import Any, NamedTuple

from cookiecutter.generate import is_copy_only_path
from cookiecutter.prompt import prompt_for_config
from cookiecutter.utils import create_env_with_context
from jinja2 import nodes
from template import CHOICES, PROJECT, TEMPLATE

# Written by the hook, not rendered: it has the answers and the commit of the template.
RECORD = ".cruft.json"

Row = dict[str, str]


class File(NamedTuple):
    """A file of a project."""

    path: str
    text: str


class Source(NamedTuple):
    """A file of the template, where it goes, when, and which answers decide about it."""

    path: str
    text: str
    rendered: bool
    # Expressions, and what each has to give.
    conditions: tuple[tuple[str, str], ...]
    names: tuple[str, ...]


def every_combination(names: Container[str] = CHOICES) -> Iterator[Row]:
    """Yield every combination of answers to these questions, with the first answer to the others."""
    choices = {name: values if name in names else values[:1] for name, values in CHOICES.items()}
    for values in product(*choices.values()):
        yield dict(zip(choices, values, strict=True))


def covering_rows(choices: Mapping[str, Sequence[Any]] = CHOICES, strength: int = 2) -> list[Row]:
    """Return rows so that each pair of values (or triple, by the strength) is in one of them.

    Greedy: a row starts with a missing pair, and takes the values that complete the most missing pairs.
    """

    def parts(row: Mapping[str, str]) -> set[tuple[tuple[str, str], ...]]:
        return set(combinations(((name, row[name]) for name in choices if name in row), strength))

    missing = {
        tuple(zip(names, values, strict=True))
        for names in combinations(choices, strength)
        for values in product(*(choices[name] for name in names))
    }
    rows = []
    while missing:
        row = dict(min(missing))
        for name in sorted(choices.keys() - row.keys(), key=lambda name: (-len(choices[name]), name)):
            row[name] = max(choices[name], key=lambda value: len(missing & parts({**row, name: value})))
        missing -= parts(row)
        rows.append({name: row[name] for name in choices})
    return rows


class Variants:
    """The template, rendered file by file."""

    def __init__(self, **answers: str) -> None:
        """Take the answers to the questions without choices."""
        self.environment = create_env_with_context({"cookiecutter": TEMPLATE})
        self.answers = dict(prompt_for_config({"cookiecutter": {**TEMPLATE, **answers}}, no_input=True))
        self._compiled = cache(self.environment.from_string)
        self._made: dict[tuple[str, ...], File | None] = {}

    @cached_property
    def sources(self) -> list[Source]:
        """Every file of the template."""
        return [self._source(path) for path in sorted(PROJECT.rglob("*")) if path.is_file()]

    @cached_property
    def _fixed(self) -> dict[str, File]:
        """The files that are the same in every project."""
        made = (self._make(source, {}) for source in self.sources if not source.names)
        return {file.path: file for file in made if file}

    @cached_property
    def _varying(self) -> list[Source]:
        return [source for source in self.sources if source.names]

    def project(self, row: Mapping[str, str]) -> dict[str, File]:
        """Return the files of the project with these answers, by their paths."""
        files = dict(self._fixed)
        for source in self._varying:
            key = (source.path, source.text, *(row[name] for name in source.names))
            if key not in self._made:
                self._made[key] = self._make(source, row)
            if file := self._made[key]:
                files[file.path] = file
        return files

    def _source(self, file: Path) -> Source:
        """Read a file of the template with its rows in the tables of cookiecutter.json."""
        name = str(file.relative_to(PROJECT))
        spaced = name.replace("{{cookiecutter.__package}}", "{{ cookiecutter.__package }}")
        conditions = [
            (condition, "True")
            for path, condition in TEMPLATE["__keep_if"].items()
            if Path(spaced).is_relative_to(path)
        ]
        target = spaced
        for path, choice in TEMPLATE["__variants"].items():
            stem, suffix = path.rsplit(".", 1)
            if match := re.fullmatch(rf"{re.escape(stem)}(?:_(\w+))?\.{suffix}", spaced):
                target = path
                # An empty answer chooses the standard.
                conditions.append((choice, match[1] or ""))
                conditions += [(TEMPLATE["__keep_if"][path], "True")] if path in TEMPLATE["__keep_if"] else []
        copied = any(
            is_copy_only_path(str(part), {"cookiecutter": TEMPLATE}) for part in (name, *Path(name).parents)
        )
        text = file.read_bytes().decode()
        if any(Path(name).is_relative_to(path) for path in TEMPLATE["_names_replaced_in"]):
            text = text.replace("penguin_model", self.answers["__package"])
            text = text.replace("penguin-model", self.answers["project_slug"])
        templates = [target, *(condition for condition, _ in conditions), *([] if copied else [text])]
        names = sorted(set().union(*map(self._named, templates)) & CHOICES.keys())
        return Source(target, text, not copied, tuple(conditions), tuple(names))

    def _named(self, text: str) -> set[str]:
        """Return the answers that a text names, itself or by answers derived from them."""
        tree = self.environment.parse(text)
        names = {node.attr for node in tree.find_all(nodes.Getattr) if _is_answers(node.node)}
        used = sum(_is_answers(node) for node in tree.find_all(nodes.Name))
        assert used == sum(_is_answers(node.node) for node in tree.find_all(nodes.Getattr)), text[:200]
        derived = [
            TEMPLATE[name] for name in names if isinstance(TEMPLATE[name], str) and "{{" in TEMPLATE[name]
        ]
        return names.union(*map(self._named, derived))

    def _make(self, source: Source, row: Mapping[str, str]) -> File | None:
        """Render a file, or return None if the project does not have it."""
        if any(self._render(condition, row) != wanted for condition, wanted in source.conditions):
            return None
        text = self._render(source.text, row) if source.rendered else source.text
        return File(self._render(source.path, row), text)

    def _render(self, text: str, row: Mapping[str, str]) -> str:
        return str(self._compiled(text).render(cookiecutter={**self.answers, **row}))


def _is_answers(node: nodes.Node) -> Any:  # noqa: ANN401 - a bool
    return isinstance(node, nodes.Name) and node.name == "cookiecutter"
