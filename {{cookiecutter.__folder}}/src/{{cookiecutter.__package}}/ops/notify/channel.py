"""Seam: who is notified of failures, drift and a new champion; here nobody."""

from typing import Any

from ..tracking.history import Entry

# Options for `@flow`: the hooks that run when a flow run ends.
NOTIFIED: dict[str, Any] = {}


def killed_message(_pages: str | None) -> str | None:
    """Return the message about a killed run, for Prefect's server to send; None: nobody is notified."""
    return None


def moved(_move: Entry) -> str | None:
    """Report that a person has moved the alias `champion`; return why the message was not delivered."""
    return None
