"""Decide how to learn from a new table, and say why: problem, columns, contract."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple

import polars as pl

from ...config import Column, Contract, Problem, Rows
from ...errors import ProjectError
from ...steps.dialect import look_of
from ...steps.grouping import ENTITY, quoted
from .profile import LEVELS, UNIQUE, Profile

# The most different values that are classes: of whole numbers, and of text.
CLASSES, NAMED_CLASSES = 20, 1000
# Text may only have its present values if they are at most so many, and each occurs so often on average.
ALLOWED, OFTEN = 20, 5
IDENTIFIER = re.compile(
    r"(.*[\W_])?(id|ids|uuid|guid|key|index|idx|row|rows?_?(names?|num|number|id)|nr|no|num|number|\w*nummer|n[uú]mero|номер"
    r"|pk|serial|rec|record|obs|unnamed\W*\d*)[\W_]*|id[\W_].*|[\W_]*",
    re.IGNORECASE,
)
# The end or the beginning of a name in camel case, such as CustNo and idCliente.
CAMEL = re.compile(r"[a-z](Id|ID|Nr|No|Num|Number)$|^id[A-Z]")
# Columns that a sentence names.
SHOWN = 12
# Text is an identifier if so many rows differ, whatever its name.
TEXT_UNIQUE = 0.98
# Estimators compute with the errors of numbers in 32 bits.
LEAST_SPREAD, MOST_SPREAD = 1e-38, 1e38
# Numbers that may follow each other and still mean something.
YEARS, FIRST_YEAR, LAST_YEAR = re.compile(r"(^|[\W_])(age|year|yr)s?([\W_]|$)", re.IGNORECASE), 1700, 2100

# Numbers that look like times from 1990 to 2034: under any name, and under one that means a time.
EPOCHS = {
    f"{unit} since 1970": (631_152_000 * factor, 2_051_222_400 * factor)
    for unit, factor in {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}.items()
}
COMPACT = {
    "days of Excel": (32_874, 49_309),
    "months as 202012": (199_001, 203_412),
    "days as 20201231": (19900101, 20341231),
    "seconds as 20201231235959": (19900101000000, 20341231235959),
}
TIME = re.compile(
    r"(.*[\W_])?(date|datum|day|dt|dob|ts|time|timestamp|month|when|at)([\W_].*)?|.*(date|time|created)(at)?",
    re.IGNORECASE,
)


class Decision(NamedTuple):
    """How to learn from a table, what the table must be, and the sentences that say why."""

    problem: Problem
    drop: list[str]
    contract: Contract
    reasons: list[str]


def decide(profiles: Sequence[Profile], target: str, problem: Problem | None, needed: Sequence[str] = ()) -> Decision:
    """Decide by what the columns hold; `needed` are those that the split uses.

    Raises ProjectError if no model can be trained.
    """
    columns = {profile.name: profile for profile in profiles}
    for name in (target, *needed):
        if name not in columns:
            alike = [column for column in columns if look_of(column).casefold() == look_of(name).casefold()]
            alike = alike or get_close_matches(name, columns, 1, 0.8)
            hint = f"; did you mean {alike[0]!a}?" if alike else f"; it has {quoted(list(columns), SHOWN)}."
            raise ProjectError(f"The table has no column '{name}'{hint}")
    labels = columns[target]
    chosen, why = _problem(labels, problem)
    hidden = dict(_hidden([profile for profile in profiles if profile.name != target], set(needed)))
    if not [name for name, profile in columns.items() if name != target and name not in hidden and profile.type]:
        raise ProjectError("No column is left to learn from: all others are constant, empty, nested or identifiers.")
    if chosen == "regression" and not LEAST_SPREAD < _spread(labels) < MOST_SPREAD:
        raise ProjectError(
            f"The target '{target}' has numbers from {labels.low:g} to {labels.high:g}, too far apart or too close to "
            "compute with their errors: scale them, or correct the outliers."
        )
    reasons = [f"Target '{target}': {chosen}, because {why}."]
    if labels.nullable:
        what = " (NaN and infinity count as missing)" if labels.type == "float" else ""
        reasons.append(
            f"{labels.rows - labels.present} of {labels.rows} rows have no target{what}; training skips them."
        )
    reasons += _grouped("Hidden from the model ({}): {}.", hidden)
    times = {profile.name: _time(profile) for profile in profiles if profile is not labels and profile.distinct > 1}
    what = "Numbers that look like {} stay numbers, which --time can use; write dates as 2020-12-31: {}."
    reasons += _grouped(what, {name: looks for name, looks in times.items() if looks})
    contract = Contract(
        rows=Rows(min=max(2, labels.rows // 2), max=10 * max(labels.rows, 10)),
        columns={
            profile.name: _column(
                profile,
                identifier="identifier" in hidden.get(profile.name, ""),
                classes=profile is labels and chosen == "classification",
            )
            for profile in profiles
            if profile.type and profile.present
        },
    )
    return Decision(chosen, [name for name in hidden if name in contract.columns], contract, reasons)


def _grouped(sentence: str, columns: Mapping[str, str]) -> list[str]:
    """Return the sentence for each different value, with the columns that have it."""
    return [
        sentence.format(value, quoted([name for name in columns if columns[name] == value], SHOWN))
        for value in sorted(set(columns.values()))
    ]


def _problem(labels: Profile, requested: Problem | None) -> tuple[Problem, str]:
    name, kind, distinct = labels.name, labels.type, labels.distinct
    if kind in {None, "date", "datetime"}:
        raise ProjectError(f"The target '{name}' has type {kind or 'nested'}; it must be a number, text or boolean.")
    if labels.present < 2:  # noqa: PLR2004 - one to train on, one to evaluate on
        raise ProjectError(
            f"The target '{name}' has a value in {labels.present} of {labels.rows} rows; at least 2 are needed."
        )
    if distinct < 2:  # noqa: PLR2004
        raise ProjectError(f"The target '{name}' has only one value; there is nothing to predict.")
    number = kind in {"integer", "float"}
    whole = kind == "integer" or (
        number and bool(labels.levels) and all(float(level).is_integer() for level in labels.levels or ())
    )
    if requested == "regression" and not number:
        raise ProjectError(f"The target '{name}' has type {kind}; regression needs numbers.")
    if requested == "classification" and kind == "float" and not whole:
        raise ProjectError(f"The target '{name}' has fractions; classification needs text, booleans or whole numbers.")
    if requested:
        return requested, "you chose it"
    if number and not whole:
        return "regression", "it has numbers with fractions" if kind == "float" and labels.levels else "it has numbers"
    if number and (distinct > CLASSES or (distinct > 2 and 2 * distinct > labels.present)):  # noqa: PLR2004
        return "regression", f"it has {distinct} different numbers"
    if distinct > NAMED_CLASSES or distinct == labels.present > 10:  # noqa: PLR2004 - tiny tables have one row a class
        raise ProjectError(
            f"The target '{name}' has {distinct} different values in {labels.present} rows, too many for classes; "
            "if each is one, add --problem classification."
        )
    return "classification", f"it has {distinct} different values" + (" (whole numbers)" if number else "")


def _hidden(profiles: Sequence[Profile], needed: set[str]) -> Iterator[tuple[str, str]]:
    """Yield the columns that the model must not see, each with the reason."""
    for profile in profiles:
        if profile.type is None and profile.dtype != pl.Null:
            yield profile.name, f"unsupported type {str(profile.dtype).partition('(')[0]}"
        elif not profile.present:
            yield profile.name, "empty"
        elif profile.name in needed:
            continue
        elif profile.distinct == 1 and not profile.nullable:
            yield profile.name, "constant"
        elif _is_identifier(profile):
            every = "every" if profile.distinct == profile.rows else "nearly every"
            yield profile.name, f"identifier, different in {every} row"
        # Calendar years and ages may follow each other, too.
        elif profile.serial and not (
            YEARS.search(profile.name) or FIRST_YEAR <= (profile.low or 0) <= (profile.high or 0) <= LAST_YEAR
        ):
            yield profile.name, "identifier, whole numbers one after the other"


def _is_identifier(profile: Profile) -> bool:
    if profile.distinct < UNIQUE * profile.present or not (profile.type == "string" or profile.whole):
        return False
    name = profile.name
    if IDENTIFIER.fullmatch(name) or CAMEL.search(name) or ENTITY.fullmatch(name):
        return True
    prose = profile.blanks >= 0.5  # noqa: PLR2004 - share of values with several words
    different = profile.distinct > max(LEVELS, TEXT_UNIQUE * profile.rows)
    return profile.type == "string" and different and not prose


def _spread(profile: Profile) -> float:
    return float(profile.high or 0) - float(profile.low or 0)


def _time(profile: Profile) -> str | None:
    """Return what times the numbers of a column look like."""
    if profile.low is None or profile.high is None:
        return None
    likely = EPOCHS | (COMPACT if TIME.fullmatch(profile.name) else {})
    return next((what for what, (first, last) in likely.items() if first <= profile.low <= profile.high <= last), None)


def _column(profile: Profile, *, identifier: bool, classes: bool) -> Column:
    assert profile.type  # noqa: S101 - decide leaves out columns without a type
    rules: dict[str, object] = {"type": profile.type, "nullable": profile.nullable, **profile.spelling}
    often = profile.levels and len(profile.levels) <= ALLOWED and profile.present >= OFTEN * len(profile.levels)
    if profile.levels and profile.type in {"string", "integer"} and (classes or (often and profile.type == "string")):
        rules["allowed"] = profile.levels
    elif identifier:
        rules["unique"] = profile.distinct == profile.present
    elif profile.low is not None and profile.high is not None:
        ends = zip(("min", "max"), _widened(profile.low, profile.high), strict=True)
        rules |= {key: value for key, value in ends if math.isfinite(value)}
    return Column.model_validate(rules)


def _widened(low: float, high: float) -> tuple[float, float]:
    """Widen a range by half of its span at either end, rounded outwards to two digits, but not below zero."""
    span = (high - low) or abs(high) or 1
    least, most = low - span / 2, high + span / 2
    return (0.0 if low >= 0 > least else -_rounded_up(-least)), _rounded_up(most)


def _rounded_up(value: float) -> float:
    if not value or not math.isfinite(value):
        return value
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return float(f"{math.ceil(value / unit) * unit:.6g}")
