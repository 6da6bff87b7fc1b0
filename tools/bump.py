"""`make bump`: move the tested set to what the canary has passed.

The bounds admit what it passed, constraints.txt is resolved for all answers and Pythons, and its oldest
versions become the lower bounds: the newest version may need a newer Python than the oldest.
"""

import re
import subprocess
import sys
from collections.abc import Mapping

from canary import PASSED, PROJECT, ROOT
from packaging.version import Version

DEPENDENCY = re.compile(r'"(?P<name>[\w.-]+)(?P<extras>\[.*?\])?>=(?P<lower>[\d.]+),<(?P<upper>[\d.]+)')
CUTOFF = re.compile(r'^exclude-newer = "(\d{4}-\d\d-\d\d)', re.MULTILINE)
PREFECT = re.compile(r"^prefect-version: .*", re.MULTILINE)


def main() -> None:
    """Change both pyproject.toml, the version in prefect.yaml, and constraints.txt."""
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
        # The template's own tools may be ahead.
        text = CUTOFF.sub(lambda found: f'exclude-newer = "{max(day, found[1])}', text)
        path.write_text(admitting(text, passed) if path.parent == PROJECT else text, encoding="utf-8")
    path = PROJECT / "prefect.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(PREFECT.sub(f"prefect-version: {passed['prefect']}", text), encoding="utf-8")
    subprocess.run(["make", "--no-print-directory", "constraints"], cwd=ROOT, check=True)
    path = PROJECT / "pyproject.toml"
    tested = oldest((PROJECT / "constraints.txt").read_text(encoding="utf-8"))
    path.write_text(raised(path.read_text(encoding="utf-8"), tested), encoding="utf-8")


def oldest(constraints: str) -> dict[str, str]:
    """Return the oldest version of each package; some have others for other Pythons."""
    versions: dict[str, str] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", constraints, re.MULTILINE):
        versions[name] = min(version, versions.get(name, version), key=Version)
    return versions


def admitting(text: str, newest: Mapping[str, str]) -> str:
    """Return a pyproject.toml whose upper bounds admit these versions, as exact as they were."""

    def bounds(found: re.Match[str]) -> str:
        version, upper = newest.get(found["name"].lower(), "0"), found["upper"]
        if Version(version) < Version(upper):
            return found[0]
        *parts, last = version.split(".")[: upper.count(".") + 1]
        return found[0].removesuffix(upper) + ".".join([*parts, str(int(last) + 1)])

    return DEPENDENCY.sub(bounds, text)


def raised(text: str, tested: Mapping[str, str]) -> str:
    """Return a pyproject.toml whose lower bounds are these versions, as exact as they were."""

    def bounds(found: re.Match[str]) -> str:
        version, lower = tested.get(found["name"].lower(), "0"), found["lower"]
        if Version(version) <= Version(lower):
            return found[0]
        exact = ".".join(version.split(".")[: lower.count(".") + 1])
        return f'"{found["name"]}{found["extras"] or ""}>={exact},<{found["upper"]}'

    return DEPENDENCY.sub(bounds, text)


if __name__ == "__main__":
    main()
