"""Finish the generated project: its names, its optional files, a git repository, and what to do next."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from glob import glob
from urllib.parse import urlsplit

# A raw string, so that this file is valid Python before and after Cookiecutter renders it.
ANSWERS = r"""{{ cookiecutter | tojson }}"""
# Marks a folder whose generation has begun; see the other hook.
UNFINISHED = "UNFINISHED.txt"


def main() -> None:
    """Finish the project that was just rendered into the working folder."""
    answers = json.loads(ANSWERS)
    replace_names(answers["_names_replaced_in"], answers["project_slug"], answers["__package"])
    delete_unwanted(answers["__keep_if"])
    select_variants(answers["__variants"])
    if "_commit" not in answers and (problem := record(answers)):
        print(problem, file=sys.stderr)
    commands = [f"cd {answers['project_slug']}", "make setup", "make train"]
    # cruft, which sets _commit, adds a file of its own after this hook, and compares whole folders to
    # update a project: a repository in them would break the update.
    if "_commit" in answers:
        commands.insert(1, "git init -b main && git add . && git commit -m 'Start the project'")
    elif problem := start_repository():
        print(problem, file=sys.stderr)
    os.remove(UNFINISHED)
    if not is_for_update():
        print("\nNext:\n", *commands, sep="\n    ", end="\n\n")


def is_for_update() -> bool:
    """Tell whether an update renders the project: twice, each time alone in a new temporary folder."""
    temporary, name = os.path.split(os.path.dirname(os.getcwd()))
    return temporary == os.path.realpath(tempfile.gettempdir()) and name.startswith(tempfile.gettempprefix())


def record(answers: dict[str, str]) -> str | None:
    """Write, as cruft does, what template, commit and answers made the project; return a warning."""
    if shutil.which("git") is None:
        return None  # which is reported below
    # A path is the user's; this hook runs in the project.
    folder = os.path.join(os.environ.get("PWD", ""), os.path.expanduser(answers["_repo_dir"]))
    address, template = os.path.abspath(folder), ["-C", folder]
    if git(*template, "ls-files", "--error-unmatch", "cookiecutter.json").returncode != 0:
        return "`make update` will not work here: the template is not in a git repository."
    if answers["_repo_dir"] != answers["_template"]:
        # What Cookiecutter has cloned: an abbreviation such as gh: in full, and without a password.
        address = git(*template, "remote", "get-url", "origin").stdout.strip()
        parts = urlsplit(address)
        if parts.netloc and parts.scheme != "ssh":  # whose user is no secret
            clean = {"netloc": parts.netloc.rpartition("@")[2], "query": "", "fragment": ""}
            address = parts._replace(**clean).geturl()
    written = {
        "template": address,
        "commit": git(*template, "rev-parse", "HEAD").stdout.strip(),
        "checkout": answers["_checkout"],
        "context": {
            "cookiecutter": {name: answer for name, answer in answers.items() if not name.startswith("_")}
        },
        "directory": None,
    }
    with open(".cruft.json", "w", encoding="utf-8") as file:
        file.write(json.dumps(written, indent=2, ensure_ascii=False) + "\n")
    return None


def replace_names(paths: list[str], slug: str, package: str) -> None:
    """Replace the default names in files that are copied without rendering."""
    for path in paths:
        check_exists(path, "_names_replaced_in")
        in_folder = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
        for file in in_folder or [path]:
            with open(file, "rb") as stream:
                text = stream.read()
            # The package first: it has no hyphens, so the second step cannot replace a part of it.
            named = text.replace(b"penguin_model", package.encode()).replace(b"penguin-model", slug.encode())
            if named != text:
                with open(file, "wb") as stream:
                    stream.write(named)


def delete_unwanted(keep_if: dict[str, str]) -> None:
    """Delete every path whose condition is false."""
    for path, condition in keep_if.items():
        check_exists(path, "__keep_if")
        if condition not in {"True", "False"}:
            sys.exit(f"cookiecutter.json: __keep_if of {path!r} is {condition!r}, not True or False.")
    for path in (path for path, condition in keep_if.items() if condition == "False"):
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif os.path.exists(path):  # not in a folder that was just deleted
            os.remove(path)


def select_variants(variants: dict[str, str]) -> None:
    """Replace each file by its chosen variant, such as channel_slack.py; an empty choice keeps the file."""
    for path, choice in variants.items():
        check_exists(path, "__variants")
        stem, suffix = os.path.splitext(path)
        if choice:
            chosen = f"{stem}_{choice}{suffix}"
            check_exists(chosen, "__variants")
            os.replace(chosen, path)
        for other in glob(f"{stem}_*{suffix}"):
            os.remove(other)


def check_exists(path: str, key: str) -> None:
    """Fail if a table in cookiecutter.json names a path that the template does not have."""
    if not os.path.exists(path):
        sys.exit(f"cookiecutter.json: {key} names {path!r}, which is not in the template.")


def start_repository() -> str | None:
    """Commit everything to a new repository, or say in a sentence why not."""
    if shutil.which("git") is None:
        return "No git repository was created: git is not installed."
    parts = os.getcwd().split(os.sep)
    inside = any(os.path.exists(os.sep.join([*parts[:depth], ".git"])) for depth in range(1, len(parts) + 1))
    # A repository that ignores this folder will never track it, and DVC needs one that does.
    if inside and git("check-ignore", "--quiet", ".").returncode != 0:
        return "No git repository was created: this folder is already inside one."
    # What the template wrote, whatever a global gitignore says; what its own .gitignore lists is DVC's.
    ignored = ["--exclude-per-directory=.gitignore", f"--exclude={UNFINISHED}"]
    names = ["ls-files", "-z", "--others", *ignored]
    add = ["add", "--force", "--pathspec-from-file=-", "--pathspec-file-nul"]
    files = ""
    for command in (["init", "-b", "main"], names, add, ["commit", "--quiet", "-m", "Start the project"]):
        run = git(*command, input=files)
        if run.returncode == 0:
            files = run.stdout
            continue
        if command[0] == "commit" and git("var", "GIT_COMMITTER_IDENT").returncode != 0:
            return "Nothing is committed yet: git does not know your user.name and user.email."
        reason = " ".join((run.stderr.strip() or run.stdout.strip()).splitlines()[-2:])
        return f"Nothing is committed yet: git {command[0]} failed: {reason or f'exit code {run.returncode}'}"
    return None


def git(*arguments: str, input: str = "") -> subprocess.CompletedProcess[str]:  # noqa: A002 - subprocess's name
    """Run git in this folder, even if the environment points to another repository."""
    overrides = {
        f"GIT_{name}" for name in ("COMMON_DIR", "DIR", "INDEX_FILE", "OBJECT_DIRECTORY", "WORK_TREE")
    }
    environment = {name: value for name, value in os.environ.items() if name not in overrides}
    # DVC reads no other kind of repository, whatever the user's configuration says.
    environment |= {"GIT_DEFAULT_HASH": "sha1", "GIT_DEFAULT_REF_FORMAT": "files"}
    options = [
        "user.useConfigOnly=true",  # no identity made up from the user's and the machine's name
        "core.bigFileThreshold=1",  # one pack: a file per object takes as long as the rest of this hook
        "core.compression=0",
        "maintenance.auto=false",
    ]
    return subprocess.run(
        ["git", *(word for option in options for word in ("-c", option)), *arguments],
        check=False,
        env=environment,
        input=input,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )


if __name__ == "__main__":
    main()
