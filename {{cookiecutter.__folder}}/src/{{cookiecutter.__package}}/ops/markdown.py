"""Names and values in Markdown, as Prefect's pages and Teams read it."""

import re

from ..errors import printable

# An underscore inside a word, a sign before a number and the point of a decimal mean nothing.
SPECIAL = re.compile(r"[\\`*\[\]<>|&~#]|(?<![^\W_])_|_(?![^\W_])|^[-+](?=\s)|(?<=\d)[.)](?=\s)")


def escape(text: str) -> str:
    """Escape what Markdown or HTML would read as more than text."""
    return SPECIAL.sub(r"\\\g<0>", printable(text))
