"""The scoring flow: a model predicts the rows of a table, part by part, into a folder or a table of a database."""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import polars as pl
from prefect import flow, get_run_logger, task, unmapped
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run
from pydantic import PositiveInt

from ..config import Contract
from ..errors import ProjectError
from ..ops import destinations, predictions, sources
from ..ops.addresses import redacted
from ..ops.files import File, scratch, write_parquet
from ..ops.markdown import escape
from ..ops.notify.channel import NOTIFIED
from ..ops.orchestration.policies import RETRY, STEP
from ..ops.orchestration.task_runner import task_runner
from ..ops.paths import PROFILE, REJECTS, SCORING
from ..ops.predictions import Origin
from ..ops.settings import artifact_key, project_root, read_params
from ..ops.tracking import registry
from ..steps import ingest, validate
from ..steps.profile import Profile

LOADING = Lock()
# So many values of the raw table are predicted at a time: memory does not grow with the table.
VALUES = 500_000
# What counts the rows of the source; a name that no column has.
NUMBER = "number of the row in the source"


class Loaded(NamedTuple):
    """A registered model, and the profile of its training data if it has one."""

    predictor: Any
    profile: Profile | None


class Rows(NamedTuple):
    """Rows that were read: their file, and the name and the MD5 of their source."""

    file: Path
    source: str
    md5: str

    def scan(self) -> pl.LazyFrame:
        """Scan them."""
        return pl.scan_parquet(project_root() / self.file, glob=False)


class Batch(NamedTuple):
    """The rows to predict: their file, how many they are, how many are rejected and why, and the id of both."""

    file: Path
    height: int
    rejected: int
    sentences: list[str]
    request_id: str


@flow(name="scoring", task_runner=task_runner(), **NOTIFIED)
def scoring(  # noqa: PLR0913, PLR0917 - parameters of a deployment
    source: str | None = None,
    to: str | None = None,
    query: str | None = None,
    table: str = "predictions",
    version: PositiveInt | None = None,
    strict: bool = False,  # noqa: FBT001, FBT002
    partition: PositiveInt | None = None,
) -> int:
    """Predict the rows of a table with the champion or a version; return how many.

    `source` is a file, a folder or an address, with `query` that of a database; by default the project's own table. The
    predictions replace those in the folder `to`, or are added to the `table` of the database `to`, where a second run
    with the same rows and model replaces the first. Rows that break the contract go to reports/rejects.parquet; if
    `strict`, they stop the flow. Each task predicts `partition` rows.
    """
    target = destinations.address(to)
    number, role = (version, "version") if version else (champion_version(), "champion")
    with scratch(project_root() / SCORING, "scoring") as folder:
        rows = read_rows(source, query, contract_of(number), folder / "read.parquet")
        batch = validate_rows(rows, number, (target, table), strict=strict)
        origin = Origin(number, role, batch.request_id, str(flow_run.id))
        files = predict_batch(batch, origin, partition)
        write_predictions(files, batch, (target, table))
    rejected = f"; {batch.rejected} rows break the contract and are in {REJECTS}" if batch.rejected else ""
    summary = f"Version {number} predicted {batch.height} rows into {redacted(target)}{rejected}"
    get_run_logger().info(summary)
    report = "\n".join([escape(summary), *(f"- {escape(sentence)}" for sentence in batch.sentences)])
    create_markdown_artifact(report, key=artifact_key("scoring"), description="What this run predicted")
    return batch.height


def champion_version() -> int:
    """Return the champion's version; raise ProjectError if there is none."""
    champion = registry.holder(registry.CHAMPION)
    if champion is None:
        raise ProjectError("There is no champion yet; `make train` trains one.")
    return champion


@task(name="read", **STEP)
def read_rows(source: str | None, query: str | None, contract: Contract, path: Path) -> Rows:
    """Store the rows of a source, by default the project's table, as Parquet; they are numbered.

    They have the types of the contract or, if a value of a CSV file does not fit its type, are text.
    """
    data = read_params().data
    address = sources.address(source or data.source)
    name = redacted(address)
    with scratch(project_root() / SCORING, "reading") as folder:
        snapshot = folder / f"source{sources.suffix(address, query)}"
        sources.take(address, query, snapshot)
        with ingest.readable(name):
            ingest.read(snapshot, data.null_values, contract.types, lambda rows: write_parquet({path: rows}), NUMBER)
            rows = Rows(path, name, File.at(snapshot).md5)
            notes = ingest.notes(snapshot, rows.scan())
    for line in (f"Read {name}", *notes):
        get_run_logger().info(line)
    return rows


