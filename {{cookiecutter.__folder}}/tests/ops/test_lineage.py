"""Lineage and rebuilding: what is kept of the code, whether dvc.lock is up to date, and what a comparison says."""

import json
import os
import shutil
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
from conftest import PROJECT
from sqlalchemy import Engine, event

from penguin_model.config import Split
from penguin_model.errors import ProjectError, printable
from penguin_model.model.predictor import Predictor
from penguin_model.ops.paths import RECORD
from penguin_model.ops.settings import PACKAGE, project_root, read_params
from penguin_model.ops.tracking import (
    lineage,
    registry,
    reproduce,
    status,
    store,
)
from penguin_model.ops.versioning import content, dvc, git, lock_check
from penguin_model.ops.versioning.provenance import Provenance


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """Make a git repository with one commit, as the project's root."""
    project = tmp_path / "project"
    (project / "src").mkdir(parents=True)
    monkeypatch.setenv("PROJECT_ROOT", str(project))
    (project / "src/code.py").write_bytes("# é\n".encode("latin-1"))
    (project / ".gitignore").write_text("ignored.py\n")
    for name in ("dvc.lock", "reports/metrics.json"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text("old\n")
    git.run_git("init", "--quiet")
    git.run_git("add", ".")
    commit("Start")
    return project


def test_clean_tree_is_its_commit_whatever_training_writes(repository):
    (repository / "dvc.lock").write_text("new\n")
    (repository / "reports/metrics.json").unlink()
    for name in ("notes.txt", "src/ignored.py", "reports/report.html"):
        (repository / name).write_text("no code\n")
    code = git.code()
    assert str(code) == code.commit == git.run_git("rev-parse", "HEAD").decode().strip()
    assert code.changed == []


def test_patch_brings_a_dirty_tree_back(repository, tmp_path):
    git.run_git("config", "diff.noprefix", "true")
    (repository / "src/code.py").write_bytes("# è\n".encode("latin-1"))
    (repository / "src/new.py").write_text("# new\n")
    (repository / "params.yaml").write_text("new: true\n")
    before = git.run_git("status", "--porcelain")
    code = git.code()
    assert str(code) == f"{code.commit}-dirty"
    assert code.changed == ["params.yaml", "src/code.py", "src/new.py"]
    (tmp_path / "code.patch").write_bytes(code.patch)
    with reproduce.worktree(code.commit, 1) as scratch:
        git.run_git("apply", str(tmp_path / "code.patch"), cwd=scratch)
        for name in code.changed:
            assert (scratch / name).read_bytes() == (repository / name).read_bytes()
    after = git.run_git("status", "--porcelain")
    assert after == before
    assert not scratch.exists()
    assert len(git.run_git("worktree", "list").splitlines()) == 1


# Names that a shell, git or a terminal reads as more than text; and kinds of files.
NAMES = ("a b", "'q'", '"q"', "line\nbreak", "tab\t", "é", "\udce9", "*", "[a]", ":(top)x", "-x", "$HOME", "\x1b[1m")
CODE = {
    **{f"src/{name}.py": b"# code\n" for name in NAMES},
    "src/deep/er/query.sql": b"select 1\n",
    "contract.yaml": b"columns: {}\n",
    "data/raw/table.csv.dvc": b"outs: []\n",
    "src/secrets.py": b"# code about secrets\n",
}
LEFT_OUT = {
    "data/raw/people.csv": (b"name,account\n", "data"),
    "data/notes.yaml": (b"a: 1\n", "data"),
    **{
        f"src/people.{kind}": (b"x", "neither")
        for kind in ("csv", "parquet", "tsv", "xlsx", "db", "sqlite", "json", "so")
    },
    "src/people.CSV": (b"x", "neither"),
    "src/people": (b"x", "neither"),
    **{
        f"src/{name}": (b"x", "secret")
        for name in (".env", ".env.local", "secrets.yaml", "Credentials.toml", "token.md")
    },
    "src/key.pem": (b"x", "neither"),
    "src/key.py": (b"-----BEGIN RSA PRIVATE KEY-----\n", "private key"),
    "src/binary.py": (b"#\0", "binary"),
    "src/big.py": (b"#" * 1_000_001, "larger"),
}


def test_patch_holds_code_and_configuration_of_any_name_and_nothing_else(repository, tmp_path):
    for name, text in [*CODE.items(), *((name, text) for name, (text, _) in LEFT_OUT.items())]:
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_bytes(text)
    (repository / "src/link.py").symlink_to("code.py")
    git.run_git("init", "--quiet", cwd=repository / "src/deep")
    code = git.code()
    # With the link, and without the folder that is a repository.
    assert len(code.changed) == len(CODE)
    assert all(printable(name) in code.changed for name in CODE if "deep" not in name)
    for name, (_, reason) in LEFT_OUT.items():
        assert any(said.startswith(f"{name} (") and reason in said for said in code.left_out), name
    assert any(said.startswith("src/deep/ (a folder, or a repository") for said in code.left_out)
    (tmp_path / "code.patch").write_bytes(code.patch)
    with reproduce.worktree(code.commit, 1) as scratch:
        git.run_git("apply", str(tmp_path / "code.patch"), cwd=scratch)
        assert all((scratch / name).read_bytes() == CODE[name] for name in CODE if "deep" not in name)
        assert (scratch / "src/link.py").is_symlink()
        assert not any((scratch / name).exists() for name in LEFT_OUT)


def test_patch_has_no_data_that_was_tracked_changed_or_deleted(repository):
    tracked = ("src/table.csv", "src/gone.csv", "src/big.py", "src/gone.py", "src/linked/code.py", "sub/code.py")
    for name in tracked:
        (repository / name).parent.mkdir(exist_ok=True)
        (repository / name).write_bytes(b"account 42\n" * (200_000 if "big" in name else 1))
    git.run_git("add", ".")
    commit("Track data")
    (repository / "src/table.csv").write_text("account 43\n")
    (repository / "src/big.py").write_text("small now\n")
    for name in ("src/gone.csv", "src/gone.py"):
        (repository / name).unlink()
    (repository / "src/linked").rename(repository / "elsewhere")
    (repository / "src/linked").symlink_to(repository / "elsewhere")
    code = git.code()
    assert code.changed == ["src/gone.py"]
    assert b"deleted file" in code.patch
    assert [said.partition(" (")[0] for said in code.left_out] == [
        "src/big.py",
        "src/gone.csv",
        "src/linked",
        "src/linked/code.py",
        "src/table.csv",
    ]


def test_change_in_the_second_of_the_commit_is_seen(repository):
    """Git compares seconds and sizes; only the index's own time tells it to look at the content."""
    file, index = repository / "src/code.py", repository / ".git/index"
    past = 1_700_000_000
    file.write_text("one\n")
    os.utime(file, (past, past))
    git.run_git("add", ".")
    commit("Track code")
    file.write_text("two\n")
    for path in (file, index):
        os.utime(path, (past, past))
    assert git.code().changed == ["src/code.py"]


def test_patch_is_bounded_in_all_and_no_object_is_left_in_the_repository(repository, monkeypatch):
    monkeypatch.setattr(git, "MAX_PATCH", 2500)
    for number in range(9):
        (repository / f"src/{number}.py").write_text("#" * 1000)
    before = git.run_git("count-objects", "-v")
    code = git.code()
    assert code.changed == ["src/0.py", "src/1.py"]
    assert [said.partition(" (")[2] for said in code.left_out] == ["the patch would be too large)"] * 7
    assert git.run_git("count-objects", "-v") == before


def test_project_below_the_root_of_its_repository_has_its_patch(repository, tmp_path, monkeypatch):
    (repository / "below/src").mkdir(parents=True)
    (repository / "below/src/code.py").write_text("# old\n")
    git.run_git("add", ".")
    commit("Below")
    monkeypatch.setenv("PROJECT_ROOT", str(repository / "below"))
    (repository / "below/src/code.py").write_text("# changed\n")
    (repository / "below/src/new.py").write_text("# new\n")
    (repository / "src/code.py").write_text("# another project\n")
    code = git.code()
    assert code.changed == ["src/code.py", "src/new.py"]
    (tmp_path / "code.patch").write_bytes(code.patch)
    with reproduce.worktree(code.commit, 1) as scratch:
        git.run_git("apply", str(tmp_path / "code.patch"), cwd=scratch.parent)
        assert (scratch / "src/new.py").read_text() == "# new\n"


def test_what_was_left_out_is_in_the_tags_and_does_not_call_for_a_patch(repository):
    (repository / "data").mkdir()
    for number in range(99):
        (repository / f"data/{number:020}.csv").write_text("x")
    code = git.code()
    assert (str(code), code.changed) == (f"{code.commit}-dirty", [])
    origin = Provenance.of(code, ("1", "name"), Split(holdout=0.2, seed=1), [])
    tags = origin.tags()
    assert tags["git.left_out"].startswith(f"data/{0:020}.csv (data), ")
    assert tags["git.left_out"].endswith("… (99 files)")
    assert Provenance.read(tags) == origin
    assert not origin.patched
    (repository / "src/new.py").write_text("# new\n")
    patched = Provenance.of(git.code(), ("1", "name"), Split(holdout=0.2, seed=1), [])
    assert Provenance.read(patched.tags()).patched
    assert Provenance.read({"git.commit": "a1-dirty"}).patched  # a version of before


@pytest.mark.parametrize("recorded", ["its own", "", "0" * 64])
def test_patch_is_applied_only_if_it_is_the_one_that_was_recorded(repository, tmp_path, monkeypatch, caplog, recorded):
    applied = recorded != "0" * 64
    (repository / "src/new.py").write_text("# new\n")
    code = git.code()
    (tmp_path / "code.patch").write_bytes(code.patch)
    monkeypatch.setattr(reproduce, "download_artifacts", lambda **_: str(tmp_path / "code.patch"))
    own = Provenance.of(code, ("1", "name"), Split(holdout=0.2, seed=1), []).patch
    version = store.Version(3, {}, "", "run")
    with reproduce.worktree(code.commit, 3) as scratch:
        if applied:
            reproduce._apply_patch(version, own if recorded else "", scratch)  # noqa: SLF001
        else:
            with pytest.raises(ProjectError, match="patch of version 3 cannot be applied: its content is not what"):
                reproduce._apply_patch(version, recorded, scratch)  # noqa: SLF001
        assert (scratch / "src/new.py").exists() == applied
    assert ("run unchecked" in caplog.text) is (not recorded)


def commit(message: str) -> None:
    git.run_git("-c", "user.name=Test", "-c", "user.email=test@example.org", "commit", "--quiet", "-m", message)


def test_no_commit_and_no_git_are_told(repository, monkeypatch, tmp_path):
    with pytest.raises(ProjectError, match=r"Commit 0{40}, .* version 7 .* is not in this repository; fetch"):
        reproduce.worktree("0" * 40, 7).__enter__()
    monkeypatch.setenv("PROJECT_ROOT", str(tmp_path))
    assert str(git.code()) == "none"
    with pytest.raises(ProjectError, match=r"git rev-parse failed: .*not a git repository"):
        reproduce.worktree("0" * 40, 7).__enter__()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProjectError, match="git is not installed"):
        git.run_git("status")


