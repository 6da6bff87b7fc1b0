"""Digests of a version's files: the registry records them, and they are checked before any of its code is imported."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from mlflow.models import Model

from ...errors import ProjectError
from ...model import RECIPE
from ...model.persistence import TRUSTED
from ..paths import MODELS
from ..settings import PACKAGE, read_params
from ..versioning.content import md5
from ..versioning.provenance import Provenance
from .store import Version

# The tag of a version with the SHA-256 of each file by its path, as JSON.
TAG = "sha256"
REMEDY = "make another version champion with `promote` or `rollback`"
# Python and MLflow write these into a folder that a model is loaded from.
CACHES = ("__pycache__", "registered_model_meta")


class TamperedError(ProjectError):
    """The files of a version are not the ones that were registered."""


def compute(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file in a folder by its path; a symbolic link has none."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
    return {name: _sha256(path) for name, path in files.items() if path.is_symlink() or not path.is_dir()}


def check(version: Version, folder: Path) -> None:
    """Raise TamperedError unless the downloaded files are the ones that were registered; remove caches.

    Versions that were registered without digests have only those of dvc.lock, which do not cover their code.
    """
    for cache in [path for name in CACHES for path in folder.rglob(name)]:
        cache.unlink() if cache.is_symlink() or cache.is_file() else shutil.rmtree(cache, ignore_errors=True)
    if faults := list(_differences(version, folder) if TAG in version.tags else _faults(version, folder)):
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""  # noqa: PLR2004 - enough examples
        raise TamperedError(
            f"Version {version.number} of {PACKAGE} is not loaded, because its files are not the ones that were "
            f"registered: {', '.join(faults[:3])}{more}. Restore them, or {REMEDY}."
        )


def _differences(version: Version, folder: Path) -> Iterator[str]:
    recorded, now = _recorded(version), compute(folder)
    for name in sorted({*recorded, *now}):
        if recorded.get(name) != now.get(name):
            yield f"{name!r} is {'missing' if name not in now else 'changed' if name in recorded else 'new'}"


def _recorded(version: Version) -> dict[str, str]:
    try:
        return dict(json.loads(version.tags[TAG]))
    except (TypeError, ValueError):
        raise TamperedError(
            f"Version {version.number} of {PACKAGE} is not loaded, because its tag `{TAG}` cannot be read. "
            f"Restore the tag, or {REMEDY}."
        ) from None


def _faults(version: Version, folder: Path) -> Iterator[str]:
    """Check a version without digests: its pipeline and recipe, and that it trusts only what this project trusts."""
    try:
        data = folder / Model.load(str(folder)).flavors["python_function"]["data"]
        recipe = json.loads((data / RECIPE).read_text(encoding="utf-8")) if (data / RECIPE).is_file() else {}
        trusted = {*recipe.get("trusted", [])}
    except Exception as error:  # noqa: BLE001 - anything may be stored there
        yield f"MLmodel or {RECIPE} cannot be read ({type(error).__name__})"
        return
    for path, digest in Provenance.read(version.tags).outputs.items():
        file = data / Path(path).name
        if Path(path).parent == MODELS and not (file.is_file() and md5(file) == digest):
            yield f"{file.relative_to(folder).as_posix()!r} does not match dvc.lock"
    if foreign := sorted(trusted - {*TRUSTED, *read_params().model.trusted}):
        yield f"it trusts {', '.join(foreign)}, which params.yaml does not list under model.trusted"


def _sha256(path: Path) -> str:
    if path.is_symlink():
        return "symbolic link"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
