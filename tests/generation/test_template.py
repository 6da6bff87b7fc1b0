"""The template itself, its hooks, and how git and cruft work with it."""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cookiecutter.generate import is_copy_only_path
from post_gen_project import delete_unwanted, record, replace_names, select_variants
from pytest_cookies.plugin import Cookies
from template import CHOICES, FREE_TEXT, PROJECT, ROOT, TEMPLATE, Bake, copy_template
from tiers import in_turn

PYTHON = sorted(path for path in PROJECT.rglob("*.py"))


def run(*command: str, cwd: Path) -> str:
    """Run a command that must succeed; return its output."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("path", [*TEMPLATE["__keep_if"], *TEMPLATE["__variants"]])
def test_optional_path_is_in_the_template(path: str) -> None:
    assert in_template(path).exists()


def in_template(path: str) -> Path:
    """Return the template's file that a table in cookiecutter.json names."""
    return PROJECT / re.sub(r"{{ *([\w.]+) *}}", r"{{\1}}", path)


@pytest.mark.parametrize(("path", "answer"), TEMPLATE["__variants"].items())
def test_every_variant_is_named_by_a_choice(path: str, answer: str) -> None:
    standard = in_template(path)
    match = re.fullmatch(r"{{ cookiecutter\.(\w+) if cookiecutter\.\1 != '(\w+)' }}", answer)
    assert match
    choices = [choice for choice in CHOICES[match[1]] if choice != match[2]]
    assert len(choices) == len(CHOICES[match[1]]) - 1
    named = {standard.with_stem(f"{standard.stem}_{choice}") for choice in choices}
    assert named == set(standard.parent.glob(f"{standard.stem}_*"))


@pytest.mark.parametrize("name", [name for name in TEMPLATE if not name.startswith("_")])
def test_every_question_has_a_prompt_and_described_choices(name: str) -> None:
    prompt = TEMPLATE["__prompts__"][name]
    if isinstance(TEMPLATE[name], list):
        assert list(prompt) == ["__prompt__", *TEMPLATE[name]]
        prompt = prompt["__prompt__"]
    assert re.fullmatch(r"[A-Z].{5,70}\?", prompt)


def test_free_text_enters_files_only_quoted_or_escaped() -> None:
    bare = rf"(?<!plain\()(?<!quoted\()cookiecutter\.({'|'.join(FREE_TEXT)})\b"
    found = {
        path.name
        for path in PROJECT.rglob("*")
        if path.is_file() and re.search(bare, path.read_text(encoding="utf-8"))
    }
    assert found == {"LICENSE"}  # which is plain text


@pytest.mark.parametrize("path", PYTHON, ids=[str(path.relative_to(PROJECT)) for path in PYTHON])
def test_python_holds_no_jinja(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"{{|{%|{#", text)
    ast.parse(text)


def test_no_file_names_a_registry_or_locks_one_in() -> None:
    hosts = [".".join(parts) for parts in [("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org")]]
    locks = {"uv.lock", "poetry.lock", "pdm.lock", "pylock.toml", "package-lock.json", "pixi.lock"}
    names = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=ROOT)
    for path in (ROOT / name for name in names.split("\0") if name):
        assert path.name not in locks, path
        assert not any(host.encode() in path.read_bytes() for host in hosts), path


def test_every_case_has_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    tested = []
    for seed in range(7, 10):
        monkeypatch.setattr("tiers.SEED", seed)
        tested += [case.values for case in in_turn("a", ("b",), "c") if not case.marks]
    assert len(tested) == 3
    assert set(tested) == {("a",), ("b",), ("c",)}


def test_unknown_answer_is_an_error(bake: Bake) -> None:
    with pytest.raises(AssertionError, match="not in cookiecutter"):
        bake(nosuch="answer")


