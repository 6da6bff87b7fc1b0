"""The comparisons of monitoring: a run each, in an experiment beside that of the trainings."""

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from mlflow.entities import Metric, Run, RunTag

from ..settings import PACKAGE
from .connection import connect, store_errors
from .keys import as_keys
from .runs import enter_experiment

EXPERIMENT = f"{PACKAGE}-monitoring"
# Tags of a run; the last says what came of the retraining, or why there was none.
VERSION, VERDICT, REASONS = "monitoring.version", "monitoring.verdict", "monitoring.reasons"
RETRAINING = "monitoring.retraining"
MAX_TAG = 5000  # characters that MLflow allows
DAY, HOUR = 86_400_000, 3_600_000  # milliseconds


class Comparison(NamedTuple):
    """A comparison that was recorded; `values` are its metrics by their keys in MLflow."""

    run_id: str
    when: datetime
    version: int
    verdict: str
    retraining: str
    values: Mapping[str, float]

    def of(self, names: Iterable[str]) -> dict[str, float]:
        """Return the metrics of these names that were recorded."""
        keys = as_keys({name: name for name in names})
        return {name: self.values[key] for key, name in keys.items() if key in self.values}


def record(tags: Mapping[str, str], values: Mapping[str, float], files: Iterable[Path]) -> Comparison:
    """Record a comparison; until all of it is recorded, its run does not count."""
    client = connect()
    with store_errors():
        experiment = enter_experiment(client, EXPERIMENT)
        # Those of processes that were killed while they recorded, which takes seconds.
        left = f"attributes.status = 'RUNNING' AND attributes.start_time < {int(time.time() * 1000) - HOUR}"
        for run in client.search_runs([experiment], left):
            client.set_terminated(run.info.run_id, "KILLED")
        cut = {name: value[:MAX_TAG] for name, value in as_keys(tags).items()}
        run = client.create_run(experiment, tags=cut)
        run_id, now = run.info.run_id, int(time.time() * 1000)
        client.log_batch(run_id, [Metric(key, value, now, 0) for key, value in as_keys(values).items()])
        for file in files:
            client.log_artifact(run_id, str(file))
        client.set_terminated(run_id)
        return _comparison(client.get_run(run_id))


def recent(most: int, version: int | None = None, without: str = "") -> list[Comparison]:
    """Return the last comparisons, the latest first; all, or those with a version and without a verdict."""
    of_version = f" AND tags.`{VERSION}` = '{version}' AND tags.`{VERDICT}` != '{without}'"
    return _search("" if version is None else of_version, most)


def drifted(days: float) -> list[Comparison]:
    """Return the comparisons of the last days that led to a retraining or to a reason against it, the latest first."""
    since = int(time.time() * 1000 - days * DAY)
    return _search(f" AND attributes.start_time >= {since} AND tags.`{RETRAINING}` != ''", 1000)


def note(run_id: str, outcome: str, files: Iterable[Path] = ()) -> None:
    """Record what came of the retraining after a comparison, and replace files of its record."""
    client = connect()
    with store_errors():
        client.log_batch(run_id, tags=[RunTag(RETRAINING, outcome[:MAX_TAG])])
        for file in files:
            client.log_artifact(run_id, str(file))


def _search(condition: str, most: int) -> list[Comparison]:
    client = connect()
    with store_errors():
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            return []
        query = f"attributes.status = 'FINISHED'{condition}"
        runs = client.search_runs(
            [experiment.experiment_id], query, max_results=most, order_by=["attributes.start_time DESC"]
        )
        return [_comparison(run) for run in runs if VERDICT in run.data.tags]


def _comparison(run: Run) -> Comparison:
    tags = run.data.tags
    return Comparison(
        run.info.run_id,
        datetime.fromtimestamp(run.info.start_time / 1000, UTC),
        int(tags[VERSION]),
        tags[VERDICT],
        tags.get(RETRAINING, ""),
        run.data.metrics,
    )
