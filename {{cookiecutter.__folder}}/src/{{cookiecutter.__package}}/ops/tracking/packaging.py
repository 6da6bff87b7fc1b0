"""A registered model, run by the code that it was packed with, however the code here has changed since.

A packed model of any age is used only through this interface, so models that are packed later must offer it, too:

- MLmodel names `loader_module`, `code` and `data`; the module belongs to a package in `code` with relative imports,
  so that the package can be imported by any name, beside the code here;
- the module's `_load_pyfunc(data)` returns the model, which has
  `predict(rows, params)`: predictions for raw rows (Polars); with `{"probabilities": True}` a column per class;
  `columns(rows)`: the pipeline's input for raw rows, or an error named ProjectError if they are refused;
  `pipeline`: scikit-learn's, fitted on these columns;
  `recipe`: `data.problem`, `data.target`, `contract.columns` with their `type`; for monitoring `columns` (their names)
  and the lazy `build_features(rows)`; for serving `inputs`, a contract, and `data.null_values`;
- `data` holds `profile.json`, for monitoring.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import RLock
from typing import Any, NamedTuple

from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from ...errors import ProjectError
from ..addresses import without_secrets
from ..settings import PACKAGE
from . import digests
from .store import Version

# The name that the packed package is imported by, as the running code may have the package's own.
ALIAS = "package_as_packed"
# The service loads champion and challenger in two threads, and both packages get this name.
LOADING = RLock()


class Package(NamedTuple):
    """A downloaded version, its folder, and whether the registry has digests of its files."""

    version: Version
    folder: Path
    checked: bool = True

    @property
    def flavor(self) -> dict[str, str]:
        """How to load it, as MLmodel defines."""
        flavor: dict[str, str] = Model.load(str(self.folder)).flavors["python_function"]
        return flavor

    @property
    def data(self) -> Path:
        """The packed copy of the folder `models`."""
        return self.folder / self.flavor["data"]

    @property
    def name(self) -> str:
        """The name of the packed package."""
        return self.flavor["loader_module"].partition(".")[0]

    @contextmanager
    def loaded(self) -> Iterator[Any]:
        """Yield the model for the block; raise ProjectError if its own code cannot load it."""
        with LOADING:
            try:
                yield self._load()
            finally:
                for name in [name for name in sys.modules if name == ALIAS or name.startswith(f"{ALIAS}.")]:
                    del sys.modules[name]

    def _load(self) -> Any:
        if not self.checked:
            warn_once(self.version.number)
        try:
            code = self.folder / self.flavor["code"] / self.name
            loader = _import(code, self.flavor["loader_module"].removeprefix(self.name))
            return loader._load_pyfunc(str(self.data))  # noqa: SLF001 - MLflow's name for it
        except OSError:
            raise
        except Exception as error:
            raise ProjectError(
                f"Version {self.version.number} cannot be loaded by the code that it was packed with "
                f"({summary(error)}); {digests.REMEDY}."
            ) from error


@contextmanager
def downloaded(version: Version) -> Iterator[Package]:
    """Download a version for the block, and check its files before anything is imported from them.

    Raises ProjectError if they are not where the registry says, and TamperedError if they are other files.
    """
    with TemporaryDirectory() as scratch:
        try:
            folder = Path(download_artifacts(version.source, dst_path=scratch))
            next(folder.iterdir())
        except (MlflowException, FileNotFoundError, IsADirectoryError, RecursionError, StopIteration) as error:
            # Where there is nothing, MLflow may download nothing and raise no error.
            # MLflow lists the error of each file below the name of the file.
            lines = [line for line in without_secrets(str(error)).splitlines() if not line.startswith("#####")]
            reason = " ".join(lines[:2]) or f"there are none at {version.source}"
            raise ProjectError(
                f"The files of version {version.number} of {PACKAGE} cannot be read: {reason.rstrip('.')}. "
                f"Bring them back, or {digests.REMEDY}."
            ) from None
        digests.check(version, folder)
        yield Package(version, folder, checked=digests.TAG in version.tags)


@cache
def warn_once(number: int) -> None:
    """Warn that the code of a version is not checked."""
    logging.getLogger(__name__).warning(
        "Version %d was registered without digests of its files, so the code packed with it is run unchecked; "
        "`trust %d` records the digests of its files as they are now.",
        number,
        number,
    )


def _import(package: Path, module: str) -> Any:
    spec = spec_from_file_location(ALIAS, package / "__init__.py", submodule_search_locations=[str(package)])
    if spec is None or spec.loader is None:
        raise ImportError(f"{package} is not a package")
    sys.modules[ALIAS] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules[ALIAS])
    return import_module(f"{ALIAS}{module}")


def summary(error: Exception) -> str:
    """Return the type and the first line of an error."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:500]}"
