"""Tell people by a webhook: a message is lost rather than a flow delayed or failed by it."""

import logging
from collections.abc import Mapping
from threading import Thread
from typing import NamedTuple

import httpx

TIMEOUT = 5  # seconds in which a message is delivered or lost


class Message(NamedTuple):
    """What people are told."""

    title: str
    text: str = ""
    facts: Mapping[str, str] = {}
    link: str | None = None


def cut(text: str, length: int) -> str:
    """Return so many characters of a text at most."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def send(url: str, payload: Mapping[str, object]) -> str | None:
    """Post a message within TIMEOUT; return why it was lost, if it was, without the address, which is a secret."""
    lost: list[str] = []
    thread = Thread(target=_post, args=(url, payload, lost), daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    return f"no answer within {TIMEOUT} seconds" if thread.is_alive() else "".join(lost) or None


def _post(url: str, payload: Mapping[str, object], lost: list[str]) -> None:
    # httpx would write the address into the log.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        answer = httpx.post(url, json=dict(payload), timeout=TIMEOUT)
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        lost.append(type(error).__name__)
    else:
        if not answer.is_success:
            lost.append(f"it answered {answer.status_code}")
