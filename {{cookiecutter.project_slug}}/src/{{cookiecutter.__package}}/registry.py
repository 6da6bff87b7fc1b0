"""The registry of models in MLflow: versions, their aliases, and every move of the alias `champion`.

`champion` is the model in use, and `challenger` the newest version as long as that is not the champion. The journal is
kept in the tags of the registered model: beside the alias, in the same database and backup.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import NamedTuple

import mlflow
from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from .errors import ProjectError
from .journal import SETTLED, Entry, How, Journal
from .settings import home, read_settings
from .steps.evaluate import DUMMY
from .tracking import NAME, connect

CHAMPION, CHALLENGER = "champion", "challenger"
PATIENCE = 60  # seconds to wait for another command that moves the alias
FOUND = "the alias was moved, or its version deleted, by other means than the project's commands"
REASON = 2000  # characters; an MLflow database holds 5000 in a tag, metrics and all


class OvertakenError(ProjectError):
    """Another command has moved the alias since the decision was made."""


class Reign(NamedTuple):
    """Who is champion, and how it came to be."""

    champion: int | None
    journal: Journal


def register(model_uri: str, tags: Mapping[str, str]) -> int:
    """Make the logged model the next version, or find that which an earlier try of this run made; return its number."""
    client = MlflowClient()
    active = mlflow.active_run()
    run_id = active.info.run_id if active else ""
    for known in client.search_model_versions(f"name = '{NAME}' and run_id = '{run_id}'"):
        return int(known.version)
    return int(mlflow.register_model(model_uri, NAME, tags=dict(tags)).version)


def explain(version: int, reason: str) -> None:
    """Change what a version says about its alias."""
    MlflowClient().set_model_version_tag(NAME, str(version), "reason", reason)


def reign() -> Reign:
    """Return who is champion, after what an earlier command has left undone is done."""
    with _alone() as client:
        return _settle(client)


def promote(move: Entry) -> None:
    """Move the alias as the entry says; raise OvertakenError if its `from` is not the champion any more."""
    with _alone() as client:
        get(move.new or 0)
        reigning = _settle(client)
        if reigning.champion == move.new:
            raise ProjectError(f"Version {move.new} of {NAME} is the champion already.")
        if reigning.champion != move.old:
            raise OvertakenError(
                f"Version {move.new} was not promoted: it was compared with {called(move.old)}, "
                f"and since then another command has made {called(reigning.champion)} the champion."
            )
        _write(client, reigning.journal, move)


def rollback(by: str, reason: str) -> Entry:
    """Return to the previous champion that is still registered; return the move."""
    with _alone() as client:
        reigning = _settle(client)
        for version in reigning.journal.previous():
            with suppress(ProjectError):
                move = entry("rollback", by, reigning.champion, version, reason, metrics(version))
                _write(client, reigning.journal, move)
                return move
        raise ProjectError(
            f"There is no earlier champion of {NAME} to return to; `journal` shows who was champion when."
        )


def entry(  # noqa: PLR0913, PLR0917 - a move has that many sides
    how: How, by: str, old: int | None, new: int | None, reason: str, measured: Mapping[str, float]
) -> Entry:
    """Write down a move that is about to be made."""
    if len(reason) > REASON:
        reason = f"{reason[:REASON]}…"
    return Entry(when=datetime.now(UTC), by=by, how=how, old=old, new=new, reason=reason, metrics=dict(measured))


def get(version: int) -> ModelVersion:
    """Return a version; raise ProjectError if it does not exist."""
    client = connect()
    if found := _find(client, version):
        return found
    last = newest(client)
    known = f"the newest is {last}" if last else "none is registered yet; `make train` makes the first"
    raise ProjectError(f"There is no version {version} of {NAME}; {known}.")


def metrics(version: int) -> dict[str, float]:
    """Return what the holdout said of a version when it was trained."""
    found: dict[str, float] = connect().get_run(str(get(version).run_id)).data.metrics
    return found


def newest(client: MlflowClient) -> int | None:
    """Return the number of the version that was registered last, None if there is none."""
    versions = client.search_model_versions(f"name = '{NAME}'", max_results=1, order_by=["version_number DESC"])
    return int(versions[0].version) if versions else None


def describe_newest() -> str:
    """Say which version was registered last, under which alias and why, and what the holdout said of it."""
    champion, book = reign()
    last = newest(connect())
    if last is None:
        raise ProjectError(f"No version of {NAME} is registered yet; `make train` makes the first.")
    scores = metrics(last)
    lines = []
    for name in [name for name in scores if not name.startswith(DUMMY)]:
        dummy = scores.get(f"{DUMMY}{name}")
        beside = "" if dummy is None else f"   dummy {dummy:.4f}"
        lines.append(f"{name:>18}  {scores[name]:.4f}{beside}")
    if last == champion:
        alias, reason = CHAMPION, book.entries[-1].reason
    else:
        alias, reason = f"{CHALLENGER} of {called(champion)}", get(last).tags.get("reason", "no reason given")
    return "\n".join(["Holdout:", *lines, f"{NAME} version {last}: {alias} ({reason})"])


@contextmanager
def _alone() -> Iterator[MlflowClient]:
    """Connect, and keep every other command on this machine that moves the alias out until the end of the block."""
    database = read_settings().mlflow_tracking_uri.removeprefix("sqlite:///").partition("?")[0]
    lock = f"{home() / 'mlflow.db' if '://' in database else database}.lock"
    try:
        with FileLock(lock, timeout=PATIENCE):
            yield connect()
    except Timeout:
        raise ProjectError(f"Another command has held {lock} for {PATIENCE} seconds; end it or try again.") from None


def _write(client: MlflowClient, journal: Journal, move: Entry) -> Reign:
    """Append an entry to the journal, and do as it says; whatever a kill leaves undone, the next `_settle` does."""
    client.set_registered_model_tag(NAME, journal.next_key(), move.model_dump_json(by_alias=True))
    return _settle(client)


def _settle(client: MlflowClient) -> Reign:
    """Make journal and aliases agree: do what was written last, and write what was done by other hands."""
    model = _model(client)
    if model is None:
        return Reign(None, Journal([], 0))
    journal, aliases = model
    champion = aliases.get(CHAMPION)
    if journal.settled < len(journal.entries):
        last = journal.entries[-1]
        # A version that was deleted since cannot be champion: the alias stays, and an entry below says so.
        if champion == last.old and (last.new is None or _find(client, last.new)):
            _point(client, CHAMPION, champion := last.new)
        client.set_registered_model_tag(NAME, SETTLED, str(len(journal.entries)))
    if journal.champion != champion:
        return _write(client, journal, entry("found", "unknown", journal.champion, champion, FOUND, {}))
    latest = newest(client)
    challenger = None if latest == champion else latest
    if aliases.get(CHALLENGER) != challenger:
        _point(client, CHALLENGER, challenger)
    return Reign(champion, journal)


def _model(client: MlflowClient) -> tuple[Journal, dict[str, int]] | None:
    """Return journal and aliases as MLflow has them in this moment, None before the first version."""
    try:
        model = client.get_registered_model(NAME)
    except MlflowException as error:
        _raise_unless_missing(error)
        return None
    return Journal.read(model.tags), {alias: int(version) for alias, version in model.aliases.items()}


def _find(client: MlflowClient, version: int) -> ModelVersion | None:
    try:
        return client.get_model_version(NAME, str(version))
    except MlflowException as error:
        _raise_unless_missing(error)
        return None


def _raise_unless_missing(error: MlflowException) -> None:
    if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
        raise error


def _point(client: MlflowClient, alias: str, version: int | None) -> None:
    """Give a version the alias, or take it away."""
    if version is None:
        client.delete_registered_model_alias(NAME, alias)
    else:
        client.set_registered_model_alias(NAME, alias, str(version))


def called(version: int | None) -> str:
    """Name a version, or the want of one."""
    return f"version {version}" if version else "no champion"
