"""The generated project, checked for every value of every question. Fast: nothing is installed."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from cookiecutter.generate import is_copy_only_path
from markdown_it import MarkdownIt
from template import CHOICES, EVERY_VALUE, OTHER_VALUES, PARSERS, PROJECT, SLUGS, TEMPLATE, Bake

each_value = pytest.mark.parametrize("answers", EVERY_VALUE)
each_other_value = pytest.mark.parametrize("answers", OTHER_VALUES)

Answers = dict[str, Any]

# Files that the documents name and that the commands create.
CREATED_LATER = {
    ".prefect/storage",
    ".env",
    "data/predictions",
    "data/processed/training.parquet",
    "reports/drift.json",
    "reports/drift.html",
    "dvc.lock",
    "models/",
    "reports/metrics.json",
    "reports/rejects.parquet",
    "reports/report.html",
    "reports/violations.parquet",
    "requirements.txt",
    "uv.lock",
}


@each_value
def test_exactly_the_files_that_are_wanted_exist(bake: Bake, answers: Answers) -> None:
    project = bake(**answers)
    package = project.answers["__package"]
    optional = {path: wanted == "True" for path, wanted in project.answers["__keep_if"].items()}
    for path in map(Path, project.answers["__variants"]):
        folder = Path("src/{{cookiecutter.__package}}", *path.parts[2:-1])
        variants = (PROJECT / folder).glob(f"{path.stem}_*{path.suffix}")
        optional |= {str(path.with_name(variant.name)): False for variant in variants}
    for path, wanted in optional.items():
        assert (project.path / path).exists() == wanted, path
    expected = {".cruft.json"}
    for path in PROJECT.rglob("*"):
        name = re.sub(r"{{ *cookiecutter\.__package *}}", package, str(path.relative_to(PROJECT)))
        dropped = any(Path(name).is_relative_to(option) for option, wanted in optional.items() if not wanted)
        if path.is_file() and not dropped:
            expected.add(name)
    found = {str(path.relative_to(project.path)) for path in project.path.rglob("*") if path.is_file()}
    assert {name for name in found if not name.startswith(".git/")} == expected


@each_value
def test_nothing_is_left_unrendered(bake: Bake, answers: Answers) -> None:
    for name, text in bake(**answers).texts().items():
        # GitHub's expressions are ${{ }}, Prefect's {{ $ }}; the report is a Jinja template.
        own = r"(?<!\$){{(?! \$)|{%" if name.startswith((".github/", "prefect.yaml")) else "{{|{%"
        expression = r"cookiecutter\.(?!json)"
        assert not re.search(expression if name.endswith(".jinja") else rf"{expression}|{own}", text), name


@pytest.mark.parametrize("deployment", CHOICES["deployment"])
def test_another_name_reaches_what_is_copied_too(bake: Bake, deployment: str) -> None:
    project = bake(project_slug="snow-petrel", deployment=deployment)
    texts = project.texts()
    assert not [name for name, text in texts.items() if re.search("penguin.model", text)]
    assert "from snow_petrel" in texts["tests/test_model.py"]
    if deployment == "kubernetes":
        assert "name: snow-petrel\n" in texts["kubernetes/namespace.yaml"]


@each_value
def test_every_file_parses(bake: Bake, answers: Answers) -> None:
    parsed = [
        PARSERS[Path(name).suffix](text)
        for name, text in bake(**answers).texts().items()
        if Path(name).suffix in PARSERS
    ]
    assert parsed


# Code that is formatted with the shortest and with the longest name is formatted with every name between.
@pytest.mark.parametrize("answers", [*EVERY_VALUE, *({"project_slug": slug} for slug in SLUGS)], ids=str)
def test_ruff_finds_nothing(bake: Bake, answers: Answers) -> None:
    for command in (["check"], ["format", "--check"]):
        run = subprocess.run(
            ["ruff", *command, "--no-cache"],
            cwd=bake(**answers).path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("name", ["compute", "notifications"])
def test_the_chosen_variant_takes_the_place_of_the_standard(bake: Bake, name: str) -> None:
    module = {"compute": "ops/orchestration/task_runner.py", "notifications": "ops/notify/channel.py"}[name]
    for choice in CHOICES[name]:
        project = bake(**{name: choice})
        path = next(path for path in project.answers["__variants"] if path.endswith(module))
        source = PROJECT / "src/{{cookiecutter.__package}}" / module
        variant = source.with_stem(f"{source.stem}_{choice}")
        expected = variant if variant.exists() else source
        assert (project.path / path).read_text() == expected.read_text()


def test_raw_data_is_copied_not_rendered(bake: Bake) -> None:
    raw = [path for path in (PROJECT / "data/raw").iterdir() if path.is_file()]
    assert raw
    for path in raw:
        name = path.relative_to(PROJECT)
        assert is_copy_only_path(str(name), {"cookiecutter": TEMPLATE}), name
        assert (bake().path / name).read_bytes() == path.read_bytes(), name


def changes(bake: Bake, answers: Answers) -> set[str]:
    """Return the files of code and configuration that differ from the default project."""
    project, default = bake(**answers).texts(), bake().texts()
    return {
        name
        for name in project.keys() | default.keys()
        if project.get(name) != default.get(name) and not name.endswith(".md")
    }


@each_other_value
def test_no_answer_is_without_effect(bake: Bake, answers: Answers) -> None:
    assert changes(bake, answers)


def test_problem_changes_only_the_parameters_and_the_record(bake: Bake) -> None:
    assert changes(bake, {"problem": "regression"}) == {"params.yaml", ".cruft.json"}


def looks_like_path(word: str) -> bool:
    """Distinguish a path in the project from a command, a URL or a dotted name."""
    if not re.fullmatch(r"[\w.-][\w./-]*", word):
        return False
    return "/" in word or Path(word).suffix in PARSERS or (PROJECT / word).exists()


@each_value
def test_prose_names_only_what_exists(bake: Bake, answers: Answers) -> None:
    project = bake(**answers)
    texts = project.texts()
    targets = set(re.findall(r"^([a-z][\w-]*):", texts["Makefile"], re.MULTILINE))
    for name in [name for name in texts if re.fullmatch(r"(README|AGENTS|docs/.*)\.md", name)]:
        tokens = MarkdownIt().parse(texts[name])
        inline = [child for token in tokens for child in token.children or []]
        words = {child.content for child in inline if child.type == "code_inline"}
        links = {str(child.attrs["href"]) for child in inline if child.type == "link_open"}
        paths = {word for word in words if looks_like_path(word)}
        for path in paths - CREATED_LATER:
            assert (project.path / path).exists(), path
        for link in {link for link in links if not re.match(r"\w+:|#", link)}:
            assert ((project.path / name).parent / link).exists(), link
        named = set(re.findall(r"(?:^ *|`|&& )make ([a-z][\w-]*)", texts[name], re.MULTILINE))
        assert paths
        assert named <= targets
        assert named or name not in {"README.md", "AGENTS.md"}


def test_commands_printed_last_exist(bake: Bake, capfd: pytest.CaptureFixture[str]) -> None:
    project = bake(project_slug="printed")
    assert re.findall(r"^    (.+)$", capfd.readouterr().out, re.MULTILINE) == [
        "cd printed",
        "make setup",
        "make train",
    ]
    assert {"setup", "train"} <= set(re.findall(r"^([a-z]+):", project.texts()["Makefile"], re.MULTILINE))


@each_value
def test_every_dependency_is_in_the_tested_set(bake: Bake, answers: Answers) -> None:
    texts = bake(**answers).texts()
    project = tomllib.loads(texts["pyproject.toml"])
    groups = [project["project"]["dependencies"], *project["dependency-groups"].values()]
    needed = {re.split(r"[^\w.-]", requirement)[0] for group in groups for requirement in group}
    tested = set(re.findall(r"^([\w.-]+)==", texts["constraints.txt"], re.MULTILINE))
    assert needed
    assert {normal(name) for name in needed} <= {normal(name) for name in tested}


def normal(name: str) -> str:
    """Spell a distribution's name as PEP 503 wants it compared."""
    return re.sub(r"[-_.]+", "-", name).lower()
