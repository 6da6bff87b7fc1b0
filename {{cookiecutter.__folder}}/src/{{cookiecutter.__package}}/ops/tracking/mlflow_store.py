"""The rows of the registry through MLflow's client."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from mlflow.exceptions import MlflowException

from ...errors import ProjectError
from ..settings import PACKAGE, read_settings
from .connection import connect
from .store import Version


class MlflowStore:
    """The registry of a server, or of a database whose schema only MLflow knows."""

    def __init__(self) -> None:
        self.client = connect()

    def model(self) -> tuple[dict[str, str], dict[str, int]]:
        """Return the tags and aliases of the registered model."""
        model = _unless_missing(self.client.get_registered_model, PACKAGE)
        return (model.tags, {alias: int(version) for alias, version in model.aliases.items()}) if model else ({}, {})

    def alias(self, alias: str) -> int | None:
        """Return the version that has the alias, None if there is none."""
        version = _unless_missing(partial(self.client.get_model_version_by_alias, PACKAGE), alias)
        return int(version.version) if version else None

    def version(self, number: int | None) -> Version | None:
        """Return the version of this number, by default the newest, if there is one."""
        query = f"name = '{PACKAGE}'{f' and version_number = {number}' if number else ''}"
        for found in self.client.search_model_versions(query, max_results=1, order_by=["version_number DESC"]):
            version = Version(int(found.version), found.tags, str(found.source), found.run_id or None)
            if run := version.run_id and _unless_missing(self.client.get_run, version.run_id):
                return Version(*version[:4], run.info.status, run.info.start_time, run.data.params, run.data.metrics)
            return version
        return None

    def set_tag(self, key: str, value: str) -> None:
        """Set a tag of the registered model."""
        with permitted():
            self.client.set_registered_model_tag(PACKAGE, key, value)

    def add_tag(self, key: str, value: str) -> bool:
        """Set a tag of the registered model unless it exists; return whether it was set."""
        if key in self.model()[0]:
            return False
        self.set_tag(key, value)
        return True

    def set_alias(self, alias: str, version: int | None) -> None:
        """Give a version the alias, or delete the alias."""
        with permitted():
            if version is None:
                self.client.delete_registered_model_alias(PACKAGE, alias)
            else:
                self.client.set_registered_model_alias(PACKAGE, alias, str(version))


def _unless_missing(get: Callable[[str], Any], name: str) -> Any:
    """Return what has the name, None if MLflow does not know it."""
    try:
        return get(name)
    except MlflowException as error:
        if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            raise
        return None


@contextmanager
def permitted() -> Iterator[None]:
    """Raise ProjectError if the account may not do what the block does."""
    try:
        yield
    except MlflowException as error:
        if error.error_code != "PERMISSION_DENIED":
            raise
        uri = read_settings().mlflow_tracking_uri
        raise ProjectError(f"This account may read the registry at {uri}, but not change it.") from None
