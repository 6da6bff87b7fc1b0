"""Where a model comes from: as tags in MLflow and as a file in git."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

from pydantic import BaseModel

from ...config import Split
from ...errors import ProjectError
from ..files import File
from ..paths import RECORD
from ..settings import project_root
from .git import Code

FLOW_RUN = "prefect.flow_run_id"
CAUSE = "cause"
# The artifact of a run with the uncommitted changes of its code.
PATCH = "code.patch"
# Longer lists of changed files are cut: MLflow's database limits the length of a tag.
CHANGED = 1000


class Provenance(NamedTuple):
    """The origin of a run or a model version.

    `commit` is None where there was no git commit; `patched` is whether a patch holds uncommitted changes, `changed`
    the files that it changes, `patch` its SHA-256, and `left_out` the changed files that it does not hold. `inputs` and
    `outputs` map paths to the MD5s in dvc.lock. `cause` is what started the training, if that was drift.
    """

    commit: str | None
    patched: bool
    changed: str
    left_out: str
    patch: str
    flow_run_id: str
    flow_run_name: str
    split: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str] = {}
    cause: str = ""

    @classmethod
    def of(cls, code: Code, flow_run: tuple[str, str], split: Split, used: list[File]) -> Self:
        """Return the origin of a training that is about to start; `flow_run` is its id and name."""
        commit = None if code.commit == "none" else code.commit
        changed, left_out = _listed(code.changed), _listed(code.left_out)
        patch = hashlib.sha256(code.patch).hexdigest() if code.patch else ""
        return cls(
            commit, bool(code.patch), changed, left_out, patch, *flow_run, split.model_dump_json(), digests(used)
        )

    @property
    def code(self) -> str:
        """The commit, with `-dirty` if there were uncommitted changes."""
        return f"{self.commit or 'none'}{'-dirty' if self.patched or self.left_out else ''}"

    def tags(self) -> dict[str, str]:
        """Return it as tags for MLflow."""
        return {
            "git.commit": self.code,
            "git.changed": self.changed,
            "git.left_out": self.left_out,
            "git.patch": self.patch,
            FLOW_RUN: self.flow_run_id,
            "prefect.flow_run_name": self.flow_run_name,
            "dvc.lock": json.dumps({"deps": self.inputs, "outs": self.outputs}),
            "split": self.split,
            **{f"input.{path}": md5 for path, md5 in self.inputs.items()},
            **({CAUSE: self.cause} if self.cause else {}),
        }

    @classmethod
    def read(cls, tags: Mapping[str, str]) -> Self:
        """Read it from the tags of a run or a version; what has no tag is empty."""
        commit, _, dirty = tags.get("git.commit", "none").partition("-")
        changed, left_out = tags.get("git.changed", ""), tags.get("git.left_out", "")
        lock = json.loads(tags.get("dvc.lock", "{}"))
        # MLflow does not accept every path as a key.
        inputs = {name.removeprefix("input."): md5 for name, md5 in tags.items() if name.startswith("input.")}
        return cls(
            commit=None if commit == "none" else commit,
            patched=bool(dirty and (changed or not left_out)),
            changed=changed,
            left_out=left_out,
            patch=tags.get("git.patch", ""),
            flow_run_id=tags.get(FLOW_RUN, ""),
            flow_run_name=tags.get("prefect.flow_run_name", ""),
            split=tags.get("split", ""),
            inputs=lock.get("deps") or inputs,
            outputs=lock.get("outs", {}),
            cause=tags.get(CAUSE, ""),
        )


class Record(BaseModel):
    """What the last training read and wrote; git keeps it, so that dvc.lock can be checked without the data."""

    code: str
    params: dict[str, Any]
    deps: dict[str, str]
    outs: dict[str, str]

    def write(self) -> None:
        """Write the record."""
        (project_root() / RECORD).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls) -> Self:
        """Read the record; raise ProjectError if it cannot be read."""
        try:
            return cls.model_validate_json((project_root() / RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise ProjectError(
                f"{RECORD}, which every training writes, is missing or unreadable; commit it with dvc.lock"
            ) from None


def _listed(names: Sequence[str]) -> str:
    text = ", ".join(names)
    return text if len(text) <= CHANGED else f"{text[:CHANGED]}… ({len(names)} files)"


def digests(files: list[File]) -> dict[str, str]:
    """Return the MD5 of each file by its path."""
    return {str(file.path): file.md5 for file in files}
