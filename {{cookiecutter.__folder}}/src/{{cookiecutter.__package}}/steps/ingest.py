"""Read tables from CSV, Parquet, Arrow and JSON files."""

import codecs
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
import polars.selectors as cs
import pyarrow as pa
from polars.io.plugins import register_io_source
from pyarrow import parquet

from ..errors import ProjectError
from ..model.casting import DTYPES, is_name
from . import dialect

Result = TypeVar("Result")

TEXT = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
PARQUET, ARROW, JSON = (".parquet",), (".arrow", ".feather"), (".json", ".jsonl", ".ndjson")
# Bytes of a row group of Parquet that is read in batches, and the rows of one.
LARGE, BATCH = 100_000_000, 20_000
DAMAGED = "the Parquet file is damaged or incomplete; get it again"
# Files that hold types, by their first bytes; of JSON, records: one per line, or all in one list.
TYPED = {
    ".parquet": rb"PAR1",
    ".arrow": rb"ARROW1",
    ".arrows": rb"\xff\xff\xff\xff",
    ".jsonl": rb'(\xef\xbb\xbf)?\s*\{\s*"',
    ".json": rb"(\xef\xbb\xbf)?\s*\[\s*\{",
}


def read(
    source: Path,
    null_values: Sequence[str],
    types: Mapping[str, str],
    use: Callable[[pl.LazyFrame], Result],
    number: str | None = None,
) -> Result:
    """Return what `use` makes of the table: with the given types or, if a value does not fit its type, as text.

    A CSV that is read as text is complete, so validation can name the values that are wrong.
    """
    try:
        return use(read_table(source, null_values, types, number))
    except pl.exceptions.ComputeError:
        return use(read_table(source, null_values, number=number))


def read_table(
    source: Path, null_values: Sequence[str] = (), types: Mapping[str, str] | None = None, number: str | None = None
) -> pl.LazyFrame:
    """Scan a file of any form, whatever its name; the lines of a CSV are checked now, its values are read later.

    Text is missing if it is one of `null_values` or, in a CSV, empty. Rows in which everything is missing are left out.
    The columns of a CSV have the given types, or are text; collecting the frame raises ComputeError if a value does not
    fit its type. With `number`, a last column of this name counts the rows of the file from 0.
    """
    found = _dialect(source)
    rows = _all_rows(source, found, null_values, types)
    schema = rows.collect_schema()
    if number:
        rows = rows.with_row_index(number).select(*schema, pl.col(number).cast(pl.Int64))
    # A filter by all columns would be pushed into the scan, where its time grows with the square of their number.
    empty = "_" * (1 + max(map(len, schema), default=0))
    return rows.with_columns(_is_empty(schema).alias(empty)).filter(~pl.col(empty)).drop(empty)


def notes(source: Path, rows: pl.LazyFrame) -> list[str]:
    """Return sentences about what is unusual in a file from which the rows were read, and what was left out."""
    found = _dialect(source)
    # `pl.len` of a CSV file maps all of it into memory.
    height = pl.first().is_null().count()
    counts = [table.select(height).collect(engine="streaming").item() for table in (_all_rows(source, found), rows)]
    left_out = counts[0] - counts[1]
    return [
        *(found.notes() if found else []),
        *([f"Rows in which everything is missing are left out: {left_out}."] if left_out else []),
    ]


def is_as_kept(source: Path, null_values: Sequence[str] = ()) -> bool:
    """Tell whether a file is already what `read_table` returns, so that it can be copied as it is."""
    if form(source) not in PARQUET or null_values or _has_large_groups(source):
        return False
    rows = pl.scan_parquet(source, glob=False)
    schema = rows.collect_schema()
    if schema != read_table(source).collect_schema():
        return False
    # One column without a missing value is enough, and most often it is the first.
    missing = (rows.select(_is_missing(name, dtype).any()) for name, dtype in schema.items())
    if not all(column.collect(engine="streaming").item() for column in missing):
        return True
    return not rows.select(_is_empty(schema).any()).collect(engine="streaming").item()


