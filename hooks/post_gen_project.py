"""Keep the files that the answers need, start a git repository, and say what to do next."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

# A raw string, so that this file is valid Python before and after Cookiecutter renders it.
ANSWERS = r"""{{ cookiecutter | tojson }}"""


def refuse_taken_name(slug: str) -> None:
    """Refuse the name of a dependency, direct or not; here, where the tested set is at hand."""
    lines = Path("constraints.txt").read_text(encoding="utf-8").splitlines()
    taken = {re.sub(r"[-_.]+", "-", line.partition("==")[0].strip().lower()) for line in lines}
    if slug.replace("_", "-") in taken:
        sys.exit(f"project_slug {slug!r} is the name of a dependency: give another, like {slug}-model.")


def obey(keep_if: dict[str, str]) -> None:
    """Delete every path whose condition came out false."""
    for path, wanted in keep_if.items():
        if not Path(path).exists():
            sys.exit(f"__keep_if in cookiecutter.json names {path!r}, which is not in the template.")
        if wanted not in {"True", "False"}:
            sys.exit(f"__keep_if in cookiecutter.json says {wanted!r} of {path!r}, not True or False.")
    for unwanted in (Path(path) for path, wanted in keep_if.items() if wanted == "False"):
        shutil.rmtree(unwanted) if unwanted.is_dir() else unwanted.unlink(missing_ok=True)


def rename(names: dict[str, str]) -> None:
    """Let what was kept take the name, and the place, of what it stands for."""
    for path, name in names.items():
        if not Path(name).exists():
            sys.exit(f"__rename in cookiecutter.json names {name!r}, which is not in the template.")
        if Path(path).exists():
            Path(path).replace(name)


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git here, whatever repository the caller's environment points to."""
    elsewhere = {"GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"}
    return subprocess.run(
        # No identity made up from the names of user and machine.
        ["git", "-c", "user.useConfigOnly=true", *arguments],
        check=False,
        env={name: value for name, value in os.environ.items() if name not in elsewhere},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )


def start_repository() -> str | None:
    """Commit everything to a new repository, or say in a sentence why not."""
    if shutil.which("git") is None:
        return "No git repository was started, because git is not installed."
    here = Path.cwd()
    inside = any((folder / ".git").exists() for folder in (here, *here.parents))
    # A repository that ignores this folder will never keep it, and DVC works in none that does.
    if inside and git("check-ignore", "--quiet", ".").returncode != 0:
        return "No git repository was started, because this folder already lies in one."
    for command in (["init", "-b", "main"], ["add", "."], ["commit", "--quiet", "-m", "Start the project"]):
        # One pack, where an object for each file would take as long as all else here.
        run = git("-c", "core.bigFileThreshold=1", *command)
        if run.returncode == 0:
            continue
        if command[0] == "commit" and git("var", "GIT_COMMITTER_IDENT").returncode != 0:
            return "Nothing is committed yet, because git does not know your user.name and user.email."
        reason = (run.stderr.strip() or run.stdout.strip()).rpartition("\n")[2]
        return f"Nothing is committed yet, because git {command[0]} failed: {reason}"
    return None


def main() -> None:
    """Finish the project that was just rendered into the working folder."""
    answers = json.loads(ANSWERS)
    refuse_taken_name(answers["project_slug"])
    obey(answers["__keep_if"])
    rename(answers["__rename"])
    commands = [f"cd {answers['project_slug']}", "make setup", "make train"]
    # cruft, which alone gives the template's commit, adds a file of its own after this hook, and
    # compares whole folders to update a project: a repository in them would break the update.
    if "_commit" in answers:
        commands.insert(1, "git init -b main && git add . && git commit -m 'Start the project'")
    elif note := start_repository():
        print(note, file=sys.stderr)
    print("\nNext, in a new project:\n", *commands, sep="\n    ", end="\n\n")


if __name__ == "__main__":
    main()
