"""Pipelines of any estimator, also of other libraries: threads, classes, names, failures, and saving them."""

import datetime as dt
import json
from zipfile import ZipFile

import numpy as np
import polars as pl
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_info, threadpool_limits

from penguin_model.errors import ProjectError
from penguin_model.model import persistence
from penguin_model.ops.tracking import runs
from penguin_model.steps import evaluate, train

ROWS = pl.DataFrame({"size": [1.0, 2.0, None, 4.0] * 10, "kind": ["a", "b", None, "b"] * 10})
LABELS = pl.Series(["x", "y"] * 20)


class Voteless(ClassifierMixin, BaseEstimator):
    """A classifier of another library: it refuses names of columns, and classes other than 0 to n-1."""

    def __init__(self, depth=3, random_state=None, fails=None):
        self.depth = depth
        self.random_state = random_state
        self.fails = fails

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def fit(self, rows, target):
        if self.fails:
            raise self.fails
        if type(rows) is not np.ndarray:
            raise LookupError("feature_names may not contain [, ] or <")
        if target.dtype.kind not in "iu" or set(target) != set(range(len(set(target)))):
            raise LookupError("Invalid classes")
        self.tree_ = DecisionTreeClassifier(max_depth=self.depth, random_state=self.random_state).fit(rows, target)
        self.classes_ = self.tree_.classes_
        return self

    def predict(self, rows):
        return self.tree_.predict(rows)


class Foreign(Voteless):
    """The same with probabilities."""

    def predict_proba(self, rows):
        return self.tree_.predict_proba(rows)


class OwnForest(RandomForestClassifier):
    """A user's variant of an estimator of scikit-learn, which decides classes itself."""

    def predict(self, rows):
        return np.full(len(rows), "y")


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


BRACKETS = ROWS.rename({"size": 'area [m2] <{"q":,}>', "kind": "kind<5"}).with_columns(
    pl.Series("one hot", ["<1", "]", '"', None] * 10)
)
FOREIGN = [f"{__name__}.{name}" for name in ("Foreign", "Voteless")]


@pytest.mark.parametrize("classes", [["x", "y", "z]"], [1, 5, 99], [-1, 0, 1], [True, False]])
@pytest.mark.parametrize("estimator", FOREIGN)
def test_other_libraries_get_arrays_and_numbered_classes(estimator, classes, tmp_path):
    labels = pl.Series((classes * 40)[:40])
    pipeline = train.fit(train.build_pipeline("classification", estimator, {"depth": 30}, 7), BRACKETS, labels)
    assert pipeline.classes_.tolist() == sorted(classes)
    predictions = evaluate.predict(pipeline, BRACKETS, labels)
    assert set(predictions.predicted.tolist()) <= set(classes)
    assert ("log_loss" in evaluate.metrics("classification", predictions)) is estimator.endswith("Foreign")
    trusted = [*FOREIGN, "sklearn.tree._classes.DecisionTreeClassifier"]
    persistence.save(pipeline, tmp_path / "p.skops", trusted)
    loaded = persistence.load(tmp_path / "p.skops", trusted)
    assert loaded.predict(BRACKETS).tolist() == predictions.predicted.tolist()


class Late(Foreign):
    """Checks its parameters, as CatBoost does, where scikit-learn asks what it is."""

    def __sklearn_tags__(self):
        raise LookupError(f"depth {self.depth} is not supported")


def test_parameter_that_an_estimator_rejects_late_is_one_sentence():
    with pytest.raises(ProjectError, match=r"model\.params do not fit .*Late: depth 99 is not supported"):
        train.build_pipeline("classification", f"{__name__}.Late", {"depth": 99})


def test_parameters_keep_the_names_of_the_estimator():
    pipeline = train.build_pipeline("classification", FOREIGN[0], {"depth": 1, "tablevectorizer.n_jobs": 1}, seed=7)
    name = train.full_name(pipeline, "depth", "search.params")
    fitted = train.fit(clone(pipeline).set_params(**{name: 2}), BRACKETS, LABELS)
    [member] = fitted[-1].estimators_
    assert (member.depth, member.random_state) == (2, 7)
    with pytest.raises(ProjectError, match=r"names 'wings'.*Foreign has depth, random_state, fails; other steps"):
        train.full_name(pipeline, "wings", "search.params")


