"""Read the raw table, and give rows the types that the contract names."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from ..contract import Contract
from ..errors import ProjectError

DTYPES: dict[str, pl.DataType] = {
    "string": pl.String(),
    "integer": pl.Int64(),
    "float": pl.Float64(),
    "boolean": pl.Boolean(),
    "date": pl.Date(),
    "datetime": pl.Datetime("us"),
}


def read_table(source: Path, null_values: Sequence[str] = ()) -> pl.LazyFrame:
    """Scan a CSV or Parquet file; nothing is read before the frame is collected or written."""
    match source.suffix.lower():
        case ".csv":
            return pl.scan_csv(source, null_values=list(null_values), try_parse_dates=True, infer_schema_length=None)
        case ".parquet":
            return pl.scan_parquet(source)
        case other:
            raise ProjectError(
                f"params.yaml: data.source is '{source}', and '{other}' is not read; give a .csv or .parquet file."
            )


def drop_unlabelled(table: pl.LazyFrame, target: str) -> pl.LazyFrame:
    """Drop the rows whose target is missing: nothing can be learned from them."""
    columns = table.collect_schema().names()
    if target not in columns:
        raise ProjectError(f"params.yaml: data.target is '{target}'; the table has only {', '.join(columns)}.")
    return table.drop_nulls(target)


def conform(table: pl.LazyFrame, contract: Contract) -> pl.LazyFrame:
    """Return the contract's columns in its order and types; those that may be missing and are become nulls.

    Raises ProjectError for a column that is missing and may not be.
    """
    present = table.collect_schema().names()
    if absent := [name for name, column in contract.columns.items() if name not in present and not column.nullable]:
        raise ProjectError(f"The rows lack the column(s) {absent}, which contract.yaml requires; they have {present}.")
    return table.select(
        (pl.col(name) if name in present else pl.lit(None)).cast(DTYPES[column.type]).alias(name)
        for name, column in contract.columns.items()
    )
