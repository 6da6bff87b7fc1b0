"""The prediction log: what the service was asked and answered, as Parquet files by hour (UTC).

A file has the schema of `ops/predictions.py` and is named `<day>/<hour>/<process>-<number>.parquet`. It is replaced as
a whole by one with more rows until the hour or its size is full, so that it can be read at any time.
"""

import logging
import os
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from io import BytesIO
from itertools import count
from pathlib import Path

import polars as pl

from ..errors import printable
from ..ops import predictions
from .backlog import LIMIT, Answered, Backlog
from .metrics import LOG_DROPPED, LOG_FAILURES, LOGGED

LOGGER = logging.getLogger(__name__)
FLUSH_SECONDS = 5.0
FLUSH_REQUESTS = 2_000
FILE_BYTES = 4_000_000  # in memory; each flush writes the file anew
UNFINISHED = ".unfinished"  # as .gitignore has it
LEFT = 3_600  # seconds after which an unfinished file belongs to a process that was killed


class PredictionLog:
    """Writes answered requests in a thread of its own; requests never wait for it."""

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        """Prepare; at most about `limit` bytes wait to be written."""
        self._folder, self._backlog = folder, Backlog(LOG_DROPPED, limit)
        self.put = self._backlog.put
        self._files: dict[tuple[datetime, tuple[tuple[str, pl.DataType], ...]], HourFile] = {}
        # Process ids repeat, in containers above all.
        self._names = (f"{process}-{number:04}.parquet" for process in [uuid.uuid4().hex[:12]] for number in count())
        self._rows, self._cost, self._problem = 0, 0, ""  # what is in no file yet, and why
        self._thread = threading.Thread(target=self._run, name="prediction log", daemon=True)

    def start(self) -> None:
        """Begin to write, in a thread."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Write what waits, but give up after some seconds."""
        self._backlog.close()
        self._thread.join(seconds)
        if self._thread.is_alive():
            LOGGER.warning("%s is too slow: the last rows of the prediction log are missing", self._folder)

    def _run(self) -> None:
        self._prepare()
        while self._backlog.open:
            self._flush(self._backlog.take(FLUSH_REQUESTS, FLUSH_REQUESTS, FLUSH_SECONDS))
        while last := self._backlog.take(0, FLUSH_REQUESTS, 0):
            self._flush(last)
        if self._rows:
            LOG_DROPPED.inc(self._rows)
            LOGGER.warning("%d rows of the prediction log are lost: %s", self._rows, self._problem)

    def _prepare(self) -> None:
        """Say at once if the folder cannot be written, and delete what killed processes have left in it."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (probe := self._folder / f".{next(self._names)}{UNFINISHED}").touch(mode=0o600)
            probe.unlink()
            for left in self._folder.rglob(f".*{UNFINISHED}"):
                if left.stat().st_mtime < time.time() - LEFT:
                    left.unlink()
        except OSError as error:
            self._report(error)

    def _flush(self, entries: Sequence[Answered]) -> None:
        """Add the requests to their files and write these; what cannot be written is tried again next time."""
        self._rows += sum(entry.rows.height for entry in entries)
        self._cost += sum(entry.cost for entry in entries)
        try:
            for hour, group in by_model(entries):
                table = record(group)
                key = (hour, tuple(table.schema.items()))
                if key not in self._files:
                    self._files[key] = HourFile(self._folder, hour, next(self._names))
                self._files[key].add(table)
            for file in self._files.values():
                self._rows -= file.save()
            now = _hour(datetime.now(UTC))
            self._files = {key: file for key, file in self._files.items() if key[0] >= now and not file.full}
            if self._problem and entries:
                LOGGER.info("The prediction log is written again")
                self._problem = ""
        except OSError as error:
            self._report(error)
            return
        except Exception as error:  # noqa: BLE001 - the log goes on without what cannot become a table
            self._report(error)
            LOG_DROPPED.inc(self._rows)
            self._rows, self._files = 0, {}
        self._backlog.release(self._cost)
        self._cost = 0

    def _report(self, error: Exception) -> None:
        LOG_FAILURES.inc()
        problem = printable(f"{type(error).__name__}: {error}")
        if problem != self._problem:
            LOGGER.warning("The prediction log cannot be written; requests are answered: %s", problem)
        self._problem = problem


class HourFile:
    """A file of the log, which grows."""

    def __init__(self, folder: Path, hour: datetime, name: str) -> None:
        """Prepare; `save` writes it below the folder of the log."""
        self._root, self._path = folder, folder / f"{hour:%Y-%m-%d}" / f"{hour:%H}" / name
        self._tables: list[pl.DataFrame] = []
        self._unsaved = 0
        self.full = False

    def add(self, table: pl.DataFrame) -> None:
        """Add rows to those in memory."""
        self._tables.append(table)
        self._unsaved += table.height

    def save(self) -> int:
        """Replace the file by one with all rows, at once and completely; return how many are new."""
        if not self._unsaved:
            return 0
        whole = pl.concat(self._tables)
        whole.write_parquet(content := BytesIO())
        for folder in (self._root, self._path.parents[1], self._path.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = self._path.with_name(f".{self._path.name}{UNFINISHED}")
        try:
            with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
                stream.write(content.getbuffer())
                stream.flush()
                os.fsync(stream.fileno())
            unfinished.replace(self._path)
        except OSError:
            with suppress(OSError):
                unfinished.unlink()
            raise
        saved, self._unsaved = self._unsaved, 0
        self._tables, self.full = [whole], whole.estimated_size() >= FILE_BYTES
        LOGGED.inc(saved)
        return saved


def by_model(entries: Sequence[Answered]) -> Iterator[tuple[datetime, list[Answered]]]:
    """Yield hours with their requests that one model has answered."""
    groups = defaultdict(list)
    for entry in entries:
        groups[_hour(entry.at), entry.role, id(entry.served)].append(entry)
    for (hour, _, _), group in groups.items():
        yield hour, group


def record(group: Sequence[Answered]) -> pl.DataFrame:
    """Return the rows of requests that one model has answered, in the schema of the log."""
    numbered = [(entry, row) for entry in group for row in range(entry.rows.height)]
    origin = {
        "model_version": group[0].served.version,
        "role": group[0].role,
        "request_id": pl.Series([entry.request_id for entry, _ in numbered]),
        "row": pl.Series([row for _, row in numbered]),
        "predicted_at": pl.Series([entry.at for entry, _ in numbered]),
        "flow_run": None,
    }
    rows, predicted = pl.concat(entry.rows for entry in group), pl.concat(entry.predictions for entry in group)
    return predictions.join(rows, predicted, origin)


def _hour(time: datetime) -> datetime:
    return time.replace(minute=0, second=0, microsecond=0)
