"""The steps as plain functions, without Prefect, on small tables."""

import datetime as dt
from decimal import Decimal

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_info, threadpool_limits

from penguin_model.config import Contract
from penguin_model.errors import ProjectError
from penguin_model.model import casting, features, persistence
from penguin_model.steps import evaluate, ingest, train

TABLE = pl.DataFrame(
    {"size": [1.0, 2.0, None, 4.0] * 10, "kind": ["a", "b", None, "b"] * 10, "label": ["x", "y", "x", "y"] * 10}
)


def test_ingest_reads_csv_and_parquet_alike(tmp_path):
    TABLE.write_csv(tmp_path / "t.csv", null_value="NA")
    TABLE.write_parquet(tmp_path / "t.parquet")
    types = {"size": "float", "kind": "string", "label": "string"}
    assert_frame_equal(ingest.read_table(tmp_path / "t.csv", ["NA"], types), ingest.read_table(tmp_path / "t.parquet"))


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separator_is_seen(separator, tmp_path):
    header = separator.join(['"a,;,;,;b"', "c"])
    (tmp_path / "t.csv").write_text(f"\ufeff{header}\n1{separator}2\n", encoding="utf-8")
    read = ingest.read_table(tmp_path / "t.csv", types={"c": "integer"}).collect()
    assert_frame_equal(read, pl.DataFrame({"a,;,;,;b": ["1"], "c": [2]}))


def test_text_of_parquet_may_be_missing_too(tmp_path):
    pl.DataFrame({"a": ["?", "x", None], "n": [1, 2, 3]}).write_parquet(tmp_path / "t.parquet")
    assert ingest.read_table(tmp_path / "t.parquet", ["?"]).collect()["a"].to_list() == [None, "x", None]


def test_parquet_is_kept_as_it_is_unless_words_or_headings_mean_something_else(tmp_path):
    pl.DataFrame({"a": ["?", "x"]}).write_parquet(tmp_path / "t.parquet")
    pl.DataFrame({"": ["x"]}).write_parquet(tmp_path / "unnamed.parquet")
    assert ingest.is_as_kept(tmp_path / "t.parquet")
    assert not ingest.is_as_kept(tmp_path / "t.parquet", ["?"])
    assert not ingest.is_as_kept(tmp_path / "unnamed.parquet")
    assert not ingest.is_as_kept(tmp_path / "t.csv")


def test_ingest_refuses_other_files(tmp_path):
    with pytest.raises(ProjectError, match=r"Unsupported file type '\.docx'.*use \.csv"):
        ingest.read_table(tmp_path / "t.docx")


def test_rows_without_a_target_are_dropped():
    assert ingest.drop_unlabelled(TABLE.lazy(), "kind").collect().height == 30


def test_unknown_target_is_refused():
    with pytest.raises(ProjectError, match=r"data\.target is 'price'.*size, kind, label"):
        ingest.drop_unlabelled(TABLE.lazy(), "price")


def test_rows_get_the_contracts_types_and_missing_columns():
    contract = Contract.model_validate(
        {"columns": {"n": {"type": "integer"}, "gone": {"type": "string", "nullable": True}}}
    )
    conformed = casting.conform(pl.LazyFrame({"other": [1], "n": ["7"]}), contract).collect()
    assert_frame_equal(conformed, pl.DataFrame({"n": [7], "gone": [None]}, schema={"n": pl.Int64, "gone": pl.String}))


