"""Everything DVC: where content lies, and how it comes here. DVC itself is imported late, for it takes a second."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

from ...errors import ProjectError
from ..settings import project_root
from .content import md5

# Google's storage logs with a traceback whatever it could not do, and then raises it: DVC says it in a line.
GOOGLE = "gcsfs"


@contextmanager
def repository(*, wait: bool = False) -> Iterator[Any]:
    """Open the project as DVC's `Repo` for the block; raise ProjectError with what DVC complains about.

    With `wait` it waits for another DVC that holds the lock.
    """
    from dvc.exceptions import DvcException  # noqa: PLC0415
    from dvc.repo import Repo  # noqa: PLC0415

    logging.getLogger("dvc").setLevel(logging.CRITICAL)
    logging.getLogger(GOOGLE).setLevel(logging.CRITICAL)
    try:
        # An image has the project without its git; DVC names files as they are seen from the working folder.
        tracked = any((folder / ".git").exists() for folder in (project_root(), *project_root().parents))
        with chdir(project_root()), Repo(_wait_for_lock=wait, config={"core": {"no_scm": not tracked}}) as repo:
            repo.scm_context.quiet = True
            yield repo
    except DvcException as error:
        raise ProjectError(f"DVC says: {error}") from None


def command_line(arguments: list[str]) -> int:
    """Run DVC as its own command line does, and return its exit code."""
    from dvc.cli import main  # noqa: PLC0415

    logging.getLogger(GOOGLE).setLevel(logging.CRITICAL)
    return int(main(arguments))


def places(digest: str) -> list[str]:
    """Say where content lies: DVC's cache and every remote, by address, or why a remote does not tell."""
    with repository() as repo:
        cache = repo.cache.local
        found = [f"cache {cache.oid_to_path(digest)}"] if cache.exists(digest) else []
        for name, config in repo.config["remote"].items():
            try:
                remote = repo.cloud.get_remote_odb(name)
                if remote.exists(digest):
                    found.append(f"remote {name}, {config['url']}")
            except Exception as error:  # noqa: BLE001 - each kind of storage has its own
                found.append(f"perhaps remote {name}, {config['url']}, which does not answer ({error})")
    return found


def fetch(digest: str, name: str, to: Path) -> None:
    """Put content where it is wanted: from the project, DVC's cache, or the first remote that has it."""
    to.parent.mkdir(parents=True, exist_ok=True)
    here = project_root() / name
    if here.exists() and md5(here) == digest:
        (shutil.copytree if here.is_dir() else shutil.copy)(here, to)
        return
    from dvc_data.hashfile.hash_info import HashInfo  # noqa: PLC0415

    with repository() as repo:
        if _copy(repo.cache.local, HashInfo("md5", digest), to):
            return
        for remote in repo.config["remote"]:
            repo.cloud.pull([HashInfo("md5", digest)], remote=remote)
            if _copy(repo.cache.local, HashInfo("md5", digest), to):
                return
        remotes = ", ".join(repo.config["remote"])
    raise ProjectError(f"{name} with MD5 {digest} is neither in DVC's cache nor in the remotes ({remotes}).")


def _copy(cache: Any, known_by: Any, to: Path) -> bool:
    """Copy a file, or the files of a folder, out of the cache; tell whether they were all there."""
    from dvc_data.hashfile import load  # noqa: PLC0415
    from dvc_data.hashfile.tree import Tree  # noqa: PLC0415

    try:
        content = load(cache, known_by)
        files = [(to.joinpath(*key), file.value) for key, _, file in content] if isinstance(content, Tree) else []
        for path, digest in files or [(to, known_by.value)]:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(cache.oid_to_path(digest), path)
    except FileNotFoundError:
        return False
    return md5(to) == str(known_by.value)


def track(path: Path) -> None:
    """Let DVC version a file below the root, as it is now."""
    known = project_root() / f"{path}.dvc"
    if known.exists() and md5(project_root() / path) not in known.read_text(encoding="utf-8"):
        # New content belongs into the remote of the project, wherever the old one came from.
        known.unlink()
    with repository(wait=True) as repo:
        repo.add(str(path))


def pull(path: Path) -> None:
    """Bring a file here that DVC versions, unless it is; raise ProjectError if no remote has it."""
    known, here = project_root() / f"{path}.dvc", project_root() / path
    if not known.exists() or (here.exists() and md5(here) in known.read_text(encoding="utf-8")):
        return
    with repository(wait=True) as repo:
        repo.pull([f"{path}.dvc"])


def changed() -> bool:
    """Tell whether `dvc repro` would train."""
    with repository(wait=True) as repo:
        return bool(repo.status())


def record() -> None:
    """Write into dvc.lock what a training outside of `dvc repro` has read and made."""
    with repository(wait=True) as repo:
        repo.commit(force=True)


def push() -> str | None:
    """Send data and models to the remote; return why not if that fails."""
    try:
        with repository(wait=True) as repo:
            repo.push()
    except Exception as error:  # noqa: BLE001 - each kind of storage has its own
        return str(error)
    return None
