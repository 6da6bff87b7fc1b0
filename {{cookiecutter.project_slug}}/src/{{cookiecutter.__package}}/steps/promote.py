"""Decide whether the new model becomes the champion. Decides only: the flow acts."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from ..errors import ProjectError

LOWER_IS_BETTER = frozenset({"log_loss", "mae", "rmse"})


class Decision(NamedTuple):
    """The alias that the new version gets, and why."""

    alias: Literal["champion", "challenger"]
    reason: str


def decide(metric: str, challenger: Mapping[str, float], champion: Mapping[str, float] | None) -> Decision:
    """Compare holdout metrics: the champion, None if there is none, stays unless the challenger is better.

    Raises ProjectError if the challenger does not have the metric.
    """
    if metric not in challenger:
        raise ProjectError(
            f"params.yaml: gate.metric is '{metric}', which this model does not give on this holdout; "
            f"it gives {', '.join(challenger)}."
        )
    new = challenger[metric]
    if champion is None:
        return Decision("champion", f"the first model, {metric} {new:.4g}")
    if metric not in champion:
        return Decision("champion", f"the champion was not judged by {metric}; the new model has {new:.4g}")
    old = champion[metric]
    better = new < old if metric in LOWER_IS_BETTER else new > old
    verdict = "better than" if better else "not better than"
    return Decision("champion" if better else "challenger", f"{metric} {new:.4g} is {verdict} the champion's {old:.4g}")
