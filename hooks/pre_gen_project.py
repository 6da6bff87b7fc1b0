"""Refuse answers that no working project could have, and say what would work."""

import json
import keyword
import re
import sys
import unicodedata
from collections.abc import Iterator

# Raw strings, so that this file is valid Python before and after Cookiecutter renders it.
ANSWERS = r"""{{ cookiecutter | tojson }}"""
# The answers as they were typed on a command line; cruft does not pass them on.
TYPED = r"""{{ _cookiecutter | default({}) | tojson }}"""

# A bucket bears 63 letters, and its name ends with "-data"; DNS, Kubernetes and PostgreSQL bear as many.
LONGEST = 58
SLUG = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")

# Import names that differ from their distribution's. The distributions' own names
# are looked up after generation, in the project's constraints.txt.
IMPORTS = """
    amplitude antlr4 attr azure databricks dateutil docket dotenv flufl git google graphql griffe grpc hydra
    jwt key-value markdown-it mpl-toolkits mypyc opentelemetry pil pip pkg-resources public py pylab
    pythonjsonlogger rpds ruamel setuptools sklearn slugify uv validate wheel yaml zc
"""
FOLDERS = """
    build conftest data dist docs kubernetes mlruns models notebooks reports scripts site src stack test tests
"""
TAKEN = {*IMPORTS.split(), *FOLDERS.split()}


def unprintable(character: str) -> bool:
    """Whether TOML, YAML or a terminal refuses the character."""
    # Control characters, surrogates, line and paragraph separators; then Unicode's noncharacters.
    return (
        unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}
        or ord(character) & 0xFFFE == 0xFFFE
        or 0xFDD0 <= ord(character) <= 0xFDEF
    )


def against_text(name: str, text: str, typed: str) -> Iterator[str]:
    """Say what is wrong with an answer in free text."""
    if not text or text != text.strip():
        yield f"{name} must not be empty, nor begin or end with white space."
    if len(text) > 200:
        yield f"{name} has {len(text)} characters; give at most 200."
    if any(map(unprintable, text)):
        yield f"{name} must be one line without control characters or broken ones, unlike {text!a}."
    if re.search(r"[{][%#{]", text + typed):
        yield f"{name} must not hold two curly brackets, or one beside % or #: Cookiecutter would run them."


def against_slug(slug: str) -> Iterator[str]:
    """Say why neither a folder nor a package can have this name."""
    package = slug.replace("-", "_")
    if not slug:
        yield "project_slug is empty, as project_name has no letters for it: give one, like penguin-model."
    elif len(slug) > LONGEST or not SLUG.fullmatch(slug):
        yield (
            f"project_slug {slug!a} cannot name a package: give lower-case words like penguin-model, "
            "a letter first, then letters and digits, "
            f"single hyphens between, {LONGEST} characters at most."
        )
    elif keyword.iskeyword(package) or keyword.issoftkeyword(package):
        yield f"project_slug {slug!r} is a word of the Python language: give another, like {slug}-model."
    elif package in sys.stdlib_module_names:
        yield f"project_slug {slug!r} is in Python's standard library: give another, like {slug}-model."
    elif slug.replace("_", "-") in TAKEN:
        yield f"project_slug {slug!r} is taken, by a dependency or a folder: give another, like {slug}-model."


def against_namespace(slug: str) -> Iterator[str]:
    """Say why Kubernetes can call no namespace like this."""
    if "_" in slug:
        yield (
            f"project_slug {slug!r} cannot name a namespace of Kubernetes: "
            "give hyphens instead of underscores."
        )


def objections(texts: dict[str, str], typed: dict[str, str], slug: str, deployment: str) -> Iterator[str]:
    """Say, a sentence each, what is wrong with the answers."""
    for name, text in texts.items():
        yield from against_text(name, text, str(typed.get(name, "")))
    yield from against_slug(slug)
    if deployment == "kubernetes":
        yield from against_namespace(slug)


if __name__ == "__main__":
    answers = json.loads(ANSWERS)
    texts = {name: str(text) for name, text in answers.items() if name[0] != "_" and name != "project_slug"}
    # The answer itself: cookiecutter.json calls the folder "refused" where the answer would
    # lead out of the output folder, because that folder is made before this hook runs.
    sys.exit(next(objections(texts, json.loads(TYPED), answers["__slug"], answers["deployment"]), None))
