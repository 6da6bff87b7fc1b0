"""Digests of content: as DVC computes them, and of the code that retrains."""

import hashlib
import json
from functools import cache
from pathlib import Path

from ruamel.yaml import YAML

from ..settings import PACKAGE, PACKAGE_DIR, project_root


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
    [folder, *_] = [folder for folder in (PACKAGE_DIR.parents[1], project_root()) if (folder / "dvc.yaml").exists()]
    stage, source = YAML(typ="safe").load(folder / "dvc.yaml")["stages"]["training"], f"src/{PACKAGE}/"
    listed = [PACKAGE_DIR / dep.removeprefix(source) for dep in stage["deps"] if dep.startswith(source)]
    return sorted(file for path in listed for file in (path.rglob("*.py") if path.is_dir() else [path]))


@cache
def digest_of_code() -> str:
    """Return a digest of the code that retrains; results of code with another digest are not reused."""
    digest = hashlib.sha256()
    for path in training_code():
        digest.update(f"{path.relative_to(PACKAGE_DIR)}\0".encode() + path.read_bytes())
    return digest.hexdigest()
