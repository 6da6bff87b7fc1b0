"""The monitoring flow: rows → features → compared with what the champion has learned from."""

import json
from pathlib import Path

import polars as pl
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import PositiveFloat

from .. import packed, registry
from ..errors import ProjectError
from ..settings import root
from ..steps import monitor
from ..steps.monitor import Drift, Profile
from .notified import NOTIFIED
from .policies import RETRIED, File
from .scoring import predictor_of, reigning, rows_of
from .training import PROFILE

DRIFT = Path("reports/drift.json")


@task(name="compare", timeout_seconds=3600, cache_policy=NO_CACHE, **RETRIED)
def compare_rows(rows: File, version: int, threshold: float) -> list[Drift]:
    """Compare what the champion would see of the rows with what it has learned from."""
    with packed.downloaded(registry.get(version)) as folder:
        file = packed.data(folder) / PROFILE
        if not file.exists():
            raise ProjectError(f"Version {version} came without {PROFILE}; what is trained from now on has it.")
        known = Profile.model_validate_json(file.read_text(encoding="utf-8"))
    recipe = predictor_of(version).recipe
    seen = recipe.build_features(pl.scan_parquet(rows.full)).select(recipe.columns)
    return monitor.compare(seen, known, threshold)


@flow(name="monitoring", **NOTIFIED)
def monitoring(source: str | None = None, threshold: PositiveFloat = 0.2) -> dict[str, float]:
    """Tell which columns of the rows to predict have drifted away from those of the training, and how far.

    They have if their population stability index is above `threshold`; the rows are those of `scoring`.
    """
    version = reigning()
    drifts = compare_rows(rows_of(source), version, threshold)
    found = monitor.worst(drifts)
    content = {"version": version, "columns": {drift.column: drift.psi for drift in drifts}, "drifted": list(found)}
    (root() / DRIFT).parent.mkdir(parents=True, exist_ok=True)
    (root() / DRIFT).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    shown = [{"column": one.column, "psi": round(one.psi, 4), "drifted": one.drifted} for one in drifts]
    create_table_artifact(shown, key="drift", description=f"Against what version {version} has learned from")
    if found:
        listed = ", ".join(f"{name} ({index:.2f})" for name, index in found.items())
        get_run_logger().warning("Drifted away from what version %d has learned from: %s", version, listed)
    else:
        get_run_logger().info("The rows look like those that version %d has learned from", version)
    return found
