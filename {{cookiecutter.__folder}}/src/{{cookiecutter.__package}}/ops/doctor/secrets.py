"""Secrets in files that git tracks. A finding names the place, never the secret."""

import os
import shlex
from collections.abc import Iterator

from ...errors import ProjectError, printable
from ..settings import secret_values
from ..versioning.git import run_git
from .findings import EDIT, Finding

SHORT = 8  # characters; a shorter value of .env is found in ordinary words
# Private keys, and tokens that can be told by their beginning.
TOKENS = (
    "-----BEGIN [A-Z ]*PRIVATE KEY-----|(AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_[0-9A-Za-z]{36}"
    "|xox[abprs]-[0-9A-Za-z-]{10,}|pn[ub]_[0-9A-Za-z]{20,}|AccountKey=[0-9A-Za-z+/]{20,}"
)
# In configuration, also addresses with a password, and keys that are called password; not ${VARIABLE}.
ADDRESSES = r"""://[^]/:@[:space:]{}$"']*:[^]/@[:space:]{}$"']+@"""
NAMES = "(pass|passwd|password|secret|(access|account|api|secret)_?key|(access|api|auth|sas)_?token|auth_string)"
VALUES = (
    rf"""^[[:space:]-]*(export )?["']?[a-z_-]*{NAMES}["']?[[:space:]]*[:=]+[[:space:]]*"""
    r"""["']?[^][:space:]"'{}$&*|>#!]{4}"""
)
CONFIGURATION = ("*.yaml", "*.yml", "*.toml", "*.json", "*.cfg", "*.ini", ".dvc/config", "*.sh", "Makefile")
PRIVATE = (".env", "**/.env", ".env.*", "**/.env.*", ".dvc/config.local")
EXAMPLES = (":!.env.example", ":!tests")


def secrets() -> Iterator[Finding]:
    """Look for files that hold secrets, for the values of .env, and for what looks like a secret."""
    files = run_git("ls-files", "-z", "--", *(f":(glob){path}" for path in PRIVATE), *EXAMPLES).split(b"\0")[:-1]
    for name in map(os.fsdecode, files):
        remedy = f"git rm --cached {shlex.quote(name)}"
        yield Finding(f"git tracks {printable(name)}, which holds passwords: change these.", remedy)
    own = "\n".join(value for value in secret_values() if len(value) >= SHORT)
    places = [
        *(_grep("-F", "-f", "-", "--", ".", stdin=own) if own else ()),
        *_grep("-E", "-e", TOKENS, "--", ".", *EXAMPLES),
        *_grep("-E", "-i", "-e", ADDRESSES, "-e", VALUES, "--", *CONFIGURATION, *EXAMPLES),
    ]
    for place in dict.fromkeys(places):
        name, _, line = place.rpartition(":")
        problem = f"{place} holds a password or key: move it to .env, and change it."
        yield Finding(problem, f"{EDIT} +{line} {shlex.quote(name)}")


def _grep(*options: str, stdin: str = "") -> Iterator[str]:
    """Yield the places of a text in tracked files, as file:line."""
    try:
        output = run_git(
            "-c", "core.quotePath=off", "grep", "-I", "-n", "-z", "--no-color", *options, stdin=stdin.encode()
        )
    except ProjectError:  # nothing found
        return
    for line in output.split(b"\n")[:-1]:
        yield ":".join(printable(os.fsdecode(part)) for part in line.split(b"\0")[:2])
