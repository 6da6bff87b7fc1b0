"""Point the project at a new table: its snapshot, params.yaml and contract.yaml change together, or not at all."""

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import dotenv
import polars as pl

from ...config import Contract, Params, Problem
from ...errors import ProjectError
from ...model import casting
from ...model.predictor import Recipe
from ...steps import grouping, ingest, leakage
from .. import sources
from ..addresses import SECRET, is_address, is_secret, redacted
from ..files import scratch
from ..paths import CONTRACT, PARAMS, RAW
from ..settings import load_yaml, parse, project_root, read_params, state_dir
from ..versioning import dvc
from . import infer, profile, rewriting, spelling

LENGTH = 230  # bytes; a file system allows 255, and DVC and `fetch` add to the name


class AdoptRequest(NamedTuple):
    """The table, the column to predict, and what its user knows about them."""

    origin: str
    target: str
    query: str | None = None
    problem: Problem | None = None
    group: str | None = None
    time: str | None = None
    missing: Sequence[str] = ()
    hints: spelling.Hints = spelling.Hints()


def adopt(request: AdoptRequest) -> list[str]:
    """Take a snapshot of the table and decide how to learn from it; return sentences that say what was decided and why.

    Raises ProjectError, and leaves everything as it was, if no model can be trained on the table.
    """
    root = project_root()
    # What cannot be rewritten later is said now.
    read_params()
    if (root / CONTRACT).is_dir():
        raise ProjectError(f"{CONTRACT} is a folder, where the contract of the table has to be written: remove it.")
    _check_secret(request.origin)
    with scratch(root / RAW, "adopting") as folder:
        snapshot, source = _take_snapshot(request, folder)
        with ingest.readable(redacted(request.origin)):
            table, null_values, decision, duplicates, sentences = _inspect(snapshot, request)
            notes = ingest.notes(snapshot, table)
            leaks = _leaks(table, decision, request)
        params, contract = folder / PARAMS, folder / CONTRACT
        params.write_text(
            rewriting.params_yaml(_data(request, source, null_values), _split(request), decision), encoding="utf-8"
        )
        contract.write_text(rewriting.contract_yaml(decision.contract), encoding="utf-8")
        Recipe.of(parse(load_yaml(params), PARAMS.name, Params), parse(load_yaml(contract), CONTRACT.name, Contract))
        pointer = dvc.store(snapshot, source)
        if is_secret(request.origin):
            (state_dir() / ".env").touch(mode=0o600)
            dotenv.set_key(state_dir() / ".env", SECRET, request.origin)
        # All is written: whenever the process is killed, no file is half the old and half the new.
        snapshot.replace(root / source)
        pointer.replace(root / f"{source}.dvc")
        contract.replace(root / CONTRACT)
        params.replace(root / PARAMS)
    rows = decision.contract.rows
    return [
        f"Table: {source}, {len(decision.contract.columns)} columns.",
        *notes,
        *decision.reasons,
        *sentences,
        *leaks,
        *([f"Text that counts as missing: {', '.join(map(repr, null_values))}."] if null_values else []),
        *([f"{duplicates} rows repeat an earlier one; they are kept."] if duplicates else []),
        f"contract.yaml allows {rows.min} to {rows.max} rows, and wider ranges than the table has: review it.",
    ]


def _check_secret(origin: str) -> None:
    """Raise ProjectError if a secret address, kept in .env, would be read as another one."""
    if is_secret(origin) and "${" in origin:
        raise ProjectError(
            "In .env, ${ begins the name of a variable: write the $ in the address " + f"'{redacted(origin)}' as %24."
        )
    if is_secret(origin) and os.environ.get(SECRET, origin) != origin:
        raise ProjectError(f"{SECRET} in the environment is another address, and wins over .env: unset it first.")


