"""Everything git: which commit the code is, and what was changed since."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from ...errors import ProjectError
from ..settings import project_root

# What a training writes or does not read: a difference here is not a change of the code.
GENERATED_PATHS = ("dvc.lock", "uv.lock", "data/processed", "models", "reports")
# Where an untracked file counts as code.
SOURCE_PATHS = ("src", "data", "params.yaml", "contract.yaml", "dvc.yaml", "pyproject.toml")


class Code(NamedTuple):
    """A commit (`none` outside git), and the uncommitted changes as a patch."""

    commit: str
    patch: bytes = b""

    def __str__(self) -> str:
        """Return the commit as git prints it, with `-dirty` if there are uncommitted changes."""
        return f"{self.commit}-dirty" if self.patch else self.commit

    @property
    def changed(self) -> list[str]:
        """The files that the patch changes."""
        return [
            name.decode(errors="replace") for name in re.findall(rb"^diff --git a/.+ b/(.+)$", self.patch, re.MULTILINE)
        ]


def code() -> Code:
    """Return the current code: the commit, and the uncommitted changes, including untracked files."""
    try:
        commit = run_git("rev-parse", "--verify", "HEAD").decode().strip()
    except ProjectError:
        # An image has no repository; GIT_COMMIT is the commit that it was built from.
        return Code(os.environ.get("GIT_COMMIT", "none"))
    with TemporaryDirectory() as scratch:
        # On a copy of the index: the user's is neither changed nor locked.
        index = Path(scratch) / "index"
        own = project_root() / run_git("rev-parse", "--git-path", "index").decode().strip()
        if not own.exists():
            raise ProjectError(f"git's index {own} is missing; `git reset` writes it again.")
        shutil.copy(own, index)
        untracked = run_git("ls-files", "--others", "--exclude-standard", "-z", "--", *SOURCE_PATHS).split(b"\0")
        # A name need not be UTF-8.
        if new := [name for name in map(os.fsdecode, untracked) if name and not name.startswith(GENERATED_PATHS)]:
            run_git("add", "--intent-to-add", "--", *new, GIT_INDEX_FILE=str(index))
        # A user's own settings could write patches that cannot be applied.
        plain = ("--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")
        generated = [f":(exclude){name}" for name in GENERATED_PATHS]
        patch = run_git("diff", "HEAD", *plain, "--no-renames", "--", ".", *generated, GIT_INDEX_FILE=str(index))
    return Code(commit, patch)


def run_git(*arguments: str, cwd: Path | None = None, **environment: str) -> bytes:
    """Run git in the project or in another folder; return its output, raise ProjectError with its error message."""
    # In a git hook, GIT_* variables name the user's repository; and no hook of the user's may run here.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-c", f"core.hooksPath={os.devnull}", *arguments]
    try:
        done = subprocess.run(
            command, cwd=cwd or project_root(), env=inherited | environment, capture_output=True, check=True
        )
    except OSError:
        raise ProjectError("git is not installed, or not on the PATH.") from None
    except subprocess.CalledProcessError as error:
        message = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        remedy = "; delete .git/index, and run `git reset`" if "index" in message else ""
        raise ProjectError(f"git {arguments[0]} failed: {message}{remedy}") from None
    return done.stdout
