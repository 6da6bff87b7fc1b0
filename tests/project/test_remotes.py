"""DVC's remote on a real server of S3, and one that is not reachable; the others: test_pairs.py. Slow."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.client import BaseClient
from running import Running
from storages import dvc, push_and_pull, refuse_after, s3
from template import Bake
from tiers import nightly

pytestmark = pytest.mark.slow


BUCKET = "penguin-model-data"


class TestS3:
    """A new table is pushed to a bucket and pulled again."""

    @pytest.fixture(scope="class")
    @classmethod
    def project(cls, bake: Bake, tmp_path_factory: pytest.TempPathFactory) -> Running:
        """Set up a project before there is a bucket or a key."""
        folder = tmp_path_factory.mktemp("running")
        project = Running.copy_of(bake(data_remote="s3"), folder, "3.13")
        project.make("setup")
        return project

    @pytest.fixture(scope="class")
    @classmethod
    def bucket(cls, project: Running) -> Iterator[BaseClient]:
        """Run a server, and create the bucket."""
        with s3(project) as client:
            client.create_bucket(Bucket=BUCKET)
            yield client

    def test_without_a_bucket_the_sample_is_there(self, project: Running) -> None:
        assert (project.path / "data/raw/penguins.csv").exists()

    def test_what_was_pushed_comes_back_in_a_clone(
        self, project: Running, bucket: BaseClient, tmp_path: Path
    ) -> None:
        push_and_pull(project, tmp_path / "clone")
        assert len(bucket.list_objects_v2(Bucket=BUCKET)["Contents"]) == 1

    def test_corrupted_object_is_refused(self, project: Running, bucket: BaseClient) -> None:
        [stored] = bucket.list_objects_v2(Bucket=BUCKET)["Contents"]
        bucket.put_object(Bucket=BUCKET, Key=stored["Key"], Body=b"corrupted")
        shutil.rmtree(project.path / ".dvc/cache")
        (project.path / "data/raw/own.csv").unlink()
        pulled = dvc(project, "pull", "data/raw/own.csv.dvc")
        assert pulled.returncode
        assert "ERROR: failed to pull data from the cloud" in pulled.stderr
        assert not (project.path / "data/raw/own.csv").exists()

    def test_artifacts_of_mlflow_are_stored_there_too(self, project: Running, bucket: BaseClient) -> None:
        with (project.path / ".env").open("a", encoding="utf-8") as settings:
            settings.write(f"MLFLOW_ARTIFACT_ROOT=s3://{BUCKET}/mlflow\n")
        project.make("train")
        champion = project.rows(
            "mlflow.db", "SELECT version FROM registered_model_aliases WHERE alias = 'champion'"
        )
        assert champion == [(1,)]
        stored = bucket.list_objects_v2(Bucket=BUCKET, Prefix="mlflow/")["Contents"]
        assert any(item["Key"].endswith("/MLmodel") for item in stored)
        assert not list((project.path / "mlartifacts").rglob("*"))

    def test_missing_permission_is_reported(self, project: Running, bucket: BaseClient) -> None:
        refuse_after(bucket, "0")
        refused = dvc(project, "pull", "data/raw/own.csv.dvc")
        assert refused.returncode
        assert "ERROR: failed to connect to s3" in refused.stderr
        assert "Forbidden" in refused.stderr
        assert "Traceback" not in refused.stderr


@nightly
def test_unreachable_google_is_reported(bake: Bake, tmp_path: Path) -> None:
    project = Running.copy_of(bake(data_remote="gcs"), tmp_path, "3.13").prepare()
    nowhere = {"STORAGE_EMULATOR_HOST": "http://nowhere.invalid", "NO_GCE_CHECK": "true"}
    (project.path / "data/raw/own.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    assert dvc(project, "add", "--quiet", "data/raw/own.csv").returncode == 0
    shutil.rmtree(project.path / ".dvc/cache")
    (project.path / "data/raw/own.csv").unlink()
    refused = dvc(project, "pull", "data/raw/own.csv.dvc", **nowhere)
    assert refused.returncode
    assert "ERROR: failed to connect to gs" in refused.stderr
    assert "Traceback" not in refused.stderr
