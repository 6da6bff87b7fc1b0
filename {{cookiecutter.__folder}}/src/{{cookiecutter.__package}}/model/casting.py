"""Cast values to the types of the contract, in the same way for training, scoring and serving."""

from typing import NamedTuple

import polars as pl

from ..config import Contract
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


def is_name(text: str) -> bool:
    """Tell whether a text can be the name of a column; Polars takes '*' and '^…$' for patterns of names."""
    return text != "*" and not (text.startswith("^") and text.endswith("$")) and "\0" not in text


class Cast(NamedTuple):
    """A column cast to a type, null where a value is not of this type, and whether a value was lost so."""

    value: pl.Expr
    lost: pl.Expr


def cast(name: str, dtype: pl.DataType, kind: str) -> Cast:
    """Cast a column to a type of the contract. NaN and infinity become null; a fraction is not an integer."""
    raw = pl.col(name)
    value = raw if dtype == DTYPES[kind] else _parse(raw, kind) if dtype == pl.String else _convert(raw, dtype, kind)
    lost = pl.lit(False) if value is raw else value.is_null() & raw.is_not_null()  # noqa: FBT003 - a literal
    if dtype.is_float() and value is not raw:
        lost = lost & raw.is_finite()
    if kind == "float":
        value = pl.when(value.is_finite()).then(value)
    return Cast(value.alias(name), lost)


def strictly(name: str, dtype: pl.DataType, kind: str) -> pl.Expr:
    """Cast a column to a type of the contract; collecting it raises InvalidOperationError for any other value."""
    value, lost = cast(name, dtype, kind)
    if dtype == DTYPES[kind]:
        return value
    # Polars has no expression that raises; a cast that cannot succeed does, and its message shows the text.
    start = pl.lit(f"column '{name}' must be of type {kind}, not '")
    message = pl.concat_str(start, pl.col(name).cast(pl.String), pl.lit("'"))
    refused = pl.when(lost).then(message).cast(pl.Int64).cast(DTYPES[kind])
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
        strictly(name, present[name], kind) if name in present else pl.lit(None, DTYPES[kind]).alias(name)
        for name, kind in contract.types.items()
    )


def refusal(error: pl.exceptions.InvalidOperationError) -> str:
    """Return the message of `strictly`."""
    first = str(error).splitlines()[0]
    return first.partition('["')[2].partition('"')[0] or first


def _parse(text: pl.Expr, kind: str) -> pl.Expr:
    text = text.str.strip_chars()
    match kind:
        case "boolean":
            lower = text.str.to_lowercase()
            return pl.when(lower.is_in(["true", "false"])).then(lower == "true")
        case "date":
            return text.str.to_date("%F", strict=False)
        case "datetime":
            text = text.str.replace("T", " ", literal=True)
            parsed = [text.str.to_datetime(form, time_unit="us", strict=False) for form in DATETIMES]
            return pl.coalesce(value.cast(DTYPES["datetime"]) for value in parsed)
        case "integer":
            # 1e3 and 7.0 are integers, too.
            number = text.cast(pl.Float64, strict=False)
            return pl.coalesce(text.cast(pl.Int64, strict=False), _whole(number))
        case _:
            return text.cast(DTYPES[kind], strict=False)


def _convert(raw: pl.Expr, dtype: pl.DataType, kind: str) -> pl.Expr:
    if kind == "float" and dtype == pl.Time:
        return raw.cast(pl.Int64) / 1e9  # seconds
    if kind == "float" and dtype == pl.Duration:
        return raw.dt.total_microseconds() / 1e6  # seconds
    if kind == "integer" and (dtype.is_float() or dtype.is_decimal()):
        return _whole(raw.cast(pl.Float64))
    if kind == "boolean":
        return pl.when(raw.cast(pl.Float64, strict=False).is_in([0.0, 1.0])).then(raw.cast(pl.Boolean, strict=False))
    return raw.cast(DTYPES[kind], strict=False)


def _whole(number: pl.Expr) -> pl.Expr:
    return pl.when(number == number.floor()).then(number).cast(pl.Int64, strict=False)
