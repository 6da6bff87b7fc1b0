"""`update`: bring the project to another version of its template, or to other answers, by a merge of git."""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from ...errors import ProjectError
from ..addresses import without_secrets
from ..settings import project_root, read_params
from .git import run_git

# The file of cruft, with its keys.
RECORD = ".cruft.json"
# What is the owner's alone, and never changed by an update; the README, too, once it describes another table.
OWNED = ("params.yaml", "contract.yaml", "dvc.lock", "data")
README, EXAMPLE = "README.md", "data/raw/penguins.csv"
FIXED = {
    "problem": "it chooses the example of a new project; params.yaml says what yours predicts",
    "project_slug": "folders, buckets and registered models have this name",
}
# The versions of the template, as commits.
BRANCH = "template"


class Record(NamedTuple):
    """Which template, commit and answers made the project, and the text of the file that says so."""

    template: str
    commit: str
    answers: Mapping[str, str]
    text: str

    @classmethod
    def read(cls) -> "Record":
        """Read the record in the last commit; raise ProjectError if there is none."""
        _check_commit()
        try:
            text = run_git("show", f"HEAD:{RECORD}").decode()
            record = json.loads(text)
            return cls(record["template"], record["commit"], _answers(record), text)
        except (ProjectError, ValueError, LookupError, TypeError, AttributeError):
            raise ProjectError(
                f"{RECORD} in the last commit, which says what template, commit and answers made the project, is "
                "missing or damaged. `uvx cruft link ADDRESS --checkout COMMIT` writes it; commit it then."
            ) from None

    def moved(self, commit: str, answers: Mapping[str, str]) -> str:
        """Return the text of the record of another version."""
        record = json.loads(self.text)
        record |= {"commit": commit, "context": {"cookiecutter": dict(answers)}}
        return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


class Template(NamedTuple):
    """A clone of the template."""

    clone: Path
    address: str

    def git(self, *arguments: str) -> str:
        """Run git in the clone."""
        return run_git(*arguments, cwd=self.clone).decode().strip()

    def commit(self, name: str) -> str:
        """Return the commit that a tag, a branch or an abbreviation names; raise ProjectError if there is none."""
        for full in (f"origin/{name}", name):
            try:
                return self.git("rev-parse", "--verify", "--quiet", "--end-of-options", full + "^{commit}")
            except ProjectError:
                continue
        raise ProjectError(f"The template at {without_secrets(self.address)} has no tag, branch or commit '{name}'.")

    def newest(self, current: str) -> str:
        """Return the newest release after a commit; where there is none, the last commit of the default branch."""
        releases = self.git("tag", "--list", "v*", "--sort=-version:refname", "--contains", current).split()
        return self.commit(releases[0] if releases else "HEAD")

    def label(self, commit: str) -> str:
        """Return the tag of a commit, or how far it is from the last one."""
        return self.git("describe", "--tags", "--always", commit)

    def questions(self, commit: str) -> list[str]:
        """Return the names of what a version of the template asks."""
        return [name for name in json.loads(self.git("show", f"{commit}:cookiecutter.json")) if name[0] != "_"]

    def render(self, commit: str, answers: Mapping[str, str], folder: Path) -> tuple[Path, dict[str, str]]:
        """Generate a project into a new folder; return it with the answers that this version of the template knows."""
        from cookiecutter import exceptions, main  # noqa: PLC0415 - only `make update` brings it

        self.git("checkout", "--quiet", "--detach", commit)
        asked = {name: answer for name, answer in answers.items() if name in self.questions(commit)}
        config = folder / "config.yaml"  # instead of the user's
        config.write_text(json.dumps({"replay_dir": str(folder), "cookiecutters_dir": str(folder)}))
        options: dict[str, Any] = {"no_input": True, "extra_context": asked, "config_file": str(config)}
        try:
            project = Path(main.cookiecutter(str(self.clone), output_dir=str(folder), **options))
        except (exceptions.CookiecutterException, ValueError) as error:
            message = " ".join(str(error).split())
            raise ProjectError(f"The template at {self.label(commit)} refuses the answers: {message}") from None
        shutil.rmtree(project / ".git", ignore_errors=True)
        made = project / RECORD
        return project, _answers(json.loads(made.read_text(encoding="utf-8"))) if made.exists() else asked


