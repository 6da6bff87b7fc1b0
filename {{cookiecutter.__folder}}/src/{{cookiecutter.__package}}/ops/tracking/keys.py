"""Names of columns and files as keys of MLflow, which allows only some characters, and 250 of them."""

import hashlib
import posixpath
import re
from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")

VALID = re.compile(r"[\w.\- :/]{1,250}")
KEPT, DIGITS = 240, 8


def as_keys(values: Mapping[str, Value]) -> dict[str, Value]:
    """Return the values by keys that MLflow accepts; a name that it would refuse gets a digest, so that keys differ."""
    return {_as_key(name): value for name, value in values.items()}


def _as_key(name: str) -> str:
    # MLflow refuses a key that, as a path, has another spelling.
    if VALID.fullmatch(name) and posixpath.normpath(name) == name and not name.startswith((".", "/")):
        return name
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:DIGITS]
    readable = re.sub(r"[^\w. -]|^\.+", "_", name)[:KEPT]
    return f"{readable}-{digest}"
