"""Files that a task writes: each as a whole or not at all."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from ..settings import root


def write(frames: Mapping[Path, pl.LazyFrame]) -> None:
    """Write Parquet files without holding the tables in memory: one by one, for two at once hold back twice as much."""
    unfinished = {path: _unfinished(path) for path in frames}
    for path, file in unfinished.items():
        frames[path].sink_parquet(file, mkdir=True, engine="streaming")
    for path, file in unfinished.items():
        file.replace(root() / path)


def copy(source: Path, path: Path) -> None:
    """Copy a file."""
    unfinished = _unfinished(path)
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, unfinished)
    unfinished.replace(root() / path)


def _unfinished(path: Path) -> Path:
    return (root() / path).with_suffix(".unfinished")
