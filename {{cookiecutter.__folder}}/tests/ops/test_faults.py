"""Damaged files, a full disk and signals: one sentence that names the file and the remedy."""

import errno
import fcntl
import os
import re
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import chdir
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
import sqlalchemy
from conftest import PROJECT
from mlflow.exceptions import MlflowException

from penguin_model import cli
from penguin_model.errors import ProjectError
from penguin_model.ops import faults, settings
from penguin_model.ops.doctor import local
from penguin_model.ops.orchestration import policies, prefect_server
from penguin_model.ops.settings import PACKAGE
from penguin_model.ops.tracking import connection, database, registry
from penguin_model.ops.versioning import (
    content,
    dvc,
    git,
    lock_check,
    template,
)
from penguin_model.steps.ingest import readable

BINARY = bytes(range(256))
CONFLICT = b"a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> other\n"
LATIN = "NOTIFY_ON=größe\n".encode("latin-1")


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """Make a project of git and DVC with one tracked table, as the project's root."""
    monkeypatch.setenv("PROJECT_ROOT", str(tmp_path))
    monkeypatch.setattr(content, "PACKAGE_DIR", tmp_path / "src" / PACKAGE)
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/table.csv").write_text("a\n1\n")
    git.run_git("init", "--quiet")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    analytics = false\n")
    with dvc.repository() as repo:
        repo.add("data/raw/table.csv")
    git.run_git("add", ".")
    git.run_git("-c", "user.name=Test", "-c", "user.email=test@example.org", "commit", "--quiet", "-m", "Start")
    return tmp_path


def write(content: bytes) -> Callable[[Path], object]:
    """Damage a file by writing other content."""
    return lambda file: file.write_bytes(content)


def replace_by_folder(file: Path) -> None:
    """Make a folder of the same name."""
    file.unlink(missing_ok=True)
    file.mkdir()


def link_to_itself(file: Path) -> None:
    """Make a link that leads nowhere."""
    file.symlink_to(file.name)


def update() -> None:
    list(template.update(None, {}))


def dvc_status() -> None:
    """Run `dvc status`."""
    with chdir(os.environ["PROJECT_ROOT"]):
        dvc.command_line(["status"])


def read_database() -> None:
    """Read the registry, first as the verbs and then as a training does."""
    with pytest.raises(ProjectError, match=r"MLflow's database .*mlflow.db is damaged"):
        registry.champion()
    with pytest.raises(ProjectError, match=r"MLflow's database .*mlflow.db is damaged"):
        database.migrate()
    connection.connect()


