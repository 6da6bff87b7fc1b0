"""Has the model become worse? Its metrics are compared with those of another commit."""

import math

from pydantic import TypeAdapter, ValidationError

from ...errors import ProjectError
from ...steps import evaluate
from ..paths import METRICS
from ..settings import project_root, read_params
from .git import run_git


def check(commit: str) -> str:
    """Compare the gate's metric; raise ProjectError if it is worse by more than gate.tolerance."""
    gate, old, new = read_params().gate, _committed(commit), _current()
    name, tolerance = gate.metric, gate.tolerance
    if name not in old:
        return f"{METRICS} of {commit} has no {name}: there is nothing to compare with."
    before, now = old[name], new.get(name, math.nan)
    # Not `loss > tolerance`, which nan passes.
    loss = -evaluate.gain(name, now, before)
    if not (loss <= tolerance or math.isclose(loss, tolerance)):
        raise ProjectError(
            f"{name} is worse than in {commit}: {now:.6g} instead of {before:.6g}; "
            f"gate.tolerance in params.yaml allows a difference of {tolerance:g}."
        )
    return f"{name} is {now:.6g}, in {commit} {before:.6g}; gate.tolerance is {tolerance:g}."


def check_same(commit: str) -> str:
    """Compare all metrics; raise ProjectError if one differs by more than the rounding of another processor."""
    old, new = _committed(commit), _current()
    if not old:
        return f"{commit} has no {METRICS}: there is nothing to compare with."
    different = [
        f"- {name}: {new.get(name, 'missing')} instead of {old.get(name, 'missing')}"
        for name in old | new
        if not math.isclose(old.get(name, math.nan), new.get(name, math.nan), rel_tol=1e-6)
    ]
    if different:
        raise ProjectError(f"The metrics are not those of {commit}:", *different)
    return f"All {len(new)} metrics are those of {commit}."


def _committed(commit: str) -> dict[str, float]:
    if not run_git("ls-tree", commit, "--", str(METRICS)):
        return {}
    return _parsed(run_git("show", f"{commit}:./{METRICS}").decode(), f"{METRICS} of {commit}")


def _current() -> dict[str, float]:
    file = project_root() / METRICS
    if not file.exists():
        raise ProjectError(f"There is no {METRICS}; `make train` writes it.")
    return _parsed(file.read_text(encoding="utf-8"), str(METRICS))


def _parsed(text: str, name: str) -> dict[str, float]:
    try:
        return TypeAdapter(dict[str, float]).validate_json(text, strict=True)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise ProjectError(f"{name} must be JSON with a number for each metric: {reason}.") from None
