"""Everything git: which code this is."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from ...errors import ProjectError
from ..settings import project_root

# What a training makes, or what does not enter it: a difference there is none in the code.
GENERATED_PATHS = ("dvc.lock", "uv.lock", "data/processed", "models", "reports")
# Where a file that git does not know yet belongs to the code.
SOURCE_PATHS = ("src", "data", "params.yaml", "contract.yaml", "dvc.yaml", "pyproject.toml")


class Code(NamedTuple):
    """A commit (`none` outside of git), and as a patch what the working tree has beyond it."""

    commit: str
    patch: bytes = b""

    def __str__(self) -> str:
        """Name it as git does: with `-dirty` behind the commit if the tree has more."""
        return f"{self.commit}-dirty" if self.patch else self.commit

    @property
    def changed(self) -> list[str]:
        """The files that the patch changes."""
        return [
            name.decode(errors="replace") for name in re.findall(rb"^diff --git a/.+ b/(.+)$", self.patch, re.MULTILINE)
        ]


def code() -> Code:
    """Return the code as it is: the commit, and what the tree has beyond it, files included that git does not know."""
    try:
        commit = run_git("rev-parse", "--verify", "HEAD").decode().strip()
    except ProjectError:
        # An image holds no repository, and says which commit it was built from.
        return Code(os.environ.get("GIT_COMMIT", "none"))
    with TemporaryDirectory() as scratch:
        # An index of our own: the user's is neither changed nor locked.
        index = Path(scratch) / "index"
        shutil.copy(project_root() / run_git("rev-parse", "--git-path", "index").decode().strip(), index)
        new = run_git("ls-files", "--others", "--exclude-standard", "-z", "--", *SOURCE_PATHS).decode().split("\0")[:-1]
        new = [name for name in new if not name.startswith(GENERATED_PATHS)]
        if new:
            run_git("add", "--intent-to-add", "--", *new, GIT_INDEX_FILE=str(index))
        # Said outright, because a user's own settings would write patches that cannot be applied.
        plain = ("--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")
        outcomes = [f":(exclude){name}" for name in GENERATED_PATHS]
        patch = run_git("diff", "HEAD", *plain, "--no-renames", "--", ".", *outcomes, GIT_INDEX_FILE=str(index))
    return Code(commit, patch)


def run_git(*arguments: str, cwd: Path | None = None, **environment: str) -> bytes:
    """Run git in the project, or in another folder, return what it prints; raise ProjectError with its complaint."""
    # In a git hook these name the user's repository; and no hook of the user's runs for what happens here.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-c", f"core.hooksPath={os.devnull}", *arguments]
    try:
        done = subprocess.run(
            command, cwd=cwd or project_root(), env=inherited | environment, capture_output=True, check=True
        )
    except OSError:
        raise ProjectError("git is not installed here, or not on the PATH.") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise ProjectError(f"git {arguments[0]} failed: {said}") from None
    return done.stdout
