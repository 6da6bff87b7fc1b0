"""`doctor`: each thing that it checks is broken, and found; a sound project has no findings."""

import base64
import http.server
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from penguin_model.ops.doctor import doctor, local, network, secrets
from penguin_model.ops.doctor.findings import NotCheckedError
from penguin_model.ops.settings import project_root
from penguin_model.ops.tracking import registry
from penguin_model.ops.tracking.history import History

PROJECT = Path(__file__).parents[2]
JOURNAL = '{"when":"2026-01-01T00:00:00Z","by":"me","how":"training","from":null,"to":1,"reason":"first"}'
GIT = shutil.which("git") or "git"
OPEN, CLOSE = "{" * 2, "}" * 2  # in this file, Cookiecutter's
PREFIXES = ("PREFECT_", "MLFLOW_", "AWS_", "SERVE_", "SOURCE_", "GIT_")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Make a small project in git, without settings of the machine."""
    for name in [name for name in os.environ if name.startswith(PREFIXES)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PROJECT_ROOT", str(tmp_path))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    for name in ("params.yaml", "contract.yaml"):
        shutil.copy(project_root() if (project_root() / name).exists() else PROJECT / name, tmp_path / name)
    (tmp_path / "pyproject.toml").write_text('[tool.uv]\nexclude-newer = "2999-01-01T00:00:00Z"\n')
    (tmp_path / "constraints.txt").write_text("")
    subprocess.run([GIT, "init", "-q", str(tmp_path)], check=True)
    return tmp_path


@contextmanager
def served(answers, account=None):
    """Serve a text per path on loopback, if an account is given to those who have it; yield the address."""
    wanted = account and f"Basic {base64.b64encode(account.encode()).decode()}"

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, text = answers.get(self.path.partition("?")[0], (404, "{}"))
            if wanted and self.headers["Authorization"] != wanted:
                status, text = 401, ""
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def problems(check):
    """Return what a check finds, in one text; each finding has a command."""
    findings = list(check())
    assert all(finding.remedy for finding in findings)
    return "\n".join(" ".join(finding) for finding in findings)


def test_files_are_read_and_their_faults_are_named(project):
    (project / "params.yaml").write_text("data: {surce: a}\n")
    assert "did you mean `source`" in problems(local.files)
    assert problems(local.files).endswith("} params.yaml")
    (project / "params.yaml").unlink()
    assert problems(local.files).endswith("git checkout params.yaml")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("numpy==0.1", "numpy"),
        ("NumPy==0.1", "tested: 0.1"),
        ("numpy==0.1 ; python_full_version < '3'", ""),
        ("not-installed==1", ""),
        ("# numpy==0.1\n", ""),
    ],
)
def test_versions_are_compared_with_the_tested_ones(line, found, project):
    (project / "constraints.txt").write_text(f"{line}\n")
    text = problems(local.versions)
    assert found in text
    assert bool(text) == bool(found)


@pytest.mark.parametrize(("newest", "old"), [("2020-01-01T00:00:00Z", True), ("2999-01-01", False), ("1 week", False)])
def test_versions_get_old(newest, old, project):
    (project / "pyproject.toml").write_text(f'[tool.uv]\nexclude-newer = "{newest}"\n')
    assert ("older than a year" in problems(local.versions)) == old


def test_home_is_the_projects_own(project, monkeypatch):
    assert not problems(local.home)
    monkeypatch.setenv("PREFECT_HOME", str(project.parent))
    assert "outside of the project" in problems(local.home)


@pytest.mark.parametrize("package", ["prefect", "mlflow"])
@pytest.mark.parametrize(
    ("revision", "found"),
    [
        ("newest", ""),
        ("oldest", "older"),
        (None, "older schema"),
        ("f00", "does not know"),
        (b"", "is damaged"),
    ],
)
def test_schemas_are_compared_with_the_installed_packages(package, revision, found, project):
    files = {"prefect": project / ".prefect/prefect.db", "mlflow": project / "mlflow.db"}
    (project / ".prefect").mkdir()
    for name, file in files.items():
        newest, known = local.migrations(name)
        assert len(newest) == 1
        with closing(sqlite3.connect(file)) as database, database:
            database.execute("CREATE TABLE alembic_version (version_num TEXT)")
            chosen = revision if name == package else "newest"
            choices = {"newest": min(newest), "oldest": min(known - newest)}
            if chosen is not None:
                database.execute("INSERT INTO alembic_version VALUES (?)", [choices.get(chosen, "f00")])
    if isinstance(revision, bytes):
        files[package].write_bytes(b"no database" * 100)
    text = problems(local.databases)
    assert found in text
    assert (str(files[package]) in text) == bool(found)


def test_missing_databases_are_found(project):
    assert problems(local.databases).count("make setup") == 2


def test_lock_is_compared(project, monkeypatch):
    assert not problems(local.lock)
    monkeypatch.setattr(local.lock_check, "differences", lambda: ["params.yaml has changed"])
    assert "params.yaml has changed" in problems(local.lock)


def test_lock_of_another_command_and_a_read_only_project(project, monkeypatch):
    (project / ".dvc").mkdir()
    (project / ".dvc/config").touch()
    (project / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    with local.dvc.repository() as repo, repo.lock, pytest.raises(NotCheckedError, match="another DVC command"):
        list(local.lock())
    monkeypatch.setattr(os, "access", lambda *_: False)
    with local.dvc.repository() as repo:
        assert (type(repo.lock).__name__, repo.tmp_dir) == ("LockNoop", str(project / "site"))


@pytest.mark.parametrize(("free", "total", "found"), [(1e9, 1e12, True), (4e10, 1e12, False), (1e9, 1e10, False)])
def test_disk_is_nearly_full(free, total, found, project, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free, total=total))
    assert ("nearly full" in problems(local.disk)) == found


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        (".env", "A=1", None),
        ("service/.env.prod", "A=1", None),
        (".dvc/config.local", "a", None),
        (".env.example", "PASSWORD=abcdefgh", 0),
        ("params.yaml", "origin: postgresql://me:hunter2@host/db", 1),
        ("params.yaml", "origin: postgresql://${USER}:${PASSWORD}@host/db", 0),
        ("prefect.yaml", "\n  password: hunter2", 2),
        ("prefect.yaml", f"password: '{OPEN} $PASSWORD {CLOSE}'", 0),
        ("prefect.yaml", "password:\n  other: 1", 0),
        (".dvc/config", "    secret_access_key = abcdefgh", 1),
        ("run.sh", "export PGPASSWORD=hunter2", 1),
        ("ci.yaml", "id-token: write\nmax_tokens: 1000", 0),
        ("ci.yaml", f"token: ${OPEN} secrets.TOKEN {CLOSE}", 0),
        ("config.json", '{\n"api_key": "abcdefgh"\n}', 2),
        ("src/a b.py", "KEY = 'AKIAABCDEFGHIJKLMNOP'", 1),
        ("notes.md", "-----BEGIN RSA PRIVATE KEY-----", 1),
        ("ö.py", "key = 'of-the-env-file'", 1),
        ("cloud.py", "key = 'of-the-cloud'", 1),
        ("account.py", "account = 'no-secret'", 0),
    ],
)
def test_secrets_in_git_are_found_but_not_shown(name, text, line, project, monkeypatch):
    monkeypatch.setenv("SERVE_API_KEY", "of-the-env-file")
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "of-the-cloud")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "no-secret")
    (project / name).parent.mkdir(parents=True, exist_ok=True)
    (project / name).write_text(text)
    subprocess.run([GIT, "add", "--force", name], cwd=project, check=True)
    found = problems(secrets.secrets)
    assert (f"{name}:{line} holds" if line else f"git tracks {name}" if line is None else "") in found
    assert bool(found) == (line != 0)
    assert not any(secret in found for secret in ("hunter2", "abcdefgh", "AKIA", "of-the-env", "of-the-cloud"))


@pytest.mark.parametrize(
    ("status", "answer", "found"),
    [(200, '"{installed}"', ""), (200, '"1.0.0"', "has version 1.0.0"), (401, "", "refuses"), (404, "", "")],
)
def test_prefect_server_of_another_version_is_found(status, answer, found, project, monkeypatch):
    text = answer.replace("{installed}", network.version("prefect"))
    with served({"/api/admin/version": (status, text)}) as address:
        monkeypatch.setenv("PREFECT_API_URL", f"{address}/api")
        reported = problems(network.prefect)
    assert found in reported
    assert bool(reported) == bool(found)
    assert "does not answer" in problems(network.prefect)


def test_mlflow_server_is_asked_without_importing_mlflow(project, monkeypatch):
    model = {"tags": [{"key": "journal.000001", "value": JOURNAL}], "aliases": [{"alias": "champion", "version": "1"}]}
    answers = {"/version": (200, network.version("mlflow"))}
    path = "/api/2.0/mlflow/registered-models/get"
    with served(answers) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        assert not problems(network.registry)  # no model yet
        answers[path] = (200, json.dumps({"registered_model": model}))
        assert not problems(network.registry)
        model["aliases"] = []
        answers[path] = (200, json.dumps({"registered_model": model}))
        assert "does not match its journal" in problems(network.registry)
        answers |= {"/version": (200, "1.0"), path: (403, "")}
        assert "has version 1.0" in problems(network.registry)
        assert "refuses" in problems(network.registry)
    assert "does not answer" in problems(network.registry)


def test_mlflow_server_with_accounts_is_asked_with_that_of_env(project, monkeypatch):
    with served({"/version": (200, network.version("mlflow"))}, account="team:right") as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        assert problems(network.registry).count("refuses") == 1
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "team")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "right")
        assert not problems(network.registry)


def test_alias_and_journal_that_disagree_are_found(project, monkeypatch):
    assert not problems(network.registry)
    for tags in ({"journal.000001": JOURNAL}, {"journal.000001": "?"}):
        state = registry.ChampionState(None, History.read(tags))
        monkeypatch.setattr(registry, "champion", lambda state=state: state)
        assert problems(network.registry).endswith("journal --repair")


@pytest.mark.parametrize(("url", "found"), [("new", ""), ("file/below", "cannot be reached"), ("here", "")])
def test_remote_is_asked(url, found, project):
    (project / "here").mkdir()
    (project / "file").touch()
    (project / ".dvc").mkdir()
    (project / ".dvc/config").write_text(f"[core]\nremote = storage\n['remote \"storage\"']\nurl = ../{url}\n")
    text = problems(network.remote)
    assert found in text
    assert bool(text) == bool(found)
    (project / ".dvc/config").write_text("")
    assert "No default remote" in problems(network.remote)


def test_template_that_is_ahead_is_found(project, tmp_path_factory):
    with pytest.raises(NotCheckedError, match=r"\.cruft\.json is missing"):
        list(network.template())
    folder = tmp_path_factory.mktemp("template")

    def git(*arguments, cwd=folder):
        author = ("-c", "user.name=a", "-c", "user.email=a@b")
        return subprocess.check_output([GIT, *author, *arguments], cwd=cwd, text=True).strip()

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "first")
    git("tag", "v1")
    context = {"cookiecutter": {}}
    record = {"template": str(folder), "commit": git("rev-parse", "HEAD"), "context": context}
    (project / ".cruft.json").write_text(json.dumps(record))
    git("add", "--force", ".cruft.json", cwd=project)
    git("commit", "-q", "-m", "new", cwd=project)
    assert not problems(network.template)
    git("commit", "-q", "--allow-empty", "-m", "second")
    assert not problems(network.template)  # not released
    git("tag", "v2")
    assert "The template has v2, 1 commits after v1" in problems(network.template)
    shutil.rmtree(folder)
    with pytest.raises(NotCheckedError, match="template"):
        list(network.template())
    (project / ".cruft.json").write_text(json.dumps(record | {"template": "nothing://user:pl4nt@host/r"}))
    git("commit", "-q", "--all", "-m", "moved", cwd=project)
    with pytest.raises(NotCheckedError, match="nothing://host/r does not answer: git clone failed") as failed:
        list(network.template())
    assert "pl4nt" not in str(failed.value)


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ('[ "$2" = --ignore-until-fixed=CVE-2025-69872 ] && cat audit.json', "BAD-1"),
        ("echo 'error: no network' >&2", None),
        ("exec sleep 60", None),
    ],
)
def test_vulnerabilities_are_asked_with_a_time_limit(script, found, project, monkeypatch):
    dependency = {"name": "numpy", "version": network.version("numpy")}
    bad = {
        "dependency": dependency,
        "display_id": "BAD-1",
        "aliases": [],
        "summary": "Bad",
        "link": "",
        "fix_versions": [],
    }
    other = bad | {"dependency": {"name": "numpy", "version": "0"}, "display_id": "BAD-2"}
    (project / "audit.json").write_text(json.dumps({"vulnerabilities": [bad, other]}))
    (project / "uv").write_text(f"#!/bin/sh\n{script}\n")
    (project / "uv").chmod(0o755)
    monkeypatch.setenv("UV", str(project / "uv"))
    monkeypatch.setattr(network, "SECONDS", 0.5)
    if found:
        text = problems(network.vulnerabilities)
        assert found in text
        assert "BAD-2" not in text
    else:
        with pytest.raises(NotCheckedError, match=r"no network|did not answer"):
            list(network.vulnerabilities())


def test_a_check_that_fails_does_not_hide_the_others(project, monkeypatch):
    def broken():
        raise OSError("gone")

    def slow():
        threading.Event().wait(1)

    monkeypatch.setattr(doctor, "LOCAL", (local.home, broken))
    monkeypatch.setattr(doctor, "NETWORK", (slow, network.prefect))
    monkeypatch.setattr(doctor, "SECONDS", 0.2)
    monkeypatch.chdir(project)
    monkeypatch.setenv("PREFECT_HOME", "/")
    monkeypatch.setattr(os, "environ", os.environ.copy())
    report = doctor.examine()
    assert [finding["check"] for finding in report.findings] == ["home"]
    assert report.not_checked == {"broken": "OSError: gone", "slow": "no answer within 0.2 seconds"}
    assert str(report).splitlines()[-1].startswith("1 finding. Not checked: broken (OSError: gone);")


def test_nothing_heavy_is_imported():
    code = "import sys, penguin_model.ops.doctor.doctor\n"
    code += "print({'mlflow', 'sklearn', 'prefect', 'pandas'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


def test_wrong_settings_are_a_finding(project):
    (project / ".env").write_text("PREFECT_HOM=x\n")
    command = [sys.executable, "-m", "penguin_model", "doctor", "--json"]
    run = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stderr
    (finding,) = json.loads(run.stdout)["findings"]
    assert "did you mean `PREFECT_HOME`" in finding["problem"]
