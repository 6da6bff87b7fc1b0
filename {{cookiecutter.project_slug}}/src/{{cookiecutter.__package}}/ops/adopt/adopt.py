"""Make the project that of a new table: its snapshot, params.yaml and contract.yaml, all of them or none."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import dotenv

from ...config import Problem
from ...steps import ingest
from .. import sources
from ..settings import project_root, state_dir
from ..versioning import dvc
from . import infer, profile, rewriting

RAW = Path("data/raw")


class AdoptRequest(NamedTuple):
    """What somebody said of the table."""

    origin: str
    target: str
    query: str | None = None
    problem: Problem | None = None
    group: str | None = None
    time: str | None = None


def adopt(wish: AdoptRequest) -> list[str]:
    """Take a snapshot of the table, decide what it is, and write it down; return the sentences that say what and why.

    Raises ProjectError, and has changed nothing, if a model cannot be learned from it.
    """
    (project_root() / RAW).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=project_root() / RAW, prefix=".adopting-") as folder:
        taken, source = _snapshot(wish, Path(folder))
        with ingest.readable(wish.origin):
            words, decision, repeated = _look(taken, wish)
        by = ("group", wish.group) if wish.group else ("time", wish.time) if wish.time else None
        written = {
            project_root() / "params.yaml": rewriting.params(_data(wish, source, words), by, decision),
            project_root() / "contract.yaml": rewriting.contract(decision.contract),
        }
        with _undone(
            {*written, project_root() / source, project_root() / f"{source}.dvc", project_root() / RAW / ".gitignore"}
        ):
            if taken != project_root() / source:
                taken.replace(project_root() / source)
            dvc.track(source)
            for file, text in written.items():
                new = Path(folder) / file.name
                new.write_text(text, encoding="utf-8")
                new.replace(file)
            if sources.secret(wish.origin):
                dotenv.set_key(state_dir() / ".env", sources.SECRET, wish.origin)
    rows = decision.contract.rows
    return [
        f"Table: {source}, {len(decision.contract.columns)} columns.",
        *decision.reasons,
        *([f"Missing values are written {', '.join(map(repr, words))}."] if words else []),
        *([f"{repeated} rows repeat an earlier one; they are kept."] if repeated else []),
        f"contract.yaml wants {rows.min} to {rows.max} rows, and ranges have room at either end: review it.",
    ]


def _data(wish: AdoptRequest, source: Path, words: list[str]) -> dict[str, object]:
    """Return what params.yaml says of the table; a file that was copied has no origin to read again."""
    copied = "://" not in wish.origin and not Path(wish.origin).expanduser().is_dir()
    if copied:
        origin = None
    elif sources.secret(wish.origin):
        origin = sources.SECRET
    else:
        origin = wish.origin if "://" in wish.origin else str(Path(wish.origin).expanduser().resolve())
    data = {"source": str(source), "null_values": words, "target": wish.target}
    return data | {"query": wish.query, "origin": origin}


def _snapshot(wish: AdoptRequest, folder: Path) -> tuple[Path, Path]:
    """Bring the table into the folder, or leave it where it is the project's own; return where it is and will be."""
    origin = Path(wish.origin).expanduser()
    if wish.query is None and "://" not in wish.origin and not origin.is_dir():
        own = (Path.cwd() / origin).resolve()
        if own.is_relative_to(project_root() / RAW) and own.is_file():
            return own, own.relative_to(project_root())
        wish = wish._replace(origin=str(own))
    end = sources.suffix(wish.origin, wish.query)
    stem = Path(wish.origin.partition("?")[0].rstrip("/")).name.lower() if wish.query is None else "query"
    taken = folder / "taken"
    sources.take(wish.origin, wish.query, taken)
    plain = re.sub(r"[^\w-]+", "-", stem.removesuffix(end)).strip("-") or "table"
    source = RAW / f"{plain}{end or _ending(taken)}"
    return taken.rename(folder / source.name), source


def _ending(file: Path) -> str:
    """Tell Parquet by its first bytes; all else may be text."""
    with file.open("rb") as opened:
        return ".parquet" if opened.read(4) == b"PAR1" else ".csv"


def _look(taken: Path, wish: AdoptRequest) -> tuple[list[str], infer.Decision, int]:
    text = ingest.read_table(taken)
    words = profile.missing_words(text)
    types = profile.types_of(profile.without(text, words))
    known = {name: kind for name, kind in types.items() if kind}
    # Typed when read is much faster than read as text and cast.
    found = ingest.read(taken, words, known, profile.profile)
    decision = infer.decide(found, wish.target, wish.problem, [name for name in (wish.group, wish.time) if name])
    return words, decision, profile.duplicates(ingest.read_table(taken, words), list(decision.contract.columns))


@contextmanager
def _undone(files: set[Path]) -> Iterator[None]:
    """Put files back as they were if the block fails."""
    with tempfile.TemporaryDirectory(dir=project_root() / RAW, prefix=".kept-") as folder:
        kept = {file: Path(folder) / str(index) for index, file in enumerate(files) if file.exists()}
        for file, copy in kept.items():
            shutil.copyfile(file, copy)
        try:
            yield
        except BaseException:
            for file in files:
                file.unlink(missing_ok=True)
                if file in kept:
                    kept[file].replace(file)
            raise
