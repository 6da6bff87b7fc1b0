"""Digests of content: as DVC computes them, and of the code that retrains."""

import hashlib
import json
from functools import cache
from pathlib import Path

from ...errors import ProjectError
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
    """Return the files of the package that dvc.yaml lists: an edit of one of these retrains, of another does not."""
    file, source = PACKAGE_DIR.parents[1] / "dvc.yaml", f"src/{PACKAGE}/"
    pipeline = load_yaml(file if file.exists() else file.name)
    try:
        deps = pipeline["stages"]["training"]["deps"]
    except (KeyError, TypeError):
        raise ProjectError("dvc.yaml lists no deps of a stage `training`; `git diff dvc.yaml` shows why.") from None
    listed = [PACKAGE_DIR / dep.removeprefix(source) for dep in deps if dep.startswith(source)]
    return sorted(file for path in listed for file in (path.rglob("*.py") if path.is_dir() else [path]))


@cache
def digest_of_code() -> str:
    """Return a digest of the code that retrains; results of code with another digest are not reused."""
    digest = hashlib.sha256()
    for path in training_code():
        digest.update(f"{path.relative_to(PACKAGE_DIR)}\0".encode() + path.read_bytes())
    return digest.hexdigest()
