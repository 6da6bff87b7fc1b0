"""Read tables from CSV and Parquet files."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
import polars.selectors as cs

from ..errors import ProjectError
from ..model.casting import DTYPES, is_name

Result = TypeVar("Result")

TEXT = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
PARQUET = (".parquet",)
SEPARATORS = ",;\t|"


def read(
    source: Path, null_values: Sequence[str], types: Mapping[str, str], use: Callable[[pl.LazyFrame], Result]
) -> Result:
    """Return what `use` makes of the table: with the given types or, if a value does not fit its type, as text.

    A CSV that is read as text is complete, so validation can name the values that are wrong.
    """
    try:
        return use(read_table(source, null_values, types))
    except pl.exceptions.ComputeError:
        return use(read_table(source, null_values))


def read_table(source: Path, null_values: Sequence[str] = (), types: Mapping[str, str] | None = None) -> pl.LazyFrame:
    """Scan a CSV or Parquet file; no rows are read before the frame is collected or written.

    Text is missing if it is one of `null_values` or, in a CSV, empty. The columns of a CSV have the given types, or are
    text; collecting the frame raises ComputeError if a value does not fit its type.
    """
    name = source.name.lower()
    if name.endswith(PARQUET):
        table = pl.scan_parquet(source, glob=False)
        names = table.collect_schema().names()
        _check_names(names)
        table = table.rename(dict(zip(names, _all_named(names), strict=True)))
        present = pl.when(~cs.string().is_in(list(null_values))).then(cs.string())
        return table.with_columns(present) if null_values else table
    if not name.endswith(TEXT):
        raise ProjectError(f"Unsupported file type '{source.suffix}' of '{source}': use .csv, .tsv or .parquet.")
    options: dict[str, Any] = {
        "glob": False,
        "separator": separator(source),
        "null_values": ["", *null_values],
        "infer_schema": False,
    }
    # Polars keeps doubled quotes in a quoted heading.
    options["with_column_names"] = lambda names: _all_named([name.replace('""', '"') for name in names])
    columns = pl.scan_csv(source, **options).collect_schema()
    _check_names(columns)
    known = {column: DTYPES[kind] for column, kind in (types or {}).items() if column in columns}
    return pl.scan_csv(source, schema_overrides=known, **options)


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if not is_name(name):
            raise ProjectError(f"The table has a column {name!r}, which Polars cannot use as a name: rename it.")


def is_as_kept(source: Path, null_values: Sequence[str] = ()) -> bool:
    """Tell whether a file is already what `read_table` returns, so that it can be copied as it is."""
    if not source.name.lower().endswith(PARQUET):
        return False
    return (
        pl.scan_parquet(source, glob=False).collect_schema() == read_table(source).collect_schema() and not null_values
    )


def _all_named(names: Sequence[str]) -> list[str]:
    """Name the column without a name, as pandas does: MLflow identifies inputs by name."""
    unnamed = next(name for name in ("unnamed", *(f"unnamed {i}" for i in range(len(names)))) if name not in names)
    return [name or unnamed for name in names]


def separator(source: Path) -> str:
    """Return the separator of a CSV: the character that occurs most in its first line, outside quotes."""
    first = pl.scan_csv(
        source, glob=False, has_header=False, infer_schema=False, separator="\x1f", quote_char=None, n_rows=1
    )
    line: str = first.collect().item() or ""
    unquoted = "".join(line.split('"')[::2])
    return max(SEPARATORS, key=unquoted.count)


@contextmanager
def readable(source: Path | str) -> Iterator[None]:
    """Raise ProjectError if a table cannot be read."""
    try:
        yield
    except FileNotFoundError:
        raise ProjectError(f"File not found: {source}.") from None
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0].rstrip(".").replace("utf-8 sequence", "UTF-8; save it as such")
        raise ProjectError(f"Cannot read '{source}' as a table: {reason}.") from None


def drop_unlabelled(table: pl.LazyFrame, target: str) -> pl.LazyFrame:
    """Drop the rows without a target: there is nothing to learn from them."""
    columns = table.collect_schema().names()
    if target not in columns:
        raise ProjectError(f"params.yaml: data.target is '{target}'; the table has only {', '.join(columns)}.")
    return table.drop_nulls(target)