def test_version_without_a_commit_cannot_be_rebuilt(trained):
    with pytest.raises(ProjectError, match="Version 1 was trained where there was no git commit"):
        reproduce.reproduce(1)
    with pytest.raises(ProjectError, match=r"There is no version 999 of "):
        reproduce.reproduce(999)


@pytest.fixture(scope="module")
def locked(tmp_path_factory) -> Path:
    """Make a DVC project whose dvc.lock is up to date, with data in the cache and in a remote."""
    from dvc.repo import Repo

    project = tmp_path_factory.mktemp("locked") / "project"
    for name in ("data/raw", "data/folder/of", "src", "models", "reports"):
        (project / name).mkdir(parents=True)
    for name in ("params.yaml", "contract.yaml"):
        shutil.copy(PROJECT / name, project)
    files = (
        "data/raw/table.csv",
        "data/folder/1",
        "data/folder/of/2",
        "src/code.py",
        "models/model",
        "reports/metrics.json",
    )
    for name in files:
        (project / name).write_text(f"{name}\n")
    stage = {
        "cmd": "true",
        "deps": ["data/raw/table.csv", "contract.yaml", "src"],
        "params": [{"params.yaml": None}],
        "outs": ["models/model", {str(RECORD): {"cache": False}}],
        "metrics": [{"reports/metrics.json": {"cache": False}}],
    }
    (project / "dvc.yaml").write_text(json.dumps({"stages": {"training": stage}}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROJECT_ROOT", str(project))
        record = {
            "code": content.digest_of_code(),
            "params": read_params().model_dump(mode="json"),
            "deps": {name: content.md5(project / name) for name in ("data/raw/table.csv", "contract.yaml")},
            "outs": {name: content.md5(project / name) for name in ("models/model", "reports/metrics.json")},
        }
    (project / RECORD).write_text(json.dumps(record))
    with chdir(project), Repo.init(no_scm=True) as repo:
        with repo.config.edit() as config:
            config["remote"]["storage"] = {"url": str(project.parent / "storage")}
            config["core"]["remote"] = "storage"
        repo.add(["data/raw/table.csv", "data/folder"])
        repo.commit(force=True)
        repo.push()
    shutil.rmtree(project / "models")
    shutil.move(project / "data/folder", project.parent)
    (project / "data/raw/table.csv").unlink()
    return project


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("src/code.py", ("code", "edited"), "src, which the training reads, does not match dvc.lock"),
        ("contract.yaml", ("rows", "# rows"), "contract.yaml, which the training reads, does not match"),
        ("params.yaml", ("  seed: ", "  seed: 1"), "params.yaml has changed since the training: split"),
        ("reports/metrics.json", ("r", "s"), "reports/metrics.json does not match dvc.lock"),
        ("dvc.yaml", ('"cmd": "true"', '"cmd": "false"'), "the stage 'training' has changed"),
        ("dvc.yaml", ('"models/model"', '"models/new", "models/model"'), "models/new is in dvc.yaml, but not in"),
        ("dvc.lock", ("<data/raw/table.csv>", "a" * 32), "data/raw/table.csv was read with MD5 aaaa"),
        ("data/raw/table.csv.dvc", ("<data/raw/table.csv>", "a" * 32), "table.csv.dvc has aaaa"),
        ("dvc.lock", ("<models/model>", "a" * 32), "models/model has MD5 aaaa.* in dvc.lock, but"),
        ("dvc.lock", ("<contract.yaml>", "a" * 32), "contract.yaml, which the training reads, does not match"),
        ("dvc.lock", ("schema:", "] schema:"), "dvc.lock, line 1: not valid YAML"),
        (str(RECORD), ('"seed": ', '"seed": 9'), "the parameters in dvc.lock differ from those in"),
        (str(RECORD), ('"code": "', '"code": "0'), "the code that dvc.yaml lists has changed"),
        (str(RECORD), ("{", ""), "missing or unreadable"),
    ],
)
def test_untrue_lock_is_told_without_data(file, change, said, locked, monkeypatch):
    old, new = change
    monkeypatch.setenv("PROJECT_ROOT", str(locked))
    digests = json.loads((locked / RECORD).read_text())
    for name, digest in {**digests["deps"], **digests["outs"]}.items():
        old = old.replace(f"<{name}>", digest)
    assert lock_check.check() == "dvc.lock is up to date."
    text = (locked / file).read_text()
    assert old in text
    (locked / file).write_text(text.replace(old, new, 1))
    try:
        with pytest.raises(ProjectError, match=said):
            lock_check.check()
    finally:
        (locked / file).write_text(text)


