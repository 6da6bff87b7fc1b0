"""Check a table against the data contract."""

from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any, NamedTuple

import polars as pl

from ..config import Contract
from ..errors import ProjectError
from ..model.casting import cast
from .copies import fingerprint

# The rows that break a rule of a column, given the column's values and what the contract sets; a missing value breaks
# `nullable` alone: compared with anything it is null, not true.
RULES: dict[str, Callable[[pl.Expr, Any], pl.Expr]] = {
    "nullable": lambda value, _: value.is_null(),
    "unique": lambda value, _: value.is_duplicated() & value.is_not_null(),
    "min": lambda value, least: value < least,
    "max": lambda value, most: value > most,
    "allowed": lambda value, allowed: ~value.is_in(allowed),
}
# The settings for which nothing is checked; for the other rules that is None.
OFF = {"nullable": True, "unique": False}
# How many examples a message shows.
EXAMPLES = 3
ROW, BREAKS = "row", "breaks"


class ContractError(ProjectError):
    """A table breaks the contract; `rows` are those that do, with their number and the rules."""

    def __init__(self, sentences: Sequence[str], rows: pl.LazyFrame) -> None:
        super().__init__(*sentences)
        self.rows = rows


class Rule(NamedTuple):
    """A rule of the contract, and the expression that is true for the rows that break it.

    A rule that compares rows also has a hash: only if two rows share it can the rule be broken.
    """

    column: str | None
    name: str
    broken: pl.Expr
    hash: pl.Expr | None = None

    def __str__(self) -> str:
        return f"'{self.name}'" if self.column is None else f"column '{self.column}' breaks '{self.name}'"


def check(table: pl.LazyFrame, contract: Contract) -> None:
    """Raise ContractError, with the rows, if the table breaks the contract.

    The rows themselves are read only if some break a rule.
    """
    schema = table.collect_schema()
    if missing := [name for name in contract.columns if name not in schema]:
        message = f"contract.yaml: the table lacks the column(s) {', '.join(missing)}; it has {', '.join(schema)}."
        raise ContractError([message], pl.LazyFrame())
    height, broken = violations(table, contract)
    limits = contract.rows
    wrong_size = {"min": height < limits.min, "max": limits.max is not None and height > limits.max}
    sizes = [key for key, wrong in wrong_size.items() if wrong]
    errors = [f"rows.{key} is {getattr(limits, key)}; the table has {height} rows." for key in sizes]
    rows = pl.LazyFrame()
    if broken:
        rows = _offending(table, [rule for rule, _ in broken])
        errors += _sentences(rows, broken)
    if errors:
        raise ContractError([f"contract.yaml: {error}" for error in errors], rows)


class Split(NamedTuple):
    """The rows that a contract admits, in its types, and as they are those that it rejects, with the rules they break.

    `sentences` say so for each broken rule.
    """

    height: int
    admitted: pl.LazyFrame
    rejected: pl.LazyFrame
    sentences: list[str]


def split(table: pl.LazyFrame, contract: Contract, inputs: Container[str], number: str) -> Split:
    """Split rows to predict by the contract; the column `number` counts them.

    The model's inputs obey all rules of their columns. Values of other columns, such as the target, only have the type.
    """
    schema = table.collect_schema()
    off = {**dict.fromkeys(RULES), **OFF}
    columns = {
        name: column if name in inputs else column.model_copy(update=off)
        for name, column in contract.columns.items()
        if name in schema
    }
    height, broken = violations(table, Contract(columns=columns))
    admitted, rejected = table, pl.LazyFrame(schema=schema)
    if broken:
        admitted = table.filter(~pl.any_horizontal(rule.broken.fill_null(value=False) for rule, _ in broken))
        rejected = _offending(table, [rule for rule, _ in broken], number)
    typed = admitted.with_columns(cast(name, schema[name], column).value for name, column in columns.items())
    return Split(height, typed, rejected, _sentences(rejected, broken))


def violations(table: pl.LazyFrame, contract: Contract) -> tuple[int, list[tuple[Rule, int]]]:
    """Return how many rows there are, and each rule that some break, with their number.

    One streaming query counts them; a rule that compares rows takes a query of its own.
    """
    candidates = rules(table.collect_schema(), contract)
    checked = [rule for rule in candidates if rule.hash is None or _repeats(table, rule.hash)]
    counted = table.select(pl.len(), *(rule.broken.sum().alias(str(i)) for i, rule in enumerate(checked)))
    height, *counts = counted.collect(engine="streaming").row(0)
    return height, [(rule, count) for rule, count in zip(checked, counts, strict=True) if count]


def rules(schema: pl.Schema, contract: Contract) -> Iterator[Rule]:
    """Yield the contract's rules for a table with this schema."""
    for name, column in contract.columns.items():
        value, lost = cast(name, schema[name], column)
        yield Rule(name, f"type: {column}", lost)
        for key, broken in RULES.items():
            setting = getattr(column, key)
            if setting is OFF.get(key):
                continue
            # A value of another type breaks `type` alone.
            yield Rule(
                name,
                f"{key}: {_shown(setting)}",
                broken(value, setting) & ~lost,
                value.drop_nulls().hash() if key == "unique" else None,
            )
    if contract.rows.unique:
        row = fingerprint(contract.columns)
        yield Rule(None, "rows.unique: true", ~row.is_first_distinct(), row)


def _repeats(table: pl.LazyFrame, hashes: pl.Expr) -> bool:
    """Tell whether two rows share a hash; collected, ten million hashes take a tenth of the memory of a set."""
    values = table.select(hashes).collect(engine="streaming").to_series()
    return values.n_unique() < len(values)


def _shown(setting: Any) -> str:
    return ", ".join(map(str, setting)) if isinstance(setting, list) else str(setting).lower()


def _sentences(rows: pl.LazyFrame, broken: Sequence[tuple[Rule, int]]) -> list[str]:
    return [f"{rule} in {count} row(s), for example {_examples(rows, rule)}." for rule, count in broken]


def _offending(table: pl.LazyFrame, broken: Sequence[Rule], number: str | None = None) -> pl.LazyFrame:
    """Return the rows that break a rule, after their number and the rules that they break.

    The column `number` has their number; without it they are counted from 1.
    """
    names = [name for name in table.collect_schema().names() if name != number]
    row, breaks = (name if name not in names else f"{name} of the contract" for name in (ROW, BREAKS))
    broken_rules = pl.concat_str(
        (pl.when(rule.broken).then(pl.lit(str(rule))) for rule in broken), separator="; ", ignore_nulls=True
    )
    return (
        (table.rename({number: row}) if number else table.with_row_index(row, 1))
        .with_columns(broken_rules.alias(breaks))
        .filter(pl.col(breaks) != "")
        .select(row, breaks, *names)
    )


def _examples(rows: pl.LazyFrame, rule: Rule) -> str:
    """Show a few of the values that break a rule, and their rows."""
    row, breaks, first = rows.collect_schema().names()[:3]
    breaking = rows.filter(pl.col(breaks).str.contains(str(rule), literal=True)).head(1000)
    shown = breaking.select(pl.col(row).alias("row"), pl.col(rule.column or first).alias("value")).collect()
    if rule.column is None or shown["value"].null_count():
        return "row " + ", ".join(map(str, shown["row"].head(EXAMPLES)))
    different = shown.unique("value", keep="first", maintain_order=True).head(EXAMPLES)
    return ", ".join(f"{value!r} (row {number})" for number, value in different.iter_rows())
