"""Generation writes into a new or an empty folder only, and an interrupted one can be recognised."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cookiecutter.exceptions import FailedHookException
from cookiecutter.main import cookiecutter
from template import ROOT

# In the place of git: kills Cookiecutter, and the hook that asks for git.
KILLER = '#!/bin/sh\nkill -KILL "$(ps -o ppid= -p $PPID)" $PPID\n'


@pytest.fixture
def options(tmp_path: Path) -> dict[str, object]:
    """Return the options with which Cookiecutter writes into folders of the test only."""
    config = tmp_path / "config.yaml"
    config.write_text(f"cookiecutters_dir: {tmp_path}/templates\nreplay_dir: {tmp_path}/replay\n")
    return {"template": str(ROOT), "output_dir": str(tmp_path), "config_file": str(config)}


def content(folder: Path) -> dict[str, bytes]:
    """Return all files of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("more", [{}, {"skip_if_file_exists": True}], ids=["-f", "-f -s"])
@pytest.mark.parametrize("name", ["src/mine.py", "README.md", ".git/HEAD", ".DS_Store", "UNFINISHED.txt"])
def test_folder_with_files_is_refused_and_stays_as_it_was(
    options: dict[str, object],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    name: str,
    more: dict[str, bool],
) -> None:
    folder = tmp_path / "penguin-model"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_text("mine")
    with pytest.raises(FailedHookException):
        cookiecutter(no_input=True, overwrite_if_exists=True, **options, **more)
    assert content(folder) == {name: b"mine"}
    sentence = capfd.readouterr().err
    assert sentence.startswith("The folder penguin-model is ")
    assert ("delete it" if name == "UNFINISHED.txt" else ".git") in sentence


def test_replay_does_not_overwrite_a_project(options: dict[str, object]) -> None:
    folder = Path(cookiecutter(no_input=True, **options))
    (folder / "src/mine.py").touch()
    before = content(folder)
    with pytest.raises(FailedHookException):
        cookiecutter(replay=True, overwrite_if_exists=True, **options)
    assert content(folder) == before


def test_empty_folder_becomes_a_project(options: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "penguin-model").mkdir()
    folder = Path(cookiecutter(no_input=True, overwrite_if_exists=True, **options))
    assert (folder / "pyproject.toml").exists()
    assert not (folder / "UNFINISHED.txt").exists()


@pytest.mark.parametrize(
    "name", ["co:lon", "50% off", "why?", "{x}", "[1]", "a*", 'a "quotation"', "back\\slash", "two\nlines"]
)
def test_path_in_which_tools_fail_is_refused(
    options: dict[str, object], tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    with pytest.raises(FailedHookException):
        cookiecutter(no_input=True, **options | {"output_dir": str(tmp_path / name)})
    assert "generate elsewhere" in capfd.readouterr().err.splitlines()[0]
    assert not (tmp_path / name / "penguin-model").exists()


def test_killed_generation_leaves_a_folder_that_says_so(tmp_path: Path) -> None:
    git = tmp_path / "bin/git"
    git.parent.mkdir()
    git.write_text(KILLER)
    git.chmod(0o755)
    command = [sys.executable, "-m", "cookiecutter", "--no-input", str(ROOT), "--output-dir", str(tmp_path)]
    env = os.environ | {"HOME": str(tmp_path)}
    killed = subprocess.run(
        command, env=env | {"PATH": f"{git.parent}:{env['PATH']}"}, capture_output=True, check=False
    )
    assert killed.returncode == -9
    assert "Delete this folder" in (tmp_path / "penguin-model/UNFINISHED.txt").read_text()
    again = subprocess.run([*command, "-f"], env=env, capture_output=True, text=True, check=False)
    assert again.stderr.startswith("The folder penguin-model is unfinished, ")
