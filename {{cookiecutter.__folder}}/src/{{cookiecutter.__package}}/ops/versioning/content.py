"""Digests of content: as DVC computes them, and of the code that retrains."""

import hashlib
import json
from functools import cache
from itertools import chain
from pathlib import Path

from ...errors import ProjectError
from ..paths import CONTRACT, MADE, PARAMS, RECORD
from ..settings import PACKAGE, PACKAGE_DIR, load_yaml


def md5(path: Path) -> str:
    """Return the MD5 that DVC gives a file, or a folder: that of the list of its files."""
    if path.is_dir():
        files = sorted((file.relative_to(path).as_posix(), md5(file)) for file in path.rglob("*") if file.is_file())
        listed = json.dumps([{"md5": digest, "relpath": name} for name, digest in files])
        return f"{hashlib.md5(listed.encode(), usedforsecurity=False).hexdigest()}.dir"
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def training_code() -> list[Path]:
    """Return the files of the package that dvc.yaml lists: an edit of one of these retrains, of another does not.

    Raises ProjectError if it does not list what a training reads and writes: to DVC, all would be up to date.
    """
    file, source = PACKAGE_DIR.parents[1] / "dvc.yaml", f"src/{PACKAGE}/"
    pipeline = load_yaml(file if file.exists() else file.name)
    try:
        stage = pipeline["stages"]["training"]
        deps, *others = [stage.get(part) or [] for part in ("deps", "params", "outs", "metrics", "plots")]
        listed = {path if isinstance(path, str) else next(iter(path)) for path in chain(deps, *others)}
    except (AttributeError, KeyError, TypeError):
        raise ProjectError("dvc.yaml has no stage `training`; `git diff dvc.yaml` shows why.") from None
    code = [PACKAGE_DIR / path.removeprefix(source) for path in deps if path.startswith(source)]
    needed = ["${data.source}", *map(str, (CONTRACT, PARAMS, *MADE, RECORD)), *([] if code else [source])]
    if missing := [path for path in needed if path not in listed]:
        raise ProjectError(
            f"dvc.yaml: the stage `training` does not list {', '.join(missing)}, which a training reads or writes; "
            "`git diff dvc.yaml` shows why."
        )
    return sorted(file for path in code for file in (path.rglob("*.py") if path.is_dir() else [path]))


@cache
def digest_of_code() -> str:
    """Return a digest of the code that retrains; results of code with another digest are not reused."""
    digest = hashlib.sha256()
    for path in training_code():
        digest.update(f"{path.relative_to(PACKAGE_DIR)}\0".encode() + path.read_bytes())
    return digest.hexdigest()
