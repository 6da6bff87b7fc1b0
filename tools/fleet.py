"""`make fleet`: a line for each of many projects of the template; with --update, an update branch in each.

A project is a folder, the address of a repository, or a line of a file that lists such. An address is
cloned, and only what is in git is known of it. A folder's checkout is never changed: updates are made in a
clone, and pushed.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
SECONDS = 60  # for git or the doctor of a project
UPDATE_SECONDS = 900
NONE = "-"
COLUMNS = ("project", "template", "behind", "tested", "trained", "champion", "drift", "doctor")
FOREIGN = ("PROJECT_ROOT", "PREFECT_", "MLFLOW_", "VIRTUAL_ENV", "MAKE", "MFLAGS", "GIT_DIR", "GIT_WORK_TREE")

Row = dict[str, str]


def main() -> None:
    """Print the table, or the rows as JSON; exit with 1 if an update failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("projects", nargs="+", help="folders, addresses, or files that list them")
    parser.add_argument("--update", action="store_true", help="push a branch with the update to each")
    parser.add_argument("--json", action="store_true", help="print rows for programs")
    parser.add_argument("--jobs", type=int, default=4, help="how many projects at the same time")
    options = parser.parse_args()
    look = partial(safely, update if options.update else describe)
    with ThreadPoolExecutor(options.jobs) as pool:
        rows = list(pool.map(look, listed(options.projects)))
    print(json.dumps(rows, indent=2) if options.json else table(rows))
    sys.exit(options.update and any("error" in row for row in rows))


def listed(given: Sequence[str]) -> Iterator[str]:
    """Yield the projects, also those that files list, one a line."""
    for name in given:
        if Path(name).is_file():
            lines = Path(name).read_text(encoding="utf-8").splitlines()
            yield from (line.strip() for line in lines if line.strip() and not line.startswith("#"))
        else:
            yield name


def safely(look: Callable[[Path, str], Row], name: str) -> Row:
    """Return the row of a project; what fails there is its row."""
    try:
        if is_address(name):
            with tempfile.TemporaryDirectory() as scratch:
                git("clone", "--quiet", "--", name, scratch)
                return {"project": label(name)} | look(Path(scratch), name)
        folder = Path(name).expanduser().resolve()
        if not (folder / "params.yaml").is_file():
            return {"project": name, "error": "no project: params.yaml is missing"}
        return {"project": name} | look(folder, str(folder))
    except subprocess.TimeoutExpired as error:
        return {"project": label(name), "error": f"{error.cmd[0]} took more than {error.timeout:.0f} seconds"}
    except Exception as error:  # noqa: BLE001 - one broken project must not hide the others
        return {"project": label(name), "error": " ".join(str(error).split()) or type(error).__name__}


def describe(folder: Path, _: str) -> Row:
    """Return what the files of a project say, and its doctor if it is installed."""
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
        program = folder / ".venv/bin" / str(project["project"]["name"])
    except (ValueError, LookupError, TypeError) as error:
        problem = f"pyproject.toml is damaged ({error})"
        raise ValueError(problem) from None
    return {
        **distance(folder),
        "tested": tested(folder, str(project.get("tool", {}).get("uv", {}).get("exclude-newer", NONE))),
        "trained": last_training(folder),
        "champion": metric(folder, program),
        "drift": str(content(folder / "reports/drift.json").get("verdict", NONE)),
        "doctor": doctor(program),
    }


def tested(folder: Path, newest: str) -> str:
    """Return the date of the tested versions, and how many packages uv.lock has at versions not tested."""
    try:
        constraints = (folder / "constraints.txt").read_text(encoding="utf-8")
        lock = tomllib.loads((folder / "uv.lock").read_text(encoding="utf-8"))["package"]
    except (OSError, ValueError, LookupError):
        return f"{newest[:10]}, not locked"
    known = set(re.findall(r"^([\w.-]+)==([^\s;]+)", constraints, re.MULTILINE))
    names = {name for name, _ in known}
    locked = {(package["name"], package.get("version")) for package in lock if package["name"] in names}
    others = len({name for name, _ in locked - known})
    return f"{newest[:10]}, {others} differ" if others else newest[:10]


def distance(folder: Path) -> Row:
    """Return the version of the template that a project has, and how many commits it is behind this one."""
    commit = content(folder / ".cruft.json").get("commit")
    if not commit:
        return {"template": "unknown", "behind": NONE}
    try:
        name = git("describe", "--tags", "--always", commit, cwd=ROOT)
        return {"template": name, "behind": git("rev-list", "--count", f"{commit}..HEAD", cwd=ROOT)}
    except RuntimeError:  # of another template, or of a branch that is not here
        return {"template": str(commit)[:7], "behind": NONE}


