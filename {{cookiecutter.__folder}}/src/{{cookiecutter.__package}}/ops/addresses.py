"""Addresses of tables, servers and storages: what of them may be shown and stored. Everything else is secret.

Libraries disagree about where a password with special characters ends, so no parser is trusted: scheme, host, port and
path are shown, and nothing but the scheme if these are not clear.
"""

import os
import re
from urllib.parse import unquote

from ..errors import ProjectError, printable

# What stands for an address that holds a secret and is kept in .env: in data.origin, and in the `to` of scoring.
SECRET, SECRET_TO = "SOURCE_URL", "PREDICTIONS_URL"
# Not secret are `scheme` and `place`. An encoded character that separates (%3F is `?`) is not clear.
CLEAR = re.compile(
    r"""
    (?P<scheme>[a-z][a-z0-9+.-]*://)
    (?P<user>[^/?#;&\\@]*@)?
    (?P<place>
        (?:[\w.-]*|\[[0-9a-f:.]+\]) (?::\d+)?
        (?:/(?:(?!%(?:23|26|3b|3f|40|5c)|&[^/]*=)[^?#;\\@\x00-\x1f])*)?
    )
    (?P<rest>[?#;&][^@]*)?
    """,
    re.IGNORECASE | re.VERBOSE,
)
SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
# Where a scheme is misspelt or missing, as in `https:/host`, `https//user@host`, `//host`, `user:password@host` and
# `host/file?key=…`, and what drivers read instead of an address: `host=… password=…`, `user/password@//host`.
MALFORMED = re.compile(
    r"[\w+.-]+:|[\\/]{2}|[^\s?]*\?.*=|.*(pass(word|wd)?|pwd|token|secret|(account|access)key|signature)\s*="
    r"|.*[\\/]{2}.*@|.*@//",
    re.IGNORECASE,
)
# The punctuation after an address belongs to the sentence.
IN_TEXT = re.compile(rf"{SCHEME.pattern}\S*[^\s.,:;!?)\]}}'\"]", re.IGNORECASE)
WORDS = re.compile(r"\W+"), re.compile(r"[:/?#@&=;\s]+")


def is_address(origin: str) -> bool:
    """Tell whether this is an address, perhaps a malformed one, and not the path of a file or folder."""
    return "://" in origin or bool(MALFORMED.match(origin) and not os.path.exists(origin))  # noqa: PTH110 - of any length


def scheme_of(origin: str) -> str:
    """Return the scheme in lower case, "" if the address is malformed."""
    scheme = SCHEME.match(origin)
    return scheme[1].lower() if scheme else ""


def redacted(origin: str) -> str:
    """Return an address without what may be secret: a user, a password, a query, a fragment; a path as it is."""
    if not is_address(origin):
        return origin
    if clear := CLEAR.fullmatch(origin):
        return clear["scheme"] + clear["place"]
    scheme = SCHEME.match(origin)
    return f"{scheme[0] if scheme else ''}…"


def is_secret(origin: str) -> bool:
    """Tell whether an address may hold a password or key, which does not belong into git, MLflow, Prefect or a log."""
    return redacted(origin) != origin


def malformed(origin: str) -> ProjectError:
    """Return the error for an address that cannot be parsed."""
    return ProjectError(
        f"Malformed address '{redacted(origin)}': write it as scheme://host/path, and special characters of user and "
        "password encoded, such as %23 for #."
    )


def check_stored(origin: str, name: str, key: str = SECRET) -> None:
    """Raise ProjectError if an address that others can read in git or in Prefect is secret."""
    if is_secret(origin):
        raise ProjectError(
            f"{name} is '{redacted(origin)}' with a password or key, which others could read in git or Prefect: set "
            f"{key} in .env to the address, and write {key} instead."
        )


def shown(text: str) -> str:
    """Return a text for a log, terminal or message: addresses without secrets, control characters escaped."""
    return "\n".join(map(printable, without_secrets(text).split("\n")))


def without_secrets(text: str, address: str = "") -> str:
    """Return a text, such as the message of a library, without the secrets of this address and of those in the text."""
    if is_secret(address):
        parts = {part for whole in (address, unquote(address)) for words in WORDS for part in words.split(whole)}
        shown = {part for words in WORDS for part in words.split(redacted(address))}
        for part in sorted({address, *parts} - shown, key=len, reverse=True):
            # A short one, such as `on`, may be a part of other words.
            hidden = re.escape(part) if len(part) > 3 else rf"(?<!\w){re.escape(part)}(?!\w)"  # noqa: PLR2004
            text = re.sub(hidden, "…", text)
    return IN_TEXT.sub(lambda found: redacted(found[0]), text)