def form(source: Path) -> str:
    """Return the ending of a file that holds types, by its first bytes; "" for text."""
    with source.open("rb") as file:
        head = file.read(1000)
    return next((ending for ending, pattern in TYPED.items() if re.match(pattern, head)), "")


def _dialect(source: Path) -> dialect.Dialect | None:
    """Return how a text file writes its table, and check its lines; None if it is not text."""
    file = source.stat()
    return None if form(source) else _checked(source, file.st_ino, file.st_size, file.st_mtime_ns)


@lru_cache(maxsize=8)
def _checked(source: Path, *_: int) -> dialect.Dialect:
    """Look at a text file and check its lines, once until it changes."""
    return dialect.check_lines(source, dialect.look(source))


def _typed_rows(source: Path) -> pl.LazyFrame:
    ending = form(source)
    if ending == ".parquet":
        return scan_parquet(source)
    try:
        if ending not in {".arrow", ".arrows"}:
            return _records(source.read_bytes().removeprefix(codecs.BOM_UTF8), ending)
        rows = pl.scan_ipc(source, glob=False) if ending == ".arrow" else pl.read_ipc_stream(source).lazy()
        rows.collect_schema()
    except (pl.exceptions.PolarsError, OSError, ValueError, RecursionError) as error:
        if "arrow" in ending:
            raise dialect.NotATable("the Arrow file is damaged or incomplete; get it again") from None
        raise dialect.NotATable(f"its JSON is damaged, or no records: {str(error).splitlines()[0]}") from None
    return rows


def scan_parquet(source: Path) -> pl.LazyFrame:
    """Scan a Parquet file, or all files of a folder; row groups that take much memory are read in batches."""
    rows = pl.scan_parquet(source, glob=False)
    files = [source] if source.is_file() else sorted(filter(Path.is_file, source.rglob("*")), key=str)
    return _in_batches(files, rows) if any(map(_has_large_groups, files)) else rows


def _has_large_groups(source: Path) -> bool:
    """Tell whether a Parquet file has a row group that takes much memory, of which Polars reads all columns at once."""
    try:
        file = parquet.read_metadata(source)
    except (pa.ArrowException, OSError):  # damaged, as Polars will say
        return False
    groups = (file.row_group(number) for number in range(file.num_row_groups))
    return any(max(group.total_byte_size, 8 * group.num_rows * group.num_columns) > LARGE for group in groups)


def _in_batches(files: Sequence[Path], rows: pl.LazyFrame) -> pl.LazyFrame:
    """Read Parquet files by pyarrow, which needs not hold a row group; as Polars, if the columns would be others."""

    def batches(
        columns: list[str] | None, predicate: pl.Expr | None, most: int | None, _: int | None
    ) -> Iterator[pl.DataFrame]:
        # Without `pre_buffer`, which would read all of a row group.
        try:
            for source in files:
                with parquet.ParquetFile(source, buffer_size=1 << 20, pre_buffer=False) as file:
                    for batch in file.iter_batches(BATCH, columns=columns):
                        table = pl.DataFrame(batch).slice(0, most)
                        yield table if predicate is None else table.filter(predicate)
                        most = None if most is None else most - len(table)
                        if most == 0:
                            return
        except (pa.ArrowException, OSError):
            raise dialect.NotATable(DAMAGED) from None

    schema = rows.collect_schema()
    if any(pl.DataFrame(parquet.read_schema(source).empty_table()).schema != schema for source in files):
        return rows
    return register_io_source(batches, schema=schema)


def _records(content: bytes, ending: str) -> pl.LazyFrame:
    """Read JSON records; raise NotATable if one is damaged, nested, or has a key twice, of which Polars reads one."""
    for line, record in enumerate([content] if ending == ".json" else content.splitlines(), 1):
        try:
            json.loads(record.strip() or b"0", object_pairs_hook=_check_keys, parse_constant=_refuse)
        except json.JSONDecodeError as error:
            where = line + error.lineno - 1
            raise dialect.NotATable(f"line {where} is not a whole record of JSON: {error.msg}") from None
    table = (pl.read_json if ending == ".json" else pl.read_ndjson)(content, infer_schema_length=None)
    if nested := [name for name, dtype in table.schema.items() if dtype.is_nested()]:
        raise dialect.NotATable(f"'{nested[0]}' is nested in its JSON; make its values columns of their own")
    return table.lazy()


