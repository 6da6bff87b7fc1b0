"""A version is loaded only with the files that were registered: whoever may write to the storage runs no code here."""

import json
import logging
import os
import py_compile
import shutil
from collections.abc import Callable, Iterator
from importlib.util import cache_from_source
from pathlib import Path
from py_compile import PycInvalidationMode

import mlflow
import polars as pl
import pytest
import skops.io
import yaml
from conftest import PROJECT
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from penguin_model.config import Column, Contract, Data
from penguin_model.errors import ProjectError
from penguin_model.flows import promotion
from penguin_model.model.predictor import Predictor, Recipe
from penguin_model.ops.settings import PACKAGE, read_params
from penguin_model.ops.tracking import digests, packaging, registry, runs
from penguin_model.ops.versioning.content import md5
from penguin_model.steps.gate import NotComparable

CODE = f"code/{PACKAGE}"
ROWS = pl.DataFrame({"x": [1.0, 2.0], "y": ["a", "b"]})


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Iterator[Path]:
    """Register a model; return the folder of its files."""
    folder = tmp_path_factory.mktemp("trust")
    shutil.copy(PROJECT / "params.yaml", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROJECT_ROOT", str(folder))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        patch.setenv("MLFLOW_ARTIFACT_ROOT", (folder / "mlartifacts").as_uri())
        contract = Contract(columns={"x": Column(type="float"), "y": Column(type="string")})
        data = Data(source="t.csv", problem="classification", target="y")
        recipe = Recipe(data=data, features={}, contract=contract, trusted=[])
        pipeline = make_pipeline(DummyClassifier()).fit(ROWS.select("x"), ROWS["y"])
        Predictor(pipeline, recipe).save(folder / "models")
        with runs.run({}):
            uri, recorded = runs.log_model(folder / "models", recipe, ROWS.select("x"))
            outs = {f"models/{name}": md5(folder / "models" / name) for name in ("pipeline.skops", "recipe.json")}
            registry.register(uri, {"dvc.lock": json.dumps({"outs": outs})} | recorded)
        yield Path(runs.connect().get_model_version_download_uri(PACKAGE, "1").removeprefix("file://"))


@pytest.fixture
def files(stored, tmp_path) -> Iterator[Path]:
    """Return these files to a test that changes them; restore them and the tag with their digests afterwards."""
    tag = registry.get(1).tags[digests.TAG]
    shutil.copytree(stored, tmp_path / "copy")
    yield stored
    shutil.rmtree(stored)
    shutil.copytree(tmp_path / "copy", stored)
    registry.set_tag(1, digests.TAG, tag)
    packaging.warn_once.cache_clear()


def load() -> list[str]:
    with registry.load(1) as package, package.loaded() as predictor:
        return predictor.predict(ROWS.select("x")).tolist()


def append(text: str) -> Callable[[Path], object]:
    return lambda file: file.write_text(file.read_text() + text)


def link(target: str) -> Callable[[Path], object]:
    def replace(file: Path) -> None:
        file.rename(file.with_name("moved"))
        file.symlink_to(target)

    return replace


def write(content: bytes) -> Callable[[Path], object]:
    def make(file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    return make


def edit_flavor(**values: str) -> Callable[[Path], object]:
    def edit(file: Path) -> None:
        content = yaml.safe_load(file.read_text())
        content["flavors"]["python_function"] |= values
        file.write_text(yaml.safe_dump(content))

    return edit


def trust(recipe: Path, name: str) -> None:
    content = json.loads(recipe.read_text())
    recipe.write_text(json.dumps(content | {"trusted": [name]}))


CANARY = b"raise SystemExit('this code must not run')\n"
ATTACKS = [
    (
        "data/models/recipe.json",
        lambda file: trust(file, "os.system"),
        "changed",
    ),
    ("data/models/pipeline.skops", write(b"PK"), "changed"),
    ("data/models/pipeline.skops", Path.unlink, "missing"),
    ("data/models/pipeline.skops", link("recipe.json"), "changed"),
    ("data/models/pipeline.pkl", write(CANARY), "new"),
    (f"{CODE}/model/predictor.py", append(CANARY.decode()), "changed"),
    (f"{CODE}/__init__.py", write(CANARY), "changed"),
    (f"{CODE}/model/extra.py", write(CANARY), "new"),
    (f"{CODE}/errors/__init__.py", write(CANARY), "new"),  # a package wins over a module
    ("code/sitecustomize.py", write(CANARY), "new"),
    ("code/numpy.py", write(CANARY), "new"),
    ("code/evil.pth", write(b"import os\n"), "new"),
    ("code/\u202egnp.py", write(CANARY), "new"),
    ("MLmodel", edit_flavor(code=".."), "changed"),
    ("MLmodel", edit_flavor(loader_module="os.path"), "changed"),
    ("MLmodel", edit_flavor(data="/"), "changed"),
    ("MLmodel", write(b"["), "changed"),
    ("MLmodel", Path.unlink, "missing"),
    ("conda.yaml", append("- evil"), "changed"),
    ("python_env.yaml", append("- evil"), "changed"),
    ("requirements.txt", append("evil"), "changed"),
    ("input_example.json", write(b"{}"), "changed"),
    ("code", lambda folder: folder.rename(folder.parent / "data/code"), "missing"),
]


@pytest.mark.parametrize(("name", "attack", "what"), ATTACKS, ids=range(len(ATTACKS)))
def test_files_that_were_not_registered_are_not_loaded(files, name, attack, what):
    attack(files / name)
    with pytest.raises(digests.TamperedError, match=rf"Version 1 .* is not loaded, .* {what}.* Restore") as raised:
        load()
    assert name.encode("unicode_escape").decode() in str(raised.value)
    assert str(raised.value).isprintable()


def test_link_that_leaves_the_folder_is_not_followed(files, tmp_path):
    write(CANARY)(tmp_path / "evil.py")
    link(str(tmp_path / "evil.py"))(files / CODE / "errors.py")
    with pytest.raises(ProjectError, match=r"files of version 1 .* cannot be read: .* outside the artifact directory"):
        load()


def test_folder_where_mlflow_writes_a_file_of_its_own_is_one_sentence(files):
    write(CANARY)(files / "registered_model_meta/evil.py")
    with pytest.raises(ProjectError, match=r"files of version 1 .* cannot be read: .*registered_model_meta"):
        load()


SAID = "Failures occurred:\n##### File a #####\nno answer\n##### File b #####\nno answer"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (mlflow.MlflowException(SAID), "Failures occurred: no answer"),
        (RecursionError("too deep"), "too deep"),  # a key of a bucket with `..`
    ],
)
def test_files_that_cannot_be_downloaded_have_one_line_with_one_reason(files, monkeypatch, error, reason):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(packaging, "download_artifacts", fail)
    with pytest.raises(ProjectError, match=rf"cannot be read: {reason}\. Bring them back"):
        load()


