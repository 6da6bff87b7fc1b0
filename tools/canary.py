"""`make canary`: train, test and run a schedule with the newest versions of everything; name those that fail.

What is newer than the tested set (the project's constraints.txt) is lifted as a whole. If a check fails,
halving leaves one package whose newest version makes the difference. It is held back, and the rest is tried
again, so that several culprits are found one after the other.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
PROJECT = ROOT / "{{cookiecutter.__folder}}"
PASSED = ROOT / "build/canary.txt"
SLUG = "canary"
# What is run in the project, the quickest first. Prefect runs by hand, but no schedule, with some versions.
CHECKS: dict[str, list[list[str]]] = {
    "a schedule fires": [["python", str(ROOT / "tools/schedule_fires.py")]],
    "a training": [[SLUG, "prepare"], [SLUG, "dvc", "repro"]],
    "the project's tests": [[SLUG, "prepare"], ["pytest", "-x", "-q"]],
}
LINES = 15  # of a failed check's output

Versions = dict[str, str]


class Failure(NamedTuple):
    """A check that failed, and the end of what it printed."""

    check: str
    output: str


class Culprit(NamedTuple):
    """A package whose newer version makes a check fail."""

    name: str
    tested: str
    newer: str
    failure: Failure

    def __str__(self) -> str:
        """Return the sentence that names it."""
        return f"{self.name} {self.newer} fails where {self.tested} works: {self.failure.check}"


# Returns the newest versions of which only those of the named packages may differ from the tested ones.
Resolve = Callable[[Sequence[str]], Versions]
# Runs one check with these versions, or all until one fails; returns the failure.
Check = Callable[[Versions, str | None], Failure | None]


def find_culprits(lifted: Sequence[str], resolve: Resolve, check: Check) -> tuple[list[Culprit], Versions]:
    """Return those of the lifted packages that make a check fail, and the newest versions without them."""
    rest, culprits = sorted(lifted), list[Culprit]()
    while failure := check(versions := resolve(rest), None):
        if unrelated := check(resolve([]), failure.check):
            sys.exit(f"{unrelated.output}\nWith the tested versions, too, this fails: {unrelated.check}")
        passing, failing = 0, len(rest)  # how many of the rest are lifted
        while failing - passing > 1:
            middle = (passing + failing) // 2
            if worse := check(resolve(rest[:middle]), failure.check):
                failing, failure = middle, worse
            else:
                passing = middle
        name = rest.pop(passing)
        tested, newer = resolve([])[name], resolve([*rest[:passing], name])[name]
        culprits.append(Culprit(name, tested, newer, failure))
        print(culprits[-1], flush=True)
    return culprits, versions


class Project:
    """A generated project, and an environment for it whose versions change."""

    def __init__(self, folder: Path, answers: Sequence[str], before: str | None) -> None:
        """Generate the project, and read what it requires; versions of this day and later do not exist."""
        self._folder, self._original = folder, folder / "original" / SLUG
        self._run("cookiecutter", "--no-input", str(ROOT), f"--output-dir={self._original.parent}",
                  f"project_slug={SLUG}", *answers)  # fmt: skip
        self._run("uv", "venv", "--quiet", str(folder / "venv"))
        definition = tomllib.loads((self._original / "pyproject.toml").read_text())
        self._requires = [*definition["project"]["dependencies"], *definition["dependency-groups"]["dev"]]
        self._published = [f"--exclude-newer={before}"] if before else []
        self._resolved: dict[tuple[str, ...], Versions] = {}
        self.tested = self._compile(self._requires, (self._original / "constraints.txt").read_text())

    def resolve(self, lifted: Sequence[str]) -> Versions:
        """Return the newest versions within no bounds but the tested versions of what is not lifted."""
        key = tuple(sorted(lifted))
        if key not in self._resolved:
            unbounded = []
            for requirement in map(Requirement, self._requires):
                requirement.specifier = SpecifierSet()
                unbounded.append(str(requirement))
            signs = {name: ">=" if name in lifted else "==" for name in self.tested}
            bounds = "\n".join(f"{name}{sign}{self.tested[name]}" for name, sign in signs.items())
            self._resolved[key] = self._compile(unbounded, bounds)
        return self._resolved[key]

    def check(self, versions: Versions, only: str | None) -> Failure | None:
        """Install these versions; run one check, or all until one fails, each in a new copy."""
        copy = self._folder / SLUG
        environment = {
            "VIRTUAL_ENV": f"{self._folder}/venv",
            "PATH": f"{self._folder}/venv/bin:{os.environ['PATH']}",
        }
        listed = self._folder / "versions.txt"
        listed.write_text(text_of(versions))
        self._run("uv", "pip", "sync", "--quiet", f"--python={self._folder}/venv", str(listed))
        for check, commands in CHECKS.items():
            if only not in {None, check}:
                continue
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(self._original, copy, symlinks=True)
            install = ["uv", "pip", "install", "--quiet", "--no-deps", f"--editable={copy}"]
            for command in (install, *commands):
                done = subprocess.run(
                    command,
                    check=False,
                    cwd=copy,
                    env=os.environ | environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
                if done.returncode:
                    return Failure(check, "\n".join(done.stdout.splitlines()[-LINES:]))
        return None

    def _compile(self, requires: Sequence[str], constraints: str) -> Versions:
        """Return the newest versions that meet requirements and constraints."""
        inputs = {"requires.in": "\n".join(requires), "constraints.in": constraints}
        for name, text in inputs.items():
            (self._folder / name).write_text(text + "\n")
        plain = ["--no-header", "--no-annotate", f"--python={self._folder}/venv", *self._published]
        lines = self._run(
            "uv", "pip", "compile", "--quiet", *plain, "requires.in", "--constraints=constraints.in"
        )
        return dict(line.split(" ")[0].split("==") for line in lines.splitlines())

    def _run(self, *command: str) -> str:
        """Return what a command prints, run outside of the project, whose exclude-newer would count."""
        done = subprocess.run(command, check=False, cwd=self._folder, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{done.stdout}{done.stderr}\n`{command[0]} {command[1]}` failed.")
        return done.stdout


def text_of(versions: Versions) -> str:
    """Return versions as the lines of a requirements file."""
    return "".join(f"{name}=={version}\n" for name, version in sorted(versions.items()))


def main() -> None:
    """Find what breaks, print it with the end of what the check printed, and exit with 1 if there is any."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("answers", nargs="*", metavar="question=answer", help="other answers for the project")
    parser.add_argument("--hold", nargs="*", default=[], metavar="PACKAGE", help="keep the tested version")
    parser.add_argument("--before", metavar="YYYY-MM-DD", help="try what was published before this day")
    options = parser.parse_args()
    PASSED.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        project = Project(Path(scratch), options.answers, options.before)
        newest = project.resolve([name for name in project.tested if name not in options.hold])
        lifted = [name for name, version in project.tested.items() if newest.get(name, version) != version]
        print(f"{len(lifted)} packages are newer than the tested set.", flush=True)
        culprits, passing = find_culprits(lifted, project.resolve, project.check)
    PASSED.parent.mkdir(exist_ok=True)
    PASSED.write_text(f"# before {options.before}\n{text_of(passing)}")
    print(f"All checks pass with the versions in {PASSED.relative_to(ROOT)}.")
    for culprit in culprits:
        print(f"\n{culprit.failure.output}\n{culprit}")
    sys.exit(bool(culprits))


if __name__ == "__main__":
    main()
