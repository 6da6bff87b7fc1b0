"""The fetching flow: origin → snapshot → validate → track."""

from pathlib import Path

import polars as pl
from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from .. import sources, storage
from ..contract import Contract, read_contract
from ..errors import ProjectError
from ..params import Data, read_params
from ..settings import root
from ..steps import ingest, validate
from .notified import NOTIFIED
from .policies import RETRIED
from .violations import violations_kept


@task(name="read", timeout_seconds=3600, cache_policy=NO_CACHE, **RETRIED)
def read_origin(data: Data) -> Path:
    """Take a new snapshot, beside the present one."""
    if data.origin is None:
        raise ProjectError(
            f"params.yaml: data.origin is not set, so there is nothing to read again; {data.source} stays."
        )
    unfinished = root() / Path(data.source).with_name(f".fetched-{Path(data.source).name}")
    sources.take(sources.address(data.origin), data.query, unfinished)
    get_run_logger().info("Read %s", data.origin)
    return unfinished


@task(name="hold", timeout_seconds=3600, cache_policy=NO_CACHE, **RETRIED)
def hold(snapshot: Path, data: Data, contract: Contract) -> None:
    """Stop here if the new snapshot is not what the contract says: the present one stays."""
    with violations_kept(), ingest.readable(str(data.origin)):
        try:
            validate.check(ingest.read_table(snapshot, data.null_values, contract.types), contract)
        except pl.exceptions.ComputeError:
            # A value is not of its type: as text, it is found.
            validate.check(ingest.read_table(snapshot, data.null_values), contract)


@task(name="track", timeout_seconds=3600, cache_policy=NO_CACHE, **RETRIED)
def track(snapshot: Path, source: Path) -> None:
    """Put the new snapshot in the place of the present one, for DVC to version."""
    snapshot.replace(root() / source)
    storage.track(source)
    get_run_logger().info("%s is new; `make train` learns from it", source)


@flow(name="fetching", **NOTIFIED)
def fetching() -> None:
    """Read the table's origin again; a snapshot that breaks the contract never takes the place of one that keeps it."""
    data, contract = read_params().data, read_contract()
    snapshot = read_origin(data)
    try:
        hold(snapshot, data, contract)
        track(snapshot, Path(data.source))
    finally:
        snapshot.unlink(missing_ok=True)