@pytest.mark.parametrize("table", [{"gone.py": "False"}, {"gone.py": "True"}, {"here.py": "yes"}])
def test_stale_or_unclear_row_of_the_table_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: dict[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here.py").touch()
    with pytest.raises(SystemExit, match=r"__keep_if .+\.$"):
        delete_unwanted(table)


def test_chosen_variant_that_is_missing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("seam.py").touch()
    select_variants({"seam.py": ""})
    with pytest.raises(SystemExit, match=r"__variants names 'seam_other\.py', which is not in the template"):
        select_variants({"seam.py": "other"})
    with pytest.raises(SystemExit, match=r"__variants names 'gone\.py'"):
        select_variants({"gone.py": ""})


@pytest.mark.parametrize("slug", ["snow-petrel", "my-penguin_model", "penguin-model-2"])
def test_names_are_replaced_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slug: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder/deep").mkdir(parents=True)
    for path in map(Path, ("file", "folder/deep/file", "other")):
        path.write_text("penguin-model.penguin_model")
    package = slug.replace("-", "_")
    replace_names(["file", "folder"], slug, package)
    assert Path("file").read_text() == Path("folder/deep/file").read_text() == f"{slug}.{package}"
    assert Path("other").read_text() == "penguin-model.penguin_model"
    with pytest.raises(SystemExit, match="_names_replaced_in names 'gone'"):
        replace_names(["gone"], slug, package)


def test_names_are_replaced_in_the_copied_files_that_have_them_and_in_no_other() -> None:
    context = {"cookiecutter": TEMPLATE}
    listed = [PROJECT / path for path in TEMPLATE["_names_replaced_in"]]
    used = set()
    for path in filter(Path.is_file, PROJECT.rglob("*")):
        name = path.relative_to(PROJECT)
        copied = any(is_copy_only_path(str(part), context) for part in (name, *name.parents))
        entries = [entry for entry in listed if path.is_relative_to(entry)]
        has_names = re.search(rb"penguin[-_]model", path.read_bytes())
        assert not has_names or (copied and entries), name
        if has_names:
            used.update(entries)
        assert copied or not entries, name
    assert used == set(listed)


@pytest.mark.parametrize("pattern", TEMPLATE["_copy_without_render"])
def test_every_pattern_of_files_to_copy_matches_one(pattern: str) -> None:
    context = {"cookiecutter": {"_copy_without_render": [pattern]}}
    names = [str(path.relative_to(PROJECT)) for path in PROJECT.rglob("*")]
    assert [name for name in names if is_copy_only_path(name, context)]


def test_git_starts_with_everything_but_the_data(bake: Bake) -> None:
    project = bake().path
    assert run("git", "log", "--format=%an %D %s", cwd=project) == "Test HEAD -> main Start the project\n"
    assert run("git", "status", "--porcelain", cwd=project) == ""
    tracked = run("git", "ls-files", cwd=project).splitlines()
    assert "pyproject.toml" in tracked
    # Rows to monitor are no data to train on.
    assert {Path(name).parent for name in tracked if name.endswith(".csv")} == {Path("data/new")}


# A user's git that ignores everything, converts line ends, and writes repositories that DVC cannot read.
HOSTILE = """
[user]
    name = T
    email = t@example.org
[core]
    excludesFile = {folder}/ignore
    attributesFile = {folder}/attributes
    autocrlf = true
    safecrlf = true
    eol = crlf
    fileMode = false
[init]
    templateDir = {folder}/template
    defaultBranch = trunk
    defaultObjectFormat = sha256
    defaultRefFormat = reftable
[commit]
    template = {folder}/nowhere
[color]
    ui = always
"""


@pytest.fixture
def hostile_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give git a configuration that would change what is committed and checked out."""
    (tmp_path / "config").write_text(HOSTILE.format(folder=tmp_path))
    (tmp_path / "ignore").write_text("*\n")
    (tmp_path / "attributes").write_text("* text eol=crlf\n")
    (tmp_path / "template/info").mkdir(parents=True)
    (tmp_path / "template/info/exclude").write_text("*\n")
    for name, value in {
        "CONFIG_GLOBAL": tmp_path / "config",
        "DEFAULT_HASH": "sha256",
        "OBJECT_DIRECTORY": tmp_path / "nowhere",
    }.items():
        monkeypatch.setenv(f"GIT_{name}", str(value))


@pytest.mark.usefixtures("hostile_git")
def test_git_starts_the_same_whatever_its_configuration(
    bake: Bake, cookies: Cookies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = cookies.bake(template=str(ROOT)).project_path
    monkeypatch.delenv("GIT_OBJECT_DIRECTORY")
    assert run("git", "ls-files", cwd=project) == run("git", "ls-files", cwd=bake().path)
    assert run("git", "log", "--format=%D %s", cwd=project) == "HEAD -> main Start the project\n"
    assert run("git", "rev-parse", "--show-object-format", cwd=project) == "sha1\n"
    # A clone has the same bytes, on which DVC's digests depend.
    run("git", "clone", "--quiet", str(project), str(tmp_path / "clone"), cwd=tmp_path)
    for name in run("git", "ls-files", cwd=project).splitlines():
        assert (tmp_path / "clone" / name).read_bytes() == (project / name).read_bytes(), name
    # What the commands write later is not ignored, unless it should be.
    new = [
        "dvc.lock",
        "uv.lock",
        "data/raw/t.csv.dvc",
        "reports/metrics.json",
        "src/penguin_model/steps/mine.py",
    ]
    left = [
        "data/raw/t.csv",
        "data/raw/.adopting-1/t.csv",
        ".scoring-1/rows",
        "data/predictions.unfinished",
        ".env",
    ]
    for path in (project / name for name in (*new, *left)):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    status = run("git", "-c", "color.ui=false", "status", "--porcelain", "--untracked-files=all", cwd=project)
    assert {line[3:] for line in status.splitlines()} == set(new)


def test_template_is_checked_out_without_conversion_of_line_ends() -> None:
    names = [
        "hooks/post_gen_project.py",
        f"{PROJECT.name}/data/raw/penguins.csv",
        f"{PROJECT.name}/contract.yaml",
    ]
    attributes = run("git", "check-attr", "text", "--", *names, cwd=ROOT)
    assert [line.rpartition(" ")[2] for line in attributes.splitlines()] == ["unset"] * 3


@pytest.mark.parametrize("name", ["a 'b' é;c $d #1", "Größe"])
def test_makefile_works_in_any_folder(bake: Bake, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    shutil.copy(bake().path / "Makefile", folder)
    assert "setup" in run("make", cwd=folder)
    (folder / "bin").mkdir()
    (folder / "bin/uv").symlink_to("/bin/true")
    for path, installs in {"/usr/bin:/bin": True, f"{folder}/bin:/usr/bin:/bin": False}.items():
        command, env = ["make", "--dry-run", "setup"], {"PATH": path}
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=True)
        assert ("pip install" in done.stdout) == installs


REASONS = {
    "no git": "git is not installed",
    "no identity": "user.name and user.email",
    "half an identity": "user.name and user.email",
    "signing fails": "git commit failed: ",
    "repository around": "already inside one",
    "unreadable repository around": "already inside one",
}


@pytest.mark.parametrize("problem", REASONS)
def test_problem_with_git_is_reported_and_harmless(
    cookies: Cookies,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    problem: str,
) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    if problem == "no git":
        monkeypatch.setenv("PATH", str(tmp_path))
    half = "[user]\nemail = t@example.org\n"
    if problem == "half an identity":
        (tmp_path / "config").write_text(half)
    if problem == "signing fails":
        (tmp_path / "config").write_text(
            f"{half}name = T\n[commit]\ngpgsign = true\n[gpg]\nprogram = false\n"
        )
    if problem == "repository around":
        run("git", "init", cwd=tmp_path)
    if problem == "unreadable repository around":
        (tmp_path / ".git").mkdir()
    result = cookies.bake(template=str(ROOT))
    assert result.exception is None
    assert re.fullmatch(rf".*{REASONS[problem]}.*\n", capfd.readouterr().err)
    assert (result.project_path / ".git").exists() == (problem != "no git" and "around" not in problem)


def test_git_of_the_caller_is_left_alone(
    cookies: Cookies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("git", "init", "other", cwd=tmp_path)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other/.git"))
    project = cookies.bake(template=str(ROOT)).project_path
    monkeypatch.delenv("GIT_DIR")
    assert run("git", "status", "--porcelain", cwd=tmp_path / "other") == ""
    assert run("git", "log", "--format=%s", cwd=project) == "Start the project\n"


@pytest.mark.parametrize(
    ("remote", "recorded"),
    {
        "https://github.com/ORG/REPO.git": "https://github.com/ORG/REPO.git",
        "https://user:pa%40ss@host:8443/ORG/REPO": "https://host:8443/ORG/REPO",
        "https://token@host/ORG/REPO": "https://host/ORG/REPO",
        "ftp://user:pass@host/ORG/REPO?token=x#y": "ftp://host/ORG/REPO",
        "git@github.com:ORG/REPO.git": "git@github.com:ORG/REPO.git",
        "ssh://git@host:22/ORG/REPO": "ssh://git@host:22/ORG/REPO",
    }.items(),
)
def test_record_has_the_address_of_a_cloned_template_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remote: str, recorded: str
) -> None:
    (tmp_path / "clone").mkdir()
    (tmp_path / "clone/cookiecutter.json").write_text("{}")
    clone = "git init -q && git add . && git commit -q -m new && git remote add origin " + shlex.quote(remote)
    run("sh", "-c", clone, cwd=tmp_path / "clone")
    monkeypatch.chdir(tmp_path)
    answers = {"_repo_dir": str(tmp_path / "clone"), "_template": "gh:ORG/REPO", "_checkout": "v1"}
    assert record({**answers, "compute": "dask", "__folder": "x"}) is None
    assert json.loads((tmp_path / ".cruft.json").read_text()) == {
        "template": recorded,
        "commit": run("git", "rev-parse", "HEAD", cwd=tmp_path / "clone").strip(),
        "checkout": "v1",
        "context": {"cookiecutter": {"compute": "dask"}},
        "directory": None,
    }


@pytest.mark.parametrize(
    ("given", "at"), [("template", "."), ("../template", "elsewhere"), (".", "template")]
)
def test_path_of_a_template_is_recorded_from_where_it_was_given(tmp_path: Path, given: str, at: str) -> None:
    copy_template(tmp_path / "template")
    (tmp_path / "elsewhere").mkdir()
    output = ["--output-dir", str(tmp_path / "made")]
    run(
        "sh",
        "-c",
        f"cd {at} && {sys.executable} -m cookiecutter --no-input {given} {' '.join(output)}",
        cwd=tmp_path,
    )
    text = (tmp_path / "made/penguin-model/.cruft.json").read_text()
    assert json.loads(text)["template"] == str(tmp_path / "template")


def test_cruft_updates_a_project_and_keeps_the_edits_of_its_owner(tmp_path: Path) -> None:
    template = tmp_path / "template"
    copy_template(template)
    commit = "git init -q -b main && git add --force . && git commit -q -m new"
    cruft = [sys.executable, "-m", "cruft"]
    environment = {**os.environ, "HOME": str(tmp_path)}
    create = [*cruft, "create", str(template), "--no-input"]
    said = subprocess.check_output(create, cwd=tmp_path, env=environment, text=True)
    assert said.count("make setup") == 1
    project = tmp_path / "penguin-model"
    assert json.loads((project / ".cruft.json").read_text())["commit"]
    with (project / "docs/scaling.md").open("a") as document:
        document.write("The owner's line.\n")
    run("sh", "-c", commit, cwd=project)
    with (template / PROJECT.name / "params.yaml").open("a") as params:
        params.write("# {{ cookiecutter.project_slug }}\n")
    (template / PROJECT.name / "docs/scaling.md").rename(template / PROJECT.name / "docs/moved.md")
    run("sh", "-c", commit, cwd=template)
    update = [*cruft, "update", "--skip-apply-ask"]
    assert "make setup" not in subprocess.check_output(update, cwd=project, env=environment, text=True)
    assert (project / "params.yaml").read_text().endswith("# penguin-model\n")
    assert (project / "docs/moved.md").read_text().endswith("The owner's line.\n")
    assert not (project / "docs/scaling.md").exists()
