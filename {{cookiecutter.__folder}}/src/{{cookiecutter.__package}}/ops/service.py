"""The service of .env: does it serve the new champion? It may be on any machine, and may fail in any way."""

import time
from collections.abc import Callable
from importlib.util import find_spec
from threading import Thread
from typing import Any, NamedTuple

from ..errors import printable
from .settings import PACKAGE, read_settings

ANSWERS = 5  # in a row: the service may have several processes, and a new connection may reach another of them
PAUSE = 0.5  # seconds between two attempts
SHOWN = 300  # characters of what it answers


class Deployment(NamedTuple):
    """A sentence about whether a version is served; `followed` is false if the service should serve it and does not."""

    text: str
    followed: bool = True


def deployed(version: int, say: Callable[[str], object]) -> Deployment:
    """Wait until the service of .env serves a version, at most SERVICE_TIMEOUT; say what is waited for."""
    settings = read_settings()
    if settings.service_url is None and find_spec(f"{PACKAGE}.serving"):
        return Deployment(
            f"`make serve` serves version {version}, and if it runs already, follows within "
            f"{settings.serve_poll_seconds:g} seconds; with its address as SERVICE_URL in .env, this waits for it"
        )
    if settings.service_url is None:  # a project may have no service
        return Deployment(f"Whatever loads models:/{PACKAGE}@champion from MLflow gets version {version} from now on")
    url, timeout = str(settings.service_url).rstrip("/"), settings.service_timeout
    say(f"Waiting up to {timeout:g} seconds for {url} to serve version {version}")
    attempts = [Attempt("it does not answer")]
    # A thread, because the timeout of httpx is per read and does not cover DNS.
    end = time.monotonic() + timeout
    thread = Thread(target=_wait, args=(url, settings.serve_api_key, version, end, attempts), daemon=True)
    thread.start()
    thread.join(timeout)
    if attempts[-1].problem:
        return Deployment(f"{url} does not serve version {version}: {attempts[-1].problem}", followed=False)
    return Deployment(f"{url} serves version {version}")


class Attempt(NamedTuple):
    """Why the service does not serve the version, empty if it does; `final` if waiting does not help."""

    problem: str
    final: bool = False


def _wait(url: str, key: str | None, version: int, end: float, attempts: list[Attempt]) -> None:
    """Ask until the answer is final or the time is over."""
    while time.monotonic() < end:
        asked = (_ask(url, key, version, end) for _ in range(ANSWERS))
        attempts.append(next((attempt for attempt in asked if attempt.problem), Attempt("")))
        if attempts[-1].final or not attempts[-1].problem:
            return
        time.sleep(PAUSE)


def _ask(url: str, key: str | None, version: int, end: float) -> Attempt:
    import httpx  # noqa: PLC0415 - only where a service is named

    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        timeout = max(0.1, min(5, end - time.monotonic()))
        response = httpx.get(f"{url}/health/ready", headers=headers, timeout=timeout, follow_redirects=True)
    except Exception as error:  # noqa: BLE001 - in a thread; httpx has several kinds
        return Attempt(f"it does not answer ({type(error).__name__})")
    if response.status_code in {401, 403}:
        return Attempt("it refuses the request; SERVE_API_KEY in .env must be its key", final=True)
    try:
        answer = response.json()
    except ValueError:
        answer = None
    return _judge(answer if isinstance(answer, dict) else {}, response.status_code, version)


def _judge(answer: dict[str, Any], status: int, version: int) -> Attempt:
    """Compare the answer of /health/ready with the version."""
    if answer.get("model") not in {None, PACKAGE}:
        return Attempt(_shown(f"it serves another model, {answer['model']}"), final=True)
    if "model_version" not in answer:
        reason = answer.get("detail") or "another program answers there"
        return Attempt(_shown(f"{reason} (HTTP status {status})"), final=status < 500)  # noqa: PLR2004 - server errors
    if answer["model_version"] is None:
        return Attempt("it serves the folder SERVE_MODEL, whatever the champion is", final=True)
    if answer["model_version"] == version:
        return Attempt("")
    problem = answer.get("problem")
    return Attempt(_shown(f"it serves version {answer['model_version']}{f' ({problem})' if problem else ''}"))


def _shown(text: str) -> str:
    return printable(text)[:SHOWN]
