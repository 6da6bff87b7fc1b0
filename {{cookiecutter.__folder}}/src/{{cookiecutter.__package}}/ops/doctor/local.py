"""Checks of what is on this machine."""

import re
import shutil
import sqlite3
import tomllib
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path
from shlex import quote

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ...errors import ProjectError
from ..paths import LOCK
from ..settings import project_root, read_contract, read_params, read_settings, state_dir
from ..versioning import dvc, lock_check
from ..versioning.content import training_code
from .findings import EDIT, RUN, SETUP, Finding, NotCheckedError

OLD = timedelta(days=365)
LEAST, LEAST_SHARE = 5_000_000_000, 0.05  # bytes and share of a disk; with less than both it is nearly full
# Where the packages keep their migrations; reading these files takes milliseconds, importing the packages seconds.
MIGRATIONS = {
    "prefect": "server/database/_migrations/versions/sqlite",
    "mlflow": "store/db_migrations/versions",
}
REVISION = re.compile(r"^(down_)?revision\b[^=\n]*=(.*)", re.MULTILINE)


def files() -> Iterator[Finding]:
    """Check dvc.yaml, params.yaml and contract.yaml, and what DVC needs of the folder."""
    for name, read in (("dvc.yaml", training_code), ("params.yaml", read_params), ("contract.yaml", read_contract)):
        try:
            read()
        except ProjectError as error:
            yield Finding(str(error), f"{EDIT} {name}" if (project_root() / name).exists() else f"git checkout {name}")
            return
    yield from (Finding(warning, SETUP) for warning in dvc.warnings())


def versions() -> Iterator[Finding]:
    """Compare what is installed with the tested versions, and their date with the calendar."""
    installed = {canonicalize_name(found.name): found.version for found in distributions()}
    others = []
    for line in (project_root() / "constraints.txt").read_text(encoding="utf-8").splitlines():
        with suppress(InvalidRequirement):  # an empty line, a comment
            tested = Requirement(line)
            found = installed.get(canonicalize_name(tested.name))
            applies = tested.marker is None or tested.marker.evaluate()
            if found and applies and not tested.specifier.contains(found, prereleases=True):
                others.append(f"{tested.name} {found} (tested: {str(tested.specifier).removeprefix('==')})")
    if others:
        yield Finding(f"Not the tested versions: {', '.join(others)}.", "uv lock --upgrade && uv sync")
    pyproject = tomllib.loads((project_root() / "pyproject.toml").read_text(encoding="utf-8"))
    newest = str(pyproject.get("tool", {}).get("uv", {}).get("exclude-newer", ""))[:10]
    with suppress(ValueError):  # not a date: uv also takes durations, which do not get old
        if datetime.now(UTC).date() - date.fromisoformat(newest) > OLD:
            yield Finding(f"The versions are older than a year: exclude-newer is {newest}.", "make update")


def home() -> Iterator[Finding]:
    """Check that Prefect's home, with its database and its results, is the project's own."""
    folder = read_settings().prefect_home
    if not folder.resolve().is_relative_to(state_dir()):
        yield Finding(
            f"PREFECT_HOME is {folder}, outside of the project, so other projects may use it: "
            "remove it from .env and from the environment.",
            f"unset PREFECT_HOME; {EDIT} .env",
        )


def databases() -> Iterator[Finding]:
    """Compare the schemas of the databases with those that the installed packages know."""
    settings = read_settings()
    prefect = None if settings.prefect_api_url else settings.prefect_home / "prefect.db"
    for package, file in (("prefect", prefect), ("mlflow", settings.mlflow_file)):
        if file is None:
            continue
        if not file.is_file():
            yield Finding(f"The database {file} does not exist yet.", SETUP)
            continue
        try:
            found = _revision(file)
        except sqlite3.OperationalError as error:
            yield Finding(f"The database {file} cannot be read: {error}.", f"chmod u+rw {quote(str(file))}")
            continue
        except sqlite3.DatabaseError as error:
            yield Finding(
                f"The database {file} is damaged ({error}): bring a backup back, or move it away and start anew.",
                f"mv {quote(str(file))} {quote(f'{file}.damaged')} && {SETUP}",
            )
            continue
        newest, known = migrations(package)
        if found is None or (found not in newest and found in known):
            yield Finding(f"The database {file} has an older schema than {package} needs.", SETUP)
        elif found not in newest:
            yield Finding(
                f"The database {file} has a schema that {package} does not know ({found}): another version has "
                "written it. Install that version, or move the file away.",
                "uv sync",
            )


def lock() -> Iterator[Finding]:
    """Compare dvc.lock with the files, the .dvc files and the record of the last training."""
    try:
        dvc.check_lock()
    except ProjectError as error:
        yield Finding(str(error), f"git checkout {LOCK}")
        return
    try:
        differences = lock_check.differences()
    except ProjectError as error:
        if "Unable to acquire lock" not in str(error):
            raise
        raise NotCheckedError("another DVC command is running") from None
    if differences:
        yield Finding("dvc.lock is not up to date: " + "; ".join(differences) + ".", "make train")


def disk() -> Iterator[Finding]:
    """Check the disks of data, models, runs and flow runs."""
    settings = read_settings()
    folders = [project_root(), state_dir(), settings.prefect_home, settings.artifact_folder, settings.prediction_log]
    disks = {folder.stat().st_dev: folder for folder in folders if folder and folder.is_dir()}
    for folder in disks.values():
        usage = shutil.disk_usage(folder)
        if usage.free < LEAST and usage.free < LEAST_SHARE * usage.total:
            yield Finding(f"The disk of {folder} is nearly full: {usage.free / 1e9:.1f} GB are left.", f"{RUN} gc")


def migrations(package: str) -> tuple[set[str], set[str]]:
    """Return the newest migrations of an installed package, and all of them."""
    found = find_spec(package)
    folders = [Path(place) / MIGRATIONS[package] for place in (found and found.submodule_search_locations) or ()]
    every: set[str] = set()
    earlier: set[str] = set()
    for file in (file for folder in folders for file in folder.glob("*.py")):
        for down, revision in REVISION.findall(file.read_text(encoding="utf-8")):
            (earlier if down else every).update(re.findall(r"[\"'](\w+)[\"']", revision))
    return every - earlier, every


def _revision(file: Path) -> str | None:
    """Return the newest migration that a database has had; None if it has had none."""
    # In a read-only folder SQLite cannot open a file with a write-ahead log, unless the file is immutable.
    for mode in ("mode=ro", "immutable=1"):
        with (
            suppress(sqlite3.OperationalError),
            closing(sqlite3.connect(f"{file.as_uri()}?{mode}", uri=True)) as database,
        ):
            tables = database.execute("SELECT name FROM sqlite_master WHERE name = 'alembic_version'").fetchall()
            rows = database.execute("SELECT version_num FROM alembic_version").fetchall() if tables else []
            return str(rows[0][0]) if rows else None
    raise sqlite3.OperationalError("it is locked, or this account may not read it")
