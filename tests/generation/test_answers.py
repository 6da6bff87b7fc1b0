"""Unusual answers are reproduced exactly, or refused with a message that leaves nothing behind."""

import os
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import pytest
import yaml
from cookiecutter.exceptions import UndefinedVariableInTemplate
from jinja2 import Environment, TemplateSyntaxError
from markdown_it import MarkdownIt
from pre_gen_project import DEPENDENCIES, slug_errors
from pytest_cookies.plugin import Cookies
from template import FREE_TEXT, PARSERS, PROJECT, ROOT, SLUGS, Bake, Project, Refuse

KEPT = [
    """It's "both" 'quotes' at ""once""" + '"',
    "C:\\new\\!\\table \\",
    "key: value # no comment",
    "<b>bold</b> &amp; <!-- <script>",
    "*a* **b** _c_ __d__ `e` ~~f~~ [g](h) ![i](j) [k]: l | m",
    "🐧 and 👩🏽‍🔬 with 🏳️‍🌈",
    "日本語 Ελληνικά עברית العربية हिन्दी ไทย é ß Ǆ",
    "penguin " * 24 + "penguins",
    "- a list",
    "1. a list",
    "23) a list",
    "> a quotation",
    "# a heading #",
    "=== ${HOME} $(id) %(name)s {name} @{u} \ufeff{",
    "+ yes, no: null ~ 1e3 ---",
]
REFUSED = {
    "empty": "",
    "blank": " \u3000 ",
    "padded": " padded",
    "two lines": "two\nlines",
    "carriage return": "two\rlines",
    "line separator": "two\u2028lines",
    "tabulator": "a\tb",
    "null": "a\0b",
    "escape": "\x1b[31mred",
    "delete": "a\x7fb",
    "surrogate": "a\ud83db",
    "noncharacter": "a\uffffb",
    "too long": "a" * 201,
    "arithmetic": "{{ 7 * 7 }}",
    "another answer": "{{ cookiecutter | length }}",
    "statement": "{% if true %}yes{% endif %}",
    "comment": "a{# b #}c",
}
REFUSED_SLUGS = (  # noqa: SIM905 (as a list it would fill a page)
    "|1bad|class|match|../evil|../deep/er/evil|/abs-evil/evil|a/b|a\\b|.|..|~|Upper|-led|led-|a--b|a_-b"
    "|a.b|a b|é|🐧|json|test|src|data|sklearn|polars|scikit_learn|sqlalchemy"
).split("|")
RESERVED_SLUGS = (  # noqa: SIM905
    "python|python3|make|sh|bash|git|ls|cat|env|cd|pip|uv|dvc|prefect|mlflow|docker|activate|f2py|true|false|yes|no|on"
    "|off|y|n|null|con|nul|aux|com1|lpt9|scratch|default|kube-system|prefect-model|prefect_2"
).split("|")


def shown(markdown: str) -> list[str]:
    """Return the plain text of each block, as a reader sees it."""
    blocks = [token.children or [] for token in MarkdownIt().parse(markdown) if token.type == "inline"]
    return ["".join(child.content for child in block if child.type == "text") for block in blocks]


def macro(name: str, file: str, project: Project) -> Callable[[str], str]:
    """Return a macro that a file of the template defines."""
    template = Environment().from_string((PROJECT / file).read_text(encoding="utf-8"))  # noqa: S701 - no HTML
    function: Callable[[str], str] = getattr(template.make_module({"cookiecutter": project.answers}), name)
    return function


@pytest.mark.parametrize("text", KEPT)
def test_free_text_is_reproduced_exactly(bake: Bake, text: str) -> None:
    project = bake(project_slug="hostile", **dict.fromkeys(FREE_TEXT, text))
    texts = project.texts()
    for name, content in texts.items():
        PARSERS.get(Path(name).suffix, str)(content)
    metadata = tomllib.loads(texts["pyproject.toml"])["project"]
    assert metadata["description"] == text
    assert metadata["authors"] == [{"name": text}]
    assert f"Copyright (c) {text}\n" in texts["LICENSE"]
    title, *body = shown(texts["README.md"])
    assert title == text
    assert any(text in block for block in body)
    # The escaped text is safe anywhere in a document.
    escaped = macro("plain", "README.md", project)(text)
    for place in ("{}", "# {}", "- {}", "> {}", "[{}](link)"):
        assert shown(place.format(escaped)) == [text]
    quoted = macro("quoted", "pyproject.toml", project)(text)
    assert tomllib.loads(f"text = {quoted}") == yaml.safe_load(f"text: {quoted}") == {"text": text}


