"""The newest version at a glance."""

from ...config import DUMMY
from ...errors import ProjectError, printable
from ..settings import PACKAGE
from . import registry
from .history import version_label


def describe() -> str:
    """Describe the newest version: its metrics on the holdout, its alias, and the reason for that."""
    newest, state = registry.newest(), registry.champion()
    if newest is None:
        raise ProjectError(registry.NO_VERSION)
    lines = ["Holdout:"]
    for name in sorted(name for name in newest.metrics if not name.startswith(DUMMY)):
        dummy = newest.metrics.get(f"{DUMMY}{name}")
        beside = "" if dummy is None else f"   dummy {dummy:.4f}"
        lines.append(f"{name:>18}  {newest.metrics[name]:.4f}{beside}")
    alias = f"{registry.CHALLENGER} of {version_label(state.champion)}"
    reason = newest.tags.get("reason", "no reason given")
    if newest.number == state.champion:
        alias = registry.CHAMPION
        reason = next((entry.reason for entry in reversed(state.history.entries) if entry.new == newest.number), reason)
    lines.append(f"{PACKAGE} version {newest.number}: {alias} ({reason})")
    return "\n".join(map(printable, [*lines, state.problem] if state.problem else lines))
