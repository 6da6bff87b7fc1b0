"""Is dvc.lock true? It is held against the files that are here, .dvc files, and what the last run recorded in git."""

from collections.abc import Iterator, Mapping
from typing import Any

from ruamel.yaml import YAML

from ...config import Params
from ...errors import ProjectError
from ..paths import LOCK, RECORD
from ..settings import project_root
from . import dvc
from .content import digest_of_code
from .provenance import Record

# Data need not be here.
ABSENT = ("deleted", "not in cache")


def check() -> str:
    """Say that dvc.lock is true, or that there is none yet; raise ProjectError with a line per untruth."""
    if not (project_root() / LOCK).exists():
        return "There is no dvc.lock yet; `make train` writes it."
    with dvc.repository() as repo:
        untrue = list(dict.fromkeys(_untruths(repo)))
        if not untrue:
            # DVC itself has the last word.
            would_run = repo.reproduce(dry=True, allow_missing=True)
            untrue = [f"`dvc repro --dry --allow-missing` would run {stage.addressing} again" for stage in would_run]
    if untrue:
        lines = "\n".join(f"- {line}" for line in untrue)
        raise ProjectError(
            f"dvc.lock is not true:\n{lines}\nRun `make train` and commit what it writes, "
            "or bring back with `dvc checkout` what dvc.lock names."
        )
    return "dvc.lock is true."


def _untruths(repo: Any) -> Iterator[str]:
    stages = {stage.addressing: stage for stage in repo.index.stages}
    for name, changes in repo.status().items():
        for change in changes:
            yield from _changed(stages[name], change)
    yield from _disagreements(stages.values())
    locked = YAML(typ="safe").load(project_root() / LOCK)["stages"]
    yield from _unrecorded(locked.get("training", {}))


def _changed(stage: Any, change: Mapping[str, Any] | str) -> Iterator[str]:
    """Put what DVC finds changed since the lock was written into words; data that is only absent is no change."""
    if isinstance(change, str):
        yield f"dvc.yaml: the stage '{stage.addressing}' itself has changed ({change})"
        return
    for path, how in change.get("changed deps", {}).items():
        if isinstance(how, Mapping):
            yield f"{path} has changed since the training: {', '.join(sorted(how))}"
        elif how != "deleted" or not _kept_by_dvc(stage, path):
            yield f"{path} is not what dvc.lock says that the training read ({how})"
    kept = {str(out): out.use_cache for out in stage.outs}
    for path, how in change.get("changed outs", {}).items():
        if how not in ABSENT or not kept.get(path, True):
            said = stage.addressing if stage.is_data_source else LOCK
            yield f"{path} is not what {said} says it is ({how})"


def _kept_by_dvc(stage: Any, path: str) -> bool:
    return any(str(out) == path for other in stage.repo.index.stages for out in other.outs)


def _disagreements(stages: Any) -> Iterator[str]:
    """Compare what one stage or .dvc file made with what the next says that it read."""
    made = {out.fs_path: (out.hash_info.value, stage.addressing) for stage in stages for out in stage.outs}
    for stage in stages:
        yield from (f"{part} is in dvc.yaml, but not in dvc.lock" for part in stage.outs if not part.hash_info)
        for dep in stage.deps:
            value, source = made.get(dep.fs_path, (None, ""))
            if value and dep.hash_info and dep.hash_info.value != value:
                yield f"{dep} was read with MD5 {dep.hash_info.value}, but {source} has {value}"


def _unrecorded(locked: Mapping[str, Any]) -> Iterator[str]:
    """Compare the lock with what the last run recorded, which catches what the absent data cannot."""
    try:
        record = Record.read()
    except ProjectError as error:
        yield str(error)
        return
    for part, recorded in (("deps", record.deps), ("outs", record.outs)):
        for entry in locked.get(part, []):
            digest = recorded.get(entry["path"])
            if digest and digest != entry.get("md5"):
                yield f"{entry['path']} has MD5 {entry.get('md5')} in dvc.lock, but {digest} in {RECORD}"
    if record.code != digest_of_code():
        yield f"the code that dvc.yaml lists is not that which {RECORD} was written by"
    if locked.get("params") and Params.model_validate(locked["params"]["params.yaml"]) != Params.model_validate(
        record.params
    ):
        yield f"the parameters in dvc.lock are not those in {RECORD}"
