"""`make fleet`: a line for each project, also for the broken ones."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import fleet
import pytest
from template import Bake
from tiers import nightly

STATUS = json.dumps({"champion": {"metrics": {"f1_macro": 0.9, "accuracy": 0.2}}})
FINDINGS = json.dumps({"findings": [{"check": name} for name in ("lock", "lock", "disk")]})
LOCK = """
[[package]]
name = "polars"
version = "0.1"
[[package]]
name = "numpy"
version = "2.4.6"
[[package]]
name = "of-the-owner"
version = "0.1"
"""


def rows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> list[fleet.Row]:
    """Call the tool, and return its rows."""
    monkeypatch.setattr("sys.argv", ["fleet", "--json", *arguments])
    with pytest.raises(SystemExit):
        fleet.main()
    found: list[fleet.Row] = json.loads(capsys.readouterr().out)
    return found


def program(folder: Path, slug: str, prints: str) -> None:
    """Write what stands for the verbs of an installed project."""
    file = folder / ".venv/bin" / slug
    file.parent.mkdir(parents=True)
    file.write_text(f"#!/bin/sh\n{prints}\n")
    file.chmod(0o755)


@pytest.mark.parametrize("count", [5, pytest.param(50, marks=nightly)])
def test_each_project_is_a_line_whatever_is_wrong_with_it(
    count: int,
    bake: Bake,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Copies: the tests share what is baked.
    names = [f"p{number}" for number in range(count)]
    folders = [shutil.copytree(bake(project_slug=name).path, tmp_path / "fleet" / name) for name in names]
    first, second, third, fourth, fifth, *others = folders
    (first / "reports").mkdir(exist_ok=True)
    (first / "reports/drift.json").write_text('{"verdict": "watch"}')
    (first / "dvc.lock").write_text("stages: {}\n")
    newest = re.sub('(?<=exclude-newer = ").*(?=")', "2030-01-31", (first / "pyproject.toml").read_text())
    (first / "pyproject.toml").write_text(newest)
    (first / "constraints.txt").write_text(
        "numpy==2.4.6 ; python_full_version < '3.12'\nnumpy==2.5.4\npolars==2.1.0\n"
    )
    (first / "uv.lock").write_text(LOCK)
    program(first, "p0", f"[ $1 = status ] && echo '{STATUS}' && exit; echo '{FINDINGS}'; exit 1")
    (second / "reports").mkdir(exist_ok=True)
    (second / "reports/metrics.json").write_text('{"f1_macro": 0.5}')
    program(second, "p1", "echo Traceback >&2; echo broken >&2; exit 1")
    (third / "params.yaml").write_text("a: [")
    (fourth / "pyproject.toml").unlink()
    (fifth / ".cruft.json").write_text("{")
    listed = tmp_path / "fleet.txt"
    listed.write_text(
        "\n".join(["# those of the team", *map(str, folders[1:]), f"file://{fifth}", str(tmp_path)])
    )
    found = rows(capsys, monkeypatch, str(first), str(listed))
    assert len(found) == count + 2
    assert found[0] | {"behind": "", "template": "", "trained": ""} == {
        "project": str(first),
        "template": "",
        "behind": "",
        "tested": "2030-01-31, 1 differ",
        "trained": "",
        "champion": "f1_macro 0.9000",
        "drift": "watch",
        "doctor": "lock, disk",
    }
    assert found[0]["behind"].isdigit()
    assert found[0]["trained"].endswith("(uncommitted)")
    assert found[1]["champion"] == "f1_macro 0.5000 (last training)"
    assert found[1]["doctor"] == "failed: broken"
    assert found[1]["tested"].endswith(", not locked")
    assert "params.yaml" in found[2]["error"]
    assert "pyproject.toml" in found[3]["error"]
    assert (found[4]["template"], found[4]["trained"], found[4]["doctor"]) == (
        "unknown",
        "never",
        "not installed",
    )
    assert all("error" not in row for row in found[5 : len(others) + 6])
    assert "params.yaml is missing" in found[-1]["error"]
    assert len(fleet.table(found).splitlines()) == count + 3


def test_update_is_pushed_as_a_branch_and_leaves_the_checkout_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Makefile stands for the update, which tests/project/test_update.py tests."""
    commit = "git checkout -q -B template; git commit -q --allow-empty -m new; git checkout -q main"
    updates = {
        "changed": f"{commit}; git merge -q template",
        "same": "git branch template",
        "refused": "echo 'Commit first.' >&2; exit 1",
        "conflict": "echo 'Resolve the conflicts in a, b; then `git add` these files'",
    }
    for name, command in updates.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "Makefile").write_text(f"update:\n\t@{command}\n")
        (tmp_path / name / "params.yaml").touch()
        start = "git init -q -b main && git add . && git commit -q -m new"
        subprocess.run(["sh", "-c", start], cwd=tmp_path / name, check=True)
        (tmp_path / name / "uncommitted").touch()
    found = rows(capsys, monkeypatch, "--update", *(str(tmp_path / name) for name in updates))
    branch = found[0]["update"].removeprefix("branch ")
    assert fleet.git("log", "-1", "--format=%s", branch, cwd=tmp_path / "changed") == "new"
    assert fleet.git("branch", "--show-current", cwd=tmp_path / "changed") == "main"
    assert fleet.git("rev-list", "--count", "main", cwd=tmp_path / "changed") == "1"
    again = rows(capsys, monkeypatch, "--update", str(tmp_path / "changed"))
    assert again[0]["update"] == f"branch {branch} exists already"
    assert found[1]["update"] == "up to date"
    assert "Commit first" in found[2]["error"] or "Error" in found[2]["error"]
    assert found[3]["error"] == "conflicts in a, b: run `make update` there"


def test_passwords_of_addresses_are_not_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = rows(capsys, monkeypatch, "http://me:hunter2@127.0.0.1:1/project.git")
    assert row["project"] == "http://127.0.0.1:1/project.git"
    assert "hunter2" not in row["error"]
