"""Seam: who is notified of failures, drift and a new champion; here any program, by a webhook that takes JSON."""

import math
from functools import partial

from ..settings import PACKAGE
from .hooks import Message, cut, hooks_for, killed_run_message, report_move

# Of docs/notification.schema.json: a later version only adds fields, or gets a new number.
SCHEMA_VERSION = 1


def payload(message: Message) -> dict[str, object]:
    """Return the fields of docs/notification.schema.json; all are always there."""
    return {
        "schema_version": SCHEMA_VERSION,
        "event": message.event,
        "project": PACKAGE,
        "title": cut(message.title, 200),
        "reason": cut(message.reason, 2000),
        "flow": message.flow,
        "flow_run": message.flow_run,
        "by": message.by,
        "version": message.version,
        "old_version": message.old_version,
        # JSON has no NaN.
        "metrics": {name: value if math.isfinite(value) else None for name, value in message.metrics.items()},
        "url": message.url,
        "time": message.time,
    }


NOTIFIED = hooks_for(payload)
killed_message = partial(killed_run_message, payload)
moved = partial(report_move, payload)
