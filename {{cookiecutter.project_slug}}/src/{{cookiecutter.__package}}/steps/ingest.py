"""Read the raw table, and give rows the types that the contract names."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from ..errors import ProjectError
from ..settings import Contract

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
            message = f"params.yaml: data.source is '{source}', and '{other}' files are not read; give a .csv or .parquet file."
            raise ProjectError(message)


def drop_unlabelled(table: pl.LazyFrame, target: str) -> pl.LazyFrame:
    """Drop the rows whose target is missing: nothing can be learned from them."""
    columns = table.collect_schema().names()
    if target not in columns:
        message = f"params.yaml: data.target is '{target}', which is no column of the table; its columns are {', '.join(columns)}."
        raise ProjectError(message)
    return table.drop_nulls(target)


def conform(table: pl.LazyFrame, contract: Contract) -> pl.LazyFrame:
    """Return the contract's columns in its order and types; columns that may be missing are filled with nulls."""
    present = table.collect_schema().names()
    return table.select(
        (pl.col(name) if name in present else pl.lit(None)).cast(DTYPES[column.type]).alias(name)
        for name, column in contract.columns.items()
        if name in present or column.nullable
    )
