"""Seam: who is notified of failures, drift and a new champion; here a Slack channel, by an incoming webhook."""

from functools import partial

from .hooks import Message, cut, hooks_for, killed_run_message, report_move

# Limits in characters, and in fields: https://docs.slack.dev/reference/block-kit/blocks
HEADER, SECTION, FIELDS = 150, 500, 10


def payload(message: Message) -> dict[str, object]:
    """Format a message in Block Kit: a header, the text, the facts and a link to the run."""
    blocks: list[dict[str, object]] = [{"type": "header", "text": _plain(cut(message.title, HEADER))}]
    if message.reason:
        blocks.append({"type": "section", "text": _plain(cut(message.reason, SECTION))})
    if facts := list(message.facts.items())[:FIELDS]:
        fields = [_plain(f"{cut(name, 100)}\n{cut(value, 200)}") for name, value in facts]
        blocks.append({"type": "section", "fields": fields})
    if message.url:
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": f"<{message.url}|Open the run>"}})
    return {"text": escape(cut(message.title, HEADER)), "blocks": blocks}


def escape(text: str) -> str:
    """Escape characters that Slack reads as a link or a mention."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _plain(text: str) -> dict[str, str]:
    """Return a text that Slack shows as it is."""
    return {"type": "plain_text", "text": text}


NOTIFIED = hooks_for(payload)
killed_message = partial(killed_run_message, payload)
moved = partial(report_move, payload)
