"""Seam: how a message becomes what a webhook takes; here there is none, and Prefect's log says it all."""

from .webhook import Message

# Whether anybody is told at all.
ENABLED = False


def payload(message: Message) -> dict[str, object]:
    """Return the message as the body of a request."""
    return dict(message._asdict())
