"""Is dvc.lock up to date? It is compared with the files, the .dvc files and the record of the last training."""

from collections.abc import Iterator, Mapping
from typing import Any

from ...config import Params
from ...errors import ProjectError
from ..paths import LOCK, RECORD
from ..settings import load_yaml, project_root
from . import dvc
from .content import digest_of_code
from .provenance import Record

# The data may be absent, as in a fresh clone.
ABSENT = ("deleted", "not in cache")


def check() -> str:
    """Return that dvc.lock is up to date, or does not exist yet; raise ProjectError with a line per difference."""
    if not (project_root() / LOCK).exists():
        return "There is no dvc.lock yet; `make train` writes it."
    if found := differences():
        raise ProjectError(
            "dvc.lock is not up to date:",
            *(f"- {line}" for line in found),
            "Run `make train` and commit what it writes, or restore the files of dvc.lock with `dvc checkout`.",
        )
    return "dvc.lock is up to date."


def differences() -> list[str]:
    """Return in sentences what differs from dvc.lock; nothing if it does not exist yet."""
    if not (project_root() / LOCK).exists():
        return []
    dvc.check_lock()
    with dvc.repository() as repo:
        # DVC has the last word.
        return list(dict.fromkeys(_differences(repo))) or [
            f"`dvc repro --dry --allow-missing` would run {stage.addressing} again"
            for stage in repo.reproduce(dry=True, allow_missing=True)
        ]


def _differences(repo: Any) -> Iterator[str]:
    stages = {stage.addressing: stage for stage in repo.index.stages}
    for name, changes in repo.status().items():
        for change in changes:
            yield from _changed(stages[name], change)
    yield from _disagreements(stages.values())
    locked = load_yaml(LOCK)["stages"]
    yield from _unrecorded(locked.get("training", {}))


def _changed(stage: Any, change: Mapping[str, Any] | str) -> Iterator[str]:
    """Describe what DVC finds changed since the lock was written; absent data does not count."""
    if isinstance(change, str):
        yield f"dvc.yaml: the stage '{stage.addressing}' has changed ({change})"
        return
    tracked = {str(out) for other in stage.repo.index.stages for out in other.outs}
    for path, how in change.get("changed deps", {}).items():
        if isinstance(how, Mapping):
            yield f"{path} has changed since the training: {', '.join(sorted(how))}"
        elif how != "deleted" or path not in tracked:
            yield f"{path}, which the training reads, does not match dvc.lock ({how})"
    cached = {str(out): out.use_cache for out in stage.outs}
    for path, how in change.get("changed outs", {}).items():
        if how not in ABSENT or not cached.get(path, True):
            yield f"{path} does not match {stage.addressing if stage.is_data_source else LOCK} ({how})"


def _disagreements(stages: Any) -> Iterator[str]:
    """Compare what one stage or .dvc file wrote with what the next one read."""
    written = {out.fs_path: (out.hash_info.value, stage.addressing) for stage in stages for out in stage.outs}
    for stage in stages:
        yield from (f"{out} is in dvc.yaml, but not in dvc.lock" for out in stage.outs if not out.hash_info)
        for dep in stage.deps:
            value, source = written.get(dep.fs_path, (None, ""))
            if value and dep.hash_info and dep.hash_info.value != value:
                yield f"{dep} was read with MD5 {dep.hash_info.value}, but {source} has {value}"


def _unrecorded(locked: Mapping[str, Any]) -> Iterator[str]:
    """Compare the lock with the record of the last training, which also covers data that is absent."""
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
        yield f"the code that dvc.yaml lists has changed since {RECORD} was written"
    parameters = locked.get("params", {}).get("params.yaml")
    if parameters and Params.model_validate(parameters) != Params.model_validate(record.params):
        yield f"the parameters in dvc.lock differ from those in {RECORD}"
