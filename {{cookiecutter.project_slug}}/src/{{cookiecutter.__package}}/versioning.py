"""Everything git, and the names that DVC gives to content: which data and which code this is."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from .errors import ProjectError
from .settings import root

# What a training makes, or what does not enter it: a difference there is none in the code.
OUTCOMES = ("dvc.lock", "uv.lock", "data/processed", "models", "reports")
# Where a file that git does not know yet belongs to the code.
INCOMES = ("src", "data", "params.yaml", "contract.yaml", "dvc.yaml", "pyproject.toml")


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


def md5(path: Path) -> str:
    """Return the MD5 by which DVC knows a file's content, or a folder's: that of the list of its files."""
    if path.is_dir():
        files = sorted((file.relative_to(path).as_posix(), md5(file)) for file in path.rglob("*") if file.is_file())
        listed = json.dumps([{"md5": digest, "relpath": name} for name, digest in files])
        return f"{hashlib.md5(listed.encode(), usedforsecurity=False).hexdigest()}.dir"
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


@cache
def digest_of_code(package: Path) -> str:
    """Return a digest of a package's source: any edit of it makes every result new."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def code() -> Code:
    """Return the code as it is: the commit, and what the tree has beyond it, files included that git does not know."""
    try:
        commit = git("rev-parse", "--verify", "HEAD").decode().strip()
    except ProjectError:
        # An image holds no repository, and says which commit it was built from.
        return Code(os.environ.get("GIT_COMMIT", "none"))
    with TemporaryDirectory() as scratch:
        # An index of our own: the user's is neither changed nor locked.
        index = Path(scratch) / "index"
        shutil.copy(root() / git("rev-parse", "--git-path", "index").decode().strip(), index)
        new = git("ls-files", "--others", "--exclude-standard", "-z", "--", *INCOMES).decode().split("\0")[:-1]
        new = [name for name in new if not name.startswith(OUTCOMES)]
        if new:
            git("add", "--intent-to-add", "--", *new, GIT_INDEX_FILE=str(index))
        # Said outright, because a user's own settings would write patches that cannot be applied.
        plain = ("--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")
        outcomes = [f":(exclude){name}" for name in OUTCOMES]
        patch = git("diff", "HEAD", *plain, "--no-renames", "--", ".", *outcomes, GIT_INDEX_FILE=str(index))
    return Code(commit, patch)


def git(*arguments: str, cwd: Path | None = None, **environment: str) -> bytes:
    """Run git in the project, or in another folder, return what it prints; raise ProjectError with its complaint."""
    # In a git hook these name the user's repository; and no hook of the user's runs for what happens here.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-c", f"core.hooksPath={os.devnull}", *arguments]
    try:
        done = subprocess.run(command, cwd=cwd or root(), env=inherited | environment, capture_output=True, check=True)
    except OSError:
        raise ProjectError("git is not installed here, or not on the PATH.") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise ProjectError(f"git {arguments[0]} failed: {said}") from None
    return done.stdout