def update(to: str | None, answers: Mapping[str, str]) -> Iterator[str]:
    """Merge what the template has changed since it made the project, or what other answers change; yield sentences.

    `to` is a tag, branch or commit, by default the newest release. Conflicts are left to be resolved, as those of any
    merge; every other failure leaves the project as it was.
    """
    _check(answers)
    record, before = Record.read(), _resolve("HEAD")
    with TemporaryDirectory() as scratch:
        run_git("clone", "--quiet", "--", record.template, f"{scratch}/clone", cwd=Path(scratch))
        template = Template(Path(scratch) / "clone", record.template)
        old = template.commit(record.commit)
        new = template.commit(to) if to else template.newest(old)
        if unknown := answers.keys() - set(known := template.questions(new)):
            raise ProjectError(f"The template does not ask for '{min(unknown)}', but for {', '.join(known)}.")
        was, will = template.label(old), template.label(new)
        if old == new and answers.items() <= record.answers.items():
            yield f"The project is up to date with its template: {will}."
            return
        base, target = _commits(template, record, (old, new), answers)
        notes = template.git("diff", "--unified=10000", old, new, "--", "CHANGELOG.md")
    changed = _names("diff", "--name-only", base, target, "--", ".", f":!{RECORD}")
    if changed and (untracked := _names("ls-files", "--others", "--", *(f":(literal){name}" for name in changed))):
        raise ProjectError(f"git does not know {', '.join(untracked)}, which the merge changes: commit or move them.")
    with_answers = "".join(f", {name}={answer}" for name, answer in sorted(answers.items()))
    yield f"From {was} to {will}{with_answers}: {len(changed)} files of the template have changed."
    yield from (f"  {name}" for name in changed)
    if entries := list(changed_entries(notes)):
        yield from ("Its changelog says:", *(f"  {line}" for line in entries))
    if conflicts := _merge(before, base, target, f"Update the template from {was} to {will}{with_answers}"):
        yield f"Resolve the conflicts in {', '.join(conflicts)}; then `git add` these files, and `git commit`."
    yield f"To undo the update: git reset --hard {before[:12]}"
    yield "Next: make setup, make check, make test, make train; then commit what the training has written."


def changed_entries(diff: str) -> Iterator[str]:
    """Yield the lines of each heading and entry of a changelog that is new or has changed, of a diff with all lines."""
    newer = "".join(f"{line}\n" for line in diff.splitlines() if line[:1] in {" ", "+"} and line[:3] != "+++")
    for entry in re.split(r"^(?=.(?:[-#]|\d+\.|$))", newer, flags=re.MULTILINE):
        if re.search(r"^\+", entry, re.MULTILINE):
            yield from (line[1:] for line in entry.splitlines() if line[1:].strip())


class Distance(NamedTuple):
    """The template's version that the project has, the newest one, and how many commits are between them."""

    current: str
    newest: str
    commits: int


def distance(record: Record, seconds: float) -> Distance:
    """Compare the project with its template; raise TimeoutExpired if the template does not answer in time."""
    with TemporaryDirectory() as scratch:
        # The history without files. Nobody is here to type a password.
        clone = ("clone", "--quiet", "--bare", "--filter=tree:0", "--", record.template, f"{scratch}/clone")
        run_git(
            *clone, cwd=Path(scratch), seconds=seconds, GIT_TERMINAL_PROMPT="0", GIT_SSH_COMMAND="ssh -oBatchMode=yes"
        )
        template = Template(Path(scratch) / "clone", record.template)
        old = template.commit(record.commit)
        new = template.newest(old)
        commits = int(template.git("rev-list", "--count", f"{old}..{new}"))
        return Distance(template.label(old), template.label(new), commits)


