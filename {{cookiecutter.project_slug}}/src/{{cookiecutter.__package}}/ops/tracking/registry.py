"""The registry of models in MLflow: versions, their aliases, and every move of the alias `champion`.

`champion` is the model in use, and `challenger` the newest version as long as that is not the champion. The journal is
kept in the tags of the registered model: beside the alias, in the same database and backup.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import mlflow
from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from ...errors import ProjectError
from ..settings import PACKAGE, read_settings, state_dir
from . import packaging, reader
from .history import SETTLED, Entry, History, new_entry, version_label
from .reader import CHALLENGER, CHAMPION, ChampionState
from .runs import connect

LOCK_TIMEOUT = 60  # seconds to wait for another command that moves the alias
FOUND = "the alias was moved, or its version deleted, by other means than the project's commands"


class OvertakenError(ProjectError):
    """Another command has moved the alias since the decision was made."""


def register(model_uri: str, tags: Mapping[str, str]) -> int:
    """Make the logged model the next version, or find that which an earlier try of this run made; return its number."""
    client = MlflowClient()
    active = mlflow.active_run()
    run_id = active.info.run_id if active else ""
    for known in client.search_model_versions(f"name = '{PACKAGE}' and run_id = '{run_id}'"):
        return int(known.version)
    return int(mlflow.register_model(model_uri, PACKAGE, tags=dict(tags)).version)


def explain(version: int, reason: str) -> None:
    """Change what a version says about its alias."""
    MlflowClient().set_model_version_tag(PACKAGE, str(version), "reason", reason)


def reconcile() -> ChampionState:
    """Return who is champion, after finishing what a killed command began, and recording what other hands did."""
    with _locked() as client:
        return _settle(client)


@contextmanager
def load(version: int) -> Iterator[packaging.Package]:
    """Download a version for the block, to be loaded by the code that it was packed with."""
    with packaging.downloaded(get(version)) as package:
        yield package


def promote(move: Entry) -> None:
    """Move the alias as the entry says; raise OvertakenError if its `from` is not the champion any more."""
    with _locked() as client:
        get(move.new or 0)
        state = _settle(client)
        if state.champion == move.new:
            raise ProjectError(f"Version {move.new} of {PACKAGE} is the champion already.")
        if state.champion != move.old:
            raise OvertakenError(
                f"Version {move.new} was not promoted: it was compared with {version_label(move.old)}, "
                f"and since then another command has made {version_label(state.champion)} the champion."
            )
        _write(client, state.history, move)


def rollback(by: str, reason: str) -> Entry:
    """Return to the previous champion that is still registered; return the move."""
    with _locked() as client:
        state = _settle(client)
        for version in state.history.previous():
            with suppress(ProjectError):
                move = new_entry("rollback", by, state.champion, version, reason, metrics(version))
                _write(client, state.history, move)
                return move
        raise ProjectError(
            f"There is no earlier champion of {PACKAGE} to return to; `journal` shows who was champion when."
        )


def get(version: int) -> ModelVersion:
    """Return a version; raise ProjectError if it does not exist."""
    if found := _find(connect(), version):
        return found
    raise reader.missing(version)


def metrics(version: int) -> dict[str, float]:
    """Return what the holdout said of a version when it was trained."""
    return dict(reader.get(version).metrics)


def newest(client: MlflowClient) -> int | None:
    """Return the number of the version that was registered last, None if there is none."""
    versions = client.search_model_versions(f"name = '{PACKAGE}'", max_results=1, order_by=["version_number DESC"])
    return int(versions[0].version) if versions else None


@contextmanager
def _locked() -> Iterator[MlflowClient]:
    """Connect, and keep every other command on this machine that moves the alias out until the end of the block."""
    database = read_settings().mlflow_tracking_uri.removeprefix("sqlite:///").partition("?")[0]
    lock = f"{state_dir() / 'mlflow.db' if '://' in database else database}.lock"
    try:
        with FileLock(lock, timeout=LOCK_TIMEOUT):
            yield connect()
    except Timeout:
        raise ProjectError(
            f"Another command has held {lock} for {LOCK_TIMEOUT} seconds; end it or try again."
        ) from None


def _write(client: MlflowClient, history: History, move: Entry) -> ChampionState:
    """Append an entry to the journal, and do as it says; whatever a kill leaves undone, the next `_settle` does."""
    client.set_registered_model_tag(PACKAGE, history.next_key(), move.model_dump_json(by_alias=True))
    return _settle(client)


def _settle(client: MlflowClient) -> ChampionState:
    """Make journal and aliases agree: do what was written last, and write what was done by other hands."""
    model = _model(client)
    if model is None:
        return ChampionState(None, History([], 0))
    history, aliases = model
    champion = aliases.get(CHAMPION)
    if history.settled < len(history.entries):
        last = history.entries[-1]
        # A version that was deleted since cannot be champion: the alias stays, and an entry below says so.
        if champion == last.old and (last.new is None or _find(client, last.new)):
            _point(client, CHAMPION, champion := last.new)
        client.set_registered_model_tag(PACKAGE, SETTLED, str(len(history.entries)))
    if history.champion != champion:
        return _write(client, history, new_entry("found", "unknown", history.champion, champion, FOUND, {}))
    latest = newest(client)
    challenger = None if latest == champion else latest
    if aliases.get(CHALLENGER) != challenger:
        _point(client, CHALLENGER, challenger)
    return ChampionState(champion, history)


def _model(client: MlflowClient) -> tuple[History, dict[str, int]] | None:
    """Return journal and aliases as MLflow has them in this moment, None before the first version."""
    try:
        model = client.get_registered_model(PACKAGE)
    except MlflowException as error:
        _raise_unless_missing(error)
        return None
    return History.read(model.tags), {alias: int(version) for alias, version in model.aliases.items()}


def _find(client: MlflowClient, version: int) -> ModelVersion | None:
    try:
        return client.get_model_version(PACKAGE, str(version))
    except MlflowException as error:
        _raise_unless_missing(error)
        return None


def _raise_unless_missing(error: MlflowException) -> None:
    if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
        raise error


def _point(client: MlflowClient, alias: str, version: int | None) -> None:
    """Give a version the alias, or take it away."""
    if version is None:
        client.delete_registered_model_alias(PACKAGE, alias)
    else:
        client.set_registered_model_alias(PACKAGE, alias, str(version))
