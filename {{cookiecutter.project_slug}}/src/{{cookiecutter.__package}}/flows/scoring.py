"""The scoring flow: rows → predictions of the champion, part by part, → data/predictions."""

import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any, NamedTuple

import polars as pl
from prefect import flow, get_run_logger, task, unmapped
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import PositiveInt

from ..config import Contract
from ..errors import ProjectError
from ..ops import sources
from ..ops.files import File, write_parquet
from ..ops.notify.channel import NOTIFIED
from ..ops.orchestration.policies import RETRY
from ..ops.orchestration.task_runner import task_runner
from ..ops.paths import PREDICTIONS, ROWS
from ..ops.settings import project_root, read_contract, read_params
from ..ops.tracking import reader, registry
from ..steps import ingest

# A name that no column of the table has is put in front where one is called like these.
PREDICTION, VERSION = "prediction", "model_version"
LOADING = Lock()


class ScoringResult(NamedTuple):
    """What a scoring made."""

    rows: int
    version: int
    folder: str


@task(name="read", timeout_seconds=3600, cache_policy=NO_CACHE, **RETRY)
def read_rows(origin: str, null_values: list[str], contract: Contract) -> File:
    """Keep the rows to predict as Parquet, with the types of the contract."""
    with TemporaryDirectory(dir=project_root(), prefix=".scoring-") as scratch:
        snapshot = Path(scratch) / f"rows{sources.suffix(origin)}"
        sources.take(sources.address(origin), None, snapshot)
        with ingest.readable(sources.named(origin)):
            write_parquet({ROWS: ingest.read_table(snapshot, null_values, contract.types)})
    get_run_logger().info("Read %s", sources.named(origin))
    return File.at(ROWS)


@task(name="predict", timeout_seconds=3600, cache_policy=NO_CACHE, **RETRY)
def predict_rows(first: int, count: int, rows: File, version: int, folder: Path) -> int:
    """Predict a part of the rows into a file of its own; return how many they are."""
    part = pl.scan_parquet(rows.full).slice(first, count).collect()
    made = part.with_columns(
        pl.Series(unused(PREDICTION, part.columns), predictor_of(version).predict(part)),
        pl.lit(version).alias(unused(VERSION, part.columns)),
    )
    made.write_parquet(project_root() / folder / f"{first:012}.parquet")
    get_run_logger().info("Predicted rows %d to %d", first + 1, first + part.height)
    return part.height


@flow(name="scoring", task_runner=task_runner(), **NOTIFIED)
def scoring(source: str | None = None, partition: PositiveInt = 1_000_000) -> ScoringResult:
    """Predict rows by the champion; the predictions replace the earlier ones as a whole.

    The rows are those of `source`, a file, a folder or an address, by default the project's own table; each task
    predicts as many of them as `partition` says.
    """
    version = champion_version()
    rows = rows_of(source)
    height: int = pl.scan_parquet(rows.full).select(pl.len()).collect().item()
    unfinished = PREDICTIONS.with_suffix(".unfinished")
    shutil.rmtree(project_root() / unfinished, ignore_errors=True)
    (project_root() / unfinished).mkdir(parents=True)
    parts = predict_rows.map(
        list(range(0, max(height, 1), partition)),
        count=unmapped(partition),
        rows=unmapped(rows),
        version=unmapped(version),
        folder=unmapped(unfinished),
    )
    done = sum(parts.result())
    shutil.rmtree(project_root() / PREDICTIONS, ignore_errors=True)
    (project_root() / unfinished).replace(project_root() / PREDICTIONS)
    said = f"Version {version} predicted {done} rows into {PREDICTIONS}"
    get_run_logger().info(said)
    create_markdown_artifact(said, key="scoring", description="What this run predicted")
    return ScoringResult(done, version, str(PREDICTIONS))


def rows_of(source: str | None) -> File:
    """Read the rows of a source, or of the project's own table."""
    data = read_params().data
    return read_rows(source or data.source, data.null_values, read_contract())


def champion_version() -> int:
    """Return the champion's version; raise ProjectError if there is none."""
    champion = reader.champion().champion
    if champion is None:
        raise ProjectError("There is no champion to predict with; `make train` makes the first.")
    return champion


def unused(name: str, columns: list[str]) -> str:
    """Return the name, behind underscores if a column has it already."""
    return name if name not in columns else unused(f"_{name}", columns)


def predictor_of(version: int) -> Any:
    """Return a registered model, loaded once in a process."""
    with LOADING:
        return _load(version)


@cache
def _load(version: int) -> Any:
    with registry.load(version) as package, package.loaded() as predictor:
        return predictor
