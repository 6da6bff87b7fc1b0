"""The fetching flow: origin → snapshot → validate → track."""

from functools import partial
from pathlib import Path

from prefect import flow, get_run_logger, task

from ..config import Contract, Data
from ..errors import ProjectError
from ..ops import sources
from ..ops.files import scratch
from ..ops.notify.channel import NOTIFIED
from ..ops.orchestration.policies import STEP
from ..ops.orchestration.violations import violations_kept
from ..ops.settings import project_root, read_contract, read_params
from ..ops.versioning import dvc
from ..steps import ingest, validate


@flow(name="fetching", **NOTIFIED)
def fetching() -> None:
    """Read the table again from its origin; a snapshot that breaks the contract does not replace the present one."""
    data, contract = read_params().data, read_contract()
    with scratch((project_root() / data.source).parent, "fetching") as folder:
        snapshot = read_origin(data, folder)
        validate_snapshot(snapshot, data, contract)
        track(snapshot, Path(data.source))


@task(name="read", **STEP)
def read_origin(data: Data, folder: Path) -> Path:
    """Take a new snapshot into the folder."""
    if data.origin is None:
        raise ProjectError(
            f"params.yaml: data.origin is not set, so there is nothing to fetch; {data.source} is unchanged."
        )
    snapshot = folder / Path(data.source).name
    sources.take(sources.address(data.origin), data.query, snapshot)
    get_run_logger().info("Read %s", data.origin)
    return snapshot


@task(name="validate", **STEP)
def validate_snapshot(snapshot: Path, data: Data, contract: Contract) -> None:
    """Stop if the new snapshot breaks the contract: the present one stays."""
    with violations_kept(), ingest.readable(str(data.origin)):
        ingest.read(snapshot, data.null_values, contract.types, partial(validate.check, contract=contract))


@task(name="track", **STEP)
def track(snapshot: Path, source: Path) -> None:
    """Replace the present snapshot with the new one, and version it with DVC."""
    pointer = dvc.store(snapshot, source)
    snapshot.replace(project_root() / source)
    pointer.replace(project_root() / f"{source}.dvc")
    get_run_logger().info("%s is new; `make train` trains on it", source)