def _check(answers: Mapping[str, str]) -> None:
    """Raise ProjectError if the project cannot be updated now, or not to these answers."""
    for name in answers.keys() & FIXED.keys():
        raise ProjectError(f"An update cannot change {name}: {FIXED[name]}.")
    if run_git("rev-parse", "--show-prefix").strip():
        raise ProjectError(
            "The project is a folder inside another git repository, and an update merges whole repositories: give it "
            "a repository of its own."
        )
    _check_commit()
    # With it, git can neither merge nor undo what was begun.
    lock = project_root() / run_git("rev-parse", "--git-path", "index.lock").decode().strip()
    if lock.exists():
        raise ProjectError(f"{lock} exists: another git command is running, or one was killed; then delete this file.")
    if run_git("status", "--porcelain", "--untracked-files=no"):
        raise ProjectError("There are uncommitted changes; commit or stash them first.")
    try:
        run_git("var", "GIT_COMMITTER_IDENT")
    except ProjectError:
        raise ProjectError("git does not know your user.name and user.email, which a merge needs.") from None
    if find_spec("cookiecutter") is None:
        raise ProjectError("Cookiecutter is not installed: run this as `make update`, or install it.")


def _check_commit() -> None:
    """Raise ProjectError if nothing is committed."""
    if not _resolve("HEAD"):
        raise ProjectError("git has no commit yet: `git add --all && git commit -m 'Start the project'` makes it.")


def _commits(
    template: Template, record: Record, versions: tuple[str, str], answers: Mapping[str, str]
) -> tuple[str, str]:
    """Commit what the template made of the project, and what it would make now, one after the other."""
    old, new = versions
    with TemporaryDirectory() as first, TemporaryDirectory() as second:
        made, _ = template.render(old, record.answers, Path(first))
        making, answered = template.render(new, {**record.answers, **answers}, Path(second))
        adopted = read_params().data.source != EXAMPLE
        for name in (*OWNED, *((README,) if adopted else ())):
            _remove(made / name)
            _remove(making / name)
        (made / RECORD).write_text(record.text, encoding="utf-8")
        (making / RECORD).write_text(record.moved(new, answered), encoding="utf-8")
        trees = [_tree(made), _tree(making)]
    tip = _resolve(f"refs/heads/{BRANCH}")
    if not tip or _resolve(tip + "^{tree}") != trees[0]:
        tip = _commit(trees[0], f"The template at {template.label(old)}", *([tip] if tip else []))
    return tip, _commit(trees[1], f"The template at {template.label(new)}", tip)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def _tree(folder: Path) -> str:
    """Store all files of a folder, whatever the user's settings of git; return the id of the tree."""
    objects = str(project_root() / run_git("rev-parse", "--git-path", "objects").decode().strip())
    git = partial(run_git, cwd=folder, GIT_OBJECT_DIRECTORY=objects, GIT_CONFIG_GLOBAL=os.devnull)
    git("init", "--quiet")
    git("add", "--all", "--force")
    return git("write-tree").decode().strip()


def _commit(tree: str, message: str, *parents: str) -> str:
    options = [word for parent in parents for word in ("-p", parent)]
    return run_git("commit-tree", tree, *options, "-m", message).decode().strip()


def _resolve(name: str) -> str:
    """Return the id of an object, empty if there is none."""
    try:
        return run_git("rev-parse", "--verify", "--quiet", name).decode().strip()
    except ProjectError:
        return ""


def _names(command: str, *arguments: str) -> list[str]:
    """Return the names of files that a command of git lists."""
    return os.fsdecode(run_git(command, "-z", *arguments)).split("\0")[:-1]


def _merge(before: str, base: str, target: str, message: str) -> list[str]:
    """Merge the template's last commit, whose first one is the base; return the files with conflicts."""
    try:
        if base not in run_git("rev-list", before).decode().split():
            # The same files as before: it tells git that the project contains the base.
            start = _commit(before + "^{tree}", "Start from what the template made", before, base)
            run_git("update-ref", "HEAD", start)
        run_git("merge", "--quiet", "--no-ff", "-m", message, target)
    except ProjectError:
        conflicts = _names("diff", "--name-only", "--diff-filter=U")
        if not conflicts:
            run_git("reset", "--merge", before)
            raise
        return conflicts
    except BaseException:
        run_git("reset", "--merge", before)
        raise
    finally:
        run_git("update-ref", f"refs/heads/{BRANCH}", target)
    return []


def _answers(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the answers of a record, without what Cookiecutter and the template derive."""
    return {name: value for name, value in record["context"]["cookiecutter"].items() if not name.startswith("_")}