@pytest.mark.parametrize(
    ("kind", "given", "made"),
    [
        ("integer", ["7", " 7.0 ", "1e3"], [7, 7, 1000]),
        ("integer", [1.0, None, float("nan")], [1, None, None]),
        ("float", [1, 2], [1.0, 2.0]),
        ("float", [float("inf"), 1.0], [None, 1.0]),
        ("float", [dt.time(0, 1), None], [60.0, None]),
        ("float", [dt.timedelta(minutes=1)], [60.0]),
        ("float", [Decimal("1.5")], [1.5]),
        ("boolean", ["True", "false", None], [True, False, None]),
        ("boolean", [0, 1], [False, True]),
        ("date", ["2020-02-29"], [dt.date(2020, 2, 29)]),
        ("datetime", ["2020-02-29", "2020-02-29 12:30"], [dt.datetime(2020, 2, 29), dt.datetime(2020, 2, 29, 12, 30)]),
        ("datetime", ["2020-02-29T12:30:00+02:00"], [dt.datetime(2020, 2, 29, 10, 30)]),
        ("datetime", [dt.datetime(2020, 2, 29, tzinfo=dt.UTC)], [dt.datetime(2020, 2, 29)]),
        ("string", [1, 2], ["1", "2"]),
    ],
)
def test_values_become_what_the_contract_says(kind, given, made):
    contract = Contract.model_validate({"columns": {"x": {"type": kind, "nullable": True}}})
    assert casting.conform(pl.LazyFrame({"x": given}), contract).collect()["x"].to_list() == made


@pytest.mark.parametrize(("kind", "given"), [("integer", 2.5), ("date", "soon"), ("boolean", 2), ("float", "many")])
def test_values_that_are_something_else_are_refused(kind, given):
    contract = Contract.model_validate({"columns": {"x": {"type": kind}}})
    with pytest.raises(pl.exceptions.InvalidOperationError) as refused:
        casting.conform(pl.LazyFrame({"x": [given]}), contract).collect()
    assert casting.refusal(refused.value) == f"column 'x' wants type {kind}, not {given}"


def test_rows_without_a_required_column_are_refused():
    contract = Contract.model_validate({"columns": {"n": {"type": "integer"}}})
    with pytest.raises(ProjectError, match=r"lack.*'n'.*they have \['m'\]"):
        casting.conform(pl.LazyFrame({"m": ["many"]}), contract)


def test_features_are_computed_and_infinities_become_missing():
    rows = pl.LazyFrame({"a": [1.0, 2.0], "b": [2.0, 0.0]})
    built = features.build(rows, {"ratio": "a / b"}, hidden="label").collect()
    assert built.get_column("ratio").to_list() == [0.5, None]


@pytest.mark.parametrize(
    ("sql", "complaint"),
    [
        ("label || 'x'", "looks at the target"),
        ("size +", "no Polars SQL"),
        ("weight * 2", "looks at weight; the table has"),
    ],
)
def test_bad_feature_is_refused(sql, complaint):
    with pytest.raises(ProjectError, match=complaint):
        features.build(TABLE.lazy(), {"new": sql}, hidden="label")


def test_feature_that_looks_at_other_rows_is_refused():
    for sql in ("size - AVG(size)", "SUM(size) OVER (PARTITION BY kind)", "ROW_NUMBER() OVER ()"):
        with pytest.raises(ProjectError, match="new looks at other rows"):
            features.check_alone(TABLE.head(5), {"good": "size * 2", "new": sql}, hidden="label")
    features.check_alone(TABLE.head(5), {"good": "size * 2"}, hidden="label")


@pytest.mark.parametrize(
    ("problem", "estimator", "params", "complaint"),
    [
        ("classification", "sklearn.no.Such", {}, "cannot be imported"),
        ("classification", "Such", {}, "cannot be imported"),
        ("classification", "sklearn.tree.DecisionTreeClassifier", {"depth": 1}, r"model\.params do not fit"),
        ("regression", "sklearn.tree.DecisionTreeClassifier", {}, "does not do regression"),
        ("regression", "pathlib.Path", {}, "does not do regression"),
    ],
)
def test_bad_model_is_refused(problem, estimator, params, complaint):
    with pytest.raises(ProjectError, match=complaint):
        train.build_pipeline(problem, estimator, params)


def test_parameter_that_the_estimator_rejects_is_one_sentence():
    pipeline = train.build_pipeline("classification", "sklearn.tree.DecisionTreeClassifier", {"max_depth": -1})
    with pytest.raises(ProjectError, match=r"could not be fitted.*max_depth"):
        train.fit(pipeline, TABLE.drop("label"), TABLE["label"])


class Counting(DummyClassifier):
    """Remembers how many threads of OpenMP it could have used."""

    def fit(self, rows, target):
        self.threads_ = {library["num_threads"] for library in threadpool_info() if library["user_api"] == "openmp"}
        return super().fit(rows, target)


