"""A table of one's own: what is decided about it and why, or one sentence and nothing changed."""

import datetime as dt
import gzip
import os
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy
from conftest import PROJECT
from ruamel.yaml import YAML

from penguin_model.errors import ProjectError
from penguin_model.model import casting
from penguin_model.ops import queries
from penguin_model.ops.adopt import infer, profile
from penguin_model.ops.adopt.adopt import AdoptRequest, adopt
from penguin_model.ops.files import scratch
from penguin_model.ops.settings import (
    PACKAGE,
    project_root,
    read_contract,
    read_params,
    read_settings,
)
from penguin_model.ops.versioning import git
from penguin_model.steps import ingest, validate

ROWS = 60
NUMBER = pl.int_range(ROWS)
MOMENT = pl.lit(dt.datetime(2020, 1, 1)) + NUMBER * dt.timedelta(hours=7)
# Everything at once, under names that mean something elsewhere.
ODD = pl.select(
    NUMBER.alias(""),
    (NUMBER * 0.5 + 0.25).alias("with blank"),
    (NUMBER % 3).alias("dot.ted"),
    pl.format("kind {}", NUMBER % 4).alias('it\'s "so"'),
    (NUMBER % 2 == 0).alias("co: lon"),
    (NUMBER % 7).alias("💡"),
    MOMENT.dt.date().alias("1st"),
    MOMENT.alias("${x}"),
    pl.format("the {} jumps over the lazy dog", NUMBER).alias("prose"),
    pl.format("u{}", NUMBER).alias("uid"),
    pl.format("0{}:30:00", NUMBER % 5).alias("o'clock: \"new\n, {line}"),
    pl.format("0{}", NUMBER % 7).alias("zip"),
    pl.lit("always").alias("constant"),
    pl.lit(None, pl.String).alias("nothing"),
    pl.when(NUMBER % 3 == 0).then(pl.lit("yes")).otherwise(pl.lit("no")).alias("answer"),
)
TYPES = {
    "unnamed": "integer",
    "with blank": "float",
    "dot.ted": "integer",
    'it\'s "so"': "string",
    "co: lon": "boolean",
    "💡": "integer",
    "1st": "date",
    "${x}": "datetime",
    "prose": "string",
    "uid": "string",
    "o'clock: \"new\n, {line}": "string",
    "zip": "string",
    "constant": "string",
    "answer": "string",
}


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """Return a project of its own, with git and DVC, as the template makes it."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("params.yaml", "contract.yaml", ".dvc/config", ".dvc/.gitignore"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(PROJECT / name, folder / name)
    git.run_git("init", "--quiet", cwd=folder)
    monkeypatch.setenv("PROJECT_ROOT", str(folder))
    monkeypatch.delenv("SOURCE_URL", raising=False)
    return folder


def files(project: Path) -> dict[str, bytes]:
    """Return what a person sees of the project."""
    found = {path.relative_to(project): path for path in project.rglob("*") if path.is_file()}
    return {
        str(name): path.read_bytes() for name, path in found.items() if not {".git", "tmp", "cache"} & set(name.parts)
    }


def keeps_its_contract() -> None:
    data = read_params().data
    validate.check(
        ingest.read_table(project_root() / data.source, data.null_values, read_contract().types), read_contract()
    )


@pytest.mark.parametrize("end", ["csv", "parquet"])
def test_odd_table_becomes_the_projects(end, project, tmp_path):
    table = tmp_path / f"Odd table.{end}"
    ODD.write_csv(table) if end == "csv" else ODD.write_parquet(table)
    summary = "\n".join(adopt(AdoptRequest(str(table), "answer")))
    params, contract = read_params(), read_contract()
    assert params.data.source == f"data/raw/odd-table.{end}"
    assert (project / params.data.source).read_bytes() == table.read_bytes()
    assert (params.data.problem, params.data.target, params.features) == ("classification", "answer", {})
    assert contract.types == TYPES
    assert set(params.data.drop) == {"unnamed", "uid", "constant"}
    assert contract.columns["uid"].unique
    assert contract.columns["answer"].allowed == ["no", "yes"]
    assert (contract.rows.min, contract.rows.max) == (30, 600)
    keeps_its_contract()
    assert "classification, because it has 2 different values" in summary
    assert "(constant): 'constant'" in summary
    assert "(empty): 'nothing'" in summary
    assert "(identifier, different in every row): 'unnamed', 'uid'" in summary
    assert f"/odd-table.{end}" in (project / "data/raw/.gitignore").read_text()
    assert "md5" in (project / f"{params.data.source}.dvc").read_text()
    assert "# WHAT the experiment is" in (project / "params.yaml").read_text()


def test_other_types_of_parquet_become_the_contracts(project, tmp_path):
    table = ODD.select("answer", "${x}", "dot.ted").with_columns(
        zoned=pl.col("${x}").dt.replace_time_zone("Europe/Paris"),
        clock=pl.col("${x}").dt.time(),
        lasts=pl.duration(hours=NUMBER),
        money=(NUMBER / 4).cast(pl.Decimal(10, 2)),
        category=pl.col("answer").cast(pl.Categorical),
        choice=pl.col("answer").cast(pl.Enum(["no", "yes"])),
        small=(NUMBER % 9).cast(pl.UInt8),
        single=(NUMBER / 7).cast(pl.Float32),
        nested=pl.concat_list("dot.ted"),
        record=pl.struct("dot.ted"),
        raw=pl.lit(b"x"),
    )
    table.write_parquet(tmp_path / "t.parquet")
    summary = "\n".join(adopt(AdoptRequest(str(tmp_path / "t.parquet"), "answer")))
    types = read_contract().types
    assert types["zoned"] == "datetime"
    assert {types[name] for name in ("clock", "lasts", "money", "single")} == {"float"}
    assert {types[name] for name in ("category", "choice")} == {"string"}
    assert types["small"] == "integer"
    assert not {"nested", "record", "raw"} & set(types)
    assert "(unsupported type List): 'nested'" in summary
    keeps_its_contract()
    rows = casting.conform(ingest.read_table(tmp_path / "t.parquet"), read_contract()).collect()
    assert rows["lasts"].to_list()[:2] == [0.0, 3600.0]


def test_missing_values_everywhere_are_counted_and_recognised(project, tmp_path):
    holes = ODD.select(pl.all().cast(pl.String)).with_columns(
        pl.when((NUMBER + at) % 6 != 0).then(pl.col(name)).otherwise(pl.lit(word))
        for at, (name, word) in enumerate(zip(ODD.columns, ["NA", "?", "", "N/A", "NaN", " ", "-"] * 3, strict=False))
        if name != "nothing"
    )
    holes.write_csv(tmp_path / "holes.csv")
    summary = "\n".join(adopt(AdoptRequest(str(tmp_path / "holes.csv"), "answer")))
    assert "10 of 60 rows have no target" in summary
    # A dash is missing where all else is a number.
    assert set(read_params().data.null_values) == {"NA", "?", "N/A", "NaN", " ", "-"}
    assert not [name for name, column in read_contract().columns.items() if not column.nullable]
    assert sorted(read_contract().types.values()) == sorted(TYPES.values())
    keeps_its_contract()


def test_empty_text_is_missing_in_csv_and_parquet(project, tmp_path):
    (tmp_path / "t.csv").write_text('a,b,y\n"1","x",u\n"","",v\n3,,u\n')
    pl.DataFrame({"a": ["1", "", "3"], "b": ["x", "", None], "y": ["u", "v", "u"]}).write_parquet(
        tmp_path / "t.parquet"
    )
    for name in ("t.csv", "t.parquet"):
        adopt(AdoptRequest(str(tmp_path / name), "y"))
        assert read_contract().types == {"a": "integer", "b": "string", "y": "string"}
        assert [column.nullable for column in read_contract().columns.values()] == [True, True, False]
        keeps_its_contract()


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (["a", "b"] * 10, "classification"),
        ([True, False] * 10, "classification"),
        ([0, 1] * 10, "classification"),
        ([0.0, 1.0] * 10, "classification"),
        ([3, 5, 6, 7] * 5, "classification"),
        (list(range(20)), "regression"),
        (list(range(100)), "regression"),
        ([0.5, 1.5] * 10, "regression"),
    ],
)
def test_problem_is_what_the_target_says(values, problem):
    table = pl.LazyFrame({"x": pl.int_range(len(values), eager=True) / 2, "y": values})
    decision = infer.decide(profile.profile(table), "y", None)
    assert decision.problem == problem
    assert f"Target 'y': {problem}, because" in decision.reasons[0]


def test_memory_does_not_grow_with_the_columns():
    program = [
        "import numpy, polars, resource, sys",
        "from penguin_model.ops.adopt import profile",
        "table = polars.LazyFrame(numpy.random.default_rng(0).normal(size=(2000, 1500)))",
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss",
        "assert len(profile.profile(table)) == 1500",
        "unit = 1024**2 if sys.platform == 'darwin' else 1024",
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // unit)",
    ]
    environment = os.environ | {"POLARS_MAX_THREADS": "2"}
    run = [sys.executable, "-c", "\n".join(program)]
    mebibytes = subprocess.run(run, check=True, capture_output=True, text=True, env=environment).stdout
    # The table has 24; counting all columns at once took 800.
    assert int(mebibytes) < 400


OWN = """
# Ours.
data:
  source: data/raw/old.csv
  problem: classification # ours too
  target: species
