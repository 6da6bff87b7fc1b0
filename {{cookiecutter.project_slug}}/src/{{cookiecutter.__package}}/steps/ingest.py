"""Read the raw table, and give rows the types that the contract names."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
import polars.selectors as cs

from ..errors import ProjectError
from ..model.casting import DTYPES

Result = TypeVar("Result")

TEXT = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
PARQUET = (".parquet",)
SEPARATORS = ",;\t|"


def read_table(source: Path, null_values: Sequence[str] = (), types: Mapping[str, str] | None = None) -> pl.LazyFrame:
    """Scan a CSV or Parquet file; nothing is read before the frame is collected or written.

    Text is missing where it is one of `null_values`, and in a CSV where it is empty. A CSV's columns get the given
    types, and are text without; to collect it then raises ComputeError for a value that is not of its type.
    """
    name = source.name.lower()
    if name.endswith(PARQUET):
        missing = pl.when(~cs.string().is_in(list(null_values))).then(cs.string())
        table = pl.scan_parquet(source)
        found = table.collect_schema().names()
        table = table.rename(dict(zip(found, _named(found), strict=True)))
        return table.with_columns(missing) if null_values else table
    if not name.endswith(TEXT):
        raise ProjectError(
            f"'{source}' is not read, for '{source.suffix}' is no table here; give a .csv, .tsv or .parquet file."
        )
    options: dict[str, Any] = {"separator": separator(source), "null_values": ["", *null_values], "infer_schema": False}
    # Polars leaves the doubled quotes of a quoted heading as they are.
    options["with_column_names"] = lambda found: _named([name.replace('""', '"') for name in found])
    columns = pl.scan_csv(source, **options).collect_schema()
    known = {column: DTYPES[kind] for column, kind in (types or {}).items() if column in columns}
    return pl.scan_csv(source, schema_overrides=known, **options)


def read(
    source: Path, null_values: Sequence[str], types: Mapping[str, str], use: Callable[[pl.LazyFrame], Result]
) -> Result:
    """Return what `use` makes of the table: with the given types or, where a value is not of its type, as text.

    As text the table of a CSV is complete, and validation can say where it is wrong.
    """
    try:
        return use(read_table(source, null_values, types))
    except pl.exceptions.ComputeError:
        return use(read_table(source, null_values))


def is_as_kept(source: Path, null_values: Sequence[str] = ()) -> bool:
    """Tell whether a file is already what `read_table` would make of it, so that to copy it is enough."""
    if not source.name.lower().endswith(PARQUET):
        return False
    return pl.scan_parquet(source).collect_schema() == read_table(source).collect_schema() and not null_values


def _named(found: Sequence[str]) -> list[str]:
    """Give a column without a name one, as pandas does: MLflow knows inputs by their names."""
    unnamed = next(name for name in ("unnamed", *(f"unnamed {i}" for i in range(len(found)))) if name not in found)
    return [name or unnamed for name in found]


def separator(source: Path) -> str:
    """Return what separates the columns of a CSV: what its first line has most of, outside quotes."""
    first = pl.scan_csv(source, has_header=False, infer_schema=False, separator="\x1f", quote_char=None, n_rows=1)
    line: str = first.collect().item() or ""
    bare = "".join(line.split('"')[::2])
    return max(SEPARATORS, key=bare.count)


@contextmanager
def readable(source: Path | str) -> Iterator[None]:
    """Raise a ProjectError for what cannot be read."""
    try:
        yield
    except FileNotFoundError:
        raise ProjectError(f"There is no '{source}'.") from None
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0].rstrip(".").replace("utf-8 sequence", "UTF-8; save it as such")
        raise ProjectError(f"'{source}' cannot be read as a table: {reason}.") from None


def drop_unlabelled(table: pl.LazyFrame, target: str) -> pl.LazyFrame:
    """Drop the rows whose target is missing: nothing can be learned from them."""
    columns = table.collect_schema().names()
    if target not in columns:
        raise ProjectError(f"params.yaml: data.target is '{target}'; the table has only {', '.join(columns)}.")
    return table.drop_nulls(target)