def test_champion_with_other_files_stays_and_the_training_goes_on(files):
    write(CANARY)(files / CODE / "__init__.py")
    recipe = Predictor.load(files / "data/models").recipe
    verdict = promotion.evaluate_champion(1, read_params().gate, recipe, ROWS)
    assert isinstance(verdict, NotComparable)
    assert verdict.reason.startswith(f"Version 1 of {PACKAGE} is not loaded")
    assert not verdict.replaced


def test_what_mlflow_and_python_leave_beside_a_model_is_neither_a_fault_nor_used(files):
    runs.connect()
    for uri in (f"models:/{PACKAGE}/1", files.as_uri()):
        loaded = mlflow.pyfunc.load_model(uri)
        assert loaded.predict(ROWS.select("x").to_pandas()).tolist() == ["a", "a"]
    assert (files / "registered_model_meta").exists()
    # Python imports this instead of the module, whatever the module contains.
    write(CANARY)(files / "canary.py")
    compiled = cache_from_source(str(files / CODE / "model/predictor.py"))
    py_compile.compile(str(files / "canary.py"), compiled, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
    (files / "canary.py").unlink()
    assert load() == ["a", "a"]


@pytest.mark.parametrize("tag", ["", "{", "[1]", "null", '{"MLmodel": "0"}', "{}"])
def test_digests_that_were_changed_are_not_those_of_the_files(files, tag):
    registry.set_tag(1, digests.TAG, tag)
    with pytest.raises(digests.TamperedError, match=f"Version 1 of {PACKAGE} is not loaded"):
        load()


def test_source_that_leads_elsewhere_is_noticed(files, tmp_path):
    shutil.copytree(files, tmp_path / "elsewhere")
    version = registry.get(1)._replace(source=(tmp_path / "elsewhere").as_uri())
    with packaging.downloaded(version):
        pass
    write(CANARY)(tmp_path / "elsewhere" / CODE / "errors.py")
    with pytest.raises(digests.TamperedError, match=r"errors.py is changed"), packaging.downloaded(version):
        pass


def forget_digests() -> None:
    runs.connect().delete_model_version_tag(PACKAGE, "1", digests.TAG)


def test_version_of_before_is_loaded_with_a_warning_until_it_is_trusted(files, caplog):
    forget_digests()
    with caplog.at_level(logging.WARNING):
        assert [load(), load()] == [["a", "a"]] * 2
    assert caplog.text.count("Version 1 was registered without digests of its files") == 1
    assert registry.trust(1).startswith("Recorded the digests of the ")
    assert "are the ones that were registered" in registry.trust(1)
    write(CANARY)(files / CODE / "errors.py")
    for refused in (load, lambda: registry.trust(1)):
        with pytest.raises(digests.TamperedError, match=r"errors.py is changed"):
            refused()


@pytest.mark.parametrize(
    ("name", "attack", "said"),
    [
        ("data/models/pipeline.skops", write(b"PK"), "pipeline.skops does not match dvc.lock"),
        ("data/models/pipeline.skops", Path.unlink, "pipeline.skops does not match dvc.lock"),
        ("data/models/recipe.json", write(b"{"), "cannot be read"),
        ("MLmodel", write(b"["), "cannot be read"),
        ("MLmodel", edit_flavor(data="code"), "does not match dvc.lock"),
    ],
)
def test_version_of_before_with_another_model_is_not_loaded(files, name, attack, said):
    forget_digests()
    attack(files / name)
    for refused in (load, lambda: registry.trust(1)):
        with pytest.raises(digests.TamperedError, match=said):
            refused()


def test_version_of_before_trusts_only_what_the_project_trusts(files, monkeypatch):
    forget_digests()
    registry.set_tag(1, "dvc.lock", "{}")
    trust(files / "data/models/recipe.json", "a.Type")
    with pytest.raises(digests.TamperedError, match=r"recipe.json trusts a\.Type, which params\.yaml does not list"):
        load()
    params = read_params()
    trusting = params.model_copy(update={"model": params.model.model_copy(update={"trusted": ["a.Type"]})})
    monkeypatch.setattr(digests, "read_params", lambda: trusting)
    assert load() == ["a", "a"]


def test_models_in_the_project_are_loaded_with_the_types_of_the_project(files):
    folder = files / "data/models"
    trust(folder / "recipe.json", "posix.system")
    (folder / "pipeline.skops").write_bytes(skops.io.dumps(make_pipeline(FunctionTransformer(os.system))))
    with pytest.raises(ProjectError, match=r"model\.trusted"):
        Predictor.load(folder)
