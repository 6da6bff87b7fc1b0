"""Seam: how a message becomes what a webhook takes; here that of a Teams workflow, an adaptive card."""

from .webhook import Message, cut

ENABLED = True
# A workflow refuses messages of more than 28 KB.
TEXT = 2000


def payload(message: Message) -> dict[str, object]:
    """Return the message as the body of a request: a heading, its facts, and a link to the run."""
    title = escape(cut(message.title, 150))
    body: list[dict[str, object]] = [
        {"type": "TextBlock", "size": "Medium", "weight": "Bolder", "wrap": True, "text": title}
    ]
    if message.text:
        body.append({"type": "TextBlock", "wrap": True, "text": escape(cut(message.text, TEXT))})
    if message.facts:
        facts = [{"title": cut(name, 100), "value": escape(cut(value, 200))} for name, value in message.facts.items()]
        body.append({"type": "FactSet", "facts": facts[:20]})
    card: dict[str, object] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
    }
    if message.link:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Look at the run", "url": message.link}]
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def escape(text: str) -> str:
    """Escape what a card would read as Markdown."""
    return "".join(f"\\{character}" if character in "\\`*_[]#" else character for character in text)
