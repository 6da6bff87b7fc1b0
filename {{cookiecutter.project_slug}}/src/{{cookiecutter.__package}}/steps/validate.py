"""Hold a table against the data contract."""

from collections.abc import Callable
from typing import Any

import dataframely as dy
import polars as pl

from ..contract import Column, Contract
from ..errors import ProjectError

CHECKED: dict[str, Callable[..., dy.Column]] = {
    "string": dy.String,
    "integer": dy.Int64,
    "float": dy.Float64,
    "boolean": dy.Bool,
    "date": dy.Date,
    "datetime": dy.Datetime,
}


class ContractError(ProjectError):
    """The table is not what the contract says; `rows` are those that break a rule."""

    def __init__(self, message: str, rows: pl.DataFrame) -> None:
        """Keep the offending rows beside the sentence."""
        super().__init__(message)
        self.rows = rows


def check(table: pl.LazyFrame, contract: Contract) -> None:
    """Raise ContractError, with the rows, if the table is not what the contract says."""
    present = table.collect_schema().names()
    if missing := [name for name in contract.columns if name not in present]:
        message = f"contract.yaml: the table lacks the column(s) {', '.join(missing)}; it has {', '.join(present)}."
        raise ContractError(message, pl.DataFrame())
    good, bad = _schema(contract).filter(table.collect(), cast=True)
    if counts := bad.counts():
        raise ContractError(_complaint(counts, bad.invalid()), bad.invalid())
    if good.height < contract.rows.min:
        raise ContractError(f"contract.yaml: the table has {good.height} rows; rows.min is {contract.rows.min}.", good)


def _schema(contract: Contract) -> type[dy.Schema]:
    columns: dict[str, Any] = {name: _column(column) for name, column in contract.columns.items()}
    return type("Contract", (dy.Schema,), columns)


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


def _complaint(counts: dict[str, int], rows: pl.DataFrame) -> str:
    """Name column, rule, number of rows and up to three examples, a line per broken rule."""
    lines = []
    for broken, count in counts.items():
        column, _, rule = broken.rpartition("|")
        examples = rows.get_column(column).unique(maintain_order=True).head(3).to_list()
        lines.append(f"contract.yaml: column '{column}' breaks '{rule}' in {count} row(s), for example {examples}.")
    return "\n".join(lines)
