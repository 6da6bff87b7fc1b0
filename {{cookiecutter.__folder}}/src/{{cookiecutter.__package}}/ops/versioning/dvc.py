"""Everything DVC: where content is stored, and how to get it. DVC is imported late, as this takes a second."""

import atexit
import json
import logging
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import chdir, contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from ...errors import ProjectError
from ..addresses import redacted, without_secrets
from ..faults import check_space
from ..paths import LOCK
from ..settings import load_yaml, project_root, read_params, state_dir
from .content import md5, training_code

# Logs a traceback for each failure before it raises the error, which DVC reports in a line.
GOOGLE = "gcsfs"


@contextmanager
def repository(*, wait: bool = False, scm: bool = True) -> Iterator[Any]:
    """Open the project as DVC's `Repo` for the block; an error of DVC becomes a ProjectError.

    With `wait`, wait for another DVC process that holds the lock; without `scm`, ignore git.
    """
    from diskcache import Timeout  # noqa: PLC0415
    from dvc.exceptions import DvcException  # noqa: PLC0415
    from dvc.lock import LockNoop  # noqa: PLC0415
    from dvc.repo import Repo  # noqa: PLC0415

    _prepare()
    logging.getLogger("dvc").setLevel(logging.CRITICAL)
    logging.getLogger(GOOGLE).setLevel(logging.CRITICAL)
    try:
        # An image has the project without its git; DVC prints paths relative to the working folder.
        tracked = scm and any((folder / ".git").exists() for folder in (project_root(), *project_root().parents))
        with chdir(project_root()), Repo(_wait_for_lock=wait, config={"core": {"no_scm": not tracked}}) as repo:
            repo.scm_context.quiet = True
            if not os.access(repo.tmp_dir, os.W_OK):  # a read-only project, which nothing can change meanwhile
                repo.lock, repo.tmp_dir = LockNoop(), os.environ["DVC_SITE_CACHE_DIR"]
            yield repo
    except DvcException as error:
        raise ProjectError(*f"DVC: {without_secrets(str(error))}".splitlines()) from None
    except (Timeout, sqlite3.OperationalError) as error:
        check_space()
        reason = str(error) or "the disk is full, or another process holds its database"
        raise ProjectError(f"DVC cannot write its notes on files, by default in .dvc/tmp/site: {reason}.") from None
    except (KeyError, ValueError) as error:
        # What its parsers raise, and what names no file.
        reason = f"{type(error).__name__}: {without_secrets(str(error))}"
        raise ProjectError(
            f"DVC cannot read .dvc/config, dvc.yaml, dvc.lock or a .dvc file ({reason}); "
            "`git diff` shows what has changed."
        ) from error


def command_line(arguments: list[str]) -> int:
    """Run a DVC command; return its exit code.

    Raises ProjectError if it may train, and dvc.yaml has lost what it needs for that or dvc.lock is damaged.
    """
    from dvc.cli import main  # noqa: PLC0415
    from dvc.exceptions import DvcException  # noqa: PLC0415

    _prepare()
    logging.getLogger(GOOGLE).setLevel(logging.CRITICAL)
    if {"repro", "run"} & set(arguments):
        training_code()
        check_lock()
    try:
        return int(main(arguments))
    except DvcException as error:
        # Of its configuration: DVC reads that again to know whether it may send statistics.
        raise ProjectError(f"DVC: {without_secrets(str(error))}; see .dvc/config and .dvc/config.local.") from None


def check_lock() -> None:
    """Raise ProjectError if dvc.lock is damaged: DVC names no remedy."""
    if not (project_root() / LOCK).exists():
        return
    content = load_yaml(LOCK)
    if not (isinstance(content, dict) and isinstance(content.get("stages", {}), dict)) or "schema" not in content:
        raise ProjectError(f"{LOCK} is not as DVC wrote it; `git checkout {LOCK}` restores it.")