@pytest.mark.parametrize(
    ("name", "damage", "read", "message"),
    [
        ("params.yaml", write(BINARY), settings.read_params, "params.yaml cannot be read .*git checkout params.yaml"),
        ("params.yaml", write(b""), settings.read_params, "params.yaml is empty; `git checkout params.yaml`"),
        ("params.yaml", write(LATIN), settings.read_params, "params.yaml cannot be read"),
        ("params.yaml", write("a: 1\n".encode("utf-16")), settings.read_params, "params.yaml cannot be read"),
        ("params.yaml", write(b"- a\n"), settings.read_params, r"params.yaml: the file must hold keys .*, not \['a'\]"),
        ("contract.yaml", write(b"columns: 1\n"), settings.read_contract, "contract.yaml: `columns` must hold keys"),
        ("params.yaml", write(CONFLICT), settings.read_params, "params.yaml, line 3: a conflict of git's merge is not"),
        ("contract.yaml", replace_by_folder, settings.read_contract, "contract.yaml cannot be read .*Is a directory"),
        (".env", write(BINARY), settings.read_settings, r"\.env cannot be read as UTF-8 text"),
        (".env", write(LATIN), settings.read_settings, r"\.env cannot be read as UTF-8 text"),
        *(
            (".env", write(text), settings.read_settings, rf"\.env, line {line}: write a setting as NAME=value")
            for text, line in [
                (b"\n# port\n\nSERVE_PORT 9000\n", 4),
                (b"SERVE_PORT=9000\nSERVE_HOST\n", 2),
                (b"SERVE_PORT: 9000\n", 1),
                (b"SERVE_API_KEY='a\nSERVE_PORT=9000\n", 1),
                (b"SERVE_PORT=1\n<<<<<<< HEAD\n", 2),
            ]
        ),
        (".env", write(b"SERVICE_URL=localhost:1\n"), settings.read_settings, "`SERVICE_URL` is not a URL; write"),
        (".env", replace_by_folder, settings.read_settings, r"\.env cannot be read .*Is a directory"),
        (".env", link_to_itself, settings.read_settings, r"\.env cannot be read .*symbolic links"),
        ("dvc.yaml", write(b""), content.training_code, "dvc.yaml is empty"),
        ("dvc.yaml", write(b"stages: {}\n"), content.training_code, "dvc.yaml has no stage `training`"),
        ("dvc.yaml", write(b"plots: []\n"), dvc.changed, "dvc.yaml has no stage `training`"),
        ("dvc.yaml", replace_by_folder, content.training_code, "dvc.yaml cannot be read .*Is a directory"),
        (
            ".dvc/config",
            write(BINARY),
            dvc_status,
            r"DVC: config file error.*see \.dvc/config",
        ),
        (".dvc/config", write(BINARY), dvc.changed, "DVC: config file error"),
        ("data/raw/table.csv.dvc", write(BINARY), dvc.changed, "DVC: unable to read: '.*table.csv.dvc'"),
        ("data/raw/table.csv.dvc", write(b"outs:\n- md5: 1\n"), dvc.changed, "DVC"),
        ("data/raw/table.csv.dvc", write(BINARY), lambda: dvc.pull(Path("data/raw/table.csv")), "DVC: unable to read"),
        (".git/index", write(BINARY), git.code, r"git .* failed: .*index.*delete .git/index, and run `git reset`"),
        (".git/index", write(b""), git.code, r"git .* failed: .*index.*delete .git/index, and run `git reset`"),
        (".git/index", Path.unlink, git.code, "git's index .* is missing; `git reset` writes it again"),
        (
            ".git/index.lock",
            Path.touch,
            partial(git.run_git, "add", "."),
            r"git add failed: .*index\.lock.*manually .*\.$",
        ),
        (
            ".git/index.lock",
            Path.touch,
            update,
            r"index\.lock exists: another git command is running, or one was killed",
        ),
        ("mlflow.db", write(BINARY * 8), read_database, r"MLflow's database .*mlflow.db is damaged .*: bring a backup"),
    ],
)
def test_damaged_file_is_one_sentence(project, name, damage, read, message):
    damage(project / name)
    with pytest.raises(ProjectError, match=message) as caught:
        read()
    assert "\n" not in str(caught.value).rstrip()


def test_env_file_may_begin_with_a_byte_order_mark(project):
    text = 'SERVE_PORT=9000\nNOTIFY_ON="drift,\nfailure"  # both\n# SERVE_PORT=1\nexport SHADOW=\n'
    (project / ".env").write_text(text, "utf-8-sig")
    found = settings.read_settings()
    assert (found.serve_port, found.notify_on, found.shadow) == (9000, {"drift", "failure"}, None)


def repro() -> None:
    """Run `dvc repro` as `make train` does."""
    with chdir(os.environ["PROJECT_ROOT"]):
        dvc.command_line(["--wait-for-lock", "repro"])


PIPELINE = (PROJECT / "dvc.yaml").read_text()


@pytest.mark.parametrize(
    ("lock", "message"),
    [
        (b"", "dvc.lock is empty; `git checkout dvc.lock` restores it"),
        (b"stages: [\n", "dvc.lock, line 2: not valid YAML"),
        (b"- a\n", "dvc.lock is not as DVC wrote it; `git checkout dvc.lock`"),
        (b"schema: '2.0'\nstages: 1\n", "dvc.lock is not as DVC wrote it"),
        (CONFLICT, "dvc.lock, line 3: a conflict of git's merge is not resolved"),
    ],
)
def test_damaged_lock_is_named_with_its_remedy(project, lock, message):
    (project / "dvc.yaml").write_text(PIPELINE)
    (project / "dvc.lock").write_bytes(lock)
    for read in (repro, lock_check.check):
        with pytest.raises(ProjectError, match=message):
            read()
    [finding] = local.lock()
    assert finding.remedy == "git checkout dvc.lock"