def _take_snapshot(request: AdoptRequest, folder: Path) -> tuple[Path, Path]:
    """Return the snapshot, in the folder, and its place in the project."""
    origin, query = request.origin, request.query
    if query is None and not is_address(origin) and not Path(origin).expanduser().is_dir():
        file = Path(origin).expanduser().resolve()
        if file.is_relative_to(project_root() / RAW) and file.is_file():
            source = file.relative_to(project_root())
            if not _is_portable(file.name):
                raise ProjectError(f"Rename {str(source)!r}: a name must be UTF-8, and at most {LENGTH} bytes long.")
            return _linked(file, folder / file.name), source
        origin = str(file)
    ending = sources.suffix(origin, query)
    name = "query" if query is not None else Path(redacted(origin).rstrip("/")).name.lower()
    name = re.sub(r"[^\w-]+", "-", name.removesuffix(ending))[:50].strip("-") or "table"
    snapshot = folder / "snapshot"
    sources.take(origin, query, snapshot)
    # The content decides, whatever the name says.
    ending = ingest.form(snapshot) or (ending if ending in ingest.TEXT else ".csv")
    source = RAW / f"{name}{ending}"
    return snapshot.rename(folder / source.name), source


def _is_portable(name: str) -> bool:
    """Tell whether YAML and JSON can hold the name of a file, and the file system that of its .dvc file."""
    try:
        return len(name.encode()) <= LENGTH
    except UnicodeEncodeError:
        return False


def _linked(file: Path, link: Path) -> Path:
    """Link to a file instead of copying it, where the file system can."""
    try:
        link.hardlink_to(file)
    except OSError:
        shutil.copyfile(file, link)
    return link


def _inspect(snapshot: Path, request: AdoptRequest) -> tuple[pl.LazyFrame, list[str], infer.Decision, int, list[str]]:
    """Return the table as text, what counts as missing, what was decided, the number of duplicates, and sentences."""
    null_values = sorted({*profile.missing_words(ingest.read_table(snapshot, request.missing)), *request.missing})
    # Every look at a CSV would parse all of it again.
    copy = snapshot.with_name(f"{snapshot.name}.parquet")
    ingest.read_table(snapshot, null_values).sink_parquet(copy)
    table = pl.scan_parquet(copy, glob=False)
    if len(names := table.collect_schema().names()) == 1:
        raise ProjectError(f"'{redacted(request.origin)}' has one column, {names[0]!r}; separate columns by commas.")
    types = profile.types_of(table)
    spelled, sentences = spelling.find(snapshot, table, types, request.target, request.hints)
    profiles = profile.profile(table, spelled)
    needed = [name for name in (request.group, request.time) if name]
    decision = infer.decide(profiles, request.target, request.problem, needed)
    if request.time:
        _check_time(next(column for column in profiles if column.name == request.time))
    labels = [each.name for each in profiles if each.type == "string" and each.distinct <= infer.NAMED_CLASSES]
    sentences += spelling.lookalikes(table, labels)
    duplicates = profile.duplicates(table, list(decision.contract.columns))
    return table, null_values, decision, duplicates, sentences


def _check_time(column: profile.Profile) -> None:
    if column.type in {"string", "boolean"}:
        raise ProjectError(f"--time is '{column.name}', whose type is {column.type}; it must be a date or a number.")
    if column.nullable:
        missing = column.rows - column.present
        raise ProjectError(f"--time is '{column.name}', which is missing in {missing} row(s); all rows need it.")


def _leaks(table: pl.LazyFrame, decision: infer.Decision, request: AdoptRequest) -> list[str]:
    """Return sentences about columns that give the target away, and rows that belong together."""
    contract, target = decision.contract, request.target
    unseen = {target, request.group, request.time, *decision.drop}
    seen = [name for name in contract.columns if name not in unseen]
    rows = casting.conform(table, contract)
    belonging = [] if request.group or request.time else grouping.notes(rows, target)
    return [*leakage.notes(rows, seen, target, decision.problem), *belonging]


def _data(request: AdoptRequest, source: Path, null_values: list[str]) -> dict[str, object]:
    """Return what params.yaml says about the table; a file that was copied has no origin to read again."""
    origin: str | None = request.origin
    if is_secret(request.origin):
        origin = SECRET
    elif not is_address(request.origin):
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