@pytest.mark.parametrize(("few", "threads"), [(40, 1), (39, 2)])
def test_few_rows_are_fitted_by_one_thread(few, threads, monkeypatch):
    monkeypatch.setattr(train, "SINGLE_THREAD_ROWS", few)
    with threadpool_limits(2, user_api="openmp"):
        fitted = train.fit(make_pipeline(Counting()), TABLE.drop("label"), TABLE["label"])
    assert fitted[-1].threads_ == {threads}


@pytest.mark.parametrize(
    "estimator",
    [
        "ensemble.HistGradientBoostingClassifier",
        "ensemble.RandomForestClassifier",
        "linear_model.LogisticRegression",
        "neighbors.KNeighborsClassifier",
        "svm.SVC",
    ],
)
def test_saved_pipeline_predicts_the_same(estimator, tmp_path):
    number = pl.int_range(TABLE.height)
    moment = pl.lit(dt.datetime(2020, 1, 1)) + number * dt.timedelta(hours=7)
    rows = TABLE.drop("label").with_columns(
        moment.alias("moment"),
        moment.dt.date().alias("day"),
        (number % 3 == 0).alias("flag"),
        pl.format("word{} and {}", number, number * 7).alias("text"),
    )
    rows = rows.with_columns(pl.when(number % 5 > 0).then(pl.all()).name.suffix(" or nothing"))
    pipeline = train.fit(train.build_pipeline("classification", f"sklearn.{estimator}", {}), rows, TABLE["label"])
    persistence.save(pipeline, tmp_path / "p.skops")
    again = persistence.load(tmp_path / "p.skops")
    assert again.predict(rows).tolist() == pipeline.predict(rows).tolist()


def test_type_that_is_not_trusted_is_neither_saved_nor_loaded(tmp_path, monkeypatch):
    pipeline = train.fit(
        train.build_pipeline("classification", "sklearn.tree.DecisionTreeClassifier", {}),
        TABLE.drop("label"),
        TABLE["label"],
    )
    persistence.save(pipeline, tmp_path / "p.skops")
    monkeypatch.setattr(persistence, "TRUSTED", [name for name in persistence.TRUSTED if not name.endswith("Tree")])
    with pytest.raises(ProjectError, match=r"Untrusted types .*sklearn\.tree\._tree\.Tree.*model\.trusted"):
        persistence.load(tmp_path / "p.skops")
    with pytest.raises(ProjectError, match=r"not trusted: sklearn\.tree\._tree\.Tree.*model\.trusted"):
        persistence.save(pipeline, tmp_path / "q.skops")
    assert not (tmp_path / "q.skops").exists()
    persistence.save(pipeline, tmp_path / "q.skops", trusted=["sklearn.tree._tree.Tree"])


def test_perfect_and_useless_classifiers_are_judged_so():
    table = TABLE.drop("kind").with_columns(size=pl.col("label").replace_strict({"x": 0.0, "y": 1.0}))
    good = train.fit(
        train.build_pipeline("classification", "sklearn.tree.DecisionTreeClassifier", {}),
        table.drop("label"),
        table["label"],
    )
    made = evaluate.predict(good, table.drop("label"), table["label"])
    scores = evaluate.metrics("classification", made)
    assert scores["accuracy"] == scores["f1_macro"] == scores["roc_auc"] == 1
    useless = DummyClassifier(strategy="constant", constant="x").fit(table.drop("label"), table["label"])
    assert (
        evaluate.metrics("classification", evaluate.predict(useless, table.drop("label"), table["label"]))[
            "balanced_accuracy"
        ]
        == 0.5
    )


def test_regression_is_judged_in_the_targets_units():
    table = pl.DataFrame({"a": [1.0, 2.0, 3.0, 4.0] * 5, "y": [11.0, 22.0, 33.0, 44.0] * 5})
    fitted = train.fit(
        train.build_pipeline("regression", "sklearn.tree.DecisionTreeRegressor", {}), table.drop("y"), table["y"]
    )
    made = evaluate.predict(fitted, table.drop("y"), table["y"])
    assert evaluate.metrics("regression", made) == {"rmse": 0, "mae": 0, "r2": 1}
