"""Seam: who is notified of failures, drift and a new champion; here a Teams channel, by the webhook of a workflow."""

from functools import partial

from ..markdown import escape
from .hooks import Message, cut, hooks_for, killed_run_message, report_move


def payload(message: Message) -> dict[str, object]:
    """Format a message as an adaptive card: a heading, the text, the facts and a link; Teams allows 28 KB."""
    title = escape(cut(message.title, 150))
    body: list[dict[str, object]] = [
        {"type": "TextBlock", "size": "Medium", "weight": "Bolder", "wrap": True, "text": title}
    ]
    if message.reason:
        body.append({"type": "TextBlock", "wrap": True, "text": escape(cut(message.reason, 2000))})
    if message.facts:
        facts = list(message.facts.items())[:20]
        shown = [{"title": escape(cut(name, 100)), "value": escape(cut(value, 200))} for name, value in facts]
        body.append({"type": "FactSet", "facts": shown})
    card: dict[str, object] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
    }
    if message.url:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Open the run", "url": message.url}]
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


NOTIFIED = hooks_for(payload)
killed_message = partial(killed_run_message, payload)
moved = partial(report_move, payload)