def last_training(folder: Path) -> str:
    """Return the day of the last training: that of the commit with dvc.lock, or of a file not committed."""
    lock = folder / "dvc.lock"
    if not lock.is_file():
        return "never"
    if git("status", "--porcelain", "--", lock.name, cwd=folder):
        return f"{datetime.fromtimestamp(lock.stat().st_mtime, UTC):%Y-%m-%d} (uncommitted)"
    return git("log", "-1", "--format=%cs", "--", lock.name, cwd=folder)


def metric(folder: Path, program: Path) -> str:
    """Return the champion's metric of the gate; if the project cannot tell, that of the last training."""
    try:
        key = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))["gate"]["metric"]
    except (ValueError, LookupError, TypeError, yaml.YAMLError):
        problem = "params.yaml has no gate.metric, or is not valid YAML"
        raise ValueError(problem) from None
    try:
        metrics, note = (ask(program, "status")["champion"] or {}).get("metrics", {}), ""
    except (ValueError, LookupError):
        metrics, note = content(folder / "reports/metrics.json"), " (last training)"
    value = metrics.get(key)
    return NONE if value is None else f"{key} {value:.4f}{note}"


def doctor(program: Path) -> str:
    """Return the names of the checks that found something."""
    try:
        findings = [finding["check"] for finding in ask(program, "doctor")["findings"]]
    except ValueError as error:
        return str(error)
    return ", ".join(dict.fromkeys(findings)) or "well"


def ask(program: Path, verb: str) -> dict[str, Any]:
    """Return what a verb of an installed project prints for programs; raise ValueError if it does not."""
    if not program.exists():
        problem = "not installed"
        raise ValueError(problem)
    run = call([str(program), verb, "--json"], program.parents[2], SECONDS)
    try:
        return dict(json.loads(run.stdout))
    except ValueError:
        problem = f"failed: {(run.stderr.strip().splitlines() or ['no output'])[-1]}"
        raise ValueError(problem) from None


def update(_: Path, origin: str) -> Row:
    """Push a branch with the newest template to a project; leave its checkout alone."""
    with tempfile.TemporaryDirectory() as scratch:
        clone = Path(scratch) / "clone"
        git("clone", "--quiet", "--", origin, str(clone))
        with suppress(RuntimeError):  # the first update makes it
            git("branch", "template", "origin/template", cwd=clone)
        before = git("rev-parse", "HEAD", cwd=clone)
        run = call(["make", "update"], clone, UPDATE_SECONDS)
        if run.returncode:
            return {"error": (run.stderr.strip().splitlines() or ["make update failed"])[-1]}
        if conflicts := re.search(r"^Resolve the conflicts in (.*); then", run.stdout, re.MULTILINE):
            return {"error": f"conflicts in {conflicts[1]}: run `make update` there"}
        if git("rev-parse", "HEAD", cwd=clone) == before:
            return {"update": "up to date"}
        branch = f"update-template-{str(content(clone / '.cruft.json').get('commit'))[:7]}"
        if git("branch", "--remotes", "--list", f"origin/{branch}", cwd=clone):
            return {"update": f"branch {branch} exists already"}
        git("push", "--quiet", "origin", f"HEAD:refs/heads/{branch}", "template", cwd=clone)
        return {"update": f"branch {branch}"}


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return the rows below each other; an error takes the rest of its row."""
    columns = ("project", "update") if any("update" in row for row in rows) else COLUMNS
    lines = [columns, *(tuple(row.get(column, "") for column in columns) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    errors = ["", *(f"  {row['error']}" if "error" in row else "" for row in rows)]
    return "\n".join(text + error for text, error in zip(texts, errors, strict=True))


def content(path: Path) -> dict[str, Any]:
    """Return a JSON file, empty if it is missing or damaged."""
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}


def is_address(name: str) -> bool:
    """Tell whether a project is in a repository elsewhere."""
    return "://" in name or re.match(r"[\w.-]+@[\w.-]+:", name) is not None


def label(name: str) -> str:
    """Return an address without a password."""
    return re.sub(r"(?<=://)[^/@]*@", "", name)


def git(*arguments: str, cwd: Path | None = None) -> str:
    """Return what git prints; raise RuntimeError with its message."""
    done = call(["git", *arguments], cwd, SECONDS)
    if done.returncode:
        raise RuntimeError(label(done.stderr.strip()))
    return done.stdout.strip()


def call(command: Sequence[str], cwd: Path | None, seconds: float) -> subprocess.CompletedProcess[str]:
    """Run a command without what in the environment would point a project to another place."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return subprocess.run(
        command,
        cwd=cwd,
        env=kept | {"GIT_TERMINAL_PROMPT": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )


if __name__ == "__main__":
    main()
