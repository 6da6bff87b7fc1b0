"""A trained project that was moved, copied or cloned works on its own files alone."""

import shutil
from pathlib import Path

import pytest
from pre_gen_project import SLUG, slug_errors
from running import Running
from template import Bake

pytestmark = pytest.mark.slow


def there(project: Running, path: Path) -> Running:
    """Return the project in another folder that contains its environment."""
    return project._replace(path=path, environment=path / ".venv")


class TestMoved:
    """A copy or clone under another name, while the original folder is out of reach."""

    @pytest.fixture(scope="class")
    @classmethod
    def project(cls, bake: Bake, tmp_path_factory: pytest.TempPathFactory) -> Running:
        """Train in a folder that contains its environment."""
        folder = tmp_path_factory.mktemp("running")
        made = Running.copy_of(bake(), folder, "3.13")
        made = there(made, made.path)
        made.install()
        made.make("setup")
        made.make("train")
        made.git("add", ".")
        made.git("commit", "--quiet", "--message", "Train")
        return made

    def test_no_project_can_have_the_name_of_a_program_in_its_environment(self, project: Running) -> None:
        programs = {path.name for path in (project.environment / "bin").iterdir()} - {project.path.name}
        allowed = {
            name for name in programs if SLUG.fullmatch(name) and not list(slug_errors(name, "process"))
        }
        assert not allowed

    def works(self, project: Running) -> None:
        """Check that every verb works on the project's own files."""
        name, version = "penguin-model", project.versions() + 1
        params = project.path / "params.yaml"
        deeper = params.read_text(encoding="utf-8").replace("max_depth: ", "max_depth: 1")
        params.write_text(deeper, encoding="utf-8")
        project.make("train")
        assert project.versions() == version
        assert f"version {version}" in project.make("status")
        project.uv("run", name, "score")
        assert list((project.path / "data/predictions").glob("*.parquet"))
        project.uv("run", name, "promote", str(version), "--reason", "to go back")
        assert "Version 1 is the champion again" in project.uv("run", name, "rollback")
        assert str(project.path) in project.uv("run", name, "lineage", "1")
        assert "is the same" in project.uv("run", name, "reproduce", "1")
        artifacts = project.rows("mlflow.db", "SELECT artifact_uri FROM runs")
        assert all(uri.startswith(project.path.as_uri()) for (uri,) in artifacts)

    def test_copy_works_and_the_original_is_left_alone(self, project: Running) -> None:
        copied = there(project, project.path.parent / "its new name")
        before = (project.path / "mlflow.db").read_bytes()
        shutil.copytree(project.path, copied.path, symlinks=True)
        # As after `mv`, the old folder is gone.
        away = project.path.rename(project.path.with_name("away"))
        copied.make("setup")
        assert "up to date" in copied.make("train")
        self.works(copied)
        assert (away / "mlflow.db").read_bytes() == before
        away.rename(project.path)

    def test_clone_works_with_a_registry_that_was_brought_along(self, project: Running) -> None:
        clone = there(project, project.path.parent / "Ein Klön's #1; $HOME")
        crlf = ("--config", "core.autocrlf=true", "--config", "core.eol=crlf")
        project.git("clone", "--quiet", *crlf, str(project.path), str(clone.path))
        shutil.copy(project.path / "mlflow.db", clone.path)
        shutil.copytree(project.path / "mlartifacts", clone.path / "mlartifacts")
        project.path.rename(project.path.with_name("away"))
        printed = clone.make("setup")
        assert "Queued experiments fail in this folder" in printed
        assert "is missing" not in printed
        # DVC's cache was not brought along: the same model is trained again.
        clone.make("train")
        assert clone.versions() == 2
        self.works(clone)
