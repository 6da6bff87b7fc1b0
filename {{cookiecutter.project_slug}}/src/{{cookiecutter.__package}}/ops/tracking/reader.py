"""What the registry says, read only, so that an account that may not write can ask.

A database is asked by SQL: MLflow's imports alone take seconds. A server is asked by MLflow.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from ...config import DUMMY
from ...errors import ProjectError
from ..settings import PACKAGE, read_settings
from .history import History, version_label

CHAMPION, CHALLENGER = "champion", "challenger"
UNFINISHED = (
    "The alias `champion` is not where its history says: a command was interrupted, or the alias was moved by other "
    "means. The next `train`, `promote` or `rollback` settles it."
)
NONE = f"No version of {PACKAGE} is registered yet; `make train` makes the first."


class ChampionState(NamedTuple):
    """Who is champion, as the alias says, and how it came to be."""

    champion: int | None
    history: History
    aliases: Mapping[str, int] = {}

    @property
    def pending(self) -> bool:
        """Whether the alias is not where the history says: a command was killed, or other hands moved it."""
        return self.history.champion != self.champion


class Version(NamedTuple):
    """A registered version with its tags, and of its run the start (in milliseconds), parameters and metrics."""

    number: int
    tags: Mapping[str, str]
    run_id: str
    status: str
    start: int
    params: Mapping[str, str]
    metrics: Mapping[str, float]


def champion() -> ChampionState:
    """Return who is champion."""
    database = _database()
    if database is None:
        from mlflow.exceptions import MlflowException  # noqa: PLC0415 - it takes seconds

        from .runs import connect  # noqa: PLC0415

        try:
            model = connect().get_registered_model(PACKAGE)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return ChampionState(None, History([], 0))
        tags, aliases = model.tags, model.aliases
    else:
        tags = dict(_ask(database, "SELECT key, value FROM registered_model_tags WHERE name = :name"))
        aliases = dict(_ask(database, "SELECT alias, version FROM registered_model_aliases WHERE name = :name"))
    aliases = {alias: int(version) for alias, version in aliases.items()}
    return ChampionState(aliases.get(CHAMPION), History.read(tags), aliases)


def newest() -> Version | None:
    """Return the version that was registered last, None if there is none."""
    return _version(None)


def get(number: int) -> Version:
    """Return a version; raise ProjectError if it does not exist."""
    found = _version(number)
    if found is None:
        raise missing(number)
    return found


def missing(number: int) -> ProjectError:
    """Return the error for a version that does not exist."""
    last = newest()
    known = f"the newest is {last.number}" if last else "none is registered yet; `make train` makes the first"
    return ProjectError(f"There is no version {number} of {PACKAGE}; {known}.")


def _version(number: int | None) -> Version | None:
    """Return the version of this number, or the newest, if there is one."""
    database = _database()
    if database is None:
        from .runs import connect  # noqa: PLC0415 - it takes seconds

        client = connect()
        condition = f"name = '{PACKAGE}'{f' and version_number = {number}' if number else ''}"
        for one in client.search_model_versions(condition, max_results=1, order_by=["version_number DESC"]):
            run = client.get_run(str(one.run_id))
            info, data = run.info, run.data
            of_run = (info.run_id, info.status, info.start_time, data.params, data.metrics)
            return Version(int(one.version), one.tags, *of_run)
        return None
    listed = """
        SELECT version, run_id, runs.status, start_time FROM model_versions JOIN runs ON run_uuid = run_id
        WHERE model_versions.name = :name AND version = COALESCE(:number, version)
        AND current_stage != 'Deleted_Internal' ORDER BY version DESC LIMIT 1
    """
    for version, run_id, status, start in _ask(database, listed, number=number):
        tags = "SELECT key, value FROM model_version_tags WHERE name = :name AND version = :number"
        params = "SELECT key, value FROM params WHERE run_uuid = :run"
        metrics = "SELECT key, value, is_nan FROM latest_metrics WHERE run_uuid = :run"
        measured = _ask(database, metrics, run=run_id)
        return Version(
            number=version,
            tags=dict(_ask(database, tags, number=version)),
            run_id=run_id,
            status=status,
            start=start,
            params=dict(_ask(database, params, run=run_id)),
            metrics={key: float("nan") if is_nan else value for key, value, is_nan in measured},
        )
    return None


def describe_newest() -> str:
    """Say which version was registered last, under which alias and why, and what the holdout said of it."""
    last, state = newest(), champion()
    if last is None:
        raise ProjectError(NONE)
    lines = []
    for name in sorted(name for name in last.metrics if not name.startswith(DUMMY)):
        dummy = last.metrics.get(f"{DUMMY}{name}")
        beside = "" if dummy is None else f"   dummy {dummy:.4f}"
        lines.append(f"{name:>18}  {last.metrics[name]:.4f}{beside}")
    alias, reason = f"{CHALLENGER} of {version_label(state.champion)}", last.tags.get("reason", "no reason given")
    if last.number == state.champion:
        alias = CHAMPION
        reason = next((entry.reason for entry in reversed(state.history.entries) if entry.new == last.number), reason)
    said = ["Holdout:", *lines, f"{PACKAGE} version {last.number}: {alias} ({reason})"]
    return "\n".join([*said, UNFINISHED] if state.pending else said)


def _database() -> str | None:
    """Return the address of the database that keeps the registry, None if a server does."""
    uri = read_settings().mlflow_tracking_uri
    return None if uri.startswith(("http", "databricks", "file")) else uri


def _ask(database: str, query: str, **values: Any) -> list[Any]:
    """Return the rows of a query; none where the database is not made yet."""
    url = make_url(database)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        return []
    try:
        with create_engine(url).connect() as connection:
            return list(connection.execute(text(query), {"name": PACKAGE, **values}).tuples())
    except DBAPIError as error:
        said = str(error).partition("\n")[0]
        if "no such table" in said or "UndefinedTable" in said:
            return []
        raise ProjectError(f"The MLflow store that MLFLOW_TRACKING_URI names cannot be used: {said}") from None
