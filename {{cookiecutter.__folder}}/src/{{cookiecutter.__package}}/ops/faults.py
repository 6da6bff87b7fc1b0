"""Errors of the machine, such as a full disk, in one sentence; all others keep their traceback."""

import errno
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import ProjectError
from .settings import project_root, state_dir

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# As libraries say it that raise errors of their own: SQLite, Polars, MLflow.
FULL = ("No space left on device", "Disk quota exceeded", "File too large", "database or disk is full")
REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE}
REFUSED |= {errno.EISDIR, errno.ENOTDIR, errno.ELOOP}

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


def check_space() -> None:
    """Raise ProjectError if the disk of the project, or that of its databases, is full."""
    for folder in (project_root(), state_dir()):
        if (free := shutil.disk_usage(folder).free) < LEAST:
            left = f"{free / 1e6:.1f} MB left, at least {LEAST / 1e6:.0f} MB needed"
            raise ProjectError(f"The disk of {folder} is full ({left}): free space, and run the same command again.")


def sentence(error: BaseException) -> str | None:
    """Return the sentence for an error of the project or of the machine, None for any other."""
    for cause in _chain(error):
        first = (str(cause).splitlines() or [""])[0]
        if is_full(cause):
            return f"The disk is full ({first.rstrip('.')}): free space, and run the same command again."
        # A packed model raises its own class of this name.
        if type(cause).__name__ == ProjectError.__name__ or isinstance(cause, ProjectError):
            return str(cause)
        if isinstance(cause, OSError) and cause.filename and cause.errno in REFUSED:
            return f"{cause.strerror}: {cause.filename}."
    return None


def is_full(error: object) -> bool:
    """Tell whether an error is that of a full disk."""
    words = str(error).partition("\n")[0]
    return any(part in words for part in FULL) or (isinstance(error, OSError) and error.errno in DISK_FULL)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that caused it."""
    while error is not None:
        yield error
        error = error.__cause__
