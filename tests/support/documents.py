"""What the documents of a project name: paths, links, targets of make, verbs."""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from template import PARSERS

# Files that the documents name, and that the user writes or commands create.
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


class Named(NamedTuple):
    """What a document names."""

    words: frozenset[str]  # in code
    links: frozenset[str]
    targets: frozenset[str]
    verbs: frozenset[str]
    drawn: frozenset[str]  # in a tree or a diagram


def named_in(text: str, slug: str, package: str) -> Named:
    """Return what a document of the project names."""
    parts = [
        named_in_section(part, slug, package) for part in re.split(r"^(?=## |\| )", text, flags=re.MULTILINE)
    ]
    return Named(*(frozenset().union(*sets) for sets in zip(*parts, strict=True)))


@cache
def named_in_section(text: str, slug: str, package: str) -> Named:
    """Return what a section names, or a row of a table."""
    tokens = MarkdownIt().parse(text)
    inline = [child for token in tokens for child in token.children or []]
    links = {str(child.attrs["href"]) for child in inline if child.type == "link_open"}
    trees = [tree(token.content, package) for token in tokens if token.type == "fence" and token.info == ""]
    diagrams = "".join(token.content for token in tokens if token.info == "mermaid")
    in_package = {f"src/{package}/{path}" for path in re.findall(r"<br>(.+?)\"\]", diagrams)}
    return Named(
        words=frozenset(child.content for child in inline if child.type == "code_inline"),
        links=frozenset(link for link in links if not re.match(r"\w+:|#", link)),
        targets=frozenset(re.findall(r"(?:^ *|`|&& )make ([a-z][\w-]*)", text, re.MULTILINE)),
        verbs=frozenset(re.findall(rf"uv run {slug} ([a-z][\w-]*)", text)),
        drawn=frozenset(in_package.union(*trees) - CREATED_LATER),
    )


def fenced(text: str, language: str) -> list[str]:
    """Return the code blocks of a language."""
    tokens = MarkdownIt().parse(text)
    return [token.content for token in tokens if token.type == "fence" and token.info == language]


def tree(block: str, package: str) -> set[str]:
    """Return the paths of a tree: the first word of each line, below its folder."""
    paths, folder = set(), ""
    for line in block.replace("<package>", package).splitlines():
        name = line.split()[0].rstrip(",")
        if not line.startswith(" "):
            folder = name if len(line.split()) == 1 else ""
        paths.add(folder + name if line.startswith(" ") else name)
    return paths


def looks_like_path(word: str, files: frozenset[str]) -> bool:
    """Distinguish a path in the project from a command, a URL or a dotted name."""
    if not re.fullmatch(r"[\w.-][\w./-]*", word):
        return False
    return "/" in word or Path(word).suffix in PARSERS or word in files
