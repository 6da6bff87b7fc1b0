"""Where a registered version comes from, back to the raw data."""

from contextlib import suppress
from datetime import UTC, datetime

from ...errors import ProjectError, printable
from ..settings import PACKAGE
from ..versioning import dvc, git
from ..versioning.provenance import PATCH, Provenance
from . import registry
from .store import Version


def describe(number: int | None) -> str:
    """Describe a version (by default the champion, else the newest) and its origin, one link per line."""
    state = registry.champion()
    number = number or state.champion
    version = registry.get(number) if number else registry.newest()
    if version is None:
        raise ProjectError(registry.NO_VERSION)
    origin = Provenance.read(version.tags)
    aliases = [alias for alias, number in state.aliases.items() if number == version.number]
    alias = f" ({', '.join(aliases)})" if aliases else ""
    source = version.params.get("data.source", "")
    digest = origin.inputs.get(source, "")
    chain = [
        f"{PACKAGE} version {version.number}{alias}: {version.tags.get('reason', 'no reason given')}",
        _run(version),
        f"Prefect flow run {origin.flow_run_name}, {origin.flow_run_id}",
        *([origin.cause] if origin.cause else []),
        f"git commit {_commit(origin)}",
        f"dvc.lock {_lock(origin)}",
        f"raw data {source}, MD5 {digest}",
    ]
    places = dvc.places(digest) or ["neither the cache nor a remote; run `dvc push`"]
    return "\n  ← ".join(map(printable, chain)) + "".join(f"\n      in {printable(place)}" for place in places)


def _run(version: Version) -> str:
    if version.status is None or version.start is None:
        return f"MLflow run {version.run_id or 'unknown'}, which does not exist"
    when = datetime.fromtimestamp(version.start / 1000, UTC).astimezone()
    return f"MLflow run {version.run_id} of {when:%Y-%m-%d %H:%M:%S}, {version.status.lower()}"


def _commit(origin: Provenance) -> str:
    if origin.commit is None:
        return "none: it was trained outside git, or before the first commit"
    try:
        commit = git.run_git("log", "-1", "--format=%H “%s”", origin.commit).decode().strip()
    except ProjectError:
        commit = f"{origin.commit}, which is not in this repository"
    patch = f", with uncommitted changes in {PATCH}: {origin.changed}" if origin.patched else ""
    left_out = f", with changes that git alone cannot rebuild: {origin.left_out}" if origin.left_out else ""
    return f"{commit}{patch}{left_out}" if patch or left_out else f"{commit}, clean"


def _lock(origin: Provenance) -> str:
    """Describe the model in dvc.lock, and the commit that put it there."""
    models = [(path, md5) for path, md5 in origin.outputs.items() if path.startswith("models/")]
    if not models:
        return "is not recorded"
    path, md5 = models[0]
    with suppress(ProjectError):
        search = ("log", "--all", "--reverse", "--format=%h “%s”", "-S", md5, "--", "dvc.lock")
        if commits := git.run_git(*search).decode().splitlines():
            return f"names {path} {md5}, since commit {commits[0]}"
    return f"names {path} {md5}, not committed yet"
