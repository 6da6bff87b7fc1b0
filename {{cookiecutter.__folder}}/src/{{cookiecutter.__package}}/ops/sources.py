"""Where tables come from: a file, a folder, an address, or a query to a database."""

import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import polars as pl
import polars.selectors as cs
import sqlalchemy
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, SQLAlchemyError

from ..errors import ProjectError
from ..steps.ingest import PARQUET, TEXT, readable
from .settings import cloud_options, project_root, read_settings

# The value of data.origin if the address holds a secret and is kept in .env.
SECRET = "SOURCE_URL"  # noqa: S105 - the name of a setting
CLOUD = ("s3", "gs", "az", "abfs", "abfss", "gcs")
BATCH = 100_000  # rows of a query that are in memory at a time
TIMEOUT = 60  # seconds without an answer


class UnreachableError(ProjectError, OSError):
    """A source does not answer. It may later: tasks try again."""


def take(origin: str, query: str | None, target: Path) -> None:
    """Write a snapshot of a source into a file, without holding the table in memory.

    Raises UnreachableError if it does not answer, and ProjectError for errors that trying again cannot solve.
    """
    scheme = urlsplit(origin).scheme if "://" in origin else ""
    path = origin if scheme else str(project_root() / origin)
    with _explained(origin):
        if query is not None:
            _query(origin, query, target)
        elif scheme in {"http", "https"}:
            _download(origin, target)
        elif scheme in CLOUD or (not scheme and Path(path).is_dir()):
            _stream(path, target)
        elif not scheme:
            shutil.copyfile(path, target)
        else:
            raise ProjectError(
                f"Unsupported address '{named(origin)}': use http, https, {', '.join(CLOUD[:3])} or, with a query, "
                "the address of a database."
            )


def address(origin: str) -> str:
    """Return the address that data.origin stands for; raise ProjectError if it should be in .env and is not."""
    if origin != SECRET:
        return origin
    if not (url := read_settings().source_url):
        raise ProjectError(f"params.yaml: data.origin is {SECRET}, which is not set in .env or the environment.")
    return url


def is_secret(origin: str) -> bool:
    """Tell whether an address holds a password or key, which does not belong into git."""
    parts = urlsplit(origin)
    return bool(parts.password or (parts.query and parts.scheme in {"http", "https"}))


def named(origin: str) -> str:
    """Return an address without its secrets, for messages."""
    parts = urlsplit(origin)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.scheme else origin


def suffix(origin: str, query: str | None = None) -> str:
    """Return the suffix of a snapshot: a file keeps its own, everything else becomes Parquet; "" if it is unknown."""
    parts = urlsplit(origin) if "://" in origin else None
    if query is not None or (parts is None and (project_root() / origin).is_dir()):
        return PARQUET[0]
    name = (parts.path if parts else origin).lower()
    known = max((end for end in (*TEXT, *PARQUET) if name.endswith(end)), key=len, default="")
    return known or (PARQUET[0] if parts and parts.scheme in CLOUD else "")


@contextmanager
def _explained(origin: str) -> Iterator[None]:
    """Turn the errors of a source into one sentence."""
    where = named(origin)
    try:
        yield
    except FileNotFoundError:
        raise ProjectError(f"File not found: {where}.") from None
    except urllib.error.HTTPError as error:
        kind = UnreachableError if error.code >= 500 or error.code in {408, 429} else ProjectError  # noqa: PLR2004
        raise kind(f"'{where}' answers {error.code} {error.reason}.") from None
    except OperationalError as error:
        raise UnreachableError(f"Cannot query the database {where}: {_first(error.orig)}.") from None
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise ProjectError(
            f"Unsupported database address '{where}' ({_first(error)}): use one like postgresql://… or sqlite:///…"
        ) from None
    except SQLAlchemyError as error:
        raise ProjectError(
            f"The database {where} rejects the query: {_first(getattr(error, 'orig', error))}."
        ) from None
    except ProjectError:
        raise
    except OSError as error:
        raise UnreachableError(f"Cannot read '{where}': {getattr(error, 'reason', error)}.") from None


def _first(error: object) -> str:
    """Return the first line of an error's message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")


def _download(origin: str, target: Path) -> None:
    request = urllib.request.Request(origin, headers={"User-Agent": "python"})  # noqa: S310 - http or https
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer, target.open("wb") as file:  # noqa: S310
        shutil.copyfileobj(answer, file)
        if (length := answer.headers.get("Content-Length")) and int(length) != file.tell():
            raise UnreachableError(f"The download of '{named(origin)}' ended after {file.tell()} of {length} bytes.")


def _stream(origin: str, target: Path) -> None:
    """Write a folder, or what lies in the storage of a cloud, as one file."""
    end = suffix(origin)
    options = cloud_options() if "://" in origin else None
    try:
        if end in TEXT:
            compression: Literal["gzip", "uncompressed"] = "gzip" if end.endswith(".gz") else "uncompressed"
            separator = "\t" if end.startswith(".tsv") else ","
            table = pl.scan_csv(origin, infer_schema=False, separator=separator, storage_options=options)
            table.sink_csv(target, separator=separator, compression=compression, check_extension=False)
        else:
            pl.scan_parquet(origin, storage_options=options).sink_parquet(target)
    except pl.exceptions.PolarsError as error:
        if "://" in origin:
            raise UnreachableError(f"Cannot read '{named(origin)}': {_first(error)}.") from None
        with readable(origin):
            raise


def _query(origin: str, query: str, target: Path) -> None:
    """Write the rows of a query as Parquet; the database keeps the cursor, so that memory holds one batch."""
    url = sqlalchemy.make_url(origin)
    if url.drivername in {"postgres", "postgresql"}:
        # The driver that is installed; SQLAlchemy's default is psycopg2.
        url = url.set(drivername="postgresql+psycopg")
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, execution_options={"stream_results": True})
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".query-") as folder, readable(named(origin)):
        parts: list[pl.LazyFrame] = []
        with engine.connect() as connection:
            for batch in pl.read_database(
                sqlalchemy.text(query), connection, iter_batches=True, batch_size=BATCH, infer_schema_length=None
            ):
                part = Path(folder) / f"{len(parts)}.parquet"
                _plain(batch).write_parquet(part)
                parts.append(pl.scan_parquet(part))
        if not parts:
            raise ProjectError(f"The query to {named(origin)} returns no rows.")
        # A column may be empty in one batch, or have whole numbers only.
        pl.concat(parts, how="vertical_relaxed").sink_parquet(target)


def _plain(batch: pl.DataFrame) -> pl.DataFrame:
    """Make decimals floats and objects such as UUIDs text, and drop nested columns."""
    texts = [pl.Series(c.name, [None if v is None else str(v) for v in c]) for c in batch.select(cs.object())]
    return batch.with_columns(*texts, cs.decimal().cast(pl.Float64)).drop(cs.nested())