def without(text: str) -> str:
    """Return the lines of dvc.yaml without those that contain a text."""
    return "".join(line for line in PIPELINE.splitlines(keepends=True) if text not in line)


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ("", "dvc.yaml is empty"),
        ("stages:\n", "no stage `training`"),
        ("stages: training\n", "no stage `training`"),
        ("stages:\n  training: 1\n", "no stage `training`"),
        ("plots: []\n", "no stage `training`"),
        (PIPELINE.replace("training:", "train:"), "no stage `training`"),
        (PIPELINE.partition("    deps:")[0], r"`training` does not list \$\{data.source\}, contract.yaml, .*src/"),
        (PIPELINE.partition("    outs:")[0], "`training` does not list data/processed/table.parquet, data/processed/"),
        (PIPELINE.partition("    metrics:")[0], "`training` does not list reports/metrics.json, reports/plots, which"),
        (PIPELINE.replace("    deps:", "    dependencies:"), "`training` does not list .*contract.yaml"),
        (without("${data.source}"), r"`training` does not list \$\{data.source\}, which"),
        (without("- params.yaml:"), "`training` does not list params.yaml, which"),
        (without("models/pipeline.skops"), "`training` does not list models/pipeline.skops, which"),
    ],
)
@pytest.mark.parametrize("read", [repro, content.training_code])
def test_stage_that_lost_what_it_lists_is_not_up_to_date(project, read, pipeline, message):
    (project / "dvc.yaml").write_text(PIPELINE)
    content.training_code()
    (project / "dvc.yaml").write_text(pipeline)
    with pytest.raises(ProjectError, match=message):
        read()
    assert re.search(message, next(local.files()).problem)


@pytest.mark.parametrize("read", [registry.champion, database.migrate, connection.connect])
def test_database_that_was_lost_is_not_taken_for_a_new_one(project, read):
    (project / "mlartifacts").mkdir()
    for damage in (Path.touch, Path.unlink):
        damage(project / "mlflow.db")
        assert registry.champion().champion is None
        (project / "mlartifacts/models").mkdir()
        with pytest.raises(ProjectError, match=r"mlflow.db is empty or missing, but .*mlartifacts has artifacts"):
            read()
        (project / "mlartifacts/models").rmdir()
    (project / "mlflow.db").mkdir()
    with pytest.raises(ProjectError, match=r"mlflow.db is a folder: move it away"):
        read()


def test_table_that_cannot_be_written_is_not_called_damaged():
    full = "parquet: File out of specification: underlying IO error: No space left on device (os error 28)"
    with pytest.raises(ProjectError, match="Cannot read 'x' as a table: No space left") as raised, readable("x"):
        raise pl.exceptions.ComputeError(full)
    assert faults.sentence(raised.value).startswith("The disk is full (Cannot read 'x'")


@pytest.mark.parametrize("text", [b"", BINARY, b"http://127.0.0.1:1/api\n"])
def test_damaged_address_of_a_server_counts_as_none(tmp_path, text):
    file = tmp_path / prefect_server.ANNOUNCED
    file.write_bytes(text)
    with file.open() as server:
        fcntl.flock(server, fcntl.LOCK_EX)
        assert prefect_server.announced(tmp_path) is None


FULL = [
    OSError(errno.ENOSPC, "No space left on device", "models/pipeline.skops"),
    OSError(errno.EFBIG, "File too large"),
    OSError(errno.EDQUOT, "Disk quota exceeded"),
    pl.exceptions.ComputeError("No space left on device (os error 28)"),
    sqlalchemy.exc.OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full")),
    MlflowException("(sqlite3.OperationalError) database or disk is full\n[SQL: INSERT]"),
    ProjectError("Cannot read 'x': [Errno 28] No space left on device."),
]


@pytest.mark.parametrize("error", FULL, ids=lambda error: type(error).__name__)
def test_full_disk_is_one_sentence_and_not_tried_again(error):
    wrapped = RuntimeError("wrapped")
    wrapped.__cause__ = error
    for raised in (error, wrapped):
        said = faults.sentence(raised)
        assert said.startswith("The disk is full (")
        assert said.endswith("): free space, and run the same command again.")
        assert "\n" not in said
    assert not policies.is_transient(None, None, SimpleNamespace(result=lambda **_: error))


def test_database_of_dvc_that_cannot_be_written_is_not_tried_forever(project):
    def write() -> None:
        with dvc.repository() as repo, sqlite3.connect(f"{repo.state.links.directory}/cache.db") as other:
            other.execute("BEGIN IMMEDIATE")
            repo.state.links._sql("PRAGMA busy_timeout = 1")  # noqa: SLF001
            repo.state.links["table.csv"] = 1

    handler = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("DVC tries again and again"))
    signal.setitimer(signal.ITIMER_REAL, 20)
    try:
        with pytest.raises(ProjectError, match=r"DVC cannot write its notes on files.* the disk is full, or another"):
            write()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)


@pytest.mark.parametrize("arguments", [["pull", "--allow-missing"], ["checkout"]])
def test_pull_that_misses_files_for_a_full_disk_says_so(project, monkeypatch, arguments):
    monkeypatch.setattr(dvc, "command_line", lambda _: 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=300_000))
    with pytest.raises(ProjectError, match=r"The disk of .* is full"):
        cli.dvc(SimpleNamespace(args=arguments))


