"""Every combination of answers: rendered file by file, and checked where the files of a project meet."""

import ast
import posixpath
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from itertools import combinations
from pathlib import Path, PurePath

import pytest
from documents import CREATED_LATER, looks_like_path, named_in
from template import CHOICES, PARSERS, SLUGS, Bake
from tiers import nightly
from variants import RECORD, File, Row, Variants, covering_rows, every_combination

# Distributions whose modules have another name.
DISTRIBUTIONS = {
    "dotenv": "python-dotenv",
    "ruamel": "ruamel-yaml",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
# Dependencies that no module of the project imports, and who needs them.
NEEDED_BY = {
    "boto3": "MLflow, for artifacts at s3://",
    "flask-wtf": "MLflow's server with passwords",
    "httptools": "uvicorn",
    "prefect-docker": "Prefect's worker",
    "prefect-kubernetes": "Prefect's worker",
    "psycopg": "SQLAlchemy, for PostgreSQL",
    "uvloop": "uvicorn",
    "fastapi": "Prefect's server, which fails with a newer one",
}
# What `make update` installs for itself.
BROUGHT = {"cookiecutter"}
# Words that documents and settings have only with a value; where none are listed, it is the value itself.
WORDS = {
    "local": r"a folder on this machine",
    "s3": r"dvc\[s3\]|boto3|s3://\S*-data",
    "gcs": r"dvc\[gs\]|gs://\S*-data",
    "azure": r"dvc\[azure\]|azure://",
    "ssh": r"dvc\[ssh\]|ssh://",
    "threads": r"ThreadPoolTaskRunner",
    "dask": r"prefect-dask|DASK_|\bDaskTaskRunner",
    "ray": r"prefect-ray\b|RAY_|\bRayTaskRunner",
    "process": r"--type process|type: process",
    "docker": r"--type docker|docker compose|make stack|\bstack/|compose\.yaml|prefect-docker",
    "kubernetes": r"--type kubernetes|kubectl|kubernetes/|prefect-kubernetes",
    "managed": r"prefect:managed",
    "fastapi": r"make serve|docs/serving|\bSERVE_|\bserving/|prometheus",
    "github": r"\.github/workflows|GITHUB_",
    "gitlab": r"\.gitlab-ci|CI_COMMIT",
    "webhook": r"notification\.schema",
    "teams": r"\bTeams\b",
}
ORDINARY = {"none", *CHOICES["python_version"], *CHOICES["problem"]}


# The night checks all; each triple of values is in a row of a push.
each_triple = pytest.mark.parametrize(
    "rows",
    [
        pytest.param(lambda: covering_rows(strength=3), id="triples"),
        pytest.param(every_combination, id="all", marks=nightly),
    ],
)


def normal(name: str) -> str:
    """Spell a distribution's name as PEP 503 wants it compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def variants() -> Variants:
    return Variants()


@pytest.mark.parametrize("strength", [2, 3])
def test_each_pair_and_triple_of_values_is_in_a_row(strength: int) -> None:
    rows = covering_rows(strength=strength)
    for names in combinations(CHOICES, strength):
        wanted = set(product_of(names))
        assert {tuple(row[name] for name in names) for row in rows} == wanted


def product_of(names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield every combination of values of some questions."""
    if not names:
        yield ()
        return
    for rest in product_of(names[1:]):
        yield from ((value, *rest) for value in CHOICES[names[0]])


@pytest.mark.parametrize("row", covering_rows(), ids=lambda row: "-".join(row.values()))
def test_cookiecutter_writes_these_files(bake: Bake, variants: Variants, row: dict[str, str]) -> None:
    written = written_by(bake, row)
    assert written == {path: file.text for path, file in variants.project(row).items()}


@nightly
def test_cookiecutter_writes_these_files_for_every_triple(bake: Bake, variants: Variants) -> None:
    for row in covering_rows(strength=3):
        assert written_by(bake, row) == {path: file.text for path, file in variants.project(row).items()}, row


def written_by(bake: Bake, row: Mapping[str, str]) -> dict[str, str]:
    """Return what Cookiecutter writes."""
    folder = bake(**row).path
    paths = [path for path in folder.rglob("*") if path.is_file()]
    names = {str(path.relative_to(folder)): path for path in paths}
    assert RECORD in names
    kept = {name for name in names if name != RECORD and not name.startswith(".git/")}
    return {name: names[name].read_bytes().decode() for name in kept}


@each_triple
def test_files_of_every_combination_hold_together(
    variants: Variants,
    rows: Callable[[], Iterable[Row]],
    record_property: Callable[[str, object], None],
) -> None:
    began, number = time.process_time(), 0
    problems: dict[str, dict[str, str]] = {}
    package = variants.answers["__package"]
    for row in rows():
        number += 1
        project = variants.project(row)
        for problem in (*mentions(project, row), *faults(project, package)):
            problems.setdefault(problem, row)
    seconds = time.process_time() - began
    record_property("variants", number)
    record_property("variants per second of CPU", round(number / seconds))
    # As many projects again.
    record_property("seconds that a question more with two answers costs, at most", round(seconds, 1))
    assert not problems, "\n".join(f"{problem}: {row}" for problem, row in problems.items())


def mentions(project: Mapping[str, File], row: Mapping[str, str]) -> Iterator[str]:
    """Find what is left of values that were not chosen."""
    for file in project.values():
        for option, value in words_in(file):
            if row[option] != value:
                yield f"{file.path} has words of {option}={value}"


@cache
def words_in(file: File) -> set[tuple[str, str]]:
    """Return the values whose words a file has; code, tests and the tested set may name all values."""
    if file.path.startswith(("src/", "tests/")) or file.path in {"constraints.txt", "LICENSE"}:
        return set()
    return set().union(*map(words_in_line, file.text.splitlines()))


@cache
def words_in_line(line: str) -> frozenset[tuple[str, str]]:
    """Return the values whose words a line has."""
    return frozenset(
        (name, value)
        for name, choices in CHOICES.items()
        for value in choices
        if value not in ORDINARY and re.search(WORDS.get(value, rf"(?i)\b{re.escape(value)}\b"), line)
    )


def faults(project: Mapping[str, File], package: str) -> Iterator[str]:
    """Find what one file of a project names and another does not have."""
    paths = frozenset({*project, RECORD})
    code = frozenset(file for path, file in project.items() if path.endswith(".py"))
    for path, file in project.items():
        if re.fullmatch(r"(README|AGENTS|docs/.*)\.md", path):
            yield from named_but_missing(file, paths, project["Makefile"], code, package)
    yield from without_a_recipe(project["Makefile"])
    yield from faults_of_code(code, paths, project["pyproject.toml"], package)
    yield from not_in_the_tested_set(project["pyproject.toml"], project["constraints.txt"])


@cache
def named_but_missing(
    file: File, paths: frozenset[str], makefile: File, code: frozenset[File], package: str
) -> list[str]:
    """Find what a document names and the project does not have."""
    named = named_in(file.text, package.replace("_", "-"), package)
    there = with_folders(paths)
    words = {word for word in named.words - CREATED_LATER if looks_like_path(word, there)}
    links = {str(Path(path_of(file.path, link))) for link in named.links}
    missing = {path for path in words | links | named.drawn if path.rstrip("/") not in there}
    targets = set(re.findall(r"^([a-z][\w-]*):", makefile.text, re.MULTILINE))
    missing |= {f"make {target}" for target in named.targets - targets}
    missing |= {f"uv run {verb}" for verb in named.verbs - verbs(code)}
    if file.path in {"README.md", "AGENTS.md"}:
        assert named.targets
    return [f"{file.path} names {name}, which is not there" for name in sorted(missing)]


@cache
def without_a_recipe(makefile: File) -> list[str]:
    """Find the targets that the Makefile declares and does nothing for."""
    [declared] = re.findall(r"^\.PHONY: (.+)", makefile.text, re.MULTILINE)
    rules = re.findall(r"^([a-z][\w-]*):.* ## ", makefile.text, re.MULTILINE)
    return [f"make {target} has no recipe" for target in sorted(set(declared.split()) - {*rules})]


def path_of(file: str, link: str) -> str:
    """Return what a link of a file points to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(file), link.partition("#")[0]))


@cache
def with_folders(paths: frozenset[str]) -> frozenset[str]:
    """Return the paths of files, and of the folders that they are in."""
    return paths | {str(folder) for path in paths for folder in PurePath(path).parents}


@cache
def verbs(code: frozenset[File]) -> frozenset[str]:
    """Return the verbs that the modules of the project define."""
    found = re.findall(
        r"^@app\.command\((?:\"([\w-]+)\")?.*\)\ndef (\w+)", "".join(file.text for file in code), re.MULTILINE
    )
    return frozenset(given or name.replace("_", "-") for given, name in found)


@cache
def faults_of_code(code: frozenset[File], paths: frozenset[str], pyproject: File, package: str) -> list[str]:
    """Find modules that are imported and not there or not declared, and dependencies that nobody imports."""
    imported = set().union(*(imports(file, package) for file in code))
    modules = {path.removesuffix(".py").removesuffix("/__init__") for path in paths}
    own = {name for name in imported if name.split("/")[0] in {"src", "tests"}}
    missing = [f"{name} is imported, and is not there" for name in sorted(own - modules)]
    needed = {DISTRIBUTIONS.get(name, normal(name)) for name in imported - own}
    declared = dependencies(pyproject)
    missing += [
        f"{name} is imported, and not declared" for name in sorted(needed - declared["all"] - BROUGHT)
    ]
    unused = declared["project"] - needed - NEEDED_BY.keys()
    return missing + [f"{name} is declared, and not imported" for name in sorted(unused)]


@cache
def imports(file: File, package: str) -> frozenset[str]:
    """Return the distributions' modules that a file imports, and the project's own, as paths."""
    found = set()
    for node in ast.walk(ast.parse(file.text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            folder = PurePath(file.path).parents[node.level - 1] if node.level else PurePath()
            found.add(str(folder / (node.module or "").replace(".", "/")) if node.level else str(node.module))
    own = {name for name in found if name.startswith(("src/", package))}
    foreign = {name.partition(".")[0] for name in found - own} - sys.stdlib_module_names
    return frozenset(
        foreign - {"conftest", "__future__"}
        | {re.sub(rf"^{package}\b", f"src/{package}", name).replace(".", "/") for name in own}
    )


@cache
def dependencies(pyproject: File) -> dict[str, set[str]]:
    """Return the distributions that a project declares, by group, and all together."""
    read = tomllib.loads(pyproject.text)
    groups = {"project": read["project"]["dependencies"], **read["dependency-groups"]}
    named = {
        group: {normal(re.split(r"[^\w.-]", requirement)[0]) for requirement in requirements}
        for group, requirements in groups.items()
    }
    return {**named, "all": set().union(*named.values())}


@cache
def not_in_the_tested_set(pyproject: File, constraints: File) -> list[str]:
    """Find dependencies without a tested version."""
    tested = {normal(name) for name in re.findall(r"^([\w.-]+)==", constraints.text, re.MULTILINE)}
    return [f"{name} is not in constraints.txt" for name in sorted(dependencies(pyproject)["all"] - tested)]


@each_triple
def test_every_file_parses(variants: Variants, rows: Callable[[], Iterable[Row]]) -> None:
    files = {file for row in rows() for file in variants.project(row).values()}
    for file in files:
        suffix = Path(file.path).suffix
        if suffix in PARSERS and suffix != ".md":  # which every text is
            PARSERS[suffix](file.text)
        # GitHub's expressions are ${{ }}, Prefect's {{ $ }}; the report is a Jinja template.
        own = r"(?<!\$){{(?! \$)|{%" if file.path.startswith((".github/", "prefect.yaml")) else "{{|{%"
        expression = r"cookiecutter\.(?!json)"
        pattern = expression if file.path.endswith(".jinja") else rf"{expression}|{own}"
        assert not re.search(pattern, file.text), file.path


# Code that is formatted with the shortest and with the longest name is formatted with every name between.
@pytest.mark.parametrize("row", [*covering_rows(), *({"project_slug": slug} for slug in SLUGS)], ids=str)
def test_ruff_finds_nothing(bake: Bake, row: Row) -> None:
    for command in (["check"], ["format", "--check"]):
        run = subprocess.run(
            ["ruff", *command, "--no-cache"],
            cwd=bake(**row).path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stdout + run.stderr
