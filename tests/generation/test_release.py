"""`make release` commits and tags a version, or says what is missing and changes nothing."""

import subprocess
import sys
from pathlib import Path

import pytest
from release import changelog_obstacles
from template import ROOT

CHANGELOG = """# Changelog

## Unreleased

### Update an existing project

Nothing to do.

### Changed

- Faster.

## v1 (2026-01-01)

### Update an existing project

Nothing to do.
"""


class Repository:
    """A repository of the template, with its first release."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git("init", "-q", "-b", "main")
        self.write(CHANGELOG)
        self.git("tag", "v1")

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=self.folder, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def write(self, changelog: str) -> None:
        (self.folder / "CHANGELOG.md").write_text(changelog)
        self.git("add", ".")
        self.git("commit", "-q", "--allow-empty", "-m", "Change the changelog")

    def release(self, version: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "tools/release.py"), version]
        return subprocess.run(command, cwd=self.folder, check=False, capture_output=True, text=True)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_release_is_committed_and_tagged(repository: Repository) -> None:
    before = repository.git("rev-parse", "HEAD")
    done = repository.release("v2")
    assert done.returncode == 0, done.stderr
    assert repository.git("rev-parse", "v2^{commit}") == repository.git("rev-parse", "HEAD")
    assert repository.git("status", "--porcelain") == ""
    titles = [
        line for line in repository.git("show", "v2:CHANGELOG.md").splitlines() if line.startswith("## ")
    ]
    assert [title.split(" (")[0] for title in titles] == ["## v2", "## v1"]
    # What it prints undoes it.
    [undo] = [line.partition(":  ")[2] for line in done.stdout.splitlines() if line.startswith("Or undo it")]
    subprocess.run(["sh", "-c", undo], cwd=repository.folder, check=True, capture_output=True)
    assert repository.git("rev-parse", "HEAD") == before
    assert repository.git("tag") == "v1"


def test_next_changes_need_a_heading_of_their_own(repository: Repository) -> None:
    repository.release("v2")
    assert "does not begin with '## Unreleased'" in repository.release("v3").stderr
    changes = "## Unreleased\n\n### Update an existing project\n\nNothing to do.\n\n## v2"
    repository.write((repository.folder / "CHANGELOG.md").read_text().replace("## v2", changes))
    assert repository.release("v3").returncode == 0


@pytest.mark.parametrize("version", ["", "2", "v", "v2-rc1", "v1.2.3.4", "v02", "v2\n", "--force"])
def test_version_of_another_form_is_refused(repository: Repository, version: str) -> None:
    done = repository.release(version)
    assert "has to be like v2 or v2.1" in done.stderr
    assert repository.git("tag") == "v1"


@pytest.mark.parametrize("version", ["v1", "v1.0"])
def test_version_has_to_be_newer_than_the_last(repository: Repository, version: str) -> None:
    repository.git("tag", "v1.0.1")
    assert f"{version} is not newer than v1.0.1" in repository.release(version).stderr


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("echo x > new.txt", "uncommitted changes or new files"),
        ("echo x >> CHANGELOG.md", "uncommitted changes or new files"),
        ("git switch -q -c other", "of the branch main, not of 'other'"),
        ("git switch -q --detach", "of the branch main, not of ''"),
    ],
)
def test_other_branch_or_changed_tree_is_refused(repository: Repository, change: str, sentence: str) -> None:
    subprocess.run(["sh", "-c", change], cwd=repository.folder, check=True)
    done = repository.release("v2")
    assert done.returncode == 1
    assert sentence in done.stderr
    assert repository.git("tag") == "v1"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("### Changed\n\n- Faster.\n\n", "### Changed\n\n", "'### Changed' of 'Unreleased' is empty"),
        (
            "Nothing to do.\n\n### Changed",
            "### Changed",
            "'### Update an existing project' of 'Unreleased' is empty",
        ),
        (
            "### Update an existing project\n\nNothing to do.\n\n### Changed",
            "### Changed",
            "'Unreleased' has no '### Update an existing project'",
        ),
    ],
)
def test_changelog_says_what_the_owner_must_do(
    repository: Repository, old: str, new: str, sentence: str
) -> None:
    assert old in CHANGELOG
    repository.write(CHANGELOG.replace(old, new, 1))
    done = repository.release("v2")
    assert done.returncode == 1
    assert sentence in done.stderr
    assert repository.git("tag") == "v1"


def test_changelog_of_the_template_is_ready() -> None:
    assert changelog_obstacles((ROOT / "CHANGELOG.md").read_text()) == []
