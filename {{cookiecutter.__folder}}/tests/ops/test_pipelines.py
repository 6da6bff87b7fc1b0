"""Pipelines of any estimator: the threads that fit them, and that they survive being saved."""

import datetime as dt

import polars as pl
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_info, threadpool_limits

from penguin_model.errors import ProjectError
from penguin_model.model import persistence
from penguin_model.steps import train

ROWS = pl.DataFrame({"size": [1.0, 2.0, None, 4.0] * 10, "kind": ["a", "b", None, "b"] * 10})
LABELS = pl.Series(["x", "y"] * 20)


class Counting(DummyClassifier):
    """Remembers how many threads of OpenMP it could have used."""

    def fit(self, rows, target):
        self.threads_ = {library["num_threads"] for library in threadpool_info() if library["user_api"] == "openmp"}
        return super().fit(rows, target)


@pytest.mark.parametrize(("few", "threads"), [(40, 1), (39, 2)])
def test_few_rows_are_fitted_by_one_thread(few, threads, monkeypatch):
    monkeypatch.setattr(train, "SINGLE_THREAD_ROWS", few)
    with threadpool_limits(2, user_api="openmp"):
        fitted = train.fit(make_pipeline(Counting()), ROWS, LABELS)
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
    number = pl.int_range(ROWS.height)
    moment = pl.lit(dt.datetime(2020, 1, 1)) + number * dt.timedelta(hours=7)
    rows = ROWS.with_columns(
        moment.alias("moment"),
        moment.dt.date().alias("day"),
        (number % 3 == 0).alias("flag"),
        pl.format("word{} and {}", number, number * 7).alias("text"),
    )
    rows = rows.with_columns(pl.when(number % 5 > 0).then(pl.all()).name.suffix(" or nothing"))
    pipeline = train.fit(train.build_pipeline("classification", f"sklearn.{estimator}", {}), rows, LABELS)
    persistence.save(pipeline, tmp_path / "p.skops")
    loaded = persistence.load(tmp_path / "p.skops")
    assert loaded.predict(rows).tolist() == pipeline.predict(rows).tolist()


def test_type_that_is_not_trusted_is_neither_saved_nor_loaded(tmp_path, monkeypatch):
    tree = train.build_pipeline("classification", "sklearn.tree.DecisionTreeClassifier", {})
    pipeline = train.fit(tree, ROWS, LABELS)
    persistence.save(pipeline, tmp_path / "p.skops")
    monkeypatch.setattr(persistence, "TRUSTED", [name for name in persistence.TRUSTED if not name.endswith("Tree")])
    with pytest.raises(ProjectError, match=r"Untrusted types .*sklearn\.tree\._tree\.Tree.*model\.trusted"):
        persistence.load(tmp_path / "p.skops")
    with pytest.raises(ProjectError, match=r"not trusted: sklearn\.tree\._tree\.Tree.*model\.trusted"):
        persistence.save(pipeline, tmp_path / "q.skops")
    assert not (tmp_path / "q.skops").exists()
    persistence.save(pipeline, tmp_path / "q.skops", trusted=["sklearn.tree._tree.Tree"])
