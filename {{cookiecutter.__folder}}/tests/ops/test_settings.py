"""Settings: one clear sentence for every wrong key or value."""

import pytest
from conftest import PROJECT, change

from penguin_model.errors import ProjectError
from penguin_model.ops import settings


@pytest.mark.parametrize(
    ("section", "key", "value", "sentence"),
    [
        ("split", "sed", 7, r"params\.yaml: `split\.sed` is not a key here; did you mean `seed`"),
        ("split", "seed", -1, r"params\.yaml: `split\.seed` is -1.*greater than or equal to 0"),
        ("split", "holdout", 1.25, r"params\.yaml: `split\.holdout` is 1\.25.*less than 1"),
        ("gate", "metric", "x", r"params\.yaml: gate\.metric is 'x'.* has (f1_macro|rmse), "),
    ],
)
def test_wrong_params_are_named(edited, section, key, value, sentence):
    change(section, **{key: value})
    with pytest.raises(ProjectError, match=sentence):
        settings.read_params()


@pytest.mark.parametrize(
    ("put", "sentence"),
    [("\nmodle:", r"params\.yaml: `model` is missing"), ("\nmodel: [", r"params\.yaml, line \d+: not valid YAML")],
)
def test_params_that_cannot_be_read_are_named(edited, put, sentence):
    file = edited / "params.yaml"
    file.write_text(file.read_text().replace("\nmodel:", put, 1))
    with pytest.raises(ProjectError, match=sentence):
        settings.read_params()


def test_wrong_contract_is_named(edited):
    (edited / "contract.yaml").write_text("columns: {x: {type: number, nullabel: true}}")
    with pytest.raises(
        ProjectError, match=r"contract\.yaml: `columns\.x\.type` is 'number'.*'string', 'integer'"
    ) as error:
        settings.read_contract()
    assert "`columns.x.nullabel` is not a key here; did you mean `nullable`" in str(error.value)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ("(x): {type: string, allowed: a}", "`columns.(x).allowed` is 'a'; input should be a valid list."),
        ("1: {type: string}", "`columns.1` is 1; input should be a valid string."),
        ("x: string", "`columns.x` must hold keys with values, as in `key: value`, not 'string'."),
    ],
)
def test_fault_of_a_contract_is_said_once(edited, columns, sentence):
    (edited / "contract.yaml").write_text("columns: {" + columns + "}")
    with pytest.raises(ProjectError) as error:
        settings.read_contract()
    assert str(error.value) == f"contract.yaml: {sentence}"


def test_allowed_values_of_another_type_are_named(edited):
    (edited / "contract.yaml").write_text("columns: {x: {type: string, allowed: [1, 2]}}")
    with pytest.raises(
        ProjectError, match=r"contract\.yaml: columns\.x has type string and allows \[1, 2\]; `allowed` is for"
    ):
        settings.read_contract()


def test_empty_file_is_one_sentence(edited):
    (edited / "params.yaml").write_text("")
    with pytest.raises(ProjectError, match=r"params\.yaml"):
        settings.read_params()


def test_missing_file_is_one_sentence(edited):
    (edited / "params.yaml").unlink()
    with pytest.raises(ProjectError, match=r"params\.yaml is missing"):
        settings.read_params()


def test_wrong_env_is_named(edited):
    (edited / ".env").write_text("PREFECT_API_ULR=http://localhost/api\nPREFECT_LOGGING_LEVEL=LOUD\n")
    with pytest.raises(
        ProjectError, match=r"\.env.*`PREFECT_API_ULR` is not a key here; did you mean `PREFECT_API_URL`"
    ) as error:
        settings.read_settings()
    assert "`PREFECT_LOGGING_LEVEL` is 'LOUD'" in str(error.value)


def test_env_file_is_read_and_the_environment_wins(edited, monkeypatch):
    (edited / ".env").write_text("MLFLOW_TRACKING_URI=sqlite:///file.db\nMLFLOW_ARTIFACT_ROOT=kept\n")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    read = settings.read_settings()
    assert read.mlflow_tracking_uri == "http://127.0.0.1:1"
    assert read.mlflow_artifact_root == (edited / "kept").as_uri()


def test_folder_with_an_at_sign_is_not_taken_for_a_password(tmp_path, monkeypatch):
    folder = tmp_path / "me@example.org; #1"
    monkeypatch.setenv("PROJECT_ROOT", str(folder))
    monkeypatch.delenv("MLFLOW_ARTIFACT_ROOT", raising=False)  # an earlier test may have set it
    passed_on = settings.read_settings().mlflow_artifact_root
    monkeypatch.setenv("MLFLOW_ARTIFACT_ROOT", passed_on)
    assert settings.read_settings().mlflow_artifact_root == passed_on == (folder / "mlartifacts").as_uri()


def test_experiments_in_dvc_copies_share_their_owners_memory(tmp_path, monkeypatch):
    copy = tmp_path / ".dvc/tmp/exps/standalone/tmpx"
    monkeypatch.setenv("PROJECT_ROOT", str(copy))
    assert settings.project_root() == copy
    assert settings.state_dir() == tmp_path
    monkeypatch.setenv("PROJECT_ROOT", str(tmp_path))
    assert settings.state_dir() == tmp_path


def test_every_key_of_the_example_is_one(edited, monkeypatch):
    (edited / ".env").write_text((PROJECT / ".env.example").read_text().replace("\n#", "\n"))
    lines = [line for line in (edited / ".env").read_text().splitlines() if line.partition("=")[0].isidentifier()]
    (edited / ".env").write_text("\n".join(lines))
    # It refuses an unknown key.
    fields = type(settings.read_settings()).model_fields
    own = {name for name, field in fields.items() if not field.exclude}
    missing = own - {line.partition("=")[0].lower() for line in lines}
    # These belong to options that this project does not have.
    assert {name.partition("_")[0] for name in missing} <= {"notify", "dask", "ray"}
    monkeypatch.delenv("AWS_REGION", raising=False)
    (edited / ".env").write_text("AWS_REGION=somewhere")
    assert settings.cloud_options()["AWS_REGION"] == "somewhere"


def test_env_file_is_read_in_one_way(edited, monkeypatch):
    monkeypatch.delenv("IMAGE", raising=False)
    assert settings.image() == "penguin-model:latest"
    (edited / ".env").write_text('IMAGE="registry/own:1" # quoted\nMLFLOW_PORT=\n')
    assert settings.image() == settings.variables()["IMAGE"] == settings.read_settings().image == "registry/own:1"
    monkeypatch.setenv("IMAGE", "")
    assert settings.image() == "registry/own:1"
    monkeypatch.setenv("IMAGE", "registry/own:2")
    assert settings.image() == "registry/own:2"
    assert "MLFLOW_PORT" not in settings.variables()
    assert "image" not in settings.read_settings().model_dump()
