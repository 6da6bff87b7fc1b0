"""The monitoring flow: rows → features → compared with the champion's training data."""

import json

import polars as pl
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import PositiveFloat

from ..errors import ProjectError
from ..ops.files import File
from ..ops.notify.channel import NOTIFIED
from ..ops.orchestration.policies import RETRY
from ..ops.paths import DRIFT, PROFILE
from ..ops.settings import project_root
from ..ops.tracking import registry
from ..steps import drift
from ..steps.drift import ColumnDrift, Profile
from .scoring import champion_version, rows_of


@task(name="compare", timeout_seconds=3600, cache_policy=NO_CACHE, **RETRY)
def compare_rows(rows: File, version: int, threshold: float) -> list[ColumnDrift]:
    """Compare what the champion would see of the rows with its training data."""
    with registry.load(version) as package:
        file = package.data / PROFILE
        if not file.exists():
            raise ProjectError(f"Version {version} has no {PROFILE}; versions that are trained from now on have it.")
        profile = Profile.model_validate_json(file.read_text(encoding="utf-8"))
        with package.loaded() as predictor:
            recipe = predictor.recipe
            seen = recipe.build_features(pl.scan_parquet(rows.full)).select(recipe.columns)
            return drift.compare(seen, profile, threshold)


@flow(name="monitoring", **NOTIFIED)
def monitoring(source: str | None = None, threshold: PositiveFloat = 0.2) -> dict[str, float]:
    """Tell which columns of the rows to predict have drifted from the training data, and how far.

    A column has drifted if its population stability index is above `threshold`; the rows are those of `scoring`.
    """
    version = champion_version()
    drifts = compare_rows(rows_of(source), version, threshold)
    drifted = drift.worst(drifts)
    content = {"version": version, "columns": {one.column: one.psi for one in drifts}, "drifted": list(drifted)}
    (project_root() / DRIFT).parent.mkdir(parents=True, exist_ok=True)
    (project_root() / DRIFT).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    shown = [{"column": one.column, "psi": round(one.psi, 4), "drifted": one.drifted} for one in drifts]
    create_table_artifact(shown, key="drift", description=f"Drift against version {version}'s training data")
    if drifted:
        listed = ", ".join(f"{name} ({index:.2f})" for name, index in drifted.items())
        get_run_logger().warning("Drift against version %d's training data: %s", version, listed)
    else:
        get_run_logger().info("No drift against version %d's training data", version)
    return drifted
