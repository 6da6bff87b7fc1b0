"""Everything git: which commit the code is, and what was changed since."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import NamedTuple

from ...errors import ProjectError, printable
from ..addresses import without_secrets
from ..settings import project_root

# What a training writes or does not read: a difference here is not a change of the code.
GENERATED_PATHS = ("dvc.lock", "uv.lock", ".dvc", "data/processed", "models", "reports")
# Where an untracked file counts as code, if it is of one of the types below.
SOURCE_PATHS = ("src", "data", "params.yaml", "contract.yaml", "dvc.yaml", "pyproject.toml")
# The files that a patch may hold: code and configuration, never data or secrets.
SUFFIXES = {".py", ".pyi", ".pyx", ".toml", ".yaml", ".yml", ".cfg", ".ini", ".sql", ".jinja", ".sh", ".dvc", ".md"}
NAMES = {".env.example", ".gitignore", ".dvcignore", ".dockerignore", "Makefile", "Dockerfile", "constraints.txt"}
SECRET = re.compile(r"^\.env|secret|credential|passw|(?<![a-z])tokens?(?![a-z])", re.IGNORECASE)
# Variables of git, except who commits, with what settings, and how a remote is reached.
REPOSITORY = re.compile(r"GIT_(?!AUTHOR_|COMMITTER_|CONFIG_(GLOBAL|NOSYSTEM)|SSH|ASKPASS)")
# In bytes: larger patches hold data, or come from a tool.
MAX_FILE, MAX_PATCH = 1_000_000, 10_000_000


class Code(NamedTuple):
    """A commit (`none` outside git), and the uncommitted changes: a patch of the files `changed`.

    `left_out` describes the changed files that are not in the patch.
    """

    commit: str
    patch: bytes = b""
    changed: Sequence[str] = ()
    left_out: Sequence[str] = ()

    def __str__(self) -> str:
        """Return the commit as git prints it, with `-dirty` if there are uncommitted changes."""
        return f"{self.commit}-dirty" if self.patch or self.left_out else self.commit


def code() -> Code:
    """Return the current code: the commit, and the uncommitted changes, including untracked files."""
    try:
        commit = run_git("rev-parse", "--verify", "HEAD").decode().strip()
    except ProjectError:
        # An image has no repository; GIT_COMMIT is the commit that it was built from.
        return Code(os.environ.get("GIT_COMMIT", "none"))
    sizes = _committed_sizes()
    changed, left_out, total = [], [], 0
    with TemporaryDirectory() as scratch:
        for name in _changes(Path(scratch)):
            file = project_root() / name
            size = sizes.get(name, 0) + (file.lstat().st_size if os.path.lexists(file) else 0)
            if reason := _unfit(name, size) or ("the patch would be too large" if total + size > MAX_PATCH else ""):
                left_out.append(f"{printable(name)} ({reason})")
            else:
                changed.append(name)
                total += size
        patch = _diff(changed, Path(scratch)) if changed else b""
    return Code(commit, patch, [printable(name) for name in changed], left_out)


def _changes(scratch: Path) -> list[str]:
    """List the files that differ from the commit, and the untracked ones that may be code."""
    # On a copy of the index: the user's is neither changed nor locked.
    index = scratch / "index"
    own = project_root() / run_git("rev-parse", "--git-path", "index").decode().strip()
    if not own.exists():
        raise ProjectError(f"git's index {own} is missing; `git reset` writes it again.")
    # With its time, by which git tells that a file was changed in the second in which it was recorded.
    shutil.copy2(own, index)
    diff = ("diff", "--name-only", "--relative", "--no-renames", "--no-ext-diff", "-z", "HEAD", "--", ".")
    untracked = ("ls-files", "--others", "--exclude-standard", "-z", "--", *SOURCE_PATHS)
    listed = run_git(*diff, GIT_INDEX_FILE=str(index)) + run_git(*untracked)
    names = {os.fsdecode(name) for name in listed.split(b"\0") if name}
    return sorted(name for name in names if not f"{name}/".startswith(tuple(f"{path}/" for path in GENERATED_PATHS)))


def _unfit(name: str, size: int) -> str:
    """Return why a patch must not hold a file, empty if it may."""
    path, file = PurePosixPath(name), project_root() / name
    plain = path.name in NAMES
    reasons = {
        "beyond a symbolic link": any((project_root() / parent).is_symlink() for parent in path.parents),
        "a folder, or a repository of its own": file.is_dir() and not file.is_symlink(),
        "data": path.parts[0] == "data" and path.suffix != ".dvc" and path.name != ".gitignore",
        "perhaps a secret": not plain and path.suffix != ".py" and SECRET.search(path.name),
        "neither code nor configuration": not plain and path.suffix not in SUFFIXES,
        f"larger than {MAX_FILE // 1_000_000} MB": size > MAX_FILE,
    }
    if found := [reason for reason, applies in reasons.items() if applies]:
        return found[0]
    content = file.read_bytes() if file.is_file() and not file.is_symlink() else b""
    return "binary" if b"\0" in content else "holds a private key" if b"PRIVATE KEY-----" in content else ""


def _diff(names: Sequence[str], scratch: Path) -> bytes:
    """Return the difference of some files to the commit, in an index and with objects that are only for this."""
    (scratch / "objects").mkdir()
    objects = project_root() / run_git("rev-parse", "--git-path", "objects").decode().strip()
    git = partial(
        run_git,
        GIT_INDEX_FILE=str(scratch / "patch"),
        GIT_OBJECT_DIRECTORY=str(scratch / "objects"),
        GIT_ALTERNATE_OBJECT_DIRECTORIES=str(objects),
    )
    git("read-tree", "HEAD")
    listed = b"".join(os.fsencode(name) + b"\0" for name in names)
    git("update-index", "--add", "--remove", "--replace", "-z", "--stdin", stdin=listed)
    # A user's own settings could write patches that cannot be applied.
    plain = ("--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")
    return git("diff", "--cached", "HEAD", *plain, "--no-renames")


def _committed_sizes() -> dict[str, int]:
    sizes = {}
    for line in run_git("ls-tree", "-r", "-l", "-z", "HEAD").split(b"\0"):
        fields, _, name = line.partition(b"\t")
        if fields and (size := fields.split()[-1]).isdigit():
            sizes[os.fsdecode(name)] = int(size)
    return sizes


def run_git(
    *arguments: str, cwd: Path | None = None, stdin: bytes = b"", seconds: float | None = None, **environment: str
) -> bytes:
    """Run git in the project or in another folder; return its output, raise ProjectError with its error message.

    After so many seconds, raise TimeoutExpired.
    """
    # In a git hook, variables name the user's repository; and no hook of the user's may run here.
    own = {name: value for name, value in os.environ.items() if not REPOSITORY.match(name)}
    # To look at the project takes no lock, which a kill would leave behind.
    env = {**own, "GIT_OPTIONAL_LOCKS": "0", **environment}
    command = ["git", "-c", f"core.hooksPath={os.devnull}", *arguments]
    try:
        done = subprocess.run(
            command, cwd=cwd or project_root(), env=env, input=stdin, capture_output=True, check=True, timeout=seconds
        )
    except OSError:
        raise ProjectError("git is not installed, or not on the PATH.") from None
    except subprocess.CalledProcessError as error:
        message = " ".join(without_secrets(error.stderr.decode(errors="replace")).rpartition("fatal: ")[2].split())
        damaged = "index" in message and "index.lock" not in message
        remedy = "; delete .git/index, and run `git reset`" if damaged else ""
        raise ProjectError(f"git {arguments[0]} failed: {message}{remedy}") from None
    return done.stdout
