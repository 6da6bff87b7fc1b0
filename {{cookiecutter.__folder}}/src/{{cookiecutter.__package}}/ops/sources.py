"""Where tables come from: a file, a folder, an address, or a query to a database."""

import logging
import re
import shutil
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import httpx
import polars as pl
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from ..errors import ProjectError
from ..steps.dialect import NotATable
from ..steps.ingest import ARROW, JSON, PARQUET, TEXT, readable, scan_parquet
from . import queries
from .addresses import CLEAR, SECRET, check_stored, is_address, malformed, redacted, scheme_of, without_secrets
from .settings import cloud_options, project_root, read_settings

CLOUD = ("s3", "gs", "az", "abfs", "abfss", "gcs")
TIMEOUT = 60  # seconds without an answer


class UnreachableError(ProjectError, OSError):
    """A source does not answer. It may later: tasks try again."""


def take(origin: str, query: str | None, target: Path) -> None:
    """Write a snapshot of a source into a file, without holding the table in memory.

    Raises UnreachableError if it does not answer, and ProjectError for errors that trying again cannot solve.
    """
    scheme = scheme_of(origin)
    where = redacted(origin)
    with _explained(origin, where):
        if is_address(origin) and not scheme:
            raise malformed(origin)
        if query is not None:
            queries.write_rows(origin, query, target)
        elif scheme in {"http", "https"}:
            _download(origin, target)
        elif scheme in CLOUD or (not scheme and (project_root() / origin).is_dir()):
            _stream(f"{scheme}{origin[len(scheme) :]}" if scheme else str(project_root() / origin), target)
        elif not scheme:
            if (file := project_root() / origin).exists() and not file.is_file():
                raise ProjectError(f"Cannot read '{where}': it is a device or a pipe; save the table as a file.")
            shutil.copyfile(file, target)
        else:
            raise ProjectError(
                f"Unsupported address '{where}': use http, https, {', '.join(CLOUD[:3])} or, with a query, "
                "the address of a database."
            )


def address(origin: str) -> str:
    """Return the address that an origin stands for; raise ProjectError if it should be in .env and is not."""
    if origin == SECRET:
        if not (url := read_settings().source_url):
            raise ProjectError(f"params.yaml: data.origin is {SECRET}, which is not set in .env or the environment.")
        return url
    check_stored(origin, "The source")
    return origin


def suffix(origin: str, query: str | None = None) -> str:
    """Return the suffix of a snapshot: a file keeps its own, everything else becomes Parquet; "" if it is unknown."""
    remote = is_address(origin)
    if query is not None or (not remote and (project_root() / origin).is_dir()):
        return PARQUET[0]
    name = redacted(origin).lower()
    known = max((end for end in (*TEXT, *PARQUET, *ARROW, *JSON) if name.endswith(end)), key=len, default="")
    return known or (PARQUET[0] if scheme_of(origin) in CLOUD else "")


@contextmanager
def _explained(origin: str, where: str) -> Iterator[None]:
    """Turn the errors of a source into one sentence, without the secrets of its address."""
    try:
        yield
    except ProjectError:
        raise
    except FileNotFoundError:
        raise ProjectError(f"File not found: {where}.") from None
    except httpx.HTTPStatusError as error:
        code, phrase = error.response.status_code, _reason(error.response.reason_phrase or "without a reason", origin)
        kind = UnreachableError if code >= 500 or code in {408, 429} else ProjectError  # noqa: PLR2004
        raise kind(f"'{where}' answers {code} {phrase}.") from None
    except OperationalError as error:
        raise UnreachableError(f"Cannot query the database {where}: {_reason(error.orig, origin)}.") from None
    except SQLAlchemyError as error:
        cause = _reason(getattr(error, "orig", None) or error, origin)
        raise ProjectError(f"The database {where} rejects the query: {cause}.") from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError):
        raise malformed(origin) from None
    except Exception as error:  # noqa: BLE001 - each library has its own, and their messages may repeat the address
        kind = UnreachableError if isinstance(error, OSError | httpx.TransportError) else ProjectError
        raise kind(f"Cannot read '{where}': {_reason(error, origin)}.") from None


def _reason(error: object, origin: str) -> str:
    """Return the first line of a library's message."""
    lines = without_secrets(str(error), origin).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".:")


def _download(origin: str, target: Path) -> None:
    # httpx would log the address.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with (
        httpx.Client(verify=ssl.create_default_context(), timeout=TIMEOUT, follow_redirects=True) as client,
        client.stream("GET", origin, headers={"Accept-Encoding": "identity"}) as answer,
        target.open("wb") as file,
    ):
        answer.raise_for_status()
        for part in answer.iter_raw():
            file.write(part)


def _stream(origin: str, target: Path) -> None:
    """Write a folder, or what lies in the storage of a cloud, as one file."""
    end = suffix(origin)
    options = cloud_options() if is_address(origin) else None
    clear = CLEAR.fullmatch(origin)
    # What precedes the @ is Azure's container; what follows a ? may be a pattern of names.
    keys = clear is None or "=" in (clear["rest"] or "") or (clear["user"] and not origin.startswith("a"))
    if options is not None and keys:
        raise ProjectError(
            f"The address '{redacted(origin)}' contains a key: set the keys of the storage in .env (AWS_…, GOOGLE_… or "
            "AZURE_…)."
        )
    try:
        if end in {*TEXT, *JSON}:
            compression: Literal["gzip", "uncompressed"] = "gzip" if end.endswith(".gz") else "uncompressed"
            # Lines are copied as they are; of several files, only the first keeps its heading.
            lines = pl.scan_lines(origin, row_index_name="row", storage_options=options)
            heading = lines.select("line").head(1).collect().to_series()
            wanted = lines.filter((pl.col("row") == 0) | ~pl.col("line").is_in(heading.implode())).select("line")
            (wanted if "*" in origin and end in TEXT else lines.select("line")).sink_csv(
                target, include_header=False, quote_style="never", compression=compression, check_extension=False
            )
        elif end in ARROW:
            pl.scan_ipc(origin, storage_options=options).sink_ipc(target)
        else:
            files = [] if options is not None else [f.name for f in Path(origin).rglob("*") if f.is_file()]
            if found := [name for name in files if name.lower().endswith((*TEXT, *JSON, *ARROW))]:
                raise ProjectError(f"The folder '{origin}' holds {found[0]}; adopt that file, or a folder of Parquet.")
            if Path(origin).is_dir() and not any(name.lower().endswith(PARQUET) for name in files):
                raise ProjectError(f"The folder '{origin}' holds no {PARQUET[0]} file.")
            cloud = options is not None
            rows = pl.scan_parquet(origin, storage_options=options) if cloud else scan_parquet(Path(origin))
            rows.sink_parquet(target)
    except (pl.exceptions.PolarsError, NotATable) as error:
        if options is not None and re.match("parquet: File out of|out-of-spec|ipc file|invalid utf8", str(error)):
            raise ProjectError(
                f"'{redacted(origin)}' is damaged, not in UTF-8, or not what its name says; in a cloud's storage, only "
                f"{', '.join((*TEXT, *JSON, *ARROW))} and Parquet are supported."
            ) from None
        if options is not None:
            raise OSError(error) from None
        with readable(origin):
            raise
