"""`make bump`: set exclude-newer and the bounds of direct dependencies to what the canary has passed.

Answers that the canary did not choose, such as Dask, keep the bounds of what only they add.
"""

import re
import sys
from collections.abc import Mapping

from canary import PASSED, PROJECT, ROOT
from packaging.version import Version

DEPENDENCY = re.compile(r'"(?P<name>[\w.-]+)(?P<extras>\[.*?\])?>=(?P<lower>[\d.]+),<(?P<upper>[\d.]+)')
CUTOFF = re.compile(r'^exclude-newer = "\d{4}-\d\d-\d\d', re.MULTILINE)
PREFECT = re.compile(r"^prefect-version: .*", re.MULTILINE)


def main() -> None:
    """Change both pyproject.toml and the version in prefect.yaml."""
    if not PASSED.exists():
        sys.exit(f"{PASSED.relative_to(ROOT)} is missing: `make canary BEFORE=2026-01-31` writes it.")
    lines = PASSED.read_text().splitlines()
    day = lines[0].rpartition(" ")[2]
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", day):
        sys.exit(
            f"{PASSED.relative_to(ROOT)} has no date: `make canary BEFORE=2026-01-31` bounds the versions."
        )
    passed = dict(line.split("==") for line in lines[1:])
    for path in (ROOT / "pyproject.toml", PROJECT / "pyproject.toml"):
        text = path.read_text(encoding="utf-8")
        if path.parent == PROJECT:
            text = raised(text, passed)
        path.write_text(CUTOFF.sub(f'exclude-newer = "{day}', text), encoding="utf-8")
    path = PROJECT / "prefect.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(PREFECT.sub(f"prefect-version: {passed['prefect']}", text), encoding="utf-8")


def raised(text: str, newest: Mapping[str, str]) -> str:
    """Return a pyproject.toml whose bounds include the newest versions, as exact as they were."""

    def bounds(found: re.Match[str]) -> str:
        version = newest.get(found["name"].lower(), "0")
        if Version(version) <= Version(found["lower"]):
            return found[0]
        upper = found["upper"]
        if Version(version) >= Version(upper):
            parts = version.split(".")[: upper.count(".") + 1]
            upper = ".".join([*parts[:-1], str(int(parts[-1]) + 1)])
        lower = ".".join(version.split(".")[: found["lower"].count(".") + 1])
        return f'"{found["name"]}{found["extras"] or ""}>={lower},<{upper}'

    return DEPENDENCY.sub(bounds, text)


if __name__ == "__main__":
    main()
