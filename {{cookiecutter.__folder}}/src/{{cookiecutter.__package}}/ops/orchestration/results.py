"""Results of flows, for their callers and for notifications."""

from typing import NamedTuple


class TrainingResult(NamedTuple):
    """The result of a training."""

    metrics: dict[str, float]
    version: int
    alias: str
    reason: str
    champion_before: int | None = None
    cause: str = ""  # what started it, if that was drift
    deployment: str = ""  # whether a new champion is in use


class MonitoringResult(NamedTuple):
    """The result of a comparison: what has drifted, by its PSI, and what came of a retraining."""

    version: int
    verdict: str
    reasons: list[str]
    drifted: dict[str, float]
    retraining: str = ""
