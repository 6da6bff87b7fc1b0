"""Where a table comes from when it is no file of the project: a folder, an address, or a query to a database."""

import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import polars as pl
import polars.selectors as cs
import sqlalchemy
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, SQLAlchemyError

from ..errors import ProjectError
from ..steps.ingest import PARQUET, TEXT, readable
from .settings import cloud_options, project_root, read_settings

# What data.origin says when the address holds a secret and so stands in .env.
SECRET = "SOURCE_URL"  # noqa: S105 - the name of a setting
CLOUD = ("s3", "gs", "az", "abfs", "abfss", "gcs")
BATCH = 100_000  # rows of a query that are in memory at a time
TIMEOUT = 60  # seconds without an answer


class UnreachableError(ProjectError, OSError):
    """A source does not answer. It may later: tasks try again."""


def secret(origin: str) -> bool:
    """Tell whether an address holds something that does not belong into git."""
    parts = urlsplit(origin)
    return bool(parts.password or (parts.query and parts.scheme in {"http", "https"}))


def named(origin: str) -> str:
    """Return a source's address without its secrets, for people to read."""
    parts = urlsplit(origin)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.scheme else origin


def address(origin: str) -> str:
    """Return the address that data.origin means; raise ProjectError if it is kept in .env and is not there."""
    if origin != SECRET:
        return origin
    if not (url := read_settings().source_url):
        raise ProjectError(f"params.yaml: data.origin is {SECRET}, which .env (or the environment) lacks.")
    return url


def suffix(origin: str, query: str | None = None) -> str:
    """Return how a snapshot's name ends: a file stays what it is, all else becomes Parquet; "" if that is unknown."""
    parts = urlsplit(origin) if "://" in origin else None
    if query is not None or (parts is None and (project_root() / origin).is_dir()):
        return PARQUET[0]
    name = (parts.path if parts else origin).lower()
    found = max((end for end in (*TEXT, *PARQUET) if name.endswith(end)), key=len, default="")
    return found or (PARQUET[0] if parts and parts.scheme in CLOUD else "")


def take(origin: str, query: str | None, target: Path) -> None:
    """Write a snapshot of a source into a file, without holding the table in memory.

    Raises UnreachableError if it does not answer, ProjectError for what will not work next time either.
    """
    scheme = urlsplit(origin).scheme if "://" in origin else ""
    with _said(origin):
        if query is not None:
            _ask(origin, query, target)
        elif scheme in {"http", "https"}:
            _download(origin, target)
        elif scheme in CLOUD or (not scheme and (project_root() / origin).is_dir()):
            _stream(origin if scheme else str(project_root() / origin), target)
        elif not scheme:
            shutil.copyfile(project_root() / origin, target)
        else:
            known = f"http, https, {', '.join(CLOUD[:3])}, or, with a query, a database"
            raise ProjectError(f"'{named(origin)}' is not read: an address begins with {known}.")


@contextmanager
def _said(origin: str) -> Iterator[None]:
    """Say in a sentence what is wrong with a source."""
    where = named(origin)
    try:
        yield
    except FileNotFoundError:
        raise ProjectError(f"There is no '{where}'.") from None
    except urllib.error.HTTPError as error:
        kind = UnreachableError if error.code >= 500 or error.code in {408, 429} else ProjectError  # noqa: PLR2004
        raise kind(f"'{where}' answers {error.code} {error.reason}.") from None
    except OperationalError as error:
        raise UnreachableError(f"The database {where} cannot be asked: {_first(error.orig)}.") from None
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        like = "it begins like postgresql:// or sqlite:///"
        raise ProjectError(f"'{where}' is no address of a database that is read: {_first(error)}; {like}.") from None
    except SQLAlchemyError as error:
        raise ProjectError(f"The database {where} refuses: {_first(getattr(error, 'orig', error))}.") from None
    except ProjectError:
        raise
    except OSError as error:
        raise UnreachableError(f"'{where}' cannot be read: {getattr(error, 'reason', error)}.") from None


def _first(error: object) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")


def _download(origin: str, target: Path) -> None:
    request = urllib.request.Request(origin, headers={"User-Agent": "python"})  # noqa: S310 - http or https
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer, target.open("wb") as file:  # noqa: S310
        shutil.copyfileobj(answer, file)
        if (said := answer.headers.get("Content-Length")) and int(said) != file.tell():
            raise UnreachableError(f"'{named(origin)}' ended after {file.tell()} of {said} bytes.")


def _stream(origin: str, target: Path) -> None:
    end = suffix(origin)
    options = cloud_options() if "://" in origin else None
    try:
        if end in TEXT:
            packed: Literal["gzip", "uncompressed"] = "gzip" if end.endswith(".gz") else "uncompressed"
            separator = "\t" if end.startswith(".tsv") else ","
            table = pl.scan_csv(origin, infer_schema=False, separator=separator, storage_options=options)
            table.sink_csv(target, separator=separator, compression=packed, check_extension=False)
        else:
            pl.scan_parquet(origin, storage_options=options).sink_parquet(target)
    except pl.exceptions.PolarsError as error:
        if "://" in origin:
            raise UnreachableError(f"'{named(origin)}' cannot be read: {_first(error)}.") from None
        with readable(origin):
            raise


def _ask(origin: str, query: str, target: Path) -> None:
    """Write the rows of a query as Parquet; the database keeps the cursor, so that memory holds one batch."""
    url = sqlalchemy.make_url(origin)
    if url.drivername in {"postgres", "postgresql"}:
        # SQLAlchemy's default driver is another one.
        url = url.set(drivername="postgresql+psycopg")
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, execution_options={"stream_results": True})
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".query-") as folder, readable(named(origin)):
        parts: list[pl.LazyFrame] = []
        with engine.connect() as connection:
            rows = connection.execute(sqlalchemy.text(query))
            names = [name if name not in list(rows.keys())[:i] else f"{name}_{i}" for i, name in enumerate(rows.keys())]
            while batch := rows.fetchmany(BATCH):
                part = Path(folder) / f"{len(parts)}.parquet"
                _frame(names, batch).write_parquet(part)
                parts.append(pl.scan_parquet(part))
        if not parts:
            raise ProjectError(f"The query to {named(origin)} returns no rows.")
        # A column may be empty in one batch, or hold whole numbers only.
        pl.concat(parts, how="vertical_relaxed").sink_parquet(target)


def _frame(names: list[str], rows: Sequence[Any]) -> pl.DataFrame:
    frame = pl.DataFrame(list(map(tuple, rows)), names, orient="row", infer_schema_length=None, strict=False)
    strings = [
        pl.Series(column.name, [None if v is None else str(v) for v in column]) for column in frame.select(cs.object())
    ]
    return frame.with_columns(*strings, cs.decimal().cast(pl.Float64)).drop(cs.nested())
