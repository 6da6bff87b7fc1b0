"""Checks that may ask a server, a remote, the template or a database of vulnerabilities."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import httpx

from ...errors import ProjectError
from ..addresses import redacted, without_secrets
from ..orchestration.prefect_server import announced
from ..settings import PACKAGE, project_root, read_settings
from ..tracking import registry as versions
from ..tracking import store
from ..tracking.history import History
from ..versioning import dvc
from ..versioning.template import RECORD, Record, distance
from .findings import EDIT, RUN, Finding, NotCheckedError

REFUSED = {401, 403}
# SECURITY.md says why.
IGNORED = "CVE-2025-69872"
CONNECT, SECONDS = 2, 5  # until a server accepts, and until it answers


def prefect() -> Iterator[Finding]:
    """Ask the server of .env, or that of `ui`, for its version."""
    settings = read_settings()
    url, key = str(settings.prefect_api_url or "").rstrip("/"), settings.prefect_api_auth_string
    if not url and (found := announced(settings.prefect_home)):
        url, key = found
    if not url:
        return
    headers = {"Authorization": f"Basic {base64.b64encode(key.encode()).decode()}"} if key else {}
    if settings.prefect_api_key:
        headers = {"Authorization": f"Bearer {settings.prefect_api_key}"}
    yield from _faults("Prefect", url, _ask(f"{url}/admin/version", headers=headers))


def registry() -> Iterator[Finding]:
    """Compare the alias `champion` with its journal, in a database or on a server."""
    settings = read_settings()
    uri = settings.mlflow_tracking_uri
    if not uri.startswith("http"):
        if store.SqlStore(uri).revision not in {None, store.REVISION}:
            raise NotCheckedError("MLflow's database has another schema")
        state = versions.champion()
    else:
        account = (settings.mlflow_tracking_username or "", settings.mlflow_tracking_password or "")
        options: dict[str, Any] = {"auth": account} if any(account) else {}
        answer = _ask(f"{uri.rstrip('/')}/version", **options)
        yield from _faults("MLflow", uri, answer)
        if isinstance(answer, str) or answer.status_code in REFUSED:
            return
        # Not by MLflow's client, which takes seconds to import.
        answer = _ask(f"{uri.rstrip('/')}/api/2.0/mlflow/registered-models/get", params={"name": PACKAGE}, **options)
        if isinstance(answer, str) or answer.status_code in REFUSED:
            yield from _faults("MLflow", uri, answer)
            return
        model = answer.json().get("registered_model", {}) if answer.is_success else {}
        tags = {tag["key"]: tag.get("value", "") for tag in model.get("tags", [])}
        aliases = {alias["alias"]: int(alias["version"]) for alias in model.get("aliases", [])}
        state = versions.ChampionState(aliases.get(versions.CHAMPION), History.read(tags), aliases)
    if state.problem:
        yield Finding(state.problem, f"{RUN} journal --repair")


def remote() -> Iterator[Finding]:
    """Ask DVC's remotes whether they are there."""
    os.environ.setdefault("AWS_MAX_ATTEMPTS", "1")  # botocore tries five times
    with dvc.repository() as repo:
        if not repo.config["core"].get("remote"):
            yield Finding("No default remote in .dvc/config.", f"{RUN} dvc remote add --default storage ADDRESS")
        for name, config in repo.config["remote"].items():
            try:
                _look(repo.cloud.get_remote_odb(name))
            except Exception as error:  # noqa: BLE001 - each kind of storage has its own
                reason = without_secrets(str(error) or type(error).__name__, config["url"]).partition("\n")[0]
                url = redacted(config["url"])
                problem = f"DVC's remote {name}, {url}, cannot be reached ({reason.rstrip('.')}): correct "
                yield Finding(problem + "its address in .dvc/config, or its keys in .env.", f"{EDIT} .dvc/config .env")


def template() -> Iterator[Finding]:
    """Ask the template for its newest release."""
    if not (project_root() / RECORD).exists():
        raise NotCheckedError(f"{RECORD} is missing, which says what template made the project")
    record = Record.read()
    try:
        current, newest, commits = distance(record, SECONDS)
    except ProjectError as error:
        raise NotCheckedError(f"{without_secrets(record.template)} does not answer: {error}") from None
    except subprocess.TimeoutExpired:
        raise NotCheckedError(f"{without_secrets(record.template)} did not answer within {SECONDS} seconds") from None
    if commits:
        yield Finding(f"The template has {newest}, {commits} commits after {current} of this project.", "make update")


def vulnerabilities() -> Iterator[Finding]:
    """Ask the database OSV, as pip-audit does, about the installed versions of uv.lock."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if not uv:
        raise NotCheckedError("uv is not on the PATH")
    options = ["--frozen", "--preview-features=audit-command,json-output", "--output-format=json"]
    command = [uv, "audit", f"--ignore-until-fixed={IGNORED}", *options]
    try:
        done = subprocess.run(
            command,
            cwd=project_root(),
            env=os.environ | {"UV_HTTP_RETRIES": "0", "UV_HTTP_CONNECT_TIMEOUT": str(CONNECT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        audit = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise NotCheckedError(f"OSV did not answer within {SECONDS} seconds") from None
    except ValueError:
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        raise NotCheckedError(f"uv audit: {(errors or ['no answer'])[0].removeprefix('error: ')}") from None
    for found in audit["vulnerabilities"]:
        name, vulnerable = found["dependency"]["name"], found["dependency"]["version"]
        if _installed(name) == vulnerable:
            mended = ", ".join(found["fix_versions"]) or "none yet"
            ids = ", ".join(dict.fromkeys([found["display_id"], *found["aliases"]]))
            yield Finding(
                f"{name} {vulnerable} has {ids} ({found['summary'] or found['link']}), mended in {mended}: move "
                "exclude-newer in pyproject.toml forward.",
                f"uv lock --upgrade-package {name} && uv sync",
            )


def _faults(kind: str, url: str, answer: httpx.Response | str) -> Iterator[Finding]:
    """Yield what is wrong with a server that was asked for its version."""
    installed = version(kind.lower())
    if isinstance(answer, str):
        problem = f"The {kind} server at {url} does not answer ({answer}): start it, or correct .env."
        yield Finding(problem, f"{EDIT} .env")
    elif answer.status_code in REFUSED:
        yield Finding(f"The {kind} server at {url} refuses the account of .env.", f"{EDIT} .env")
    elif answer.is_success and (running := answer.text.strip('"')) != installed:
        problem = f"The {kind} server at {url} has version {running}, this project {installed}: change it there."
        yield Finding(problem, f"pip install {kind.lower()}=={installed}")


def _ask(url: str, **options: Any) -> httpx.Response | str:
    """Return a server's answer, or why there is none."""
    try:
        return httpx.get(url, timeout=httpx.Timeout(SECONDS, connect=CONNECT), **options)
    except httpx.HTTPError as error:
        return str(error) or type(error).__name__


def _look(store: Any) -> None:
    """Raise an error if a remote cannot be reached; the folder of a remote is made by the first push."""
    if store.fs.protocol == "local":
        there = next(folder for folder in (Path(store.path), *Path(store.path).parents) if folder.exists())
        needed = os.R_OK if there == Path(store.path) else os.W_OK
        if not (there.is_dir() and os.access(there, needed | os.X_OK)):
            raise OSError(f"{there} is not a folder that this account may use")
        return
    try:
        store.fs.info(store.path)
    except FileNotFoundError:
        bucket = store.path.partition("/")[0]
        if bucket:
            store.fs.info(bucket)


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
