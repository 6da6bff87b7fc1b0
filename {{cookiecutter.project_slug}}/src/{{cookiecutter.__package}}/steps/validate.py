"""Hold a table against the data contract."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import dataframely as dy
import polars as pl

from ..config import Column, Contract
from ..errors import ProjectError
from ..model.casting import cast
from .copies import fingerprint

CHECKED: dict[str, Callable[..., dy.Column]] = {
    "string": dy.String,
    "integer": dy.Int64,
    # What is not finite counts as missing before any rule sees it.
    "float": partial(dy.Float64, allow_nan=True, allow_inf=True),
    "boolean": dy.Bool,
    "date": dy.Date,
    "datetime": dy.Datetime,
}
EXAMPLES = 3
ROW, BREAKS = "row", "breaks"


class ContractError(ProjectError):
    """The table is not what the contract says; `rows` are those that break a rule, with their number and the rules."""

    def __init__(self, message: str, rows: pl.LazyFrame) -> None:
        """Keep the offending rows beside the sentence."""
        super().__init__(message)
        self.rows = rows


class Rule(NamedTuple):
    """A rule of the contract, and the expression that is true for the rows that break it.

    A rule that holds between rows has also the number by which to tell quickly whether any are alike.
    """

    column: str | None
    name: str
    broken: pl.Expr
    alike: pl.Expr | None = None

    def __str__(self) -> str:
        """Name column and rule."""
        return f"'{self.name}'" if self.column is None else f"column '{self.column}' breaks '{self.name}'"


def check(table: pl.LazyFrame, contract: Contract) -> None:
    """Raise ContractError, with the rows, if the table is not what the contract says.

    One streaming query counts what breaks each rule, but for those between rows, which take a pass of their own; rows
    are looked at only if there are any.
    """
    schema = table.collect_schema()
    if missing := [name for name in contract.columns if name not in schema]:
        message = f"contract.yaml: the table lacks the column(s) {', '.join(missing)}; it has {', '.join(schema)}."
        raise ContractError(message, pl.LazyFrame())
    found = [rule for rule in rules(schema, contract) if rule.alike is None or _repeated(table, rule.alike)]
    counted = table.select(pl.len(), *(rule.broken.sum().alias(str(i)) for i, rule in enumerate(found)))
    height, *counts = counted.collect(engine="streaming").row(0)
    complaints = [f"rows.{sentence}" for sentence in _wrong_size(height, contract)]
    if any(counts):
        broken = [rule for rule, count in zip(found, counts, strict=True) if count]
        rows = _offending(table, broken)
        for rule, count in zip(broken, filter(None, counts), strict=True):
            complaints.append(f"{rule} in {count} row(s), for example {_examples(rows, rule)}.")
    else:
        rows = pl.LazyFrame()
    if complaints:
        raise ContractError("\n".join(f"contract.yaml: {complaint}" for complaint in complaints), rows)


def rules(schema: pl.Schema, contract: Contract) -> Iterator[Rule]:
    """Yield the contract's rules for a table with this schema."""
    for name, column in contract.columns.items():
        value, lost = cast(name, schema[name], column.type)
        yield Rule(name, f"type: {column.type}", lost)
        for rule, kept in _column(column).validation_rules(value).items():
            key = rule.removeprefix("check__").replace("nullability", "nullable")
            # What is missing breaks no rule but `nullable` (held against a bound it is null, not true), and a value
            # that is not of its type breaks `type` alone.
            broken, alike = ~kept, None
            if key == "nullable":
                broken &= ~lost
            elif key == "unique":
                broken &= value.is_not_null()
                alike = value.drop_nulls().hash()
            yield Rule(name, f"{key}: {_said(getattr(column, key))}", broken, alike)
    if contract.rows.unique:
        alike = fingerprint(contract.columns)
        yield Rule(None, "rows.unique: true", ~alike.is_first_distinct(), alike)


def _repeated(table: pl.LazyFrame, alike: pl.Expr) -> bool:
    """Tell whether a number stands in two rows; collected, ten million of them take a tenth of what a set would."""
    numbers = table.select(alike).collect(engine="streaming").to_series()
    return numbers.n_unique() < len(numbers)


def _wrong_size(height: int, contract: Contract) -> Iterator[str]:
    if height < contract.rows.min:
        yield f"min is {contract.rows.min}; the table has {height} rows."
    if contract.rows.max is not None and height > contract.rows.max:
        yield f"max is {contract.rows.max}; the table has {height} rows."


def _column(column: Column) -> dy.Column:
    rules: dict[str, Any] = {"nullable": column.nullable}
    if column.allowed is not None:
        allowed = column.allowed
        rules["check"] = {"allowed": lambda value: value.is_in(allowed)}
    if column.min is not None:
        rules["min"] = column.min
    if column.max is not None:
        rules["max"] = column.max
    if column.unique:
        rules["unique"] = True
    return CHECKED[column.type](**rules)


def _said(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value).lower()


def _offending(table: pl.LazyFrame, broken: list[Rule]) -> pl.LazyFrame:
    """Return the rows that break a rule, behind their number in the table and the rules."""
    names = table.collect_schema().names()
    row, breaks = (name if name not in names else f"{name} of the contract" for name in (ROW, BREAKS))
    said = pl.concat_str(
        (pl.when(rule.broken).then(pl.lit(str(rule))) for rule in broken), separator="; ", ignore_nulls=True
    )
    return (
        table.with_columns(said.alias(breaks))
        .with_row_index(row, 1)
        .filter(pl.col(breaks) != "")
        .select(row, breaks, *names)
    )


def _examples(rows: pl.LazyFrame, rule: Rule) -> str:
    """Show a few of the values that break a rule, and where they stand."""
    row, breaks, first = rows.collect_schema().names()[:3]
    those = rows.filter(pl.col(breaks).str.contains(str(rule), literal=True)).head(1000)
    shown = those.select(pl.col(row).alias("row"), pl.col(rule.column or first).alias("value")).collect()
    if rule.column is None or shown["value"].null_count():
        return "row " + ", ".join(map(str, shown["row"].head(EXAMPLES)))
    different = shown.unique("value", keep="first", maintain_order=True).head(EXAMPLES)
    return ", ".join(f"{value!r} (row {number})" for number, value in different.iter_rows())
