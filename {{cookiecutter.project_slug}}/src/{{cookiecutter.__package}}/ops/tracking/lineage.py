"""Where a model comes from: from its version back to the raw data."""

from contextlib import suppress
from datetime import UTC, datetime

from ...errors import ProjectError
from ..settings import PACKAGE
from ..versioning import dvc, git
from ..versioning.provenance import PATCH, Provenance
from . import registry
from .store import Version


def describe(number: int | None) -> str:
    """Return the chain behind a version, by default the champion or else the newest, a link a line."""
    state = registry.champion()
    number = number or state.champion
    version = registry.get(number) if number else registry.newest()
    if version is None:
        raise ProjectError(registry.NO_VERSION)
    origin = Provenance.read(version.tags)
    aliases = [alias for alias, named in state.aliases.items() if named == version.number]
    alias = f" ({', '.join(aliases)})" if aliases else ""
    source = version.params.get("data.source", "")
    digest = origin.inputs.get(source, "")
    chain = [
        f"{PACKAGE} version {version.number}{alias}: {version.tags.get('reason', 'no reason given')}",
        _run(version),
        f"Prefect flow run {origin.flow_run_name}, {origin.flow_run_id}",
        f"git commit {_commit(origin)}",
        f"dvc.lock {_lock(origin)}",
        f"raw data {source}, MD5 {digest}",
    ]
    kept = dvc.places(digest) or ["neither the cache nor a remote; run `dvc push`"]
    return "\n  ← ".join(chain) + "".join(f"\n      in {place}" for place in kept)


def _run(version: Version) -> str:
    """Describe the run that registered the version."""
    if version.status is None:
        return f"MLflow run {version.run_id or 'unknown'}, which does not exist"
    when = datetime.fromtimestamp(version.start / 1000, UTC).astimezone()
    return f"MLflow run {version.run_id} of {when:%Y-%m-%d %H:%M:%S}, {version.status.lower()}"


def _commit(origin: Provenance) -> str:
    """Name the commit, whether it is here, and what was beyond it."""
    if origin.commit is None:
        return "none: it was trained outside of git, or before the first commit"
    try:
        said = git.run_git("log", "-1", "--format=%H “%s”", origin.commit).decode().strip()
    except ProjectError:
        said = f"{origin.commit}, which is not in this repository"
    more = f"and what was not committed, kept as {PATCH}: {origin.changed}"
    return f"{said}, {more}" if origin.patched else f"{said}, clean"


def _lock(origin: Provenance) -> str:
    """Name the model as dvc.lock does, and the commit that brought it into dvc.lock."""
    models = [(path, md5) for path, md5 in origin.outputs.items() if path.startswith("models/")]
    if not models:
        return "is not recorded"
    path, md5 = models[0]
    with suppress(ProjectError):
        search = ("log", "--all", "--reverse", "--format=%h “%s”", "-S", md5, "--", "dvc.lock")
        if found := git.run_git(*search).decode().splitlines():
            return f"names {path} {md5}, since commit {found[0]}"
    return f"names {path} {md5}, not committed yet"
