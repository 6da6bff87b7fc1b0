"""The journal of the alias `champion`: what each move of it says, and what follows from all of them."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field

KEY = re.compile(r"journal\.(\d+)")
SETTLED = "journal.settled"
REASON = 2000  # characters; an MLflow database holds 5000 in a tag, metrics and all

How = Literal["training", "promote", "rollback", "found"]


class Entry(BaseModel):
    """One move of the alias; written before the alias is moved, and never changed."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, ser_json_inf_nan="constants")

    when: datetime
    by: str
    how: How
    old: int | None = Field(alias="from")
    new: int | None = Field(alias="to")
    reason: str
    metrics: dict[str, float] = {}


class History(NamedTuple):
    """All moves in their order; those up to number `settled` are known to have been done."""

    entries: Sequence[Entry]
    settled: int

    @classmethod
    def read(cls, tags: Mapping[str, str]) -> Self:
        """Read the journal from the tags of the registered model that keep it."""
        numbered = {int(found[1]): text for key, text in tags.items() if (found := KEY.fullmatch(key))}
        entries = [Entry.model_validate_json(numbered[number]) for number in sorted(numbered)]
        return cls(entries, int(tags.get(SETTLED, 0)))

    @property
    def champion(self) -> int | None:
        """The version that the last move made champion, None if there is none."""
        return self.entries[-1].new if self.entries else None

    def next_key(self) -> str:
        """Return the tag that the next entry goes to; six digits keep them in order wherever they are listed."""
        return f"journal.{len(self.entries) + 1:06}"

    def previous(self) -> list[int]:
        """Return the champions to go back to, the nearest first; a way that was gone back is not gone again."""
        reigns: list[int | None] = []
        for entry in self.entries:
            if entry.how == "rollback" and entry.new in reigns:
                del reigns[len(reigns) - reigns[::-1].index(entry.new) :]
            else:
                reigns.append(entry.new)
        earlier = [version for version in reversed(reigns) if version not in {None, self.champion}]
        return list(dict.fromkeys(version for version in earlier if version is not None))

    def __str__(self) -> str:
        """Show a line per move, the last one last."""
        return "\n".join(_line(number, entry) for number, entry in enumerate(self.entries, start=1))


def _line(number: int, entry: Entry) -> str:
    old, new = (f"version {version}" if version else "none" for version in (entry.old, entry.new))
    when = entry.when.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return f"{number}  {when}  {old} → {new}  ({entry.how}, {entry.by})\n   {entry.reason}"


def new_entry(  # noqa: PLR0913, PLR0917 - a move has that many sides
    how: How, by: str, old: int | None, new: int | None, reason: str, measured: Mapping[str, float]
) -> Entry:
    """Write down a move that is about to be made."""
    if len(reason) > REASON:
        reason = f"{reason[:REASON]}…"
    return Entry(when=datetime.now(UTC), by=by, how=how, old=old, new=new, reason=reason, metrics=dict(measured))


def version_label(version: int | None) -> str:
    """Name a version, or say that there is no champion."""
    return f"version {version}" if version else "no champion"
