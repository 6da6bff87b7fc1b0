"""What the checks return."""

from importlib.metadata import metadata
from typing import NamedTuple

from pydantic import BaseModel

from ..settings import PACKAGE

RUN = f"uv run {metadata(PACKAGE)['Name']}"
SETUP = "make setup"
EDIT = "${EDITOR:-vi}"


class Finding(NamedTuple):
    """What is wrong, and the command that mends it or opens the file to mend."""

    problem: str
    remedy: str


class NotCheckedError(Exception):
    """A check could not be made, which says nothing about the project."""


class Report(BaseModel):
    """What is wrong (`check`, `problem`, `remedy`), and by check, why it could not be made."""

    findings: list[dict[str, str]]
    not_checked: dict[str, str] = {}

    def __str__(self) -> str:
        """Show each finding above its command; one line if all is well."""
        lines = []
        for finding in self.findings:
            lines.append(f"{finding['check']}: {finding['problem']}")
            lines += [f"    {finding['remedy']}"] if finding["remedy"] else []
        count = len(self.findings)
        found = f"{count} finding{'s' * (count > 1)}." if count else "All is well."
        skipped = "; ".join(f"{check} ({reason.rstrip('.')})" for check, reason in self.not_checked.items())
        return "\n".join([*lines, f"{found} Not checked: {skipped}." if skipped else found])
