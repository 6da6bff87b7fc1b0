"""Keep the files that the answers need, start a git repository, and say what to do next."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from glob import glob

# A raw string, so that this file is valid Python before and after Cookiecutter renders it.
ANSWERS = r"""{{ cookiecutter | tojson }}"""

# What files of the template that are copied call the project and its package.
NAMES = ("penguin-model", "penguin_model")


def refuse_taken_name(slug: str) -> None:
    """Refuse the name of a dependency, direct or not; here, where the tested set is at hand."""
    with open("constraints.txt", encoding="utf-8") as lines:
        taken = {re.sub(r"[-_.]+", "-", line.partition("==")[0].strip().lower()) for line in lines}
    if slug.replace("_", "-") in taken:
        sys.exit(f"project_slug {slug!r} is the name of a dependency: give another, like {slug}-model.")


def obey(keep_if: dict[str, str]) -> None:
    """Delete every path whose condition came out false."""
    for path, wanted in keep_if.items():
        if not os.path.exists(path):
            sys.exit(f"__keep_if in cookiecutter.json names {path!r}, which is not in the template.")
        if wanted not in {"True", "False"}:
            sys.exit(f"__keep_if in cookiecutter.json says {wanted!r} of {path!r}, not True or False.")
    for path in (path for path, wanted in keep_if.items() if wanted == "False"):
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif os.path.exists(path):  # not in a folder that has just gone
            os.remove(path)


def choose(variants: dict[str, str]) -> None:
    """Put the variant with the chosen name behind its own in the place of a file; "" keeps the file."""
    for path, choice in variants.items():
        if not os.path.exists(path):
            sys.exit(f"__variants in cookiecutter.json names {path!r}, which is not in the template.")
        stem, suffix = os.path.splitext(path)
        chosen = f"{stem}_{choice}{suffix}"
        if choice and not os.path.exists(chosen):
            sys.exit(f"__variants in cookiecutter.json chooses {chosen!r}, which is not in the template.")
        if choice:
            os.replace(chosen, path)
        for other in glob(f"{stem}_*{suffix}"):
            os.remove(other)


def files(patterns: list[str]) -> Iterator[str]:
    """Find the files that Cookiecutter copied."""
    for path in (path for pattern in patterns for path in glob(pattern)):
        if os.path.isfile(path):
            yield path
        for folder, _, names in os.walk(path):
            yield from (os.path.join(folder, name) for name in names)


def give_names(copied: list[str], *own: str) -> None:
    """Let what was copied, not rendered, call project and package by their own names."""
    names = {name.encode(): new.encode() for name, new in zip(NAMES, own, strict=True)}
    for path in files(copied) if own != NAMES else ():
        with open(path, "rb") as file:
            text = file.read()
        named = re.sub(b"|".join(names), lambda found: names[found[0]], text)
        if named != text:
            with open(path, "wb") as file:
                file.write(named)


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git here, whatever repository the caller's environment points to."""
    elsewhere = {"GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"}
    # No identity made up from the names of user and machine; and one pack, where an object for each file
    # takes as long as all else here.
    options = [
        "user.useConfigOnly=true",
        "core.bigFileThreshold=1",
        "core.compression=0",
        "maintenance.auto=false",
    ]
    return subprocess.run(
        ["git", *(word for option in options for word in ("-c", option)), *arguments],
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
    parts = os.getcwd().split(os.sep)
    inside = any(os.path.exists(os.sep.join([*parts[:depth], ".git"])) for depth in range(1, len(parts) + 1))
    # A repository that ignores this folder will never keep it, and DVC works in none that does.
    if inside and git("check-ignore", "--quiet", ".").returncode != 0:
        return "No git repository was started, because this folder already lies in one."
    for command in (["init", "-b", "main"], ["add", "."], ["commit", "--quiet", "-m", "Start the project"]):
        run = git(*command)
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
    choose(answers["__variants"])
    give_names(answers["_copy_without_render"], answers["project_slug"], answers["__package"])
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
