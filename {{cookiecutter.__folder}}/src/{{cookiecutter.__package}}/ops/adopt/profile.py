"""Describe a new table: what its columns hold, counted in streaming queries."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import polars as pl
from polars.datatypes import DataTypeClass

from ...config import Column, Type
from ...model.casting import cast
from ...steps.copies import fingerprint
from .spelling import compute, readings

# Text for a missing value; the second kind only where everything else is a number, a date or true/false.
MISSING = frozenset(["NA", "N/A", "n/a", "#N/A", "NaN", "nan", "-NaN", "-nan", "NULL", "Null", "null", "<NA>", "?"]) | {
    *("#DIV/0!", "#NUM!", "#VALUE!", "#REF!", "#NAME?", "#NULL!"),
}
PERHAPS = frozenset(["-", "--", ".", "None", "none"])
# Types are guessed from so many rows, and then checked against all.
GUESSED = 10_000
# Different values are counted exactly in tables of up to so many rows, or if they seem to differ in most rows.
EXACT = 1_000_000
# Different values are listed up to so many.
LEVELS = 50
# An identifier may repeat in a few rows; row numbers have few gaps, and ten times fewer repeats than chance makes.
UNIQUE, SPARSE, REPEATS = 0.9, 4, 10
TYPES: dict[DataTypeClass, Type] = {
    pl.Boolean: "boolean",
    **dict.fromkeys([pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32], "integer"),
    # Times of day and durations become seconds.
    **dict.fromkeys([pl.Float16, pl.Float32, pl.Float64, pl.Decimal, pl.Time, pl.Duration], "float"),
    # If one is too big for 64 bits; otherwise they are integers.
    **dict.fromkeys([pl.UInt64, pl.Int128, pl.UInt128], "float"),
    pl.Date: "date",
    pl.Datetime: "datetime",
    pl.String: "string",
}
KINDS: tuple[Type, ...] = ("boolean", "integer", "float", "date", "datetime")


class Profile(NamedTuple):
    """What a column holds: numbers have a range, text the share of values with several words, few values are listed.

    Of numbers that hardly repeat: whether they are whole, and whether they follow each other like row numbers.
    """

    name: str
    dtype: pl.DataType
    type: Type | None
    rows: int
    present: int
    distinct: int
    low: float | None = None
    high: float | None = None
    blanks: float = 0
    levels: list[str] | list[int] | None = None
    whole: bool = False
    serial: bool = False
    spelling: Mapping[str, str] = MappingProxyType({})

    @property
    def nullable(self) -> bool:
        """Whether a value is missing."""
        return self.present < self.rows


def missing_words(table: pl.LazyFrame) -> list[str]:
    """Return the text that stands for a missing value."""
    names = [name for name, dtype in table.collect_schema().items() if dtype == pl.String]
    likely = {
        name: pl.col(name).filter(pl.col(name).str.strip_chars().is_in(MISSING | PERHAPS | {""})) for name in names
    }
    # These words are few, but each query would parse all of a CSV.
    words_of = compute(table, {name: words.unique().implode() for name, words in likely.items()}, len(names) or 1)
    certain = {word for words in words_of.values() for word in words if word.strip() in MISSING | {""}}
    for name in names:
        if doubtful := set(words_of[name]) - certain:
            rest = without(table.select(name), [*certain, *doubtful])
            types = types_of(rest)
            if types[name] != "string" or any(text.whole for text in readings(rest, types)):
                certain |= doubtful
    return sorted(certain)


def without(table: pl.LazyFrame, words: Sequence[str]) -> pl.LazyFrame:
    """Make text missing if it is one of the words."""
    names = [name for name, dtype in table.collect_schema().items() if dtype == pl.String]
    return table.with_columns(pl.when(~pl.col(name).is_in(list(words))).then(pl.col(name)) for name in names)


def profile(table: pl.LazyFrame, spelled: Mapping[str, Column] = MappingProxyType({})) -> list[Profile]:
    """Describe each column; one that is nested or empty has no type. `spelled` have a spelling of their own."""
    schema = table.collect_schema()
    types = types_of(table) | {name: column.type for name, column in spelled.items()}
    known = {name: kind for name, kind in types.items() if kind}
    typed = table.select(
        cast(name, schema[name], spelled.get(name, Column(type=kind))).value for name, kind in known.items()
    )
    rows: int = table.select(pl.len()).collect(engine="streaming").item()
    counted = compute(typed, {name: _facts(name, kind, rows) for name, kind in known.items()})
    few = [name for name, facts in counted.items() if facts["distinct"] <= LEVELS]
    levels = compute(typed, {name: pl.col(name).drop_nulls().unique().sort().implode() for name in few})
    if rows > EXACT:
        for name, facts in counted.items():
            if facts["distinct"] > rows / 2 and known[name] != "float":
                facts.update(compute(typed, {"distinct": pl.col(name).drop_nulls().hash().n_unique()}))
    numbers = {name: facts for name, facts in counted.items() if known[name] in {"integer", "float"}}
    rare = [name for name, facts in numbers.items() if facts["distinct"] >= UNIQUE * facts["present"]]
    for name, serial in _serial(typed, rare).items():
        counted[name] |= {"whole": True, "serial": serial}
    return [
        Profile(
            name,
            dtype,
            types[name],
            rows,
            **counted[name],
            levels=levels.get(name),
            spelling=spelled[name].spelling if name in spelled else {},
        )
        if name in counted
        else Profile(name, dtype, None, rows, 0, 0)
        for name, dtype in schema.items()
    ]


def duplicates(table: pl.LazyFrame, names: Sequence[str]) -> int:
    """Count the rows that repeat an earlier one."""
    return int(table.select(pl.len() - fingerprint(names).n_unique()).collect(engine="streaming").item())


def types_of(table: pl.LazyFrame) -> dict[str, Type | None]:
    """Return the contract's type of each column; text may hold numbers, dates or true/false."""
    schema = table.collect_schema()
    types = {name: TYPES.get(dtype.base_type()) for name, dtype in schema.items()}
    # The values decide the type of text, and of integers that 64 bits may not hold.
    candidates: dict[str, tuple[Type, ...]] = {}
    for name, dtype in schema.items():
        if dtype == pl.String:
            candidates[name] = KINDS
        elif dtype in {pl.UInt64, pl.Int128, pl.UInt128} or (isinstance(dtype, pl.Decimal) and not dtype.scale):
            candidates[name] = ("integer",)
    for part in (table.head(GUESSED), table):
        misfits = {
            (name, kind): (cast(name, schema[name], Column(type=kind)).lost | _looks_different(name, kind)).any()
            for name, kinds in candidates.items()
            for kind in kinds
        }
        wrong = compute(part, misfits)
        candidates = {
            name: tuple(kind for kind in kinds if not wrong[name, kind]) for name, kinds in candidates.items()
        }
    return types | {name: kinds[0] for name, kinds in candidates.items() if kinds}


