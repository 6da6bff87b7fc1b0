"""The journal of the alias `champion`: its entries, and what follows from them."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...errors import ProjectError, printable

# One spelling of each number, or two tags would be one entry.
KEY = re.compile(r"journal\.([0-9]{6}|[1-9][0-9]{6,18})")
SETTLED, NUMBER = "journal.settled", re.compile(r"[0-9]{1,18}")
UNREADABLE = "unreadable."  # before the name of a tag: where a repair keeps its text
REASON = 2000  # characters; an MLflow database allows 5000 for an entry, metrics included

How = Literal["training", "promote", "rollback", "found", "repair"]
Number = Annotated[int, Field(strict=True, ge=1)]


class Entry(BaseModel):
    """One move of the alias; written before the alias moves, and never changed."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, ser_json_inf_nan="constants")

    when: Annotated[datetime, Field(gt=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(9000, 1, 1, tzinfo=UTC))]
    by: str
    how: How
    old: Number | None = Field(alias="from")
    new: Number | None = Field(alias="to")
    reason: str
    metrics: dict[str, float] = {}


class History(NamedTuple):
    """All moves by number, in order; those up to number `settled` have been carried out.

    `unreadable` are the tags that cannot be read, with the reason.
    """

    moves: Mapping[int, Entry]
    settled: int
    unreadable: Mapping[str, str] = {}

    @classmethod
    def read(cls, tags: Mapping[str, str]) -> Self:
        """Read the journal from the tags of the registered model."""
        moves: dict[int, Entry] = {}
        unreadable = {}
        numbers = {int(match[1]): key for key in tags if (match := KEY.fullmatch(key))}
        for number in sorted(numbers):
            key = numbers[number]
            try:
                moves[number] = Entry.model_validate_json(tags[key] or "")
            except ValidationError as error:
                fault = error.errors()[0]
                unreadable[key] = f"{'.'.join(map(str, fault['loc']))} {fault['msg']}".strip()
        settled = str(tags.get(SETTLED, 0))
        if not NUMBER.fullmatch(settled):
            unreadable[SETTLED] = f"{settled[:20]!r} is not a number"
        return cls(moves, int(settled) if NUMBER.fullmatch(settled) else 0, unreadable)

    @property
    def entries(self) -> Sequence[Entry]:
        """All moves that can be read, in order."""
        return list(self.moves.values())

    @property
    def last(self) -> int:
        """The number of the last move, 0 if there is none."""
        return max(self.moves, default=0)

    @property
    def damage(self) -> str:
        """A sentence about the tags that cannot be read, empty if there are none."""
        faults = ", ".join(f"{key} ({reason})" for key, reason in self.unreadable.items())
        sentence = f"The journal of the champion has tags that cannot be read: {faults}. `journal --repair` mends them."
        return sentence if faults else ""

    def check(self) -> None:
        """Raise ProjectError if a tag cannot be read."""
        if self.unreadable:
            raise ProjectError(f"{self.damage} Until then, nothing changes the champion.")

    def repaired(self, key: str, by: str, kept: str, champion: int | None) -> tuple[int, Entry]:
        """Return the entry of a repair, which replaces an unreadable one and joins those around it, and its number."""
        number = self.last + 1 if key == SETTLED else int(key.rpartition(".")[2])
        old = next((entry.new for other, entry in reversed([*self.moves.items()]) if other < number), None)
        new = next((entry.old for other, entry in self.moves.items() if other > number), champion)
        reason = f"{key} could not be read ({self.unreadable[key]}); its text is kept in the tag {kept}"
        return number, new_entry("repair", by, old, new, reason, {})

    @property
    def champion(self) -> int | None:
        """The version that the last move made champion, None if there is none."""
        return self.entries[-1].new if self.entries else None

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
        return "\n".join(_line(number, entry) for number, entry in self.moves.items())


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
