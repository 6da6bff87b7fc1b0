"""The newest version and the champion at a glance."""

from pydantic import BaseModel

from ...config import DUMMY
from ...errors import ProjectError, printable
from ..settings import PACKAGE
from . import registry
from .history import version_label
from .store import Version


class ModelStatus(BaseModel):
    """A version: why it is, or is not, the champion, and its metrics on the holdout."""

    version: int
    reason: str
    metrics: dict[str, float]


class Status(BaseModel):
    """The newest version and the champion, if there are such, and what is wrong with the journal, if anything is."""

    model: str = PACKAGE
    newest: ModelStatus | None
    champion: ModelStatus | None
    problem: str

    def __str__(self) -> str:
        """Describe the newest version; raise ProjectError if there is none."""
        if self.newest is None:
            raise ProjectError(registry.NO_VERSION)
        metrics = self.newest.metrics
        lines = ["Holdout:"]
        for name in sorted(name for name in metrics if not name.startswith(DUMMY)):
            dummy = metrics.get(f"{DUMMY}{name}")
            beside = "" if dummy is None else f"   dummy {dummy:.4f}"
            lines.append(f"{name:>18}  {metrics[name]:.4f}{beside}")
        champion = self.champion.version if self.champion else None
        alias = f"{registry.CHALLENGER} of {version_label(champion)}"
        if self.newest.version == champion:
            alias = registry.CHAMPION
        lines.append(f"{self.model} version {self.newest.version}: {alias} ({self.newest.reason})")
        return "\n".join(map(printable, [*lines, self.problem] if self.problem else lines))


def read() -> Status:
    """Ask the registry; change nothing."""
    newest, state = registry.newest(), registry.champion()

    def describe(version: Version) -> ModelStatus:
        moves = (entry.reason for entry in reversed(state.history.entries) if entry.new == version.number)
        reason = version.tags.get("reason", "no reason given")
        if version.number == state.champion:
            reason = next(moves, reason)
        return ModelStatus(version=version.number, reason=reason, metrics=dict(version.metrics))

    return Status(
        newest=newest and describe(newest),
        champion=state.champion and describe(registry.get(state.champion)),
        problem=state.problem,
    )
