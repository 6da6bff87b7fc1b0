"""Where predictions go: a folder, or a table of a database; completely or not at all."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.types import TypeEngine

from ..errors import ProjectError
from ..steps.ingest import PARQUET, TEXT
from . import predictions
from .addresses import SECRET_TO, check_stored, is_address, malformed, redacted, scheme_of, without_secrets
from .files import scratch
from .paths import PREDICTIONS
from .queries import engine_of
from .settings import project_root, read_settings
from .sources import CLOUD, UnreachableError

# The file in a folder; one file, because it can be replaced at once.
FILE = "predictions.parquet"
BATCH = 10_000  # rows that an `insert` takes
TYPES: dict[type[Any], type[TypeEngine[Any]]] = {
    pl.String: sqlalchemy.Text,
    pl.Boolean: sqlalchemy.Boolean,
    pl.Date: sqlalchemy.Date,
    pl.Time: sqlalchemy.Time,
}
# Python's types of the columns that can keep values of another type.
FITTING = {int: {"int", "float", "Decimal"}, float: {"float", "Decimal"}}


def address(to: str | None) -> str:
    """Return the folder or the address that `to` stands for; raise ProjectError if nothing can be written there."""
    if to == SECRET_TO:
        if not (url := read_settings().predictions_url):
            raise ProjectError(f"--to is {SECRET_TO}, which is not set in .env or the environment.")
        to = url
    elif to:
        check_stored(to, "--to", SECRET_TO)
    to = to or str(PREDICTIONS)
    scheme = scheme_of(to)
    if is_address(to) and not scheme:
        raise malformed(to)
    if scheme in {"http", "https", "file", *CLOUD}:
        raise ProjectError(
            f"--to is '{redacted(to)}': give a folder, or a database such as postgresql://… or sqlite:///…"
        )
    folder = project_root() / to
    if not scheme and (folder.is_file() or (folder.suffix in {*TEXT, *PARQUET} and not folder.exists())):
        raise ProjectError(f"--to is '{to}', but has to be a folder, in which {FILE} is written.")
    return to


def check(to: str, table: str, schema: pl.Schema) -> None:
    """Raise ProjectError if predictions with these columns cannot be written."""
    if is_address(to):
        with _connected(to) as connection:
            _existing(connection, table, schema)
        return
    folder = project_root() / to
    present = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not present.is_dir() or not os.access(present, os.W_OK):
        raise ProjectError(f"Nothing can be written into {folder}: {present} is not a folder that you may write to.")


def write(to: str, table: str, files: Sequence[Path], request_id: str) -> None:
    """Write predictions: those of a folder are replaced, and those of a table if they have the same request."""
    if is_address(to):
        _insert(to, table, files, request_id)
        return
    folder = project_root() / to
    folder.mkdir(parents=True, exist_ok=True)
    # Whoever reads the folder does not see unfinished files; only in one file system a file is replaced at once.
    beside = folder.parent
    if not os.access(beside, os.W_OK) or beside.stat().st_dev != folder.stat().st_dev:
        beside = folder
    with scratch(beside, "scoring") as unfinished:
        pl.scan_parquet(list(files), glob=False).sink_parquet(unfinished / FILE)
        (unfinished / FILE).replace(folder / FILE)
    for earlier in folder.glob(f"{'[0-9]' * 12}.parquet"):  # as this project once named them
        earlier.unlink()


def _insert(to: str, table: str, files: Sequence[Path], request_id: str) -> None:
    schema = pl.read_parquet_schema(files[0])
    by_request = predictions.find("request_id", schema) or ""
    with _connected(to) as connection:
        target = _existing(connection, table, pl.Schema(schema))
        if target is None:
            target = _described(table, pl.Schema(schema), by_request)
            target.create(connection)
        connection.execute(target.delete().where(target.c[by_request] == request_id))
        for file in files:
            for batch in _plain(pl.read_parquet(file)).iter_slices(BATCH):
                connection.execute(target.insert(), list(batch.iter_rows(named=True)))


@contextmanager
def _connected(to: str) -> Iterator[sqlalchemy.Connection]:
    """Yield a connection for a transaction that keeps other scorings out; explain its errors without secrets."""
    where = redacted(to)
    try:
        with engine_of(to, write=True).begin() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            elif connection.dialect.name == "postgresql":
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(20260101)")
            yield connection
    except SQLAlchemyError as error:
        cause = without_secrets(str(getattr(error, "orig", None) or error), to).strip().partition("\n")[0].rstrip(".")
        kind = UnreachableError if isinstance(error, OperationalError) else ProjectError
        raise kind(f"Cannot write predictions into {where}: {cause}.") from None


def _existing(connection: sqlalchemy.Connection, table: str, schema: pl.Schema) -> sqlalchemy.Table | None:
    """Return the table, None if it does not exist; raise ProjectError if its columns do not fit."""
    wanted = _described(table, schema)
    inspector = sqlalchemy.inspect(connection)
    if not inspector.has_table(wanted.name, wanted.schema):
        return None
    types = {column["name"]: column["type"] for column in inspector.get_columns(wanted.name, wanted.schema)}
    if missing := [name for name in schema if name not in types]:
        raise ProjectError(
            f"The table '{table}' lacks the column(s) {', '.join(missing)}, which the predictions have; "
            "choose another with --table, or rename it."
        )
    for column in wanted.columns:
        kind, found = column.type.python_type, types[column.name]
        if _kind(found) not in FITTING.get(kind, {kind.__name__}):
            raise ProjectError(
                f"The column '{column.name}' of the table '{table}' is {found}, the predictions have {column.type}; "
                "choose another with --table, or rename it."
            )
    return wanted


def _kind(found: TypeEngine[Any]) -> str:
    try:
        return found.python_type.__name__
    except NotImplementedError:
        return ""


def _described(table: str, schema: pl.Schema, index: str = "") -> sqlalchemy.Table:
    """Describe a table, `name` or `schema.name`, with these columns."""
    before, _, name = table.rpartition(".")
    columns = [sqlalchemy.Column(column, _type(dtype), index=column == index) for column, dtype in schema.items()]
    return sqlalchemy.Table(name, sqlalchemy.MetaData(), *columns, schema=before or None)


def _type(dtype: pl.DataType) -> TypeEngine[Any]:
    if dtype.is_integer():
        return sqlalchemy.BigInteger()
    if dtype.is_float() or dtype.is_decimal():
        return sqlalchemy.Double()
    if isinstance(dtype, pl.Datetime):
        return sqlalchemy.DateTime(timezone=dtype.time_zone is not None)
    return TYPES.get(type(dtype), sqlalchemy.Text)()


def _plain(rows: pl.DataFrame) -> pl.DataFrame:
    """Make decimals floats, and text of what a database has no type for."""
    floats = [name for name, dtype in rows.schema.items() if dtype.is_decimal()]
    texts = [name for name, dtype in rows.schema.items() if isinstance(_type(dtype), sqlalchemy.Text)]
    return rows.with_columns(pl.col(floats).cast(pl.Float64), pl.col(texts).cast(pl.String))
