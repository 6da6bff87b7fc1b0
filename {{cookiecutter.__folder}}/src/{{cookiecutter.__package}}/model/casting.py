"""Cast values to the types of the contract, in the same way for training, scoring and serving."""

import re
from typing import NamedTuple

import polars as pl

from ..config import Column, Contract
from ..errors import ProjectError

DTYPES: dict[str, pl.DataType] = {
    "string": pl.String(),
    "integer": pl.Int64(),
    "float": pl.Float64(),
    "boolean": pl.Boolean(),
    "date": pl.Date(),
    "datetime": pl.Datetime("us"),
}
# ISO 8601 with a space for the T; times with a zone become UTC.
DATETIMES = ("%F %T%.f%#z", "%F %T%.f", "%F %R", "%F")
# What is read as ASCII: blanks, apostrophe, minus, dash, marks, digits (from each zero on), and full-width characters.
ALIKE = dict(zip("\u00a0\u2007\u2009\u202f\u2019\u2212\u2013\u066b\u066c\u00b7", "    '--.,.", strict=True))
ALIKE |= {chr(zero + digit): str(digit) for zero in (0x660, 0x6F0, 0x966, 0x9E6, 0xE50) for digit in range(10)}
ALIKE |= {chr(0xFEE0 + code): chr(code) for code in range(ord("!"), ord("~") + 1)}
# A format that names the day; others mean the first of the month.
DAY = re.compile(r"%[-_0]?[deFDjscv+]")
# Polars reads 31.12.23 as a day of the year 23 by %Y, and 1.2.3 as one of 2003 by %y.
YEARS = {"%Y": r"\s*\d{4}", "%y": r"\s*\d{2}"}


def is_name(text: str) -> bool:
    """Tell whether a text can be the name of a column; Polars takes '*' and '^…$' for patterns of names."""
    return text != "*" and not (text.startswith("^") and text.endswith("$")) and "\0" not in text


class Cast(NamedTuple):
    """A column cast to a type, null where a value is not of this type, and whether a value was lost so."""

    value: pl.Expr
    lost: pl.Expr


def cast(name: str, dtype: pl.DataType, column: Column) -> Cast:
    """Cast a column to its type in the contract. NaN and infinity become null; a fraction is not an integer."""
    raw, kind = pl.col(name), column.type
    value = raw if dtype == DTYPES[kind] else _parse(raw, column) if dtype == pl.String else _convert(raw, dtype, kind)
    lost = pl.lit(False) if value is raw else value.is_null() & raw.is_not_null()  # noqa: FBT003 - a literal
    if dtype.is_float() and value is not raw:
        lost = lost & raw.is_finite()
    if kind == "float":
        value = pl.when(value.is_finite()).then(value)
    return Cast(value.alias(name), lost)


def strictly(name: str, dtype: pl.DataType, column: Column) -> pl.Expr:
    """Cast a column to a type of the contract; collecting it raises InvalidOperationError for any other value."""
    value, lost = cast(name, dtype, column)
    if dtype == DTYPES[column.type]:
        return value
    # Polars has no expression that raises; a cast that cannot succeed does, and its message shows the text.
    start = pl.lit(f"column '{name}' must be of type {column}, not '")
    message = pl.concat_str(start, pl.col(name).cast(pl.String), pl.lit("'"))
    refused = pl.when(lost).then(message).cast(pl.Int64).cast(DTYPES[column.type])
    return pl.coalesce(value, refused).alias(name)


def conform(table: pl.LazyFrame, contract: Contract) -> pl.LazyFrame:
    """Return the contract's columns in its order and types; nullable ones that are missing become nulls.

    Raises ProjectError for any other missing column.
    """
    present = table.collect_schema()
    if absent := [name for name, column in contract.columns.items() if name not in present and not column.nullable]:
        raise ProjectError(
            f"The rows lack the column(s) {absent}, which contract.yaml requires; they have {present.names()}."
        )
    return table.select(
        strictly(name, present[name], column) if name in present else pl.lit(None, DTYPES[column.type]).alias(name)
        for name, column in contract.columns.items()
    )


def refusal(error: pl.exceptions.InvalidOperationError) -> str:
    """Return the message of `strictly`."""
    first = str(error).splitlines()[0]
    return first.partition('["')[2].partition('"')[0] or first


