"""Results of flows, for their callers and for notifications."""

from typing import NamedTuple


class TrainingResult(NamedTuple):
    """The result of a training."""

    metrics: dict[str, float]
    version: int
    alias: str
    reason: str
    champion_before: int | None = None