def test_run_on_a_full_disk_does_not_start(monkeypatch):
    faults.check_space()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=300_000))
    with pytest.raises(ProjectError, match=r"The disk of .* is full \(0\.3 MB left, at least 10 MB needed\): free"):
        faults.check_space()


@pytest.mark.parametrize("error", [FileNotFoundError(errno.ENOENT, "x", "y"), ValueError("bug"), KeyError("bug")])
def test_bug_keeps_its_traceback(error):
    assert faults.sentence(error) is None
    with pytest.raises(type(error)), faults.reported():
        raise error


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "Permission denied", "models"), ProjectError("x")])
def test_error_of_the_machine_exits_with_its_sentence(error):
    with pytest.raises(SystemExit, match=r"^(Permission denied: models\.|x)$"), faults.reported():
        raise error


@pytest.mark.parametrize(
    "error",
    [
        sqlalchemy.exc.OperationalError("x", {}, sqlite3.OperationalError("attempt to write a readonly database")),
        ProjectError("The MLflow store cannot be used: (sqlite3.OperationalError) unable to open database file"),
    ],
)
def test_database_that_may_not_be_written_is_named(project, monkeypatch, error):
    assert "Permission denied" not in (faults.sentence(error) or "")
    (project / "mlflow.db").touch()
    monkeypatch.setattr(os, "access", lambda path, _: path.name != "mlflow.db")
    assert faults.sentence(error) == f"Permission denied: {project}/mlflow.db."


def test_folder_that_polars_may_not_write_is_named():
    error = PermissionError("Permission denied (os error 13): /data/scoring")
    assert faults.sentence(error) == "Permission denied (os error 13): /data/scoring."


def test_dvc_keeps_its_notes_elsewhere_if_the_project_is_read_only(project, monkeypatch):
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", "")
    for writable in (True, False):
        monkeypatch.delenv("DVC_SITE_CACHE_DIR")
        monkeypatch.setattr(os, "access", lambda *_, writable=writable: writable)
        with dvc.repository() as repo:
            assert Path(repo.site_cache_dir).is_relative_to(project) is writable


@pytest.mark.parametrize("refused", [".dvc/cache/files/md5", ".dvc/cache/files/md5/34", "dvc.lock", None])
def test_what_dvc_cannot_write_after_a_training_is_named_before_it(project, monkeypatch, refused):
    (project / "dvc.lock").touch()
    dvc.check_writable()
    if refused is None:
        refused = ".dvc/cache"
        shutil.rmtree(project / refused)
        (project / refused).touch()
    else:
        monkeypatch.setattr(os, "access", lambda path, _: Path(path) != project / refused)
    with pytest.raises(ProjectError, match=rf"DVC cannot keep .* as {project}/{refused}/? cannot be written"):
        dvc.check_writable()


def test_full_disk_of_dvcs_cache_is_seen_before_a_training(project, monkeypatch):
    usage = shutil.disk_usage(project)
    full = lambda path: usage._replace(free=0) if "md5" in str(path) else usage  # noqa: E731
    monkeypatch.setattr(shutil, "disk_usage", full)
    with pytest.raises(ProjectError, match=rf"The disk of {project}/.dvc/cache/files/md5 is full"):
        dvc.check_writable()


def test_looking_at_the_project_takes_no_lock_of_git(project):
    index = project / ".git/index"
    before = index.read_bytes()
    os.utime(project / ".dvc/config", (0, 0))  # which git would note in its index
    git.run_git("status")
    assert index.read_bytes() == before


def test_git_says_all_that_it_says(tmp_path):
    with pytest.raises(ProjectError, match=r"^git rev-parse failed: not a git repository \(or any .* \.git"):
        git.run_git("rev-parse", "HEAD", cwd=tmp_path, GIT_CEILING_DIRECTORIES=str(tmp_path.parent))


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_a_command_unless_it_was_ignored(monkeypatch, number, wrapped):
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)}
    cleaned = []

    def verb():
        try:
            os.kill(os.getpid(), number)
        except SystemExit as error:
            if wrapped:  # as pydantic makes an error of its own of any other
                raise ValueError from error
            raise
        finally:  # as the processes are stopped that a run has started, when uv passes on the same signal
            os.kill(os.getpid(), number)
            cleaned.append(number)

    monkeypatch.setattr(cli, "app", verb)
    try:
        signal.signal(number, signal.SIG_IGN)  # as nohup does
        cli.main()
        signal.signal(number, signal.SIG_DFL)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 128 + number
        assert len(cleaned) == 2
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
