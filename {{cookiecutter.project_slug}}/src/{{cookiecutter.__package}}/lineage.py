"""Where a model comes from: from its version back to the raw data."""

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

from . import registry, storage, versioning
from .errors import ProjectError
from .tracking import NAME, PATCH, connect


def describe(number: int | None) -> str:
    """Return the chain behind a version, by default the champion or else the newest, a link a line."""
    champion = registry.reign().champion
    client = connect()
    number = number or champion or registry.newest(client)
    if number is None:
        raise ProjectError(f"No version of {NAME} is registered yet; `make train` makes the first.")
    version = registry.get(number)
    run, tags = client.get_run(str(version.run_id)), version.tags
    when = datetime.fromtimestamp(run.info.start_time / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    alias = f" ({', '.join(version.aliases)})" if version.aliases else ""
    source = run.data.params.get("data.source", "")
    chain = [
        f"{NAME} version {number}{alias}: {tags.get('reason', 'no reason given')}",
        f"MLflow run {version.run_id} of {when}, {run.info.status.lower()}",
        f"Prefect flow run {tags.get('prefect.flow_run_name')}, {tags.get('prefect.flow_run_id')}",
        f"git commit {_commit(tags)}",
        f"dvc.lock {_lock(tags)}",
        f"raw data {source}, MD5 {tags.get(f'input.{source}')}",
    ]
    kept = storage.places(tags.get(f"input.{source}", "")) or ["neither the cache nor a remote; run `dvc push`"]
    return "\n  ← ".join(chain) + "".join(f"\n      in {place}" for place in kept)


def _commit(tags: dict[str, str]) -> str:
    """Name the commit, whether it is here, and what was beyond it."""
    commit, _, dirty = tags.get("git.commit", "none").partition("-")
    if commit == "none":
        return "none: it was trained outside of git, or before the first commit"
    try:
        said = versioning.git("log", "-1", "--format=%H “%s”", commit).decode().strip()
    except ProjectError:
        said = f"{commit}, which is not in this repository"
    return (
        f"{said}, and what was not committed, kept as {PATCH}: {tags.get('git.changed')}" if dirty else f"{said}, clean"
    )


def _lock(tags: dict[str, str]) -> str:
    """Name the model as dvc.lock does, and the commit that brought it into dvc.lock."""
    model = next(((path, md5) for path, md5 in _outs(tags) if path.startswith("models/")), None)
    if model is None:
        return "is not recorded"
    path, md5 = model
    with suppress(ProjectError):
        search = ("log", "--all", "--reverse", "--format=%h “%s”", "-S", md5, "--", "dvc.lock")
        if found := versioning.git(*search).decode().splitlines():
            return f"names {path} {md5}, since commit {found[0]}"
    return f"names {path} {md5}, not committed yet"


def _outs(tags: dict[str, str]) -> Iterator[tuple[str, str]]:
    yield from json.loads(tags.get("dvc.lock", "{}")).get("outs", {}).items()
