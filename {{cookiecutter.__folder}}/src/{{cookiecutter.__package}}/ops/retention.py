"""What grows for months, and how long it is kept: RETENTION_DAYS in .env."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from ..errors import ProjectError
from .settings import Settings, read_settings

# The prediction log names its files or folders by date and hour.
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def collect(*, dry_run: bool, database: str | None = None) -> Iterator[str]:
    """Delete what is older than RETENTION_DAYS and needed by nothing; yield a sentence for each store.

    Registered versions with their runs and files stay, and so does all that DVC tracks. `dry_run` only counts.
    `database` is that of the MLflow server, if there is one.
    """
    settings = read_settings()
    if database and not settings.mlflow_tracking_uri.startswith("http"):
        raise ProjectError("--database is that of an MLflow server, but MLFLOW_TRACKING_URI in .env names none.")
    before = datetime.now(UTC) - timedelta(days=settings.retention_days)
    yield f"{'Would delete' if dry_run else 'Deleted'} what is from before {before:%Y-%m-%d} (RETENTION_DAYS):"
    yield from _prefect(settings, before, dry_run=dry_run)
    yield from _mlflow(settings, before, database, dry_run=dry_run)
    if folder := settings.prediction_log:
        logged = [file for file in folder.rglob("*.parquet") if _is_before(file.relative_to(folder), before.date())]
        yield f"  prediction log: {_delete(logged, folder, dry_run=dry_run):,} files in {folder}"


def _prefect(settings: Settings, before: datetime, *, dry_run: bool) -> Iterator[str]:
    if settings.prefect_api_url:
        yield f"  Prefect: nothing; its server at {settings.prefect_api_url} has a database of its own"
        return
    from .orchestration import vacuum  # noqa: PLC0415 - takes seconds

    runs, events = vacuum.vacuum(before, dry_run=dry_run)
    storage = settings.prefect_home / "storage"
    old = [file for file in storage.rglob("*") if file.is_file() and file.stat().st_mtime < before.timestamp()]
    results = _delete(old, storage, dry_run=dry_run)
    yield f"  Prefect: {runs:,} flow runs with their logs and artifacts, {events:,} events, {results:,} cached results"
    if not dry_run:
        _shrink(settings.prefect_home / "prefect.db")


def _mlflow(settings: Settings, before: datetime, database: str | None, *, dry_run: bool) -> Iterator[str]:
    if settings.mlflow_tracking_uri.startswith("http") and not database:
        yield "  MLflow: nothing; its server deletes nothing for good, but `gc --database ADDRESS` of its database does"
        return
    from .tracking import garbage  # noqa: PLC0415 - takes seconds

    runs, models, kept = garbage.collect(before, dry_run=dry_run, database=database)
    needed = f"; kept {kept:,} that registered versions need" if kept else ""
    yield f"  MLflow: {runs:,} deleted runs and {models:,} models with their artifacts{needed}"
    if settings.mlflow_file and not dry_run:
        _shrink(settings.mlflow_file)


def _is_before(path: Path, day: date) -> bool:
    found = DAY.search(path.as_posix())
    with suppress(ValueError):
        return found is not None and date.fromisoformat(found[0]) < day
    return False


def _delete(files: list[Path], root: Path, *, dry_run: bool) -> int:
    """Delete files, and folders below the root that have become empty; return how many files."""
    for file in () if dry_run else files:
        file.unlink(missing_ok=True)
        for folder in file.parents[: len(file.relative_to(root).parts) - 1]:
            with suppress(OSError):  # it has other files
                folder.rmdir()
    return len(files)


def _shrink(database: Path) -> None:
    """Give the space of deleted rows back to the disk, unless another program uses the database right now."""
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(database, timeout=10)) as connection:
        connection.execute("VACUUM")
