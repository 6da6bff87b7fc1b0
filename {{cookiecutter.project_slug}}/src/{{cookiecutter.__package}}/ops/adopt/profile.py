"""Look at a table that nobody has described yet: what its columns hold, counted in streaming queries."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl

from ...config import Type
from ...model.casting import cast
from ...steps.copies import fingerprint

# What people write for a missing value; the second kind only where all else is a number, a date or a truth value.
MISSING = frozenset(["NA", "N/A", "n/a", "#N/A", "NaN", "nan", "-NaN", "-nan", "NULL", "Null", "null", "<NA>", "?"])
PERHAPS = frozenset(["-", "--", ".", "None", "none"])
# A guess is made on so many rows, and then held against all.
GUESSED = 10_000
# Different values are counted exactly up to so many rows, or where each row may have its own; and a few are listed.
EXACT, LEVELS = 1_000_000, 50
DTYPES_OF: dict[Type, set[type[pl.DataType]]] = {
    "boolean": {pl.Boolean},
    "integer": {pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32},
    # Times of day and durations become seconds, and what may be too long for an integer a float.
    "float": {pl.Float32, pl.Float64, pl.Decimal, pl.UInt64, pl.Int128, pl.Time, pl.Duration},
    "date": {pl.Date},
    "datetime": {pl.Datetime},
    "string": {pl.String, pl.Categorical, pl.Enum},
}
KINDS: tuple[Type, ...] = ("boolean", "integer", "float", "date", "datetime")


class Profile(NamedTuple):
    """What a column holds; numbers have a range, text its share of values with blanks, few values are listed."""

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

    @property
    def nullable(self) -> bool:
        """Whether a value is missing."""
        return self.present < self.rows


def missing_words(table: pl.LazyFrame) -> list[str]:
    """Return what stands for a missing value in the columns of text."""
    names = [name for name, dtype in table.collect_schema().items() if dtype == pl.String]
    likely = [pl.col(name).filter(pl.col(name).str.strip_chars().is_in(MISSING | PERHAPS | {""})) for name in names]
    found = dict(zip(names, _row(table, [words.unique().implode() for words in likely]), strict=True))
    everywhere = {word for words in found.values() for word in words}
    sure = {word for word in everywhere if not word.strip() or word.strip() in MISSING}
    for name in names:
        words = set(found[name]) - sure
        if not words:
            continue
        if types_of(without(table.select(name), [*sure, *words]))[name] not in {"string", None}:
            sure |= words
    return sorted(sure)


def without(table: pl.LazyFrame, words: Sequence[str]) -> pl.LazyFrame:
    """Make text that is one of the words missing."""
    names = [name for name, dtype in table.collect_schema().items() if dtype == pl.String]
    return table.with_columns(pl.when(~pl.col(name).is_in(list(words))).then(pl.col(name)) for name in names)


def profile(table: pl.LazyFrame) -> list[Profile]:
    """Return what each column holds; a nested or empty one has no type."""
    schema, types = table.collect_schema(), types_of(table)
    known = {name: kind for name, kind in types.items() if kind}
    typed = table.select(cast(name, schema[name], kind).value for name, kind in known.items())
    rows: int = table.select(pl.len()).collect(engine="streaming").item()
    counted = _counted(typed, known, rows)
    levels = _levels(typed, [name for name, facts in counted.items() if facts["distinct"] <= LEVELS])
    if rows > EXACT:
        maybe = [name for name, facts in counted.items() if facts["distinct"] > rows / 2 and known[name] != "float"]
        for name in maybe:
            [counted[name]["distinct"]] = _row(typed, [pl.col(name).drop_nulls().hash().n_unique()])
    return [
        Profile(name, dtype, types[name], rows, **(counted[name] | {"levels": levels.get(name)}))
        if name in counted
        else Profile(name, dtype, None, rows, 0, 0)
        for name, dtype in schema.items()
    ]


def duplicates(table: pl.LazyFrame, names: Sequence[str]) -> int:
    """Count the rows that repeat an earlier one."""
    return int(table.select(pl.len() - fingerprint(names).n_unique()).collect(engine="streaming").item())


def types_of(table: pl.LazyFrame) -> dict[str, Type | None]:
    """Return the type of the contract that fits each column; text may turn out to hold something else."""
    schema = table.collect_schema()
    types = {name: _type(dtype) for name, dtype in schema.items()}
    texts = {name: KINDS for name, dtype in schema.items() if dtype == pl.String}
    for part in (table.head(GUESSED), table):
        tried = [(name, kind) for name, kinds in texts.items() for kind in kinds]
        misfits = [(cast(name, schema[name], kind).lost | _unlike(name, kind)).any() for name, kind in tried]
        misfit = dict(zip(tried, _row(part, misfits), strict=True))
        texts = {name: tuple(kind for kind in kinds if not misfit[name, kind]) for name, kinds in texts.items()}
    return types | {name: kinds[0] if kinds else "string" for name, kinds in texts.items()}


def _unlike(name: str, kind: str) -> pl.Expr:
    # 007 is the name of something, not a number; and 7.0 stands among numbers with fractions.
    unlike = {"integer": r"^\s*[-+]?0\d|[.eE]", "float": r"^\s*[-+]?0\d"}
    return pl.col(name).str.contains(unlike[kind]) if kind in unlike else pl.lit(False)  # noqa: FBT003


def _type(dtype: pl.DataType) -> Type | None:
    for kind, dtypes in DTYPES_OF.items():
        if dtype.base_type() in dtypes:
            return kind
    return None


def _counted(typed: pl.LazyFrame, types: dict[str, Type], rows: int) -> dict[str, dict[str, Any]]:
    facts: dict[str, dict[str, pl.Expr]] = {}
    for name, kind in types.items():
        column = pl.col(name)
        facts[name] = {
            "present": column.count(),
            "distinct": column.drop_nulls().n_unique() if rows <= EXACT else column.drop_nulls().approx_n_unique(),
        }
        if kind in {"integer", "float"}:
            facts[name] |= {"low": column.min(), "high": column.max()}
        if kind == "string":
            facts[name]["blanks"] = column.str.contains(r"\S\s+\S").mean().fill_null(0)
    keys = [(name, fact) for name, exprs in facts.items() for fact in exprs]
    answers = _row(typed, [facts[name][fact] for name, fact in keys])
    counted: dict[str, dict[str, Any]] = {name: {} for name in types}
    for (name, fact), answer in zip(keys, answers, strict=True):
        counted[name][fact] = answer
    return counted


def _levels(typed: pl.LazyFrame, names: list[str]) -> dict[str, list[str] | list[int]]:
    if not names:
        return {}
    found = _row(typed, [pl.col(name).drop_nulls().unique().sort().implode() for name in names])
    return dict(zip(names, found, strict=True))


def _row(table: pl.LazyFrame, asked: list[pl.Expr]) -> Sequence[Any]:
    """Answer questions about a table in one streaming query."""
    named = [question.alias(str(index)) for index, question in enumerate(asked)]
    return table.select(named).collect(engine="streaming").row(0) if asked else ()
