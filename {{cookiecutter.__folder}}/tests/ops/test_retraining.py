"""The retraining flow: new data is fetched, trained on, recorded and pushed; without new data it does nothing."""

import functools
import shutil
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from conftest import COPY, PROJECT, change

from penguin_model.flows.retraining import retraining
from penguin_model.ops.settings import read_params
from penguin_model.ops.tracking import lineage, registry
from penguin_model.ops.versioning import dvc, git


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Path]:
    """Serve a folder as the origin of the data; return the folder."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path / "served")
    (tmp_path / "served").mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        change("data", origin=f"http://127.0.0.1:{server.server_port}/{Path(read_params().data.source).name}")
        try:
            yield tmp_path / "served"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def versioned(quick: Path, tmp_path: Path) -> Iterator[Path]:
    """Make the copy a DVC repository with a folder as its remote; return the remote."""
    shutil.copy(PROJECT / "dvc.yaml", COPY)
    shutil.copytree(PROJECT / "src", COPY / "src")
    (COPY / ".dvc").mkdir()
    shutil.copy(PROJECT / ".dvc/config", COPY / ".dvc")
    remote = tmp_path / "remote"
    own = f"[core]\n    no_scm = true\n    remote = own\n['remote \"own\"']\n    url = {remote}\n"
    (COPY / ".dvc/config.local").write_text(own)
    table = (COPY / read_params().data.source).read_bytes()
    yield remote
    (COPY / read_params().data.source).write_bytes(table)
    for name in (".dvc", "src"):
        shutil.rmtree(COPY / name)
    for name in ("dvc.yaml", "dvc.lock"):
        (COPY / name).unlink(missing_ok=True)


def test_new_data_is_trained_on_once_and_pushed(versioned, origin, monkeypatch):
    source = Path(read_params().data.source)
    shutil.copy(COPY / source, origin / source.name)
    cause = "drift: a PSI 0.41 > 0.2 in 2 of the last 3 comparisons"
    trained = retraining(cause)
    assert f"  ← {cause}\n" in lineage.describe(trained.version)
    assert [file for file in versioned.rglob("*") if file.is_file()]
    assert dvc.push() is None
    assert not dvc.changed()
    assert retraining() is None
    # Neither is it trained on again after drift, nor in an image, whose dvc.lock is older.
    assert retraining(cause) is None
    (COPY / "dvc.lock").unlink()
    monkeypatch.setattr(git, "code", lambda: git.Code(registry.newest().tags["git.commit"]))
    assert (retraining(cause) is None) == (registry.newest().tags["git.commit"] != "none")


def test_failed_push_does_not_fail_the_run(versioned, origin, caplog):
    source = Path(read_params().data.source)
    shutil.copy(COPY / source, origin / source.name)
    versioned.write_text("a file where the folder was")
    trained = retraining()
    assert trained.version
    assert "Push failed; the next run tries again" in caplog.text
    versioned.unlink()
    assert retraining() is None
    assert [file for file in versioned.rglob("*") if file.is_file()]
