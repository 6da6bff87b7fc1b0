"""Point the project at a new table: its snapshot, params.yaml and contract.yaml change together, or not at all."""

import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import dotenv

from ...config import Problem
from ...errors import ProjectError
from ...model.predictor import Recipe
from ...steps import ingest
from .. import sources
from ..settings import project_root, read_contract, read_params, state_dir
from ..versioning import dvc
from . import infer, profile, rewriting

RAW = Path("data/raw")


class AdoptRequest(NamedTuple):
    """The table, the column to predict, and what its user knows about them."""

    origin: str
    target: str
    query: str | None = None
    problem: Problem | None = None
    group: str | None = None
    time: str | None = None


def adopt(request: AdoptRequest) -> list[str]:
    """Take a snapshot of the table and decide how to learn from it; return sentences that say what was decided and why.

    Raises ProjectError, and leaves everything as it was, if no model can be trained on the table.
    """
    root = project_root()
    (root / RAW).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root / RAW, prefix=".adopting-") as folder:
        snapshot, source = _take_snapshot(request, Path(folder))
        with ingest.readable(request.origin):
            null_values, decision, duplicates = _inspect(snapshot, request)
            notes = ingest.notes(snapshot, ingest.read_table(snapshot, null_values))
        params = rewriting.params_yaml(_data(request, source, null_values), _split(request), decision)
        files = "params.yaml", "contract.yaml", str(source), f"{source}.dvc", f"{RAW}/.gitignore"
        with _restored_on_error([root / file for file in files]):
            if snapshot != root / source:
                snapshot.replace(root / source)
            dvc.track(source)
            (root / "params.yaml").write_text(params, encoding="utf-8")
            (root / "contract.yaml").write_text(rewriting.contract_yaml(decision.contract), encoding="utf-8")
            Recipe.of(read_params(), read_contract())
            if sources.is_secret(request.origin):
                dotenv.set_key(state_dir() / ".env", sources.SECRET, request.origin)
    rows = decision.contract.rows
    return [
        f"Table: {source}, {len(decision.contract.columns)} columns.",
        *notes,
        *decision.reasons,
        *([f"Text that counts as missing: {', '.join(map(repr, null_values))}."] if null_values else []),
        *([f"{duplicates} rows repeat an earlier one; they are kept."] if duplicates else []),
        f"contract.yaml allows {rows.min} to {rows.max} rows, and wider ranges than the table has: review it.",
    ]


def _take_snapshot(request: AdoptRequest, folder: Path) -> tuple[Path, Path]:
    """Return the snapshot, and its place in the project: in the folder, unless it is a file of data/raw already."""
    origin, query = request.origin, request.query
    if query is None and "://" not in origin and not Path(origin).expanduser().is_dir():
        file = Path(origin).expanduser().resolve()
        if file.is_relative_to(project_root() / RAW) and file.is_file():
            return file, file.relative_to(project_root())
        origin = str(file)
    ending = sources.suffix(origin, query)
    name = "query" if query is not None else Path(origin.partition("?")[0].rstrip("/")).name.lower()
    name = re.sub(r"[^\w-]+", "-", name.removesuffix(ending)).strip("-") or "table"
    snapshot = folder / "snapshot"
    sources.take(origin, query, snapshot)
    # The content decides, whatever the name says.
    ending = ".parquet" if ingest.is_parquet(snapshot) else ending if ending in ingest.TEXT else ".csv"
    source = RAW / f"{name}{ending}"
    return snapshot.rename(folder / source.name), source


def _inspect(snapshot: Path, request: AdoptRequest) -> tuple[list[str], infer.Decision, int]:
    """Return what counts as missing, what was decided, and the number of duplicate rows."""
    null_values = profile.missing_words(ingest.read_table(snapshot))
    table = ingest.read_table(snapshot, null_values)
    if len(names := table.collect_schema().names()) == 1:
        raise ProjectError(f"'{request.origin}' has one column, {names[0]!r}; separate columns by commas.")
    types = {name: kind for name, kind in profile.types_of(table).items() if kind}
    # To read values with their types is much faster than to read text and cast it.
    profiles = ingest.read(snapshot, null_values, types, profile.profile)
    needed = [name for name in (request.group, request.time) if name]
    decision = infer.decide(profiles, request.target, request.problem, needed)
    return null_values, decision, profile.duplicates(table, list(decision.contract.columns))


def _data(request: AdoptRequest, source: Path, null_values: list[str]) -> dict[str, object]:
    """Return what params.yaml says about the table; a file that was copied has no origin to read again."""
    origin: str | None = request.origin
    if sources.is_secret(request.origin):
        origin = sources.SECRET
    elif "://" not in request.origin:
        path = Path(request.origin).expanduser().resolve()
        origin = str(path) if path.is_dir() else None
    return {
        "source": str(source),
        "origin": origin,
        "query": request.query,
        "null_values": null_values,
        "target": request.target,
    }


def _split(request: AdoptRequest) -> dict[str, str] | None:
    if request.group:
        return {"by": "group", "column": request.group}
    return {"by": "time", "column": request.time} if request.time else None


@contextmanager
def _restored_on_error(files: Iterable[Path]) -> Iterator[None]:
    """Put files back as they were if the block fails."""
    with tempfile.TemporaryDirectory(dir=project_root() / RAW, prefix=".backup-") as folder:
        backups = {file: Path(folder) / str(index) for index, file in enumerate(files)}
        for file, backup in backups.items():
            if file.exists():
                shutil.copyfile(file, backup)
        try:
            yield
        except BaseException:
            for file, backup in backups.items():
                file.unlink(missing_ok=True)
                if backup.exists():
                    backup.replace(file)
            raise