def _prepare() -> None:
    """Keep DVC's notes on files in the project: they are pickles, and by default all users share their folder."""
    _limit_tries()
    if (own := state_dir() / ".dvc").is_dir() and "DVC_SITE_CACHE_DIR" not in os.environ:
        folder = own / "tmp/site"
        with suppress(OSError):  # a container may be read-only
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            folder = Path(mkdtemp(prefix="dvc-"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["DVC_SITE_CACHE_DIR"] = str(folder)


@cache
def _limit_tries() -> None:
    """Let DVC's notes on files fail on a full disk: their database is tried again forever, not only while locked."""
    from diskcache import Cache  # noqa: PLC0415

    transact = Cache._transact  # noqa: SLF001

    def once(notes: Any, retry: bool = False, filename: str | None = None) -> Any:  # noqa: ARG001, FBT001, FBT002
        return transact(notes, filename=filename)

    Cache._transact = once  # noqa: SLF001


def places(digest: str) -> list[str]:
    """Return where content is stored: DVC's cache and each remote, by address, or why a remote cannot be asked."""
    with repository() as repo:
        cache = repo.cache.local
        found = [f"cache {cache.oid_to_path(digest)}"] if cache.exists(digest) else []
        for name, config in repo.config["remote"].items():
            url = redacted(config["url"])
            try:
                remote = repo.cloud.get_remote_odb(name)
                # Unlike `remote.exists`, it raises where the remote cannot be reached.
                remote.fs.info(remote.oid_to_path(digest))
                found.append(f"remote {name}, {url}")
            except FileNotFoundError:
                continue
            except Exception as error:  # noqa: BLE001 - each kind of storage has its own
                reason = without_secrets(str(error), config["url"])
                found.append(f"perhaps remote {name}, {url}, which cannot be reached ({reason})")
    return found


def fetch(digest: str, name: str, to: Path) -> None:
    """Copy content to a path: from the project, DVC's cache, or the first remote that has it."""
    to.parent.mkdir(parents=True, exist_ok=True)
    here = project_root() / name
    if here.exists() and md5(here) == digest:
        (shutil.copytree if here.is_dir() else shutil.copy)(here, to)
        return
    with repository() as repo:
        _copy(repo, digest, name, to)


def _copy(repo: Any, digest: str, name: str, to: Path) -> None:
    """Copy a file, or the files of a folder, from the first store that has it intact."""
    to.parent.mkdir(parents=True, exist_ok=True)
    reasons = []
    for remote in [None, *repo.config["remote"]]:
        try:
            store = repo.cloud.get_remote_odb(remote) if remote else repo.cache.local
            store.fs.get(store.oid_to_path(digest), str(to))
            if md5(to) == digest.removesuffix(".dir"):
                break
            reason = "damaged"
        except Exception as error:  # noqa: BLE001 - each kind of storage has its own
            reason = without_secrets(str(error))
        reasons.append(f"- {remote or 'cache'}: {reason}")
    else:
        raise ProjectError(f"{name} with MD5 {digest} is neither in DVC's cache nor in a remote:", *reasons)
    if digest.endswith(".dir"):
        files = json.loads(to.read_text(encoding="utf-8"))
        to.unlink()
        for file in files:
            _copy(repo, file["md5"], f"{name}/{file['relpath']}", to / file["relpath"])


def store(snapshot: Path, source: Path) -> Path:
    """Store a file that will be the project's `source` in DVC's cache; return its .dvc file, which lies beside it."""
    pointer, unfinished = project_root() / f"{source}.dvc", snapshot.with_name(f"{snapshot.name}.dvc")
    # A .dvc file may name the remote of its content; other content belongs in the project's.
    if pointer.exists() and md5(snapshot) in pointer.read_text(encoding="utf-8", errors="replace"):
        shutil.copyfile(pointer, unfinished)
    # DVC adds no file of a folder that git ignores, unless it does not know of git.
    with repository(wait=True, scm=False) as repo:
        repo.add(str(snapshot))
    with repository() as repo:
        repo.scm_context.ignore(str(project_root() / source))
    return unfinished


def warnings() -> Iterator[str]:
    """Say in sentences what will fail in this folder."""
    source = read_params().data.source
    if not (project_root() / source).exists():
        yield (
            f"{source} is missing, because no remote in .dvc/config has it or can be reached: somebody who has it must "
            "run `dvc push`; then run `make setup` again."
        )
    if not str(project_root()).isascii():
        yield (
            f"Queued experiments fail in this folder, because DVC cannot write its name, {project_root()}: "
            "run experiments without --queue, or move the project to a path of ASCII letters."
        )


def pull(path: Path) -> None:
    """Get a file that DVC tracks, unless it is here; raise ProjectError if no remote has it."""
    pointer, file = project_root() / f"{path}.dvc", project_root() / path
    if not pointer.exists() or (file.exists() and md5(file) in pointer.read_text(encoding="utf-8", errors="replace")):
        return
    with repository(wait=True) as repo:
        repo.pull([f"{path}.dvc"])


def changed() -> bool:
    """Return whether `dvc repro` would train."""
    with repository(wait=True) as repo:
        differences = repo.status()
    training_code()
    return bool(differences)


def check_writable() -> None:
    """Raise ProjectError if DVC cannot write what it writes after a training: its cache, and dvc.lock."""
    if not (project_root() / ".dvc").is_dir():
        return  # without DVC, only a recorded training fails
    with repository() as repo:
        cache = Path(repo.cache.local.path)
    folder = next(path for path in (cache, *cache.parents) if path.exists())
    check_space(folder)
    # Folders in a shared cache may belong to others.
    for path in [f"{folder}/", *map(str, cache.glob("*")), *map(str, project_root().glob(LOCK.name))]:
        if not os.access(path, os.W_OK):
            raise ProjectError(
                f"DVC cannot keep what a training makes, as {path} cannot be written: change its permissions, or "
                "choose another folder for DVC's cache with `dvc cache dir`."
            )


def record() -> None:
    """Write into dvc.lock what a training outside `dvc repro` has read and written."""
    with repository(wait=True) as repo:
        repo.commit(force=True)


def push() -> str | None:
    """Push data and models to the remote; return the reason if that fails."""
    try:
        with repository(wait=True) as repo:
            repo.push()
    except Exception as error:  # noqa: BLE001 - each kind of storage has its own
        return without_secrets(str(error))
    return None
