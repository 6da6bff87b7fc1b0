"""Errors of the machine, such as a full disk, in one sentence; all others keep their traceback."""

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ProjectError
from .settings import project_root, read_settings, state_dir

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# As libraries say it that raise errors of their own: SQLite, Polars, MLflow.
FULL = ("No space left on device", "Disk quota exceeded", "File too large", "database or disk is full")
REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE}
REFUSED |= {errno.EISDIR, errno.ENOTDIR, errno.ELOOP}
# As SQLite says it, without the name of the file.
READ_ONLY = ("attempt to write a readonly database", "unable to open database file")

LEAST = 10_000_000  # bytes; with less, the databases of Prefect and MLflow cannot record a run


@contextmanager
def reported() -> Iterator[None]:
    """Exit with one sentence for an error of the project or of the machine in the block."""
    try:
        yield
    except Exception as error:
        if not (known := sentence(error)):
            raise
        sys.exit(known)


def check_space(*others: Path) -> None:
    """Raise ProjectError if the disk of the project, of its databases or of other folders is full."""
    for folder in (project_root(), state_dir(), *others):
        if (free := shutil.disk_usage(folder).free) < LEAST:
            left = f"{free / 1e6:.1f} MB left, at least {LEAST / 1e6:.0f} MB needed"
            raise ProjectError(f"The disk of {folder} is full ({left}): free space, and run the same command again.")


def sentence(error: BaseException) -> str | None:
    """Return the sentence for an error of the project or of the machine, None for any other."""
    for cause in _chain(error):
        first = (str(cause).splitlines() or [""])[0]
        if is_full(cause):
            return f"The disk is full ({first.rstrip('.')}): free space, and run the same command again."
        if any(words in first for words in READ_ONLY) and (files := _read_only_databases()):
            return f"Permission denied: {' and '.join(files)}."
        # A packed model raises its own class of this name.
        if type(cause).__name__ == ProjectError.__name__ or isinstance(cause, ProjectError):
            return str(cause)
        if isinstance(cause, OSError) and cause.filename and cause.errno in REFUSED:
            return f"{cause.strerror}: {cause.filename}."
        if isinstance(cause, PermissionError):  # as Polars raises it
            return f"{first.rstrip('.')}."
    return None


def _read_only_databases() -> list[str]:
    """Return the databases in this folder that the user may not write, or not even read."""
    settings = read_settings()
    databases = filter(None, [settings.prefect_home / "prefect.db", settings.mlflow_file])
    # SQLite writes beside them, too.
    return [
        str(file)
        for file in databases
        if not all(os.access(path, os.W_OK) for path in (file, file.parent) if path.exists())
    ]


def is_full(error: object) -> bool:
    """Tell whether an error is that of a full disk."""
    words = str(error).partition("\n")[0]
    return any(part in words for part in FULL) or (isinstance(error, OSError) and error.errno in DISK_FULL)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
