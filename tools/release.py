"""`make release VERSION=v2`: check that the template can be released, commit and tag it; push nothing."""

import re
import subprocess
import sys
from datetime import date
from pathlib import Path

CHANGELOG = Path("CHANGELOG.md")
UNRELEASED, STEPS = "## Unreleased", "### Update an existing project"
VERSION = re.compile(r"v[1-9]\d*(\.\d+){0,2}")


def git(*arguments: str) -> str:
    """Return what git prints, or exit with its message."""
    done = subprocess.run(["git", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def numbers(version: str) -> list[int]:
    """Return the numbers of a version, to compare it with another."""
    return [int(number) for number in version[1:].split(".")]


def obstacles(version: str) -> list[str]:
    """Return what keeps this version from being released, a sentence each."""
    if not VERSION.fullmatch(version):
        return [f"VERSION has to be like v2 or v2.1, not '{version}'."]
    problems = []
    if (branch := git("branch", "--show-current")) != "main":
        problems.append(f"Releases are made of the branch main, not of '{branch}'.")
    if git("status", "--porcelain"):
        problems.append("There are uncommitted changes or new files; commit or remove them.")
    released = [tag for tag in git("tag", "--list", "v*").split() if VERSION.fullmatch(tag)]
    newest = max(released, key=numbers, default=None)
    if newest and numbers(version) <= numbers(newest):
        problems.append(f"{version} is not newer than {newest}, the last release.")
    return problems + changelog_obstacles(CHANGELOG.read_text(encoding="utf-8"))


def changelog_obstacles(text: str) -> list[str]:
    """Return what is missing in the changelog: each version says what the owner of a project must do."""
    titles = re.findall(r"^## (.+)$", text, re.MULTILINE)
    bodies = re.split(r"^## .+$", text, flags=re.MULTILINE)[1:]
    if not titles or f"## {titles[0]}" != UNRELEASED:
        return [f"{CHANGELOG} does not begin with '{UNRELEASED}'."]
    problems = []
    for title, body in zip(titles, bodies, strict=True):
        for kind, entries in sections(body).items():
            if not entries:
                problems.append(f"{CHANGELOG}: '{kind}' of '{title}' is empty.")
        if STEPS not in sections(body):
            problems.append(f"{CHANGELOG}: '{title}' has no '{STEPS}', which says what to do, if anything.")
    return problems


def sections(body: str) -> dict[str, str]:
    """Return the text below each heading of a version."""
    headings = re.findall(r"^### .+$", body, re.MULTILINE)
    texts = re.split(r"^### .+$", body, flags=re.MULTILINE)[1:]
    return {heading: text.strip() for heading, text in zip(headings, texts, strict=True)}


def main(version: str) -> None:
    """Release a version, or say all that keeps it from being released."""
    if problems := obstacles(version):
        sys.exit("\n".join([f"{version} is not released:", *(f"  {problem}" for problem in problems)]))
    text = CHANGELOG.read_text(encoding="utf-8")
    today = date.today().isoformat()  # noqa: DTZ011 - the day of who releases
    CHANGELOG.write_text(text.replace(UNRELEASED, f"## {version} ({today})", 1), encoding="utf-8")
    git("commit", "--quiet", "-m", f"Release {version}", "--", str(CHANGELOG))
    git("tag", "--annotate", version, "-m", f"Release {version}")
    print(f"{version} is committed and tagged. Publish it:  git push origin main {version}")
    print(f"Or undo it:  git tag -d {version} && git reset --hard HEAD~1")


if __name__ == "__main__":
    main(*(sys.argv[1:2] or [""]))
