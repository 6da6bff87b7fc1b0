"""The monitoring flow: compares the rows to predict with the champion's training data."""

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import PositiveFloat

from ..errors import ProjectError
from ..ops.files import File
from ..ops.markdown import escape
from ..ops.notify.channel import NOTIFIED
from ..ops.orchestration.policies import RETRY
from ..ops.paths import DRIFT, PROFILE
from ..ops.settings import project_root
from ..ops.tracking import registry
from ..report import drift
from ..report.drift import Drift
from ..steps.profile import Profile
from .scoring import champion_version, rows_to_predict


@flow(name="monitoring", **NOTIFIED)
def monitoring(source: str | None = None, threshold: PositiveFloat = 0.2) -> dict[str, float]:
    """Return the columns that have drifted from the training data, with their population stability index.

    A column has drifted if its index is above `threshold` and more than chance explains. `source` is as for scoring.
    """
    version = champion_version()
    result = compare_rows(rows_to_predict(source), version, threshold, labelled=source is None)
    drifted = result.drifted
    (project_root() / DRIFT).parent.mkdir(parents=True, exist_ok=True)
    (project_root() / DRIFT).write_text(result.model_dump_json(indent=2) + "\n", encoding="utf-8")
    title = f"Drift against version {version}'s training data"
    table = [
        {"column": escape(column.column), "psi": round(column.psi, 4), "drifted": column.drifted}
        for column in result.columns
    ]
    create_table_artifact(table, key="drift", description=title)
    if drifted:
        get_run_logger().warning("%s: %s", title, ", ".join(f"{name} ({psi:.2f})" for name, psi in drifted.items()))
    else:
        get_run_logger().info("No drift against version %d's training data", version)
    return drifted


@task(name="compare", timeout_seconds=3600, cache_policy=NO_CACHE, **RETRY)
def compare_rows(rows: File, version: int, threshold: float, *, labelled: bool) -> Drift:
    """Compare the rows with the profile of the version."""
    with registry.load(version) as package:
        file = package.data / PROFILE
        if not file.exists():
            raise ProjectError(
                f"Version {version} has no {PROFILE} of its training data; newly trained versions have it."
            )
        profile = Profile.model_validate_json(file.read_text(encoding="utf-8"))
        with package.loaded() as predictor:
            return drift.compare_table(
                rows.scan(), predictor, profile, version=version, threshold=threshold, labelled=labelled
            )
