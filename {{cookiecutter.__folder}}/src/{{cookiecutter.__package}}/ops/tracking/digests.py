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
from ...steps.sentences import few
from ..paths import MODELS
from ..settings import PACKAGE, read_params
from ..versioning.content import md5
from ..versioning.provenance import Provenance
from .store import Version

# The tag of a version with the SHA-256 of each file by its path, as JSON.
TAG = "sha256"
# A file that MLflow writes into each download.
MLFLOW_META = "registered_model_meta"
REMEDY = "make another version champion with `promote` or `rollback`"


class TamperedError(ProjectError):
    """The files of a version are not the ones that were registered."""


def compute(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file in a folder by its path."""
    digests = {}
    for path in folder.rglob("*"):
        if not path.is_dir() and path != folder / MLFLOW_META:
            with path.open("rb") as file:
                digests[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def check(version: Version, folder: Path) -> None:
    """Raise TamperedError unless the downloaded files are the ones that were registered.

    Versions that were registered without digests have only those of dvc.lock, which do not cover their code.
    """
    # Where a model was loaded, Python has left bytecode, which it would import instead of the code.
    for cache in list(folder.rglob("__pycache__")):
        shutil.rmtree(cache, ignore_errors=True)
    if faults := list(_differences(version, folder) if TAG in version.tags else _faults(version, folder)):
        raise TamperedError(
            f"Version {version.number} of {PACKAGE} is not loaded, because its files are not the ones that were "
            f"registered: {few(faults)}. Restore them, or {REMEDY}."
        )


def _differences(version: Version, folder: Path) -> Iterator[str]:
    try:
        recorded = dict(json.loads(version.tags[TAG]))
    except (TypeError, ValueError):
        yield f"the version's tag `{TAG}` cannot be read"
        return
    now = compute(folder)
    for name in sorted({*recorded, *now}):
        if recorded.get(name) != now.get(name):
            yield f"{name} is {'missing' if name not in now else 'changed' if name in recorded else 'new'}"


def _faults(version: Version, folder: Path) -> Iterator[str]:
    """Check a version without digests: its model, and that it trusts only what this project trusts."""
    try:
        data = folder / Model.load(str(folder)).flavors["python_function"]["data"]
        recipe = json.loads((data / RECIPE).read_text(encoding="utf-8")) if (data / RECIPE).exists() else {}
        foreign = {*recipe.get("trusted", [])} - {*TRUSTED, *read_params().model.trusted}
    except Exception as error:  # noqa: BLE001 - anything may be stored there
        yield f"MLmodel or {RECIPE} cannot be read ({type(error).__name__})"
        return
    if foreign:
        yield f"{RECIPE} trusts {', '.join(sorted(foreign))}, which params.yaml does not list under model.trusted"
    for path, digest in Provenance.read(version.tags).outputs.items():
        file = data / Path(path).name
        if Path(path).parent == MODELS and not (file.is_file() and md5(file) == digest):
            yield f"{path} does not match dvc.lock"
