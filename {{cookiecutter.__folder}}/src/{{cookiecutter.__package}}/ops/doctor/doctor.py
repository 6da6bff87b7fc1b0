"""All checks together: those that ask the network run beside the others, and none is waited for long."""

import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait

from ...errors import ProjectError
from ..addresses import shown
from ..orchestration.session import configure
from ..settings import project_root
from . import local, network, secrets
from .findings import EDIT, SETUP, Finding, NotCheckedError, Report

SECONDS = 8  # that all checks may take together
LOCAL = (local.files, local.versions, local.home, secrets.secrets, local.databases, local.lock, local.disk)
NETWORK = (network.registry, network.prefect, network.remote, network.template, network.vulnerabilities)

Check = Callable[[], Iterable[Finding]]


def examine() -> Report:
    """Make all checks; return their findings, and why some could not be made."""
    try:
        configure()
    except ProjectError as error:  # without settings, nothing else can be asked
        return Report(findings=[{"check": "settings", "problem": str(error), "remedy": f"{EDIT} .env"}])
    # While DVC reads, it changes the folder of the whole process: to this one.
    os.chdir(project_root())
    end = time.monotonic() + SECONDS
    pool = ThreadPoolExecutor(len(NETWORK))
    asked = {check.__name__: pool.submit(_run, check) for check in NETWORK}
    results = {check.__name__: _run(check) for check in LOCAL}
    wait(asked.values(), timeout=end - time.monotonic())
    pool.shutdown(wait=False, cancel_futures=True)
    late = f"no answer within {SECONDS} seconds"
    results |= {name: future.result() if future.done() else late for name, future in asked.items()}
    return Report(
        findings=[
            {"check": name, "problem": shown(finding.problem), "remedy": finding.remedy}
            for name, found in results.items()
            if not isinstance(found, str)
            for finding in found
        ],
        not_checked={name: shown(reason) for name, reason in results.items() if isinstance(reason, str)},
    )


def _run(check: Check) -> list[Finding] | str:
    """Return the findings of a check, or why it could not be made."""
    try:
        return list(check())
    except ProjectError as error:
        return [Finding(str(error), SETUP)]
    except NotCheckedError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - a check that fails must not hide the others
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