def _refuse(constant: str) -> None:
    raise dialect.NotATable(f"its JSON has {constant}, which JSON does not allow; write null")


def _check_keys(pairs: Sequence[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        key = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise dialect.NotATable(f"a record of its JSON has the key {key!r} twice")


def _all_rows(
    source: Path,
    found: dialect.Dialect | None,
    null_values: Sequence[str] = (),
    types: Mapping[str, str] | None = None,
) -> pl.LazyFrame:
    if found is None:
        table = _typed_rows(source)
        names = table.collect_schema().names()
        if not names:
            raise dialect.NotATable("it has no columns")
        _check_names(names)
        table = table.rename(dict(zip(names, _all_named(names), strict=True)))
        # Categories are text, too.
        table = table.with_columns(cs.by_dtype(pl.Categorical, pl.Enum).cast(pl.String))
        present = pl.when(~cs.string().is_in(list(null_values))).then(cs.string())
        return table.with_columns(present) if null_values else table
    names = _all_named(found.heading.values)
    _check_names(names)
    return pl.scan_csv(
        dialect.as_utf8(source),
        skip_lines=found.heading.first - 1,
        with_column_names=lambda _: names,
        schema_overrides={name: DTYPES[kind] for name, kind in (types or {}).items() if name in names},
        infer_schema=False,
        separator=found.separator,
        eol_char=found.eol,
        null_values=["", *found.blanks, *null_values],
        # The only longer lines are blank.
        truncate_ragged_lines=bool(found.blanks),
        glob=False,
    )


def _all_named(names: Sequence[str]) -> list[str]:
    """Name the columns without a name, as pandas does: MLflow identifies inputs by name."""
    unused = (name for name in ("unnamed", *(f"unnamed {i}" for i in range(len(names)))) if name not in names)
    return [name or next(unused) for name in names]


def _check_names(names: Iterable[str]) -> None:
    alike: dict[str, tuple[int, str]] = {}
    for at, name in enumerate(names, 1):
        if not is_name(name):
            raise ProjectError(f"The table has a column {name!r}, which Polars cannot use as a name: rename it.")
        first, other = alike.setdefault(dialect.look_of(name), (at, name))
        if other != name:
            both = f"{other!a} and {name!a}, which look alike"
            raise dialect.NotATable(f"columns {first} and {at} are named {both}; give each a name of its own")


def _is_empty(schema: Mapping[str, pl.DataType]) -> pl.Expr:
    """Tell whether everything in a row is missing."""
    return pl.all_horizontal(_is_missing(name, dtype) for name, dtype in schema.items())


def _is_missing(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    return column.is_null() | ~column.is_finite() if dtype.is_float() else column.is_null()


@contextmanager
def readable(source: Path | str) -> Iterator[None]:
    """Raise ProjectError, with the name of the source, if a table cannot be read."""
    try:
        yield
    except FileNotFoundError:
        raise ProjectError(f"File not found: {source}.") from None
    except dialect.NotATable as error:
        raise ProjectError(f"Cannot read '{source}' as a table: {error}.") from None
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0].rstrip(".")
        if reason.startswith("parquet"):
            reason = reason.partition("underlying IO error: ")[2] or DAMAGED
        if reason.startswith("out-of-spec"):
            reason = "the Arrow file is damaged or incomplete; get it again"
        raise ProjectError(f"Cannot read '{source}' as a table: {reason}.") from None
    except OSError as error:
        if "gzip" not in str(error):  # what follows the compressed text, which Python ignores if it is zeros
            raise
        raise ProjectError(f"Cannot read '{source}' as a table: {error}; unpack the file.") from None


def drop_unlabelled(table: pl.LazyFrame, target: str) -> pl.LazyFrame:
    """Drop the rows without a target: there is nothing to learn from them."""
    columns = table.collect_schema().names()
    if target not in columns:
        raise ProjectError(f"params.yaml: data.target is '{target}'; the table has only {', '.join(columns)}.")
    return table.filter(~_is_missing(target, table.collect_schema()[target]))