def test_killed_training_leaves_what_git_has(tmp_path):
    from dvc.repo import Repo

    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(PROJECT / name, tmp_path)
    with Repo.init(tmp_path, no_scm=True) as repo, repo.lock:
        [stage] = repo.stage.load_all("dvc.yaml", "training")
        kept = [Path(out.fs_path) for out in stage.outs if not out.use_cache]
        for file in kept:
            file.parent.mkdir(exist_ok=True)
            file.touch()
        stage.remove_outs()  # as before each run
    assert {file.name for file in kept if file.exists()} == {"metrics.json", "provenance.json"}


def test_lock_that_is_not_there_yet_is_no_fault(tmp_path, monkeypatch):
    monkeypatch.setenv("PROJECT_ROOT", str(tmp_path))
    assert "no dvc.lock yet" in lock_check.check()


def test_data_is_found_by_its_md5_and_fetched(locked, tmp_path, monkeypatch):
    monkeypatch.setenv("PROJECT_ROOT", str(locked))
    name = "data/raw/table.csv"
    digest = json.loads((locked / RECORD).read_text())["deps"][name]
    assert [place.split()[0] for place in dvc.places(digest)] == ["cache", "remote"]
    folder = content.md5(locked.parent / "folder")
    dvc.fetch(digest, name, tmp_path / "from/cache")
    dvc.fetch(folder, "data/folder", tmp_path / "folders/cache")
    shutil.rmtree(locked / ".dvc/cache")
    unreachable = locked / ".dvc/config.local"
    unreachable.write_text(f"['remote \"away\"']\n    url = {locked / 'params.yaml'}\n")
    assert [place.split()[0] for place in dvc.places(digest)] == ["remote", "perhaps"]
    dvc.fetch(digest, name, tmp_path / "from/remote")
    dvc.fetch(folder, "data/folder", tmp_path / "folders/remote")
    for copy in (tmp_path / "from").iterdir():
        assert copy.read_text() == f"{name}\n"
    assert [content.md5(copy) for copy in (tmp_path / "folders").iterdir()] == [folder] * 2
    with pytest.raises(ProjectError, match=f"{name} with MD5 a+ is neither in DVC's cache nor in a remote"):
        dvc.fetch("a" * 32, name, tmp_path / "from/nowhere")
    unreachable.unlink()


