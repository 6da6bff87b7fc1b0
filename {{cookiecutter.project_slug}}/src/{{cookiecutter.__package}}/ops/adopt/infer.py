"""Decide what an experiment with a new table is: problem, columns, contract, and say why."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import polars as pl

from ...config import Column, Contract, Problem, Rows
from ...errors import ProjectError
from .profile import LEVELS, Profile

# Whole numbers are classes up to so many, and text names them up to so many.
CLASSES, NAMED_CLASSES = 20, 1000
# Text is held to the values that it has if they are few, and each is there often enough.
ALLOWED, OFTEN = 20, 5
IDENTIFIER = re.compile(
    r"(.*[\W_])?(id|ids|uuid|guid|key|index|idx|row|rows?_?(names?|num|number|id)|nr|no|number|unnamed\W*\d*)?[\W_]*",
    re.IGNORECASE,
)


class Decision(NamedTuple):
    """What is learned from a table, what it must be, and the sentences that say why."""

    problem: Problem
    drop: list[str]
    contract: Contract
    reasons: list[str]


def decide(profiles: Sequence[Profile], target: str, problem: Problem | None, kept: Sequence[str] = ()) -> Decision:
    """Decide from what the columns hold; `kept` are those that the split needs.

    Raises ProjectError if nothing can be learned.
    """
    columns = {profile.name: profile for profile in profiles}
    for name in (target, *kept):
        if name not in columns:
            raise ProjectError(f"The table has no column '{name}'; it has {_named(list(columns))}.")
    labels = columns[target]
    chosen, why = _problem(labels, problem)
    dropped = dict(_dropped([profile for profile in profiles if profile.name != target], set(kept)))
    if not [name for name, profile in columns.items() if name != target and name not in dropped and profile.type]:
        raise ProjectError("No column is left to learn from: all others are constant, empty, nested or identifiers.")
    reasons = [f"Target '{target}': {chosen}, because {why}."]
    if labels.nullable:
        missing = labels.rows - labels.present
        reasons.append(f"{missing} of {labels.rows} rows have no target; they are left out when a model is trained.")
    reasons += [
        f"Not shown to the model, {reason}: {_named([name for name in dropped if dropped[name] == reason])}."
        for reason in sorted(set(dropped.values()))
    ]
    usable = [profile for profile in profiles if profile.type and profile.present]
    contract = Contract(
        rows=Rows(min=max(2, labels.rows // 2), max=10 * max(labels.rows, 10)),
        columns={
            profile.name: _column(
                profile,
                identifies="identifier" in dropped.get(profile.name, ""),
                classes=profile is labels and chosen == "classification",
            )
            for profile in usable
        },
    )
    return Decision(chosen, [name for name in dropped if name in contract.columns], contract, reasons)


def _problem(labels: Profile, wanted: Problem | None) -> tuple[Problem, str]:
    name, kind, distinct = labels.name, labels.type, labels.distinct
    if kind in {None, "date", "datetime"}:
        raise ProjectError(
            f"The target '{name}' is {kind or 'nested'}; a model learns numbers, text or true and false."
        )
    if labels.present < 2:  # noqa: PLR2004 - one to learn from, one to judge by
        raise ProjectError(
            f"The target '{name}' is known in {labels.present} of {labels.rows} rows; it takes 2 or more."
        )
    if distinct < 2:  # noqa: PLR2004
        raise ProjectError(f"The target '{name}' has one value only; there is nothing to tell apart.")
    number = kind in {"integer", "float"}
    whole = kind == "integer" or (
        number and bool(labels.levels) and all(float(v).is_integer() for v in labels.levels or ())
    )
    if wanted == "regression" and not number:
        raise ProjectError(f"The target '{name}' is {kind}; regression needs numbers.")
    if wanted == "classification" and kind == "float" and not whole:
        raise ProjectError(f"The target '{name}' has fractions; classification needs classes.")
    if wanted:
        return wanted, "you said so"
    if number and not whole:
        return "regression", "it has numbers with fractions" if kind == "float" and labels.levels else "it has numbers"
    if number and (distinct > CLASSES or (distinct > 2 and 2 * distinct > labels.present)):  # noqa: PLR2004
        return "regression", f"it has {distinct} different numbers"
    if distinct > NAMED_CLASSES or distinct == labels.present > 10:  # noqa: PLR2004 - tiny tables have one row a class
        raise ProjectError(
            f"The target '{name}' has {distinct} different values in {labels.present} rows, too many to be classes."
        )
    return "classification", f"it has {distinct} different values" + (" (whole numbers)" if number else "")


def _dropped(profiles: Sequence[Profile], kept: set[str]) -> Iterator[tuple[str, str]]:
    for profile in profiles:
        if profile.type is None and profile.dtype != pl.Null:
            yield profile.name, f"as nothing tabular ({str(profile.dtype).partition('(')[0]})"
        elif not profile.present:
            yield profile.name, "as it is empty"
        elif profile.name in kept:
            continue
        elif profile.distinct == 1 and not profile.nullable:
            yield profile.name, "as it is constant"
        elif _identifies(profile):
            yield profile.name, "as an identifier that each row has its own of"


def _identifies(profile: Profile) -> bool:
    if profile.nullable or profile.type not in {"string", "integer"}:
        return False
    named = IDENTIFIER.fullmatch(profile.name) or re.search(r"[a-z](Id|ID)$", profile.name)
    if profile.distinct < profile.rows:
        return False
    if profile.type == "integer":
        return bool(named)
    return bool(named) or (profile.rows > LEVELS and profile.blanks < 0.5)  # noqa: PLR2004 - else it is prose


def _column(profile: Profile, *, identifies: bool, classes: bool) -> Column:
    assert profile.type  # noqa: S101 - those without were sorted out
    rules: dict[str, object] = {"type": profile.type, "nullable": profile.nullable}
    often = profile.levels and len(profile.levels) <= ALLOWED and profile.present >= OFTEN * len(profile.levels)
    if profile.levels and profile.type in {"string", "integer"} and (classes or (often and profile.type == "string")):
        rules["allowed"] = profile.levels
    elif identifies:
        rules["unique"] = True
    elif profile.low is not None and profile.high is not None:
        rules["min"], rules["max"] = _slack(profile.low, profile.high)
    return Column.model_validate(rules)


def _slack(low: float, high: float) -> tuple[float, float]:
    """Widen a range by half of its span at either end, to two digits; what is never negative stays so."""
    span = (high - low) or abs(high) or 1
    least, most = low - span / 2, high + span / 2
    return (0.0 if low >= 0 > least else _rounded(least, math.floor)), _rounded(most, math.ceil)


def _rounded(value: float, towards: object) -> float:
    if not value or not math.isfinite(value):
        return value
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return float(f"{(math.floor if towards is math.floor else math.ceil)(value / unit) * unit:.6g}")


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:12])
    return shown if len(names) <= 12 else f"{shown} and {len(names) - 12} more"  # noqa: PLR2004