def _looks_different(name: str, kind: str) -> pl.Expr:
    # 007, +493012345 and more digits than a number holds are names; 7.0 belongs to numbers with fractions.
    names = r"^\s*(?:[-+]?0\d|\+\d{7}|\d{20,}\s*$)"
    patterns = {"integer": names + "|[.eE]", "float": names}
    return pl.col(name).cast(pl.String).str.contains(patterns[kind]) if kind in patterns else pl.lit(False)  # noqa: FBT003


def _facts(name: str, kind: Type, rows: int) -> pl.Expr:
    column, present = pl.col(name), pl.col(name).drop_nulls()
    facts = {
        "present": column.count(),
        "distinct": present.n_unique() if rows <= EXACT else present.approx_n_unique(),
    }
    if kind in {"integer", "float"}:
        facts |= {"low": column.min(), "high": column.max()}
    if kind == "string":
        facts["blanks"] = column.str.contains(r"\S\s+\S").mean().fill_null(0)
    return pl.struct(expression.alias(fact) for fact, expression in facts.items())


def _serial(typed: pl.LazyFrame, names: list[str]) -> dict[str, bool]:
    """Tell for each column of whole numbers whether they lie so close that they would repeat by chance, but do not."""
    wholes = compute(typed, {name: (pl.col(name) % 1 == 0).all() for name in names})
    facts = {}
    for name in [name for name, whole in wholes.items() if whole]:
        gaps = pl.col(name).drop_nulls().sort().diff().drop_nulls()
        facts[name] = pl.concat_list(gaps.len() + 1, (gaps == 0).sum(), gaps.sum() / gaps.filter(gaps > 0).min() + 1)
    return {name: _is_serial(*fact) for name, fact in compute(typed, facts).items()}


def _is_serial(count: float, repeats: float, places: float | None) -> bool:
    """Tell whether so many numbers in so many places repeat far less than by chance."""
    if not places or places > SPARSE * count:
        return False
    expected = count**2 / (2 * places)
    return expected > REPEATS and repeats <= expected / REPEATS