def test_variant_of_an_estimator_of_scikit_learn_decides_classes_itself():
    pipeline = train.build_pipeline("classification", f"{__name__}.OwnForest", {"n_estimators": 2})
    assert set(train.fit(pipeline, ROWS, LABELS).predict(ROWS)) == {"y"}


@pytest.mark.parametrize("error", [TypeError("wrong"), KeyError("wrong"), RuntimeError("wrong\n\nStack trace:\n  c++")])
def test_any_failure_names_the_estimator(error):
    pipeline = train.build_pipeline("classification", FOREIGN[0], {"fails": error})
    with pytest.raises(ProjectError, match=r"^Foreign cannot be fitted: '?wrong'?\.$") as caught:
        train.fit(pipeline, ROWS, LABELS)
    assert type(caught.value.__cause__) is type(error)
    fitted = train.fit(pipeline.set_params(labels__foreign__fails=None), ROWS, LABELS)
    fitted[-1].estimators_[0].tree_ = None
    with pytest.raises(ProjectError, match=r"^Foreign cannot predict: 'NoneType'"):
        evaluate.predict(fitted, ROWS, LABELS)


def test_failed_input_is_tried_again():
    pipeline = train.build_pipeline("classification", FOREIGN[0], {"fails": BrokenPipeError("worker")})
    with pytest.raises(BrokenPipeError):
        train.fit(pipeline, ROWS, LABELS)


@pytest.mark.parametrize(
    ("estimator", "params", "column"),
    [
        (FOREIGN[0], {"tablevectorizer.low_cardinality": "passthrough"}, "kind"),
        ("sklearn.ensemble.RandomForestClassifier", {"tablevectorizer.low_cardinality": "passthrough"}, "kind"),
        ("sklearn.ensemble.RandomForestClassifier", {}, "huge"),
        ("sklearn.linear_model.LogisticRegression", {}, "huge"),
    ],
)
def test_failure_names_the_column(estimator, params, column):
    rows = ROWS if column == "kind" else ROWS.with_columns(huge=pl.int_range(ROWS.height) * 1e300)
    with pytest.raises(ProjectError, match=rf"cannot be fitted: .*\(in {column}\)\.$"):
        train.fit(train.build_pipeline("classification", estimator, params), rows, LABELS)


@pytest.mark.parametrize(
    ("estimator", "classes", "expected"),
    [("HistGradientBoosting", 101, True), ("HistGradientBoosting", 100, False), ("RandomForest", 999, False)],
)
def test_trees_per_class_are_announced(estimator, classes, expected):
    pipeline = train.build_pipeline("classification", f"sklearn.ensemble.{estimator}Classifier", {})
    assert bool(train.slow(pipeline, classes)) is expected


def test_estimator_that_cannot_be_saved_is_refused_before_it_is_fitted():
    with pytest.raises(ProjectError, match=r"not trusted: .*Foreign.*model\.trusted"):
        persistence.serialized(train.build_pipeline("classification", FOREIGN[0], {}))


def test_requirements_name_the_libraries_of_the_pipeline(tmp_path):
    with ZipFile(tmp_path / "p.skops", "w") as archive:
        archive.writestr(
            "schema.json", json.dumps({"__module__": "jinja2.environment", "a": {"__module__": "builtins"}})
        )
    names = [line.partition("==")[0] for line in runs._requirements(tmp_path / "p.skops")]  # noqa: SLF001
    assert names == sorted({*runs.MODEL_REQUIREMENTS, "Jinja2"})


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


@pytest.mark.parametrize(("labels", "rare"), [("ababcabab", "'c' has one"), ("dbabcabab", "'c', 'd' have one")])
def test_classes_too_rare_to_stop_early_are_named(labels, rare):
    params = {"early_stopping": True}
    pipeline = train.build_pipeline("classification", "sklearn.ensemble.HistGradientBoostingClassifier", params)
    rows, target = pl.DataFrame({"a": range(9)}), pl.Series("y", [*labels])
    with pytest.raises(ProjectError, match=rf"Classifier stops early, .* each class; {rare}\. Set model\.params"):
        train.fit(pipeline, rows, target)
