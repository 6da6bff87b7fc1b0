"""Names that a tool would refuse or read as something else: encoded, or refused before anything runs."""

# ruff: noqa: SLF001 - MLflow's checks are private
import os

import polars as pl
import pytest
from mlflow.utils import validation

from penguin_model.errors import ProjectError
from penguin_model.model.predictor import Recipe
from penguin_model.ops.adopt.adopt import AdoptRequest, adopt
from penguin_model.ops.settings import (
    project_root,
    read_contract,
    read_params,
)
from penguin_model.ops.tracking import runs
from penguin_model.ops.tracking.keys import as_keys
from penguin_model.ops.versioning.provenance import Provenance
from penguin_model.steps import ingest

ACCEPTED = ["data.source", "input.data/raw/penguins.csv", "features.größe 2: a-b_c", "x" * 250]
HOSTILE = [
    *("a share (%)", "my file (1) 50%.csv", "a//b", "a/", "/a", "..", "../a", ".", "a/../b", "", "/"),
    *("#", "?", "*", "[x]", "${data.source}", "{", "}", "'", '"', "\\", "|", "&", "=cmd", "<b>", "$x$", "~", "`", "@"),
    *("new\nline", "tab\t", "nul\0", "\u202e", "\u200b", "\ufeff", "💡", "e\u0301", "caf\udce9", "x" * 251, "z" * 1000),
    *("(%)", "(#)", "z" * 999 + "%", "z" * 999 + "#"),
]


def test_names_become_keys_that_mlflow_accepts_and_that_differ():
    names = [*ACCEPTED, *HOSTILE]
    keys = list(as_keys(dict.fromkeys(names)))
    assert keys[: len(ACCEPTED)] == ACCEPTED
    assert len(set(keys)) == len(names)
    for key in keys:
        validation._validate_tag(key, "")
        validation._validate_param(key, "")
        validation._validate_registered_model_tag(key, "")


def test_readable_part_of_a_name_stays():
    [key] = as_keys({"features.a share (%)": None})
    assert key.startswith("features.a share ___-")


def test_origin_is_read_from_its_tags_whatever_the_files_are_called():
    inputs = {f"data/raw/{name}": "0" * 32 for name in HOSTILE}
    origin = Provenance(
        commit="c",
        patched=False,
        changed="",
        left_out="",
        patch="",
        flow_run_id="id",
        flow_run_name="name",
        split="{}",
        inputs=inputs,
        outputs={"models/pipeline.skops": "1"},
    )
    assert Provenance.read(as_keys(origin.tags())) == origin
    # Versions that were registered earlier may have the inputs as tags alone.
    assert Provenance.read({"input.data/raw/a.csv": "0"}).inputs == {"data/raw/a.csv": "0"}


def test_any_number_of_parameters_is_recorded(trained, tmp_path):
    features = {f"{name} {number}": "x" * 9000 for name in HOSTILE for number in range(8)}
    (tmp_path / "report.html").touch()
    with runs.run({}) as run_id:
        runs.log_results(run_id, {"features": features}, {"accuracy": 1.0}, tmp_path, tmp_path / "report.html")
    client = runs.connect()
    recorded = client.get_run(run_id).data.params
    client.delete_run(run_id)
    assert len(recorded) == len(features) > 300


@pytest.mark.parametrize("name", ["*", "^a.*$", "^$", "nul\0"])
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_column_that_polars_would_take_for_others_is_refused(tmp_path, name, ending):
    table, file = pl.DataFrame({"a": [1], name: [2]}), tmp_path / f"table{ending}"
    (table.write_csv if ending == ".csv" else table.write_parquet)(file)
    with pytest.raises(
        ProjectError, match=r"The table has a column '.*', which Polars cannot use|line 1 holds a NUL byte"
    ):
        ingest.read_table(file)


@pytest.mark.parametrize("name", ["st*r", "what?", "[x]", "{a,b}"])
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_path_is_no_pattern(tmp_path, name, ending):
    for file, value in ((name, "1"), ("star", "2"), ("whats", "2"), ("x", "2"), ("a", "2")):
        table = pl.DataFrame({"a": [value]})
        (table.write_csv if ending == ".csv" else table.write_parquet)(tmp_path / f"{file}{ending}")
    assert ingest.read_table(tmp_path / f"{name}{ending}").collect().to_dicts() == [{"a": "1"}]


@pytest.mark.parametrize(
    ("name", "reason"), [("*", "Polars cannot use"), ("^x$", "Polars cannot use"), ("the target", "a column has")]
)
def test_feature_whose_name_is_taken_is_refused(name, reason):
    params, contract = read_params(), read_contract()
    features = {params.data.target if name == "the target" else name: "1"}
    with pytest.raises(ProjectError, match=f"params.yaml: features has the name .*, which {reason}: choose another"):
        Recipe.of(params.model_copy(update={"features": features}), contract)


def test_feature_of_the_wrong_types_is_named():
    rows = pl.LazyFrame({"text": ["a"], "number": [1], "target": [0]})
    from penguin_model.model import features

    with pytest.raises(ProjectError, match="The feature wrong cannot be computed: arithmetic on dtypes"):
        features.build(rows, {"wrong": "text * number"}, hidden="target")


@pytest.mark.parametrize("name", ["x" * 240, "漢" * 80, os.fsdecode(b"caf\xe9")], ids=ascii)
def test_name_in_data_raw_that_is_too_long_or_not_unicode_is_refused(name):
    file = project_root() / f"data/raw/{name}.csv"
    file.write_text("a,b\n1,2\n")
    try:
        with pytest.raises(ProjectError, match=r"Rename 'data/raw/.*': a name must be UTF-8, and at most 230 bytes"):
            adopt(AdoptRequest(str(file), "b"))
    finally:
        file.unlink()