def test_lineage_names_every_link(trained, locked, monkeypatch):
    home = str(project_root())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
    source = read_params().data.source
    monkeypatch.setenv("PROJECT_ROOT", str(locked))
    said = lineage.describe(1)
    version = registry.get(1)
    for link in (
        f"{PACKAGE} version 1",
        f"MLflow run {version.run_id}",
        str(trained.state_details.flow_run_id),
        "git commit none: it was trained outside git",
        f"dvc.lock names models/pipeline.skops {json.loads(version.tags['dvc.lock'])['outs']['models/pipeline.skops']}",
        f"raw data {source}, MD5 {version.tags[f'input.{source}']}",
        "in neither the cache nor a remote",
    ):
        assert link in said


def test_registry_is_read_where_nothing_may_be_written(trained, monkeypatch):
    monkeypatch.setattr(dvc, "places", lambda _: [])
    file = project_root() / "mlflow.db"
    before = file.read_bytes()

    def forbid(connection, _):
        connection.execute("PRAGMA query_only = ON")

    event.listen(Engine, "connect", forbid)
    file.chmod(0o444)  # root may write nevertheless
    try:
        number = registry.champion().champion
        assert f"{PACKAGE} version {registry.newest().number}: " in str(status.read())
        assert f"version {number} (champion)" in lineage.describe(None)
        with registry.load(number) as package, package.loaded() as predictor:
            assert predictor.recipe.data.target == read_params().data.target
        with pytest.raises(ProjectError, match="attempt to write a readonly database"):
            store.open_store().set_tag("may", "not")
    finally:
        file.chmod(0o644)
        event.remove(Engine, "connect", forbid)
    assert file.read_bytes() == before


def test_comparison_says_what_differs(champion, holdout, tmp_path):
    folder = project_root() / "models"
    assert list(reproduce.differing_metrics({"a": 0.1, "b": 1.0}, {"a": 0.1})) == []
    [said] = reproduce.differing_metrics({"a": 0.1}, {"a": 0.1 + 1e-16 * 2})
    assert said == f"a is {0.1 + 1e-16 * 2!r}, was 0.1"
    predictor = Predictor.load(folder, read_params().model.trusted)
    then = reproduce.outputs(predictor, holdout)
    assert list(reproduce.differing_rows(then, reproduce.outputs(predictor, holdout))) == []
    column = min(then)
    other = next(index for index, value in enumerate(then[column]) if not np.array_equal(value, then[column][0]))
    now = {name: np.concatenate([values[other : other + 1], values[1:]]) for name, values in then.items()}
    assert f"the {column} of 1 of the {len(holdout)} rows of the holdout differ" in reproduce.differing_rows(then, now)
    assert list(reproduce.differing_rows(then, {})) == [f"there are no {name} any more" for name in sorted(then)]
