"""A registered model, run by the code that it was packed with, whatever the code here has become since."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from . import predictor
from .errors import ProjectError

# The name by which the packed package is imported: its own is taken by the code that runs.
ALIAS = f"{__package__}_as_packed"


@contextmanager
def downloaded(version: ModelVersion) -> Iterator[Path]:
    """Download a version for the block; raise ProjectError if its files are not where the registry says."""
    with TemporaryDirectory() as scratch:
        try:
            folder = download_artifacts(version.source, dst_path=scratch)
            Model.load(folder)  # for MLflow downloads nothing at all without a word
        except (MlflowException, FileNotFoundError) as error:
            raise ProjectError(
                f"The files of version {version.version} of {version.name} cannot be read: {error}. "
                "Bring them back, or make another version champion with `rollback` or `promote`."
            ) from None
        yield Path(folder)


def data(folder: Path) -> Path:
    """Return where a downloaded version keeps what was packed: the files of the project's folder of models."""
    return folder / str(Model.load(str(folder)).flavors["python_function"]["data"])


@contextmanager
def unpacked(folder: Path) -> Iterator[Any]:
    """Yield the Predictor of a downloaded version, of the class that it was packed with, for the block."""
    flavor = Model.load(str(folder)).flavors["python_function"]
    with loaded(folder / flavor["code"] / str(__package__), data(folder)) as found:
        yield found


@contextmanager
def loaded(package: Path, model: Path) -> Iterator[Any]:
    """Yield the Predictor of a folder, of the class that another copy of this package has.

    All imports inside the package are relative, so that a copy runs under any name, beside this one.
    """
    spec = spec_from_file_location(ALIAS, package / "__init__.py", submodule_search_locations=[str(package)])
    if spec is None or spec.loader is None:
        raise ImportError(f"{package} is no package")
    sys.modules[ALIAS] = module_from_spec(spec)
    try:
        spec.loader.exec_module(sys.modules[ALIAS])
        name = predictor.__name__.removeprefix(f"{__package__}.")
        yield import_module(f"{ALIAS}.{name}").Predictor.load(model)
    finally:
        for name in [name for name in sys.modules if name == ALIAS or name.startswith(f"{ALIAS}.")]:
            del sys.modules[name]
