"""The verbs of the command line: their output and their errors."""

import shutil
import signal
import socket
import subprocess
import sys

import pytest

from penguin_model import cli
from penguin_model.ops.orchestration import ui
from penguin_model.ops.settings import PACKAGE, project_root, read_params
from penguin_model.ops.versioning import dvc, template


def test_taken_port_is_reported_and_another_is_used(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert ui.free_port(port, "It") > port
    assert f"Port {port} is in use, so It uses" in capsys.readouterr().out


@pytest.mark.parametrize(("verb", "output"), [("prepare", ""), ("status", f"{PACKAGE} version"), ("--help", "train")])
def test_verb_answers(verb, output, trained, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [PACKAGE, verb])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert output in capsys.readouterr().out


def test_error_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [PACKAGE, "train"])
    monkeypatch.setenv("PROJECT_ROOT", str(tmp_path))
    with pytest.raises(SystemExit, match=r"params\.yaml is missing in"):
        cli.main()


@pytest.mark.parametrize(("kind", "needed"), [("process", "`make ui`"), ("prefect:managed", "needs Prefect Cloud")])
def test_deploy_without_a_server_says_what_it_needs(kind, needed, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [PACKAGE, "deploy", "--type", kind])
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with pytest.raises(SystemExit, match=needed):
        cli.main()


def test_update_shows_entries_of_the_changelog_whole(tmp_path):
    old = "# Log\n\n## Next\n\n- One\n  line.\n- Two\n  lines\n  here.\n\n1. Same.\n"
    new = old.replace("lines", "rows").replace("## Next\n", "## Next\n\n- New.\n\n## v1\n")
    for name, text in {"old": old, "new": new}.items():
        (tmp_path / name).write_text(text)
    command = ["git", "diff", "--no-index", "--unified=10000", "old", "new"]
    diff = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    assert list(template.changed_entries(diff)) == ["- New.", "## v1", "- Two", "  rows", "  here."]


def test_setup_says_what_will_fail_in_this_folder(tmp_path, monkeypatch):
    assert not list(dvc.warnings())
    folder = tmp_path / "Größe"
    folder.mkdir()
    shutil.copy(project_root() / "params.yaml", folder)
    monkeypatch.setenv("PROJECT_ROOT", str(folder))
    data, queue = dvc.warnings()
    assert data.startswith(f"{read_params().data.source} is missing, ")
    assert str(folder) in queue


def test_interrupt_while_the_verbs_are_imported_shows_no_traceback():
    code = f"""
import os, sys
class Interrupt:
    def find_spec(name, *_):
        if name == "typer": os.kill(os.getpid(), {int(signal.SIGINT)})
sys.meta_path.insert(0, Interrupt)
from {PACKAGE}.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")
