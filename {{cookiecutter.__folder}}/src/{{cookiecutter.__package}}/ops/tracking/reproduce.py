"""Train a registered version again from its commit and data in a scratch folder, and compare the two."""

import hashlib
import json
import logging
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from ...errors import ProjectError
from ..paths import HOLDOUT, METRICS
from ..versioning import dvc
from ..versioning.content import md5
from ..versioning.git import run_git
from ..versioning.provenance import PATCH, Provenance
from . import registry
from .packaging import Package
from .runs import flatten
from .store import Version

LOGGER = logging.getLogger(__name__)
# Variables that would lead the scratch training to the user's own servers, folders or code.
FOREIGN = ("PREFECT_", "MLFLOW_", "DVC_", "GIT_", "PROJECT_ROOT", "PYTHONPATH")


def reproduce(number: int) -> str:
    """Return a sentence if the version, trained again, is the same; raise ProjectError if it differs or cannot be.

    It leaves the user's tree and the registry alone.
    """
    version = registry.get(number)
    origin = Provenance.read(version.tags)
    if origin.commit is None:
        raise ProjectError(
            f"Version {number} was trained where there was no git commit, so its code is unknown; commit, and train "
            "again."
        )
    with registry.load(number) as package, worktree(origin.commit, number) as scratch:
        if origin.patched:
            _apply_patch(version, origin.patch, scratch)
        for name, digest in origin.inputs.items():
            # git may have brought it.
            if digest and not ((scratch / name).exists() and md5(scratch / name) == digest):
                dvc.fetch(digest, name, scratch / name)
        _train(number, package.name, scratch)
        metrics = json.loads((scratch / METRICS).read_text(encoding="utf-8"))
        then, now = version.metrics, dict(flatten(metrics))
        holdout = pl.read_parquet(scratch / HOLDOUT)
        # One at a time: both packages are imported by the same name.
        with package.loaded() as old:
            old_outputs = outputs(old, holdout)
        [registered] = (scratch / "mlartifacts").rglob("MLmodel")
        with Package(version, registered.parent).loaded() as new:
            new_outputs = outputs(new, holdout)
        differences = [*differing_metrics(then, now), *differing_rows(old_outputs, new_outputs)]
        libraries = list(_libraries(package.folder))
    code = f"commit {origin.commit[:12]}{' and its patch' if origin.patched else ''}"
    code += f" (without the changes of {origin.left_out}, which were not kept)" if origin.left_out else ""
    if differences:
        others = "; ".join(libraries) or "none of those recorded"
        raise ProjectError(
            f"Version {number}, trained again from {code}, differs:",
            *(f"- {line}" for line in differences),
            f"Libraries that differ: {others}.",
        )
    return (
        f"Version {number}, trained again from {code}, is the same: {len(now)} metrics to the last digit, "
        f"and {holdout.height} predictions on the holdout."
    )


@contextmanager
def worktree(commit: str, number: int) -> Iterator[Path]:
    """Check a commit out into a scratch folder for the block; yield the project's folder in it."""
    prefix = run_git("rev-parse", "--show-prefix").decode().strip()
    try:
        run_git("cat-file", "-e", f"{commit}^0")
    except ProjectError:
        raise ProjectError(
            f"Commit {commit}, which version {number} was trained from, is not in this repository; fetch its branch, "
            "or `git fetch --unshallow` in a shallow clone."
        ) from None
    with TemporaryDirectory(prefix="reproduce-") as folder:
        tree = Path(folder).resolve() / "tree"
        try:
            run_git("worktree", "add", "--detach", "--quiet", str(tree), commit)
            yield tree / prefix
        finally:
            with suppress(ProjectError):
                run_git("worktree", "remove", "--force", str(tree))


def _apply_patch(version: Version, digest: str, scratch: Path) -> None:
    """Apply the changes that were not committed, if the patch has the digest; versions of before have none."""
    # A copy: others may change the original after it was checked.
    with TemporaryDirectory() as folder:
        try:
            patch = download_artifacts(run_id=version.run_id, artifact_path=PATCH, dst_path=folder)
            if digest not in {"", hashlib.sha256(Path(patch).read_bytes()).hexdigest()}:
                raise ValueError("its content is not what the version recorded; restore it")  # noqa: TRY301
            top = run_git("rev-parse", "--show-toplevel", cwd=scratch).decode().strip()
            run_git("apply", "--whitespace=nowarn", patch, cwd=Path(top))
        except (MlflowException, OSError, ProjectError, ValueError) as error:
            raise ProjectError(f"The patch of version {version.number} cannot be applied: {error}") from None
    if not digest:
        LOGGER.warning(
            "Version %d was registered without the digest of its patch, so the code in it is run unchecked.",
            version.number,
        )


def _train(number: int, package: str, scratch: Path) -> None:
    (scratch / ".env").unlink(missing_ok=True)
    own = {"PYTHONPATH": str(scratch / "src"), "PROJECT_ROOT": str(scratch)}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    done = subprocess.run(
        [sys.executable, "-m", package, "train"],
        cwd=scratch,
        env=inherited | own,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if missing := re.search(r"ModuleNotFoundError: No module named '(\w+)", done.stderr):
        raise ProjectError(
            f"The code of version {number} imports {missing[1]}, which is not installed any more; run "
            f"`uv run --with {missing[1]} python -m {package} reproduce {number}`."
        )
    if done.returncode:
        end = done.stderr.strip().splitlines()[-3:]
        raise ProjectError(f"Version {number} cannot be trained again; its training ended with:", *end)


def differing_metrics(then: Mapping[str, float], now: Mapping[str, float]) -> Iterator[str]:
    """Describe the metrics that differ, even in the last digit."""
    for name, value in now.items():
        if then.get(name) != value:
            yield f"{name} is {value!r}, was {then.get(name)!r}"


def outputs(predictor: Any, rows: pl.DataFrame) -> dict[str, np.ndarray]:
    """Return a model's predictions for rows, and its probabilities if it has any."""
    arrays = {"predictions": np.asarray(predictor.predict(rows))}
    if hasattr(predictor.pipeline, "predict_proba"):
        arrays["probabilities"] = predictor.predict(rows, {"probabilities": True}).to_numpy()
    return arrays


def differing_rows(then: Mapping[str, np.ndarray], now: Mapping[str, np.ndarray]) -> Iterator[str]:
    """Describe in how many rows of the holdout the outputs of two models differ."""
    for name in sorted({*then, *now}):
        if name not in now or name not in then:
            yield f"there are no {name} any more" if name in then else f"there were no {name}"
        elif then[name].shape != now[name].shape:
            yield f"the {name} have shape {now[name].shape}, had {then[name].shape}"
        elif rows := int((then[name] != now[name]).reshape(len(now[name]), -1).any(axis=1).sum()):
            yield f"the {name} of {rows} of the {len(now[name])} rows of the holdout differ"


def _libraries(model: Path) -> Iterator[str]:
    """Describe the recorded libraries whose installed version differs."""
    python = Model.load(str(model)).flavors["python_function"]["python_version"]
    recorded = [line.split("==") for line in (model / "requirements.txt").read_text(encoding="utf-8").splitlines()]
    for name, then in [("python", python), *(pair for pair in recorded if len(pair) == 2)]:  # noqa: PLR2004
        try:
            now = platform.python_version() if name == "python" else installed(name)
        except PackageNotFoundError:
            now = "missing"
        if then != now:
            yield f"{name} {now}, then {then}"
