"""The rows of the registry: read and written by SQL in a database, and through MLflow on a server.

To import MLflow takes seconds. It keeps each tag and each alias as one row, which is all that is written here, and only
into a database of the schema REVISION; any other goes through MLflow. A test compares these rows with MLflow's.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from sqlalchemy import Connection, NullPool, create_engine, inspect, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from ...errors import ProjectError
from ..addresses import without_secrets
from ..settings import PACKAGE, read_settings

if TYPE_CHECKING:
    from .mlflow_store import MlflowStore

Store: TypeAlias = "SqlStore | MlflowStore"
REVISION = "dc11669786a5"  # the newest of MLflow's migrations


class UnavailableError(ProjectError, OSError):
    """The store fails, perhaps only for a moment; as an OSError it makes a task try again."""


class Version(NamedTuple):
    """A registered version, and the status, start (ms), parameters and metrics of its run, if that exists."""

    number: int
    tags: Mapping[str, str]
    source: str
    run_id: str | None
    status: str | None = None
    start: int | None = None
    params: Mapping[str, str] = {}
    metrics: Mapping[str, float] = {}


def open_store() -> Store:
    """Return what reads and writes the rows where the project keeps its registry."""
    uri = read_settings().mlflow_tracking_uri
    if uri.startswith(("sqlite:", "postgresql")):
        store = SqlStore(uri)
        if store.revision in {None, REVISION}:
            return store
    from .mlflow_store import MlflowStore  # noqa: PLC0415 - takes seconds

    return MlflowStore()


def is_damaged(cause: str) -> bool:
    """Tell whether SQLite says that a file is damaged."""
    return "malformed" in cause or "not a database" in cause


def check_not_lost() -> None:
    """Raise ProjectError if MLflow's database is a folder, or empty although its artifacts are there."""
    file, artifacts = read_settings().mlflow_file, read_settings().artifact_folder
    if file and file.is_dir():  # Docker makes one for a mounted file that is missing
        raise ProjectError(f"MLflow's database {file} is a folder: move it away, and bring a backup of the file back.")
    lost = file and not (file.exists() and file.stat().st_size)
    # Another database than the one beside the artifacts may be new.
    beside = file and artifacts and file.parent == artifacts.parent
    if lost and beside and artifacts and artifacts.is_dir() and any(artifacts.iterdir()):
        raise ProjectError(
            f"MLflow's database {file} is empty or missing, but {artifacts} has artifacts of its runs: bring a backup "
            "of the database back, or move that folder away to start anew."
        )


def unusable(error: Exception) -> ProjectError:
    """Return the error for a store that fails."""
    cause = without_secrets(str(error).partition("\n")[0], read_settings().mlflow_tracking_uri)
    kind = UnavailableError if isinstance(error, OperationalError) else ProjectError
    if is_damaged(cause) and (file := read_settings().mlflow_file):
        return kind(f"MLflow's database {file} is damaged ({cause}): bring a backup of it back, or move it away.")
    return kind(f"The MLflow store in MLFLOW_TRACKING_URI cannot be used: {cause}")


class SqlStore:
    """The registry in a database; it is empty if the database does not exist yet."""

    def __init__(self, uri: str) -> None:
        """Connect, and read which schema the database has."""
        try:
            self.engine = create_engine(uri, poolclass=NullPool)
        except (SQLAlchemyError, ImportError, ValueError) as error:
            raise unusable(error) from None
        self.revision = self._read_revision()

    def model(self) -> tuple[dict[str, str], dict[str, int]]:
        """Return the tags and aliases of the registered model."""
        tags = "SELECT key, value FROM registered_model_tags WHERE workspace = 'default' AND name = :name"
        aliases = "SELECT alias, version FROM registered_model_aliases WHERE workspace = 'default' AND name = :name"
        return dict(self._rows(tags)), dict(self._rows(aliases))

    def alias(self, alias: str) -> int | None:
        """Return the version that has the alias, None if there is none."""
        query = """
            SELECT version FROM registered_model_aliases WHERE workspace = 'default' AND name = :name AND alias = :alias
        """
        return next((int(version) for (version,) in self._rows(query, alias=alias)), None)

    def version(self, number: int | None) -> Version | None:
        """Return the version of this number, by default the newest, if there is one."""
        query = """
            SELECT version, source, run_id, runs.status, start_time
            FROM model_versions LEFT JOIN runs ON run_uuid = run_id
            WHERE workspace = 'default' AND model_versions.name = :name AND version = COALESCE(:version, version)
            AND current_stage != 'Deleted_Internal' ORDER BY version DESC LIMIT 1
        """
        of_version = """
            SELECT key, value FROM model_version_tags
            WHERE workspace = 'default' AND name = :name AND version = :version
        """
        for found, source, run, status, start in self._rows(query, version=number):
            tags = dict(self._rows(of_version, version=found))
            params = dict(self._rows("SELECT key, value FROM params WHERE run_uuid = :run", run=run))
            metrics = self._rows("SELECT key, value, is_nan FROM latest_metrics WHERE run_uuid = :run", run=run)
            values = {key: math.nan if is_nan else value for key, value, is_nan in metrics}
            return Version(found, tags, source, run, status, start, params, values)
        return None

    def set_tag(self, key: str, value: str) -> None:
        """Set a tag of the registered model."""
        self._write(
            "DELETE FROM registered_model_tags WHERE workspace = 'default' AND name = :name AND key = :key",
            "INSERT INTO registered_model_tags (workspace, name, key, value) VALUES ('default', :name, :key, :value)",
            key=key,
            value=value,
        )

    def add_tag(self, key: str, value: str) -> bool:
        """Set a tag of the registered model unless it exists; return whether it was set."""
        insert = """
            INSERT INTO registered_model_tags (workspace, name, key, value) VALUES ('default', :name, :key, :value)
            ON CONFLICT DO NOTHING
        """
        with self._transaction() as connection:
            return connection.execute(text(insert), {"name": PACKAGE, "key": key, "value": value}).rowcount == 1

    def set_alias(self, alias: str, version: int | None) -> None:
        """Give a version the alias, or delete the alias, which a version that does not exist cannot have."""
        insert = """
            INSERT INTO registered_model_aliases (workspace, name, alias, version)
            SELECT workspace, name, :alias, version FROM model_versions
            WHERE workspace = 'default' AND name = :name AND version = :version
            AND current_stage != 'Deleted_Internal'
        """
        self._write(
            "DELETE FROM registered_model_aliases WHERE workspace = 'default' AND name = :name AND alias = :alias",
            insert,
            alias=alias,
            version=version,
        )

    def _rows(self, query: str, **values: Any) -> list[Any]:
        if self.revision is None:
            return []
        with self._transaction() as connection:
            return list(connection.execute(text(query), {"name": PACKAGE, **values}).tuples())

    def _write(self, *statements: str, **values: Any) -> None:
        with self._transaction() as connection:
            for statement in statements:
                connection.execute(text(statement), {"name": PACKAGE, **values})

    def _read_revision(self) -> str | None:
        """Return the newest migration that the database has had, None if it is empty or missing."""
        url = self.engine.url
        check_not_lost()
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
            return None  # To connect would create it.
        with self._transaction() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            return str(connection.scalar(text("SELECT version_num FROM alembic_version")))

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """Open a transaction for the block; raise ProjectError if the database fails."""
        try:
            with self.engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise unusable(error) from None
