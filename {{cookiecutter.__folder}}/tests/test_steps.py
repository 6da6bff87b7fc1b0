"""The steps as plain functions, without Prefect, on small tables."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sklearn.dummy import DummyClassifier
from sklearn.metrics import f1_score

from penguin_model.config import Contract
from penguin_model.errors import ProjectError
from penguin_model.model import casting, features
from penguin_model.steps import evaluate, ingest, train

TABLE = pl.DataFrame(
    {"size": [1.0, 2.0, None, 4.0] * 10, "kind": ["a", "b", None, "b"] * 10, "label": ["x", "y", "x", "y"] * 10}
)


@pytest.fixture(autouse=True)
def _only_features_of_the_test(monkeypatch):
    # The small tables lack the columns that the project's own expressions use.
    monkeypatch.setattr(features, "EXPRESSIONS", {})


def test_ingest_reads_csv_and_parquet_alike(tmp_path):
    TABLE.write_csv(tmp_path / "t.csv", null_value="NA")
    TABLE.write_parquet(tmp_path / "t.parquet")
    types = {"size": "float", "kind": "string", "label": "string"}
    assert_frame_equal(ingest.read_table(tmp_path / "t.csv", ["NA"], types), ingest.read_table(tmp_path / "t.parquet"))


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separator_is_recognised(separator, tmp_path):
    header = separator.join(['"a,;,;,;b"', "c"])
    (tmp_path / "t.csv").write_text(f"\ufeff{header}\n1{separator}2\n", encoding="utf-8")
    table = ingest.read_table(tmp_path / "t.csv", types={"c": "integer"}).collect()
    assert_frame_equal(table, pl.DataFrame({"a,;,;,;b": ["1"], "c": [2]}))


def test_text_of_parquet_can_mean_missing_too(tmp_path):
    pl.DataFrame({"a": ["?", "x", None], "n": [1, 2, 3]}).write_parquet(tmp_path / "t.parquet")
    assert ingest.read_table(tmp_path / "t.parquet", ["?"]).collect()["a"].to_list() == [None, "x", None]


def test_parquet_is_copied_unless_reading_changes_it(tmp_path):
    pl.DataFrame({"a": ["?", "x"]}).write_parquet(tmp_path / "t.parquet")
    pl.DataFrame({"": ["x"]}).write_parquet(tmp_path / "unnamed.parquet")
    assert ingest.is_as_kept(tmp_path / "t.parquet")
    assert not ingest.is_as_kept(tmp_path / "t.parquet", ["?"])
    assert not ingest.is_as_kept(tmp_path / "unnamed.parquet")
    pl.DataFrame({"a": [1, None], "b": [2.0, float("nan")]}).write_parquet(tmp_path / "empty row.parquet")
    assert not ingest.is_as_kept(tmp_path / "empty row.parquet")
    (tmp_path / "t.csv").write_text("a\n?\n")
    assert not ingest.is_as_kept(tmp_path / "t.csv")


def test_ingest_refuses_other_files(tmp_path):
    (tmp_path / "t.docx").write_bytes(b"PK\x03\x04")
    with pytest.raises(ProjectError, match=r"it is an Excel workbook or a Zip archive"):
        ingest.read_table(tmp_path / "t.docx")


def test_rows_without_a_target_are_dropped_and_an_unknown_target_is_refused():
    assert ingest.drop_unlabelled(TABLE.lazy(), "kind").collect().height == 30
    with pytest.raises(ProjectError, match=r"data\.target is 'price'.*size, kind, label"):
        ingest.drop_unlabelled(TABLE.lazy(), "price")


def test_rows_get_the_types_and_the_optional_columns_of_the_contract():
    rules = {"n": {"type": "integer"}, "gone": {"type": "string", "nullable": True}}
    contract = Contract.model_validate({"columns": rules})
    conformed = casting.conform(pl.LazyFrame({"other": [1], "n": ["7"]}), contract).collect()
    assert_frame_equal(conformed, pl.DataFrame({"n": [7], "gone": [None]}, schema={"n": pl.Int64, "gone": pl.String}))
    with pytest.raises(ProjectError, match=r"lack.*'n'.*they have \['m'\]"):
        casting.conform(pl.LazyFrame({"m": ["many"]}), contract)


def test_features_are_computed_and_infinities_become_missing():
    rows = pl.LazyFrame({"a": [1.0, 2.0], "b": [2.0, 0.0]})
    built = features.build(rows, {"ratio": "a / b"}, hidden="label").collect()
    assert built.get_column("ratio").to_list() == [0.5, None]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("label || 'x'", "uses the target"),
        ("size +", "not a Polars SQL"),
        ("weight * 2", "uses weight; the table has only"),
    ],
)
def test_bad_feature_is_refused(sql, message):
    with pytest.raises(ProjectError, match=message):
        features.build(TABLE.lazy(), {"new": sql}, hidden="label")


@pytest.mark.parametrize("sql", ["size - AVG(size)", "SUM(size) OVER (PARTITION BY kind)", "ROW_NUMBER() OVER ()"])
def test_feature_that_uses_other_rows_is_refused(sql):
    features.check_alone(TABLE.head(5), {"good": "size * 2", "rounded": "size * 3800 / 1000"}, hidden="label")
    with pytest.raises(ProjectError, match="new uses other rows"):
        features.check_alone(TABLE.head(5), {"good": "size * 2", "new": sql}, hidden="label")


@pytest.mark.parametrize(
    ("problem", "estimator", "params", "message"),
    [
        ("classification", "sklearn.no.Such", {}, "cannot be imported"),
        ("classification", "Such", {}, "does not exist"),
        ("classification", "nosuchlibrary.Such", {}, "uv add nosuchlibrary"),
        ("classification", "sklearn.tree.DecisionTreeClassifier", {"depth": 1}, r"model\.params do not fit"),
        ("regression", "sklearn.tree.DecisionTreeClassifier", {}, "does not do regression"),
        ("regression", "pathlib.Path", {}, "does not do regression"),
    ],
)
def test_bad_model_is_refused(problem, estimator, params, message):
    with pytest.raises(ProjectError, match=message):
        train.build_pipeline(problem, estimator, params)


def test_parameter_that_the_estimator_rejects_is_one_sentence():
    pipeline = train.build_pipeline("classification", "sklearn.tree.DecisionTreeClassifier", {"max_depth": -1})
    with pytest.raises(ProjectError, match=r"DecisionTreeClassifier cannot be fitted: .*max_depth"):
        train.fit(pipeline, TABLE.drop("label"), TABLE["label"])


@pytest.mark.parametrize("rows", [[500, 500], [900, 100], [600, 300, 100], [999, 1]])
def test_dummy_guesses_the_classes_as_often_as_they_occur(rows):
    labels = pl.Series("y", [label for label, count in zip("abc", rows, strict=False) for _ in range(count)])
    guess = DummyClassifier(strategy="stratified", random_state=0).fit(labels, labels).predict(labels)
    expected = f1_score(labels, guess, average="macro")
    found = evaluate.judge_dummy("classification", "f1_macro", labels, labels)
    assert found["dummy.f1_macro"] == pytest.approx(expected, abs=0.03)
    assert found["dummy.accuracy"] == max(rows) / sum(rows)


@pytest.mark.parametrize(
    ("metric", "dummy", "interval", "sentence"),
    [
        ("accuracy", 0.8, (0.7, 0.9), "does not beat"),
        ("accuracy", 0.75, (0.7, 0.9), "accuracy 0.8 (0.7 to 0.9) may beat the 0.75"),
        ("rmse", 0.85, (0.7, 0.9), "only by chance"),
        ("accuracy", 0.6, (0.7, 0.9), None),
        ("accuracy", 0.75, None, None),
    ],
)
def test_model_that_may_be_no_better_than_the_dummy_is_said(metric, dummy, interval, sentence):
    found = evaluate.doubt(metric, {metric: 0.8, f"dummy.{metric}": dummy}, interval)
    assert sentence in found[0] if sentence else found == []


def test_perfect_and_useless_classifiers_get_such_scores():
    truth = TABLE["label"]
    rows = pl.DataFrame({"size": truth.replace_strict({"x": 0.0, "y": 1.0})})
    perfect = train.build_pipeline("classification", "sklearn.tree.DecisionTreeClassifier", {})
    scores = evaluate.metrics("classification", evaluate.predict(train.fit(perfect, rows, truth), rows, truth))
    assert scores["accuracy"] == scores["f1_macro"] == scores["roc_auc"] == 1
    useless = DummyClassifier(strategy="constant", constant="x").fit(rows, truth)
    scores = evaluate.metrics("classification", evaluate.predict(useless, rows, truth))
    assert scores["balanced_accuracy"] == 0.5


def test_regression_is_scored_in_the_units_of_the_target():
    rows, truth = pl.DataFrame({"a": [1.0, 2.0, 3.0, 4.0] * 5}), pl.Series([11.0, 22.0, 33.0, 44.0] * 5)
    perfect = train.fit(train.build_pipeline("regression", "sklearn.tree.DecisionTreeRegressor", {}), rows, truth)
    scores = evaluate.metrics("regression", evaluate.predict(perfect, rows, truth))
    assert scores == {"rmse": 0, "mae": 0, "r2": 1}
