"""Seam: who is notified when a flow run ends; here a Slack channel, by an incoming webhook."""

from functools import partial

from .hooks import Message, cut, hooks_for, killed_run_message

# Limits in characters, and in fields: https://docs.slack.dev/reference/block-kit/blocks
HEADER, SECTION, FIELDS = 150, 500, 10


def payload(message: Message) -> dict[str, object]:
    """Format a message in Block Kit: a header, the text, the facts and a link to the run."""
    title = cut(message.title, HEADER)
    blocks: list[dict[str, object]] = [{"type": "header", "text": {"type": "plain_text", "text": title}}]
    if message.text:
        blocks.append({"type": "section", "text": _markdown(escape(cut(message.text, SECTION)))})
    if facts := list(message.facts.items())[:FIELDS]:
        fields = [_markdown(f"*{escape(cut(name, 100))}*\n{escape(cut(value, 200))}") for name, value in facts]
        blocks.append({"type": "section", "fields": fields})
    if message.link:
        blocks.append({"type": "section", "text": _markdown(f"<{message.link}|Open the run>")})
    return {"text": escape(title), "blocks": blocks}


def escape(text: str) -> str:
    """Escape characters that Slack reads as a link or a mention."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _markdown(text: str) -> dict[str, object]:
    # Verbatim: Slack links nothing that is not marked as a link.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


NOTIFIED = hooks_for(payload)
killed_message = partial(killed_run_message, payload)
