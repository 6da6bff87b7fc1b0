"""The registry of models: versions, their aliases, and every move of the alias `champion`.

`champion` is the model in use; `challenger` is the newest version, unless that is the champion. The journal of the
moves is kept in tags of the registered model: beside the alias, in the same database and backup.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from filelock import FileLock, Timeout

from ...errors import ProjectError
from ..settings import PACKAGE, read_settings, state_dir
from .history import SETTLED, UNREADABLE, Entry, History, new_entry, version_label
from .keys import as_keys
from .store import Store, Version, open_store

if TYPE_CHECKING:
    from .packaging import Package

CHAMPION, CHALLENGER = "champion", "challenger"
LOCK_TIMEOUT = 60  # seconds to wait for another command that moves the alias
FOUND = "the alias was moved, or its version deleted, outside of the project's commands"
NO_VERSION = f"No version of {PACKAGE} is registered yet; `make train` makes the first."
PENDING = (
    "The alias `champion` does not match its journal: a command was interrupted, or the alias was moved by other "
    "means. The next `train`, `promote` or `rollback` settles it."
)


class OvertakenError(ProjectError):
    """Another command has moved the alias since the decision was made."""


class ChampionState(NamedTuple):
    """The champion, as the alias says, with the journal and all aliases."""

    champion: int | None
    history: History
    aliases: Mapping[str, int] = {}

    @property
    def pending(self) -> bool:
        """Whether the alias does not match the journal: a command was killed, or something else moved the alias."""
        return self.history.champion != self.champion

    @property
    def problem(self) -> str:
        """A sentence about a journal that cannot be read or does not match the alias, empty if there is no problem."""
        return self.history.damage or (PENDING if self.pending else "")


def champion() -> ChampionState:
    """Return who is champion; only reads, so an account that may not write can ask."""
    return _state(open_store())


def holder(alias: str) -> int | None:
    """Return the version that has an alias, without the journal: cheap enough to ask every few seconds."""
    return open_store().alias(alias)


def newest() -> Version | None:
    """Return the version that was registered last, None if there is none."""
    return open_store().version(None)


def get(number: int) -> Version:
    """Return a version; raise ProjectError if it does not exist."""
    store = open_store()
    if version := store.version(number):
        return version
    last = store.version(None)
    known = f"the newest is {last.number}" if last else "none is registered yet; `make train` makes the first"
    raise ProjectError(f"There is no version {number} of {PACKAGE}; {known}.")


@contextmanager
def load(number: int) -> Iterator["Package"]:
    """Download a version for the block; the code that it was packed with loads it."""
    from . import connection, packaging  # noqa: PLC0415 - take seconds

    connection.connect()
    with packaging.downloaded(get(number)) as package:
        yield package


def register(model_uri: str, tags: Mapping[str, str]) -> int:
    """Register the logged model as the next version, unless an earlier try of this run did; return its number.

    It replaces the version that an earlier run of the same training registered before it failed.
    """
    import mlflow  # noqa: PLC0415 - takes seconds

    run, client = mlflow.active_run(), mlflow.MlflowClient()
    run_id = run.info.run_id if run else ""
    for registered in client.search_model_versions(f"name = '{PACKAGE}' and run_id = '{run_id}'"):
        return int(registered.version)
    left = newest()
    if left and left.status in {"FAILED", "KILLED"} and _is_same_training(left.tags, tags):
        state = champion()
        if left.number not in {state.champion, *(entry.new for entry in state.history.entries)}:
            client.delete_model_version(PACKAGE, str(left.number))
    return int(mlflow.register_model(model_uri, PACKAGE, tags=as_keys(tags)).version)


def _is_same_training(*versions: Mapping[str, str]) -> bool:
    """Tell whether two versions have the same data, contract and parameters, by their tags."""
    from ..versioning.provenance import Provenance  # noqa: PLC0415 - imports Polars

    one, other = (Provenance.read(tags).inputs for tags in versions)
    return bool(one) and one == other


def set_tag(version: int, key: str, value: str) -> None:
    """Set a tag of a version."""
    from .mlflow_store import MlflowStore, permitted  # noqa: PLC0415 - takes seconds

    with permitted():
        MlflowStore().client.set_model_version_tag(PACKAGE, str(version), key, value)


def trust(number: int) -> str:
    """Record the digests of a version that was registered without them; return a sentence."""
    from . import digests  # noqa: PLC0415 - takes seconds

    with load(number) as package:
        if package.checked:
            return f"The files of version {number} are the ones that were registered."
        files = digests.compute(package.folder)
        set_tag(number, digests.TAG, json.dumps(files))
    return (
        f"Recorded the digests of the {len(files)} files of version {number} as they are now; "
        "from now on it is loaded only with these files."
    )


def reconcile() -> ChampionState:
    """Finish what a killed command began, record what others changed, and return who is champion."""
    with _locked() as store:
        return _settle(store)


def promote(move: Entry) -> None:
    """Move the alias as the entry says; raise OvertakenError if its `from` is no longer the champion."""
    with _locked() as store:
        get(move.new or 0)
        state = _settle(store)
        if state.champion == move.new:
            raise ProjectError(f"Version {move.new} of {PACKAGE} is the champion already.")
        if state.champion != move.old:
            raise OvertakenError(
                f"Version {move.new} was not promoted: it was compared with {version_label(move.old)}, "
                f"and since then another command has made {version_label(state.champion)} the champion."
            )
        _write(store, state.history, move)


def repair(by: str) -> list[str]:
    """Replace the tags of the journal that cannot be read; return what was done, a sentence for each.

    The text of each is kept in another tag, and the journal records the repair.
    """
    done = []
    with _locked() as store:
        while (state := _state(store)).history.unreadable:
            tags, history = store.model()[0], state.history
            key = next(iter(history.unreadable))
            names = (f"{UNREADABLE}{key}{f'.{copy}' if copy else ''}" for copy in count())
            kept = next(name for name in names if tags.get(name, tags[key]) == tags[key])
            store.set_tag(kept, tags[key] or "")
            number, entry = history.repaired(key, by, kept, state.champion)
            store.set_tag(f"journal.{number:06}" if key == SETTLED else key, entry.model_dump_json(by_alias=True))
            if key == SETTLED:
                store.set_tag(SETTLED, str(number))
            done.append(f"Entry {number} records this repair: {entry.reason}.")
        _settle(store)
    return done


def rollback(by: str, reason: str) -> Entry:
    """Return to the previous champion that is still registered; return the move."""
    with _locked() as store:
        state = _settle(store)
        for number in state.history.previous():
            if version := store.version(number):
                move = new_entry("rollback", by, state.champion, number, reason, version.metrics)
                _write(store, state.history, move)
                return move
        raise ProjectError(
            f"There is no earlier champion of {PACKAGE} to return to; `journal` shows who was champion when."
        )


@contextmanager
def _locked() -> Iterator[Store]:
    """Open the store, and keep out every other command on this machine that moves the alias until the block ends."""
    lock = f"{read_settings().mlflow_file or state_dir() / 'mlflow.db'}.lock"
    try:
        with FileLock(lock, timeout=LOCK_TIMEOUT):
            yield open_store()
    except Timeout:
        raise ProjectError(
            f"Another command has held {lock} for {LOCK_TIMEOUT} seconds; end it or try again."
        ) from None


def _write(store: Store, history: History, move: Entry) -> ChampionState:
    """Append an entry to the journal and carry it out; if this is killed, the next `_settle` carries it out."""
    # Six digits keep the tags in order.
    key = f"journal.{max(history.last, history.settled) + 1:06}"
    if not store.add_tag(key, move.model_dump_json(by_alias=True)):
        raise OvertakenError(
            "Another command has changed the champion at the same moment: see `journal`, and try again."
        )
    return _settle(store)


def _settle(store: Store) -> ChampionState:
    """Make journal and aliases agree: carry out the last entry, and record changes made by other means."""
    champion, history, aliases = _state(store)
    history.check()
    if history.settled < history.last:
        last = history.moves[history.last]
        # A version that was deleted since cannot be champion: the alias stays, and an entry below says so.
        if champion == last.old and (last.new is None or store.version(last.new)):
            store.set_alias(CHAMPION, last.new)
            champion = last.new
        store.set_tag(SETTLED, str(history.last))
    if history.champion != champion:
        return _write(store, history, new_entry("found", "unknown", history.champion, champion, FOUND, {}))
    latest = store.version(None)
    challenger = latest.number if latest and latest.number != champion else None
    if aliases.get(CHALLENGER) != challenger:
        store.set_alias(CHALLENGER, challenger)
    return _state(store)


def _state(store: Store) -> ChampionState:
    tags, aliases = store.model()
    return ChampionState(aliases.get(CHAMPION), History.read(tags), aliases)