def test_ordinary_text_stays_readable_in_markdown(bake: Bake) -> None:
    text = "It's a well-known (and tested) model, no. 7: Smith & Sons' 50% + 3 = \"done\"!"
    assert text in bake(description=text).texts()["README.md"]


@pytest.mark.parametrize(
    ("name", "text"), list(zip(cycle(FREE_TEXT), REFUSED.values(), strict=False)), ids=REFUSED
)
def test_free_text_that_cannot_work_is_refused(refuse: Refuse, name: str, text: str) -> None:
    assert refuse(**{"project_slug": "hostile", name: text}).startswith(f"{name} ")


@pytest.mark.parametrize("slug", [*REFUSED_SLUGS, "a" * 59, "a" * 300, "a\nb", "a\0b"])
def test_slug_that_cannot_work_is_refused(refuse: Refuse, slug: str) -> None:
    assert refuse(project_slug=slug).startswith("project_slug ")
    assert not Path("/abs-evil").exists()


@pytest.mark.parametrize("word", RESERVED_SLUGS)
def test_program_or_reserved_word_is_refused_as_the_slug(word: str) -> None:
    assert re.fullmatch(
        rf"project_slug '{word}' .+: enter another name.*\.", next(slug_errors(word, "process"))
    )


def test_name_without_letters_asks_for_a_slug(refuse: Refuse) -> None:
    assert "project_slug is empty" in refuse(project_name="🐧")


def test_existing_folder_outside_is_not_touched(cookies: Cookies, tmp_path: Path) -> None:
    kept = tmp_path / "cookies/evil/kept.txt"
    kept.parent.mkdir()
    kept.write_text("kept")
    assert cookies.bake(extra_context={"project_slug": "../evil"}, template=str(ROOT)).exception
    assert kept.read_text() == "kept"


def test_every_folder_of_the_project_is_refused_as_its_slug() -> None:
    for folder in PROJECT.iterdir():
        if folder.is_dir() and not folder.name.startswith("."):
            assert list(slug_errors(folder.name, "process")), folder.name


def test_every_dependency_is_refused_as_the_slug() -> None:
    text = (PROJECT / "constraints.txt").read_text(encoding="utf-8")
    names = {re.sub(r"[-_.]+", "-", name.lower()) for name in re.findall(r"^([\w.-]+)==", text, re.MULTILINE)}
    assert names
    expected = textwrap.fill(" ".join(sorted(names)), 100, break_on_hyphens=False)
    assert DEPENDENCIES.split() == expected.split(), f"hooks/pre_gen_project.py: DEPENDENCIES is\n{expected}"


@pytest.mark.parametrize("slug", ["ruamel-yaml", "ruamel_yaml"])
def test_dependency_is_refused_however_it_is_spelled(slug: str) -> None:
    assert "is a dependency" in next(slug_errors(slug, "process"))


def test_slug_that_cannot_name_a_namespace_is_refused_for_kubernetes(refuse: Refuse) -> None:
    assert "a Kubernetes namespace" in refuse(project_slug="snake_case", deployment="kubernetes")


@pytest.mark.parametrize("slug", SLUGS)
def test_allowed_slug_is_the_name_of_the_folder(bake: Bake, slug: str) -> None:
    assert not list(slug_errors(slug, "process"))
    assert bake(project_slug=slug).path.name == slug


def test_long_name_gets_a_slug_that_fits(bake: Bake) -> None:
    assert 50 < len(bake(project_name="penguin " * 20 + "model").path.name) <= 58


@pytest.mark.parametrize(
    ("text", "error"), [("{{ nosuch }}", UndefinedVariableInTemplate), ("a {% raw %} b", TemplateSyntaxError)]
)
def test_broken_template_in_an_answer_leaves_nothing(
    cookies: Cookies,
    tmp_path: Path,
    text: str,
    error: type[Exception],
) -> None:
    assert isinstance(cookies.bake(extra_context={"description": text}, template=str(ROOT)).exception, error)
    assert not list((tmp_path / "cookies").glob("*/*"))


@pytest.mark.parametrize("text", ["{{ nosuch }}", "a {% raw %} b", "{{ 7 * 7 }}"])
def test_template_typed_at_the_prompt_is_refused(tmp_path: Path, text: str) -> None:
    command = [sys.executable, "-m", "cookiecutter", str(ROOT), "--output-dir", str(tmp_path / "out")]
    environment = {**os.environ, "HOME": str(tmp_path)}
    run = subprocess.run(
        command,
        input=f"\n\n{text}\n" + "\n" * 20,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert run.stderr.startswith("description must not contain Jinja syntax"), run.stderr
    assert not list((tmp_path / "out").iterdir())