features:
  ratio: a / b # halves
# About the split.
split: {by: group, column: island, holdout: 0.3, seed: 1}
model:
  estimator: sklearn.svm.SVC
  params:
    C: 1
  # Types.
  trusted: [a.b]
gate:
  metric: accuracy # of all
  minimum: 0.9 # at least
  improvement: 0.1 # more
  slices: [island] # ours
"""


@pytest.mark.parametrize("problem", ["classification", "regression"])
def test_comments_and_what_the_table_does_not_decide_survive(problem, project, tmp_path):
    (project / "params.yaml").write_text(OWN)
    pl.DataFrame({"x": [0.5, 1.5] * 10, "y": [1, 2, 3, 4] * 5}).write_csv(tmp_path / "t.csv")
    adopt(AdoptRequest(str(tmp_path / "t.csv"), "y", problem=problem))
    written, before = (project / "params.yaml").read_text(), YAML(typ="safe").load(OWN)
    assert [line.partition("#")[2] for line in written.splitlines() if "#" in line] == [
        line.partition("#")[2] for line in OWN.splitlines() if "#" in line
    ]
    after = YAML(typ="safe").load(written)
    assert after["gate"] | {"metric": "accuracy"} == before["gate"] | {"minimum": None, "slices": []}
    assert after["model"]["trusted"] == ["a.b"]
    assert (after["split"]["holdout"], after["split"]["seed"], after["features"]) == (0.3, 1, {})
    assert (after["model"] == before["model"]) is (problem == "classification")


def test_problem_may_be_said(project, tmp_path):
    pl.DataFrame({"x": [0.5, 1.5] * 10, "y": [1, 2, 3, 4] * 5}).write_csv(tmp_path / "t.csv")
    for problem, metric in (("regression", "rmse"), ("classification", "f1_macro")):
        adopt(AdoptRequest(str(tmp_path / "t.csv"), "y", problem=problem))
        params = read_params()
        assert (params.data.problem, params.gate.metric) == (problem, metric)
        assert params.model.estimator.endswith({"regression": "Regressor", "classification": "Classifier"}[problem])


def test_rows_are_kept_back_by_group_or_time(project, tmp_path):
    ODD.write_csv(tmp_path / "t.csv")
    adopt(AdoptRequest(str(tmp_path / "t.csv"), "answer", group="uid"))
    assert (read_params().split.by, read_params().split.column) == ("group", "uid")
    adopt(AdoptRequest(str(tmp_path / "t.csv"), "answer", time="${x}"))
    assert (read_params().split.by, read_params().split.column) == ("time", "${x}")
    adopt(AdoptRequest(str(tmp_path / "t.csv"), "answer"))
    assert (read_params().split.by, read_params().split.column) == ("stratified", None)


def test_columns_that_give_the_target_away_and_rows_that_belong_together_are_said(project, tmp_path):
    table = ODD.select("answer", "prose", machine=NUMBER % 9, code=pl.col("answer") == "yes")
    table.write_csv(tmp_path / "t.csv")
    alone = "'code' alone determines 'answer' (one-to-one)"
    for group, said in ((None, True), ("machine", False)):
        summary = "\n".join(adopt(AdoptRequest(str(tmp_path / "t.csv"), "answer", group=group)))
        assert alone in summary
        assert ("'machine' repeats (about 6.7 rows each)" in summary) is said
    assert read_params().data.drop == []


def test_adopting_again_changes_nothing(project, tmp_path):
    ODD.write_csv(tmp_path / "t.csv")
    adopt(AdoptRequest(str(tmp_path / "t.csv"), "answer"))
    once = files(project)
    adopt(AdoptRequest(str(tmp_path / "t.csv"), "answer"))
    assert files(project) == once
    adopt(AdoptRequest(str(project / "data/raw/t.csv"), "answer"))
    assert files(project) == once


@pytest.mark.parametrize(
    ("content", "target", "sentence"),
    [
        (b"a,b\n1,x\n2,y\n", "c", r"The table has no column 'c'; it has 'a', 'b'\."),
        (b"a,B\n1,x\n2,y\n", "b", r"The table has no column 'b'; did you mean 'B'\?"),
        (b"a,price\n1,x\n2,y\n", "pirce", r"The table has no column 'pirce'; did you mean 'price'\?"),
        ("a,u\u0308\n1,x\n2,y\n".encode(), "ü", r"The table has no column 'ü'; did you mean 'u\\u0308'\?"),
        (b"a,b\n1,x\n2,x\n", "b", r"'b' has only one value"),
        (b"a,b\n1,x\n2,\n", "b", r"'b' has a value in 1 of 2 rows"),
        (b"a,b\n", "b", r"'b' has a value in 0 of 0 rows"),
        (b"a,b\n1,2020-01-01\n2,2020-01-02\n", "b", r"'b' has type date; it must be"),
        (b"a,b\n1,x\n1,y\n", "b", r"No column is left to learn from"),
        (b"a,b\n1,.5\n2,1.5\n3,1e300\n", "b", r"'b' has numbers from 0\.5 to 1e\+300, too far apart .*: scale them"),
        (b"a,b\n1,.5e-40\n2,1e-40\n", "b", r"'b' has numbers from 5e-41 to 1e-40, .*too close"),
        (b"a,b\n" + b"".join(b"%d,x%d\n" % (n % 3, n) for n in range(11)), "b", "11 different .* add --problem class"),
        (b"", "b", r"Cannot read '.*t' as a table: it is empty"),
        (b"a,b\n1,\xe9\n", "b", r"Cannot read '.*t' as a table: line 2 holds text that is not UTF-8"),
        (b"a,b\n1,2,3\n", "b", r"Cannot read '.*t' as a table: line 2 has 3 instead of 2 values"),
        (b"PAR1 nonsense", "b", r"Cannot read '.*t' as a table: the Parquet file is damaged"),
        (None, "b", r"File not found: .*t\."),
    ],
)
def test_what_cannot_be_is_one_sentence_and_nothing_changes(content, target, sentence, project, tmp_path):
    if content is not None:
        (tmp_path / "t").write_bytes(content)
    before = files(project)
    with pytest.raises(ProjectError, match=sentence) as error:
        adopt(AdoptRequest(str(tmp_path / "t"), target))
    assert "\n" not in str(error.value)
    assert files(project) == before


@pytest.mark.parametrize(
    ("damaged", "sentence"), [("contract", "contract.yaml is a folder"), ("params", "not valid YAML")]
)
def test_nothing_changes_if_a_file_cannot_be_written(damaged, sentence, project, tmp_path):
    ODD.write_csv(tmp_path / "t.csv")
    (project / f"{damaged}.yaml").unlink()
    if damaged == "contract":
        (project / "contract.yaml").mkdir()
    else:
        (project / "params.yaml").write_text("data: [")
    before = files(project)
    with pytest.raises(ProjectError, match=sentence):
        adopt(AdoptRequest(str(tmp_path / "t.csv"), "answer"))
    assert files(project) == before


def test_nothing_changes_if_dvc_cannot_track(project, tmp_path):
    ODD.write_csv(tmp_path / "t.csv")
    shutil.rmtree(project / ".dvc")
    before = files(project)
    with pytest.raises(ProjectError, match=r"DVC: you are not inside of a DVC repository"):
        adopt(AdoptRequest(str(tmp_path / "t.csv"), "answer"))
    assert files(project) == before


KILLED = """
import os, signal, sys
from pathlib import Path
from penguin_model.ops.adopt.adopt import AdoptRequest, adopt
Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
adopt(AdoptRequest(sys.argv[1], "answer"))
"""


def test_killed_adopt_changes_nothing_and_leaves_nothing_to_commit(project, tmp_path):
    table = tmp_path / "t.csv"
    ODD.write_csv(table)
    for name in (".gitignore", "data/raw/.gitignore"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, project / name)
    adopt(AdoptRequest(str(table), "answer"))
    before, status = files(project), git.run_git("status", "--porcelain", "--untracked-files=all", cwd=project)
    ODD.head(50).write_csv(table)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(table)], check=False)
    assert killed.returncode == -9
    [left] = (project / "data/raw").glob(".*/")
    assert {name: content for name, content in files(project).items() if left.name not in name} == before
    assert git.run_git("status", "--porcelain", "--untracked-files=all", cwd=project) == status
    assert b"t.csv" not in git.run_git("ls-files", "--others", "--exclude-standard", "data/raw/*.csv", cwd=project)
    adopt(AdoptRequest(str(table), "answer"))
    assert not left.exists()
    assert (project / "data/raw/t.csv").read_bytes() == table.read_bytes()


def test_scratch_folder_of_a_living_process_stays(tmp_path):
    (tmp_path / ".adopting-left").mkdir()
    with scratch(tmp_path, "adopting") as first, scratch(tmp_path, "adopting") as second:
        assert sorted(tmp_path.iterdir()) == sorted([first, second])


@pytest.mark.parametrize(
    ("name", "content", "columns"),
    [
        ("t.csv", b"\xef\xbb\xbfa;b;c\n1;x;2\n2;y;3\n", ["a", "b", "c"]),
        ("t.tsv", b"a\tb\n1\tx\n2\ty\n", ["a", "b"]),
        ("t.csv.gz", gzip.compress(b"a,b\n1,x\n2,y\n"), ["a", "b"]),
        ("t.data", b"a,b\n1,x\n2,y\n", ["a", "b"]),
    ],
)
def test_texts_of_other_kinds_are_read(name, content, columns, project, tmp_path):
    (tmp_path / name).write_bytes(content)
    adopt(AdoptRequest(str(tmp_path / name), "b"))
    assert list(read_contract().columns) == columns
    keeps_its_contract()


def test_folder_of_parquet_becomes_one_file(project, tmp_path):
    (tmp_path / "parts").mkdir()
    for part in range(3):
        ODD[part * 20 : part * 20 + 20].write_parquet(tmp_path / f"parts/{part}.parquet")
    adopt(AdoptRequest(str(tmp_path / "parts"), "answer"))
    data = read_params().data
    assert (data.source, data.origin) == ("data/raw/parts.parquet", str(tmp_path / "parts"))
    assert pl.read_parquet(project / data.source).equals(ODD)


@pytest.fixture
def served(tmp_path):
    """Serve a folder by HTTP; return the folder, and its address."""
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("name", "source"), [("t.csv", "t.csv"), ("t.parquet", "t.parquet"), ("download", "download.csv")]
)
def test_address_is_read_and_remembered(name, source, served, project):
    folder, url = served
    ODD.write_parquet(folder / name) if name.endswith("parquet") else ODD.write_csv(folder / name)
    adopt(AdoptRequest(f"{url}/{name}", "answer"))
    data = read_params().data
    assert (data.source, data.origin) == (f"data/raw/{source}", f"{url}/{name}")
    assert (project / data.source).read_bytes() == (folder / name).read_bytes()
    before = files(project)
    with pytest.raises(ProjectError, match=r"nothing\.csv' answers 404"):
        adopt(AdoptRequest(f"{url}/nothing.csv", "answer"))
    assert files(project) == before


def test_secret_of_an_address_goes_to_env_only(served, project):
    folder, url = served
    ODD.write_csv(folder / "t.csv")
    adopt(AdoptRequest(f"{url}/t.csv?key=s3cret$", "answer"))
    assert read_params().data.origin == "SOURCE_URL"
    assert read_settings().source_url == f"{url}/t.csv?key=s3cret$"
    tracked = {name: content for name, content in files(project).items() if name != ".env"}
    assert not [name for name, content in tracked.items() if b"s3cret" in content]


def test_query_to_a_database_becomes_parquet(project, tmp_path):
    url = f"sqlite:///{tmp_path}/d.sqlite"
    table = ODD.select(number="dot.ted", text="prose", answer="answer").with_columns(
        late=pl.when(NUMBER > 55).then(NUMBER)
    )
    with sqlalchemy.create_engine(url).begin() as connection:
        connection.execute(sqlalchemy.text("create table t (number integer, text text, answer text, late integer)"))
        insert = sqlalchemy.text("insert into t values (:number, :text, :answer, :late)")
        connection.execute(insert, table.to_dicts())
    with pytest.MonkeyPatch.context() as patch:
        # The column `late` is empty in the first batches.
        patch.setattr(queries, "BATCH", 25)
        adopt(AdoptRequest(url, "answer", query="select * from t"))
    data = read_params().data
    assert (data.source, data.origin, data.query) == ("data/raw/query.parquet", url, "select * from t")
    assert pl.read_parquet(project / data.source).equals(table)
    for query, sentence in (("select * from u", "no such table: u"), ("select * from t where number > 9", "no rows")):
        with pytest.raises(ProjectError, match=sentence):
            adopt(AdoptRequest(url, "answer", query=query))
    with pytest.raises(ProjectError, match="column 'answer' appears more than once"):
        adopt(AdoptRequest(url, "answer", query="select a.answer, b.answer from t a, t b"))
    with pytest.raises(ProjectError, match="Unsupported database address 'nonsense://x'"):
        adopt(AdoptRequest("nonsense://x", "answer", query="select 1"))


def test_verb_prints_what_was_decided(project, tmp_path):
    ODD.write_csv(tmp_path / "t.csv")
    verb = [sys.executable, "-m", PACKAGE, "adopt", str(tmp_path / "t.csv"), "--target"]
    done = subprocess.run([*verb, "answer"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Target 'answer': classification" in done.stdout
    done = subprocess.run([*verb, "other"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("The table has no column 'other'")


@pytest.mark.parametrize(
    ("name", "first", "step", "looks"),
    [
        ("timestamp", 1_600_000_000, 1000, "seconds since 1970"),
        ("started", 1_600_000_000.5, 1000, "seconds since 1970"),
        ("created_at", 1_600_000_000_000, 10**6, "milliseconds since 1970"),
        ("ts", 1_600_000_000_000_000, 10**9, "microseconds since 1970"),
        ("time", 1_600_000_000_000_000_000, 10**12, "nanoseconds since 1970"),
        ("date", 43_831, 1, "days of Excel"),
        ("orderDate", 43_831.25, 1, "days of Excel"),
        ("month", 202_001, 0.1, "months as 202012"),
        ("when", 20_200_101, 0.5, "days as 20201231"),
        ("price", 43_831, 1, None),
        ("zip", 20_200_101, 1, None),
        ("timestamp", 12, 1, None),
        ("day", 1, 0.5, None),
    ],
)
def test_numbers_that_look_like_times_stay_numbers_and_are_named(name, first, step, looks):
    number = pl.int_range(ROWS) * 17 % 31 * step + first
    whole = isinstance(first, int)
    table = pl.select(
        pl.when(NUMBER % 2 == 0).then(1.5).otherwise(2.5).alias("y"), number.cast(int if whole else float).alias(name)
    )
    decision = infer.decide(profile.profile(table.lazy()), "y", None)
    sentences = [sentence for sentence in decision.reasons if "look like" in sentence]
    assert decision.contract.types[name] == ("integer" if whole else "float")
    expected = (
        f"Numbers that look like {looks} stay numbers, which --time can use; write dates as 2020-12-31: '{name}'."
    )
    assert sentences == ([expected] if looks else [])
