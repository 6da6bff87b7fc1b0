"""What flows return, for whoever calls them or is told of them."""

from typing import NamedTuple


class TrainingResult(NamedTuple):
    """What a training made."""

    metrics: dict[str, float]
    version: int
    alias: str
    reason: str