@task(name="validate", **STEP)
def validate_rows(rows: Rows, version: int, target: tuple[str, str], *, strict: bool) -> Batch:
    """Store the rows that the contract of the model admits, with its types, and those that it rejects."""
    predictor = predictor_of(version)
    split = validate.split(rows.scan(), contract_of(version), predictor.recipe.inputs.columns, NUMBER)
    example = split.admitted.head(0).drop(NUMBER).collect()
    columns = predictions.record(example, predictions.predict(predictor, example), Origin(None, "", ""))
    destinations.check(*target, columns.schema)
    admitted, rejected = (rows.file.with_name(f"{name}.parquet") for name in ("rows", "rejected"))
    write_parquet({admitted: split.admitted, rejected: split.rejected})
    height = pl.scan_parquet(admitted, glob=False).select(pl.len()).collect().item()
    if split.height and (strict or not height) and split.sentences:
        raise ProjectError(
            f"{split.height - height} of the {split.height} rows of {rows.source} break the contract of version "
            f"{version}; nothing is predicted.",
            *split.sentences,
        )
    for sentence in split.sentences:
        get_run_logger().warning("Rejected: %s", sentence)
    request_id = hashlib.sha256(f"{rows.md5} {version}".encode()).hexdigest()[:32]
    return Batch(admitted, height, split.height - height, split.sentences, request_id)


def predict_batch(batch: Batch, origin: Origin, partition: int | None) -> list[Path]:
    """Predict rows, part by part; show the progress in the terminal and in Prefect."""
    width = len(pl.read_parquet_schema(batch.file))
    count = partition or max(VALUES // width, 1)
    starts = list(range(0, max(batch.height, 1), count))
    progress: Any = create_progress_artifact(
        0, key=artifact_key("scoring-progress"), description="Rows predicted, in percent"
    )
    at = datetime.now(UTC)
    parts: Iterable[Path]
    if len(starts) == 1:  # the processes of a task runner would take longer to start
        parts = [predict_rows(0, count, batch.file, origin, at)]
    else:
        futures = predict_rows.map(
            starts, unmapped(count), unmapped(batch.file), origin=unmapped(origin), at=unmapped(at)
        )
        parts = (future.result() for future in futures)
    files = []
    for start, part in zip(starts, parts, strict=True):
        files.append(part)
        done = min(start + count, batch.height)
        get_run_logger().info("Predicted %d of %d rows", done, batch.height)
        update_progress_artifact(progress, 100 * done / max(batch.height, 1))
    return files


@task(name="predict", cache_policy=NO_CACHE, **RETRY)
def predict_rows(first: int, count: int, file: Path, origin: Origin, at: datetime) -> Path:
    """Predict some of the rows of a file into another beside it; return that."""
    rows = pl.scan_parquet(file, glob=False).slice(first, count).collect()
    raw, numbers = rows.drop(NUMBER), rows[NUMBER]
    predicted = predictions.predict(predictor_of(origin.model_version), raw)
    table = predictions.record(raw, predicted, origin, at=at)
    part = file.with_name(f"{first:012}.parquet")
    table.with_columns(numbers.alias(predictions.unused("row", raw.columns))).write_parquet(part)
    return part


@task(name="write", **STEP)
def write_predictions(files: Sequence[Path], batch: Batch, target: tuple[str, str]) -> None:
    """Put the rejected rows and then the predictions in their place."""
    rejects = project_root() / REJECTS
    if batch.rejected:
        write_parquet({REJECTS: pl.scan_parquet(batch.file.with_name("rejected.parquet"), glob=False)})
    else:
        rejects.unlink(missing_ok=True)
    destinations.write(*target, files, batch.request_id)


def contract_of(version: int) -> Contract:
    """Return the contract of a registered model, whose class is that of the code packed with it."""
    return Contract.model_validate(predictor_of(version).recipe.contract.model_dump())


def predictor_of(version: int | None) -> Any:
    """Return a registered model, which each process loads once."""
    return load(version).predictor


def load(version: int | None) -> Loaded:
    """Return a registered model and its profile, which each process downloads once."""
    with LOADING:
        return _load(version)


@cache
def _load(version: int) -> Loaded:
    with registry.load(version) as package, package.loaded() as predictor:
        return Loaded(predictor, Profile.read(package.data / PROFILE))
