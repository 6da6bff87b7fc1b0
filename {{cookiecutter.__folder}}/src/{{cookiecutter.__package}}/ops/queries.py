"""Tables from databases: the rows of a query, which may only read."""

import re
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs
import sqlalchemy
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from ..errors import ProjectError
from ..steps.ingest import readable
from .addresses import malformed, redacted, without_secrets
from .settings import project_root

BATCH = 100_000  # rows of a query that are in memory at a time
# How a statement that reads begins.
READS = re.compile(r"[\s(]*(select|with|values|table|from|show|describe)\b", re.IGNORECASE)
# Words of a statement that writes although it begins like that. MySQL's INTO OUTFILE writes in any transaction, and SQL
# Server, which has none that only read, needs no semicolon before a second statement.
WRITES = re.compile(r"\b(insert|update|delete|merge|into|drop|truncate|exec(ute)?|commit)\b", re.IGNORECASE)
# Text, names and comments in SQL.
QUOTED = re.compile(r"""'[^']*'|"[^"]*"|`[^`]*`|--[^\n]*|/\*.*?\*/""", re.DOTALL)
# Where databases differ in what ends them: in \' and $$, # and --1, [it's], /*! and comments in comments.
DOUBTFUL = re.compile(r"""[\\$#]|--\S|\[[^\]]*['"`]|/\*!|/\*(?:(?!\*/).)*/\*""", re.DOTALL)
# What SQLite does to other files, and to settings, although a connection only reads.
DENIED = {sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_PRAGMA}


def write_rows(origin: str, query: str, target: Path) -> None:
    """Write the rows of a query as Parquet; the database keeps the cursor, so that memory holds one batch."""
    check_reads(query)
    engine = engine_of(origin)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".query-") as folder, readable(redacted(origin)):
        parts: list[pl.LazyFrame] = []
        # Nothing is committed.
        with engine.connect() as connection:
            forbid_writing(connection)
            # Without the backslash, a colon would begin a parameter.
            text = sqlalchemy.text(query.replace(":", "\\:"))
            for batch in pl.read_database(
                text, connection, iter_batches=True, batch_size=BATCH, infer_schema_length=None
            ):
                part = Path(folder) / f"{len(parts)}.parquet"
                _plain(batch).write_parquet(part)
                parts.append(pl.scan_parquet(part))
        if not parts:
            raise ProjectError(f"The query to {redacted(origin)} returns no rows.")
        # A column may be empty in one batch, or have whole numbers only.
        pl.concat(parts, how="vertical_relaxed").sink_parquet(target)


def check_reads(query: str) -> None:
    """Raise ProjectError unless the query is one statement that reads; the databases below refuse others, too."""
    code = (query if DOUBTFUL.search(query) else QUOTED.sub(" ", query)).strip().rstrip(";")
    if ";" in code or not READS.match(code):
        raise ProjectError("A query may only read: give one statement, such as `select * from table`.")
    if word := WRITES.search(code):
        raise ProjectError(f"A query may only read: `{word[0]}` writes; quote the name of a column that is called so.")


def engine_of(origin: str, *, write: bool = False) -> sqlalchemy.Engine:
    """Return an engine whose connections read only, as far as the address can say so, unless they are to write."""
    try:
        url = sqlalchemy.make_url(origin)
        # The driver of PostgreSQL that is installed; SQLAlchemy's default is psycopg2.
        name = re.sub("^postgres(ql)?$", "postgresql+psycopg", url.drivername.lower())
        arguments: dict[str, Any] = {"read_only": True} if name.startswith("duckdb") and not write else {}
        if name in {"sqlite", "sqlite+pysqlite"}:
            url = _created(url) if write else _existing(url)
            arguments = {"timeout": 60} if write else {}
        return sqlalchemy.create_engine(
            url.set(drivername=name),
            poolclass=sqlalchemy.NullPool,
            connect_args=arguments,
            execution_options={} if write else {"stream_results": True, "postgresql_readonly": True},
        )
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        reason = without_secrets(str(error), origin)
        raise ProjectError(
            f"Unsupported database address '{redacted(origin)}' ({reason}): use one like postgresql://… or sqlite:///…"
        ) from None
    except ValueError:
        # Its message repeats what is in the place of the port.
        raise malformed(origin) from None


def _existing(url: sqlalchemy.URL) -> sqlalchemy.URL:
    """Return the address of an SQLite file for reading; raise FileNotFoundError instead of creating the file."""
    file = url.database or ":memory:"
    if file == ":memory:":
        return url
    if not file.startswith("file:"):
        if not (project_root() / file).is_file():
            raise FileNotFoundError
        file = (project_root() / file).as_uri()
    return url.set(database=file, query={**url.query, "mode": "ro", "uri": "true"})


def _created(url: sqlalchemy.URL) -> sqlalchemy.URL:
    file = url.database or ":memory:"
    if ":memory:" in file:
        raise ProjectError("A database in memory is lost: give the address of a file, such as sqlite:///table.db.")
    return url if file.startswith("file:") else url.set(database=str(project_root() / file))


def forbid_writing(connection: sqlalchemy.Connection) -> None:
    """Let the database refuse a statement that writes, also into other files."""
    if connection.dialect.driver == "pysqlite":
        driver: Any = connection.connection.driver_connection
        driver.set_authorizer(lambda action, *_: sqlite3.SQLITE_DENY if action in DENIED else sqlite3.SQLITE_OK)
    elif connection.dialect.name in {"mysql", "mariadb"}:
        connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
        connection.rollback()


def _plain(batch: pl.DataFrame) -> pl.DataFrame:
    """Make decimals floats and objects such as UUIDs text, and drop nested columns."""
    texts = [pl.Series(c.name, [None if v is None else str(v) for v in c]) for c in batch.select(cs.object())]
    return batch.with_columns(*texts, cs.decimal().cast(pl.Float64)).drop(cs.nested())
