"""Everything DVC and git: which data and which code this is."""

import hashlib
import subprocess
from pathlib import Path

from .settings import root


def md5(path: Path) -> str:
    """Return a file's MD5: the name by which DVC knows its content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def commit() -> str:
    """Return the project's git commit, with `-dirty` behind it if tracked files differ; `none` if there is none."""
    git = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(git, cwd=root(), capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "none"
    return done.stdout.strip()
