"""The scoring flow: the champion predicts rows, part by part, into data/predictions."""

import shutil
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import polars as pl
from prefect import flow, get_run_logger, task, unmapped
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import PositiveInt

from ..config import Contract
from ..errors import ProjectError
from ..ops import sources
from ..ops.addresses import redacted
from ..ops.files import File, scratch, write_parquet
from ..ops.notify.channel import NOTIFIED
from ..ops.orchestration.policies import RETRY
from ..ops.orchestration.task_runner import task_runner
from ..ops.paths import PREDICTIONS, ROWS
from ..ops.settings import project_root, read_contract, read_params
from ..ops.tracking import registry
from ..steps import ingest

LOADING = Lock()


@flow(name="scoring", task_runner=task_runner(), **NOTIFIED)
def scoring(source: str | None = None, partition: PositiveInt = 1_000_000) -> int:
    """Predict the rows of a table with the champion, replacing all earlier predictions; return how many rows.

    A row in which everything is missing, such as a blank line, gets no prediction; the log says how many there are.
    `source` is a file, a folder or an address, by default the project's own table. Each task predicts `partition` rows.
    """
    version = champion_version()
    rows = rows_to_predict(source)
    height: int = rows.scan().select(pl.len()).collect().item()
    unfinished = PREDICTIONS.with_suffix(".unfinished")
    shutil.rmtree(project_root() / unfinished, ignore_errors=True)
    (project_root() / unfinished).mkdir(parents=True)
    counts = predict_rows.map(
        list(range(0, max(height, 1), partition)),
        count=unmapped(partition),
        rows=unmapped(rows),
        version=unmapped(version),
        folder=unmapped(unfinished),
    )
    predicted: int = sum(counts.result())
    shutil.rmtree(project_root() / PREDICTIONS, ignore_errors=True)
    (project_root() / unfinished).replace(project_root() / PREDICTIONS)
    summary = f"Version {version} predicted {predicted} rows into {PREDICTIONS}"
    get_run_logger().info(summary)
    create_markdown_artifact(summary, key="scoring", description="What this run predicted")
    return predicted


def champion_version() -> int:
    """Return the champion's version; raise ProjectError if there is none."""
    champion = registry.champion().champion
    if champion is None:
        raise ProjectError("There is no champion yet; `make train` trains one.")
    return champion


def rows_to_predict(source: str | None) -> File:
    """Read the rows of a source, or of the project's own table."""
    data = read_params().data
    return read_rows(source or data.source, data.null_values, read_contract())


@task(name="read", timeout_seconds=3600, cache_policy=NO_CACHE, **RETRY)
def read_rows(source: str, null_values: list[str], contract: Contract, path: Path = ROWS) -> File:
    """Store the rows as Parquet, with the types of the contract or, if a value does not fit, as text."""
    address = sources.address(source)
    with scratch(project_root(), "scoring") as folder:
        snapshot = folder / f"rows{sources.suffix(address)}"
        sources.take(address, None, snapshot)
        with ingest.readable(redacted(address)):
            ingest.read(snapshot, null_values, contract.types, lambda rows: write_parquet({path: rows}))
            notes = ingest.notes(snapshot, pl.scan_parquet(project_root() / path))
    for line in (f"Read {redacted(address)}", *notes):
        get_run_logger().info(line)
    return File.at(path)


@task(name="predict", timeout_seconds=3600, cache_policy=NO_CACHE, **RETRY)
def predict_rows(first: int, count: int, rows: File, version: int, folder: Path) -> int:
    """Predict some of the rows into a file of the folder; return how many."""
    part = rows.scan().slice(first, count).collect()
    predictions = part.with_columns(
        pl.Series(unused("prediction", part.columns), predictor_of(version).predict(part)),
        pl.lit(version).alias(unused("model_version", part.columns)),
    )
    predictions.write_parquet(project_root() / folder / f"{first:012}.parquet")
    get_run_logger().info("Predicted rows %d to %d", first + 1, first + part.height)
    return part.height


def unused(name: str, columns: list[str]) -> str:
    """Return the name, with underscores in front if a column has it already."""
    return name if name not in columns else unused(f"_{name}", columns)


def predictor_of(version: int) -> Any:
    """Return a registered model, which each process loads once."""
    with LOADING:
        return _load(version)


@cache
def _load(version: int) -> Any:
    with registry.load(version) as package, package.loaded() as predictor:
        return predictor
