"""The journal of the alias `champion`: its entries, and what follows from them."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field

from ...errors import printable

KEY = re.compile(r"journal\.(\d+)")
SETTLED = "journal.settled"
REASON = 2000  # characters; an MLflow database allows 5000 for an entry, metrics included

How = Literal["training", "promote", "rollback", "found"]


class Entry(BaseModel):
    """One move of the alias; written before the alias moves, and never changed."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, ser_json_inf_nan="constants")

    when: datetime
    by: str
    how: How
    old: int | None = Field(alias="from")
    new: int | None = Field(alias="to")
    reason: str
    metrics: dict[str, float] = {}


class History(NamedTuple):
    """All moves in order; those up to number `settled` have been carried out."""

    entries: Sequence[Entry]
    settled: int

    @classmethod
    def read(cls, tags: Mapping[str, str]) -> Self:
        """Read the journal from the tags of the registered model."""
        numbered = {int(match[1]): text for key, text in tags.items() if (match := KEY.fullmatch(key))}
        entries = [Entry.model_validate_json(numbered[number]) for number in sorted(numbered)]
        return cls(entries, int(tags.get(SETTLED, 0)))

    @property
    def champion(self) -> int | None:
        """The version that the last move made champion, None if there is none."""
        return self.entries[-1].new if self.entries else None

    def next_key(self) -> str:
        """Return the tag for the next entry; six digits keep the tags in order."""
        return f"journal.{len(self.entries) + 1:06}"

    def previous(self) -> list[int]:
        """Return the champions to go back to, the latest first, without those that a rollback has left."""
        champions: list[int | None] = []
        for entry in self.entries:
            if entry.how == "rollback" and entry.new in champions:
                del champions[len(champions) - champions[::-1].index(entry.new) :]
            else:
                champions.append(entry.new)
        earlier = [version for version in reversed(champions) if version not in {None, self.champion}]
        return list(dict.fromkeys(version for version in earlier if version is not None))

    def __str__(self) -> str:
        """Show two lines per move, the latest move last."""
        return "\n".join(_line(number, entry) for number, entry in enumerate(self.entries, start=1))


def _line(number: int, entry: Entry) -> str:
    old, new = (f"version {version}" if version else "none" for version in (entry.old, entry.new))
    when = entry.when.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return f"{number}  {when}  {old} → {new}  ({entry.how}, {printable(entry.by)})\n   {printable(entry.reason)}"


def new_entry(  # noqa: PLR0913, PLR0917 - the fields of an entry
    how: How, by: str, old: int | None, new: int | None, reason: str, metrics: Mapping[str, float]
) -> Entry:
    """Return the entry for a move that is about to be made."""
    if len(reason) > REASON:
        reason = f"{reason[:REASON]}…"
    return Entry(when=datetime.now(UTC), by=by, how=how, old=old, new=new, reason=reason, metrics=dict(metrics))


def version_label(version: int | None) -> str:
    """Name a version; None is no champion."""
    return f"version {version}" if version else "no champion"
