"""Files of the project: identified by their content, and written completely or not at all."""

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import polars as pl
from pydantic import BaseModel

from .settings import project_root
from .versioning.content import md5


class File(BaseModel):
    """A file at some point in time: its path below the project's root, and the MD5 of its content."""

    path: Path
    md5: str

    @classmethod
    def at(cls, path: Path) -> Self:
        """Record the file as it is now; raise FileNotFoundError if it does not exist."""
        return cls(path=path, md5=md5(project_root() / path))

    @classmethod
    def all_at(cls, paths: Iterable[Path]) -> list[Self]:
        """Record several files in parallel: hashing releases the GIL."""
        with ThreadPoolExecutor() as pool:
            return list(pool.map(cls.at, paths))

    @property
    def full(self) -> Path:
        """The absolute path."""
        return project_root() / self.path

    def scan(self) -> pl.LazyFrame:
        """Scan a Parquet file; its path may have characters that Polars would read as a pattern."""
        return pl.scan_parquet(self.full, glob=False)

    def intact(self) -> bool:
        """Tell whether the file is unchanged."""
        return self.full.is_file() and md5(self.full) == self.md5


@contextmanager
def scratch(parent: Path, purpose: str) -> Iterator[Path]:
    """Yield a folder for unfinished files; delete those that killed processes have left. git ignores them."""
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f".{purpose}-*"):
        with suppress(OSError), _locked(left):
            shutil.rmtree(left)
    with TemporaryDirectory(dir=parent, prefix=f".{purpose}-") as folder, _locked(Path(folder)):
        yield Path(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a lock that ends with the process; raise BlockingIOError if another process holds it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def write_parquet(frames: Mapping[Path, pl.LazyFrame]) -> None:
    """Write Parquet files without holding the tables in memory, one by one: two at once need twice the memory."""
    unfinished = {path: _unfinished(path) for path in frames}
    for path, file in unfinished.items():
        frames[path].sink_parquet(file, mkdir=True, engine="streaming")
    for path, file in unfinished.items():
        file.replace(project_root() / path)


def write_text(path: Path, text: str) -> None:
    """Write a text."""
    unfinished = _unfinished(path)
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(project_root() / path)


def copy(source: Path, path: Path) -> None:
    """Copy a file."""
    unfinished = _unfinished(path)
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, unfinished)
    unfinished.replace(project_root() / path)


def _unfinished(path: Path) -> Path:
    return (project_root() / path).with_suffix(".unfinished")
