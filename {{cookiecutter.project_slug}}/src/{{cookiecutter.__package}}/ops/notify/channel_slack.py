"""Seam: how a message becomes what a webhook takes; here Slack's, in Block Kit."""

from .webhook import Message, cut

ENABLED = True
# https://docs.slack.dev/reference/block-kit/blocks says how long each may be, in characters.
HEADER, SECTION, FIELDS = 150, 3000, 10


def payload(message: Message) -> dict[str, object]:
    """Return the message as the body of a request: a header, its facts, and a link to the run."""
    title = cut(message.title, HEADER)
    blocks: list[dict[str, object]] = [{"type": "header", "text": {"type": "plain_text", "text": title}}]
    if message.text:
        blocks.append({"type": "section", "text": _markdown(escape(cut(message.text, SECTION // 6)))})
    facts = [f"*{escape(cut(name, 100))}*\n{escape(cut(value, 200))}" for name, value in message.facts.items()]
    if facts:
        blocks.append({"type": "section", "fields": [_markdown(fact) for fact in facts[:FIELDS]]})
    if message.link:
        blocks.append({"type": "section", "text": _markdown(f"<{message.link}|Look at the run>")})
    return {"text": escape(title), "blocks": blocks}


def escape(text: str) -> str:
    """Escape what Slack would read as a link or a mention."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _markdown(text: str) -> dict[str, str]:
    return {"type": "mrkdwn", "text": text}