def plain(text: pl.Expr, column: Column) -> pl.Expr:
    """Return numbers as Polars spells them, and null for text that does not spell a number as the column says."""
    text = uniform(text)
    if column.unit:
        unit = re.escape(column.unit)
        affix = rf"^([-+(]*)\s*{unit}\s*|\s*{unit}\s*(\)?)$"
        text = pl.when(text.str.contains(affix)).then(text.str.replace(affix, "${1}${2}")).when(text == "0").then(text)
    digits, mark = r"\d+", re.escape(column.decimal or ".")
    text = text.str.replace(rf"(\d){mark}--?$", "${1}")  # 12.- and 12,-- have no cents
    # Negative numbers may be in parentheses, or have their minus at the end.
    text = text.str.replace(r"^\(\s*(.+?)\s*\)$|^([^-+].*)-$", "-${1}${2}").str.replace(r"^([-+]) ", "${1}")
    if column.thousands:
        # In India, all groups but the last have two digits.
        group = re.escape(column.thousands) + r"\d{3}"
        pairs = r"(?:,\d{2})*" if column.thousands == "," else ""
        digits = rf"(?:[1-9]\d?\d?(?:{group})+|[1-9]\d?{pairs}{group})"
    number = rf"^[-+]?(?:(?:\d+(?:{mark}\d*)?|{mark}\d+)(?:[eE][-+]?\d+)?|{digits}(?:{mark}\d*)?)$"
    text = pl.when(text.str.contains(number)).then(text)
    if column.thousands:
        text = text.str.replace_all(column.thousands, "", literal=True)
    return text.str.replace(",", ".", literal=True) if column.decimal == "," else text


def uniform(text: pl.Expr) -> pl.Expr:
    """Return text with one kind of blank, apostrophe, minus and digit, and no blanks around it."""
    return text.str.replace_many(ALIKE).str.strip_chars()


def _parse(text: pl.Expr, column: Column) -> pl.Expr:
    if column.format:
        return _parse_date(uniform(text), column.format).cast(DTYPES[column.type])
    text = plain(text, column) if column.spelling else text.str.strip_chars()
    match column.type:
        case "boolean":
            lower = text.str.to_lowercase()
            return pl.when(lower.is_in(["true", "false"])).then(lower == "true")
        case "date":
            return _parse_date(text, "%Y-%m-%d").cast(DTYPES["date"])
        case "datetime":
            text = pl.when(text.str.contains(r"^\d{4}-")).then(text.str.replace("T", " ", literal=True))
            parsed = [text.str.to_datetime(form, time_unit="us", strict=False) for form in DATETIMES]
            return pl.coalesce(value.cast(DTYPES["datetime"]) for value in parsed)
        case "integer":
            # 1e3 and 7.0 are integers, too.
            number = text.cast(pl.Float64, strict=False)
            return pl.coalesce(text.cast(pl.Int64, strict=False), _whole(number))
        case _:
            return text.cast(DTYPES[column.type], strict=False)


def _parse_date(text: pl.Expr, form: str) -> pl.Expr:
    text = text.str.strip_chars()
    if not DAY.search(form):
        text, form = pl.concat_str(text, pl.lit(" 1")), f"{form} %d"
    value = text.str.to_datetime(form, time_unit="us", strict=False)
    shape = re.sub(r"%\\?[-_.#:\d]*[A-Za-z]", lambda part: YEARS.get(part[0], ".*?"), re.escape(form))
    return pl.when(text.str.contains(f"^{shape}$")).then(value)


def _convert(raw: pl.Expr, dtype: pl.DataType, kind: str) -> pl.Expr:
    if kind == "float" and dtype == pl.Time:
        return raw.cast(pl.Int64) / 1e9  # seconds
    if kind == "float" and dtype == pl.Duration:
        return raw.dt.total_microseconds() / 1e6  # seconds
    if kind == "integer" and (dtype.is_float() or (isinstance(dtype, pl.Decimal) and dtype.scale)):
        return _whole(raw.cast(pl.Float64))
    if kind == "boolean":
        return pl.when(raw.cast(pl.Float64, strict=False).is_in([0.0, 1.0])).then(raw.cast(pl.Boolean, strict=False))
    return raw.cast(DTYPES[kind], strict=False)


def _whole(number: pl.Expr) -> pl.Expr:
    return pl.when(number == number.floor()).then(number).cast(pl.Int64, strict=False)
