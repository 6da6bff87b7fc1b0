"""Drift: the rate of false alarms over many tables, and an alarm on each kind of shift."""

from functools import partial

import numpy as np
import polars as pl
import pytest

from penguin_model.report import drift
from penguin_model.steps import profile
from penguin_model.steps.evaluate import Outputs, Predictions
from penguin_model.steps.profile import Holdout, Profile

# Most are small: there chance is hardest to tell.
SIZES = (50, 50, 60, 100, 100, 250, 250, 5000)


def sample(random: np.random.Generator, rows: int, columns: int) -> pl.LazyFrame:
    """Return correlated numbers, skewed ones, ties, and categories of few, of many and of ever new values."""
    common = random.normal(size=rows)
    kinds = [
        lambda: random.normal(size=rows),
        lambda: common + 0.5 * random.normal(size=rows),
        lambda: np.exp(2 * random.normal(size=rows)),
        lambda: np.round(2 * random.normal(size=rows)),
        lambda: np.where(random.random(rows) < 0.7, 0, common),
        lambda: random.choice(list("abcde"), rows, p=[0.5, 0.3, 0.15, 0.04, 0.01]),
        lambda: random.integers(0, 50, rows).astype(str),
        lambda: random.zipf(1.5, rows).clip(0, 5000).astype(str),
        lambda: random.integers(0, 10**9, rows).astype(str),
        lambda: random.random(rows) < 0.1,
    ]
    table = pl.DataFrame({f"c{i}": kinds[i % len(kinds)]() for i in range(columns)})
    missing = (pl.lit(pl.Series(random.random(rows) < 0.02 * (i % 4))) for i in range(columns))
    return table.lazy().select(pl.when(~gap).then(f"c{i}") for i, gap in enumerate(missing))


def regression(random: np.random.Generator, rows: int, error: float = 1) -> Predictions:
    """Return predictions with errors of a heavy tail."""
    truth = random.normal(size=rows)
    return Predictions(truth, truth + error * random.standard_t(3, rows), None, None)


def of_holdout(problem, predictions: Predictions) -> Holdout:
    metrics = {"rmse": 1.0, "mae": 1.0, "r2": 0.5} if problem == "regression" else {"accuracy": 1.0, "log_loss": 0.1}
    return Holdout.of(problem, predictions, metrics, {})


def test_without_drift_at_most_one_in_a_hundred_alarms():
    random = np.random.default_rng(0)
    verdicts = []
    for number in range(25):
        columns = (3, 10, 3, 30, 10, 3, 10, 60)[number % 8]
        problem = ("regression", "classification")[number % 2]
        predict = {"regression": partial(regression, random), "classification": partial(classified, random=random)}
        holdout = of_holdout(problem, predict[problem](int(random.choice([50, 100]))))
        reference = Profile.of(sample(random, int(random.choice(SIZES)), columns), holdout)
        for _ in range(8):
            judged = predict[problem](int(random.choice([50, 100])))
            rows = sample(random, int(random.choice(SIZES)), columns)
            predictions = profile.outputs(problem, judged).lazy()
            result = drift.compare(rows, reference, version=1, predictions=predictions, judged=judged)
            verdicts.append(result.verdict)
    assert len(verdicts) == 200
    assert verdicts.count("drifted") <= 2
    assert verdicts.count("drifted") + verdicts.count("watch") <= 10


def table(rows: int) -> pl.DataFrame:
    random = np.random.default_rng(rows)
    return pl.DataFrame(
        {
            "length_mm": random.normal(45, 5, rows),
            "depth_mm": random.normal(17, 2, rows),
            "count": random.poisson(3, rows),
            "kind": random.choice(["a", "b", "c"], rows, p=[0.6, 0.3, 0.1]),
            "city": [f"city {number}" for number in random.integers(0, 200, rows)],
            "word": [f"{number}" for number in random.integers(0, 10**9, rows)],
        }
    )


def classified(rows: int, share: float = 0.5, confidence: float = 0.9, random=None) -> Predictions:
    """Return predictions of two classes, right as often as they are confident."""
    random = random or np.random.default_rng(rows)
    first = random.random(rows) < share
    sure = np.clip(random.normal(confidence, 0.03, rows), 0.5, 1)
    probabilities = np.where(first[:, None], np.stack([sure, 1 - sure], 1), np.stack([1 - sure, sure], 1))
    right = random.random(rows) < 0.9
    return Predictions(
        np.where(first == right, "x", "y"), np.where(first, "x", "y"), np.array(["x", "y"]), probabilities
    )


REFERENCE = Profile.of(table(2000).lazy(), of_holdout("classification", classified(500)))
SHIFTS = {
    "mean": (pl.col("length_mm") + 4, "length_mm"),
    "scale": (45 + (pl.col("length_mm") - 45) * 3, "length_mm"),
    "unit from mm to cm": (pl.col("length_mm") / 10, "length_mm"),
    "constant": (pl.lit(45.0).alias("length_mm"), "length_mm"),
    "missing": (pl.when(pl.int_range(pl.len()) % 4 > 0).then("depth_mm"), "depth_mm"),
    "not finite": (pl.when(pl.int_range(pl.len()) % 4 > 0).then("depth_mm").otherwise(float("nan")), "depth_mm"),
    "counts": (pl.col("count") + 2, "count"),
    "new category": (pl.when(pl.col("kind") == "c").then(pl.lit("d")).otherwise("kind").alias("kind"), "kind"),
    "other spelling": (pl.col("kind").str.to_uppercase(), "kind"),
    "one category": (pl.lit("a").alias("kind"), "kind"),
    "cities of one letter": (pl.when(pl.col("city") > "city 15").then(pl.lit("city 151")).otherwise("city"), "city"),
    "new cities": ("new " + pl.col("city"), "city"),
    "new words": ("new " + pl.col("word"), "word"),
    "one word": (pl.when(pl.int_range(pl.len()) % 2 == 0).then("word").otherwise(pl.lit("5")).alias("word"), "word"),
}


def moved(rows: pl.DataFrame, **given) -> dict[str, float]:
    result = drift.compare(rows.lazy(), REFERENCE, version=1, **given)
    assert result.verdict == ("drifted" if result.reasons else "fine"), result.reasons
    return result.drifted


@pytest.mark.parametrize("rows", [100, 1000])
@pytest.mark.parametrize(("shift", "column"), SHIFTS.values(), ids=SHIFTS)
def test_each_kind_of_shift_alarms(shift, column, rows):
    shifted = table(rows).with_columns(shift.alias(column) if isinstance(shift, pl.Expr) else shift)
    assert list(moved(shifted)) == [column]


RATINGS = [1, 2, 3, 4, 5]
ODD = {
    # The values, what becomes of them, and the bin that gets many rows.
    "constant, now lower": ([7.0], pl.lit(6.0), "below 7"),
    "constant, now higher": ([7.0], pl.lit(8.0), "above 7"),
    "constant, now missing": ([7.0], pl.lit(None, pl.Float64), "missing"),
    "constant, now varies": ([7.0], pl.int_range(pl.len()) / 9, "above 7"),
    "all missing, now a number": ([None], pl.lit(1.0), "present"),
    "zeros as a sentinel": ([0, 0, 0, 1, 2, 3], pl.when(pl.col("x") == 0).then(-999).otherwise("x"), "below 0"),
    "zeros as small numbers": ([0, 0, -1, 1], pl.when(pl.col("x") == 0).then(-0.1).otherwise("x"), "-1 to 0"),
    "ratings on half the scale": (RATINGS, pl.col("x") / 2, "below 1"),
    "ratings reversed": ([1, 1, 1, 2, 5], 6 - pl.col("x"), "2 to 5"),
    "a rating that is new": (RATINGS, pl.when(pl.col("x") == 3).then(6).otherwise("x"), "above 5"),
    "seconds since 1970": ([1.7e9, 1.7e9 + 1, 1.7e9 + 2], pl.col("x") - 9, "below 1700000000"),
    "the lowest number": ([-1.7976931348623157e308, 0.0, 1.0], pl.lit(1.0), "1"),
}


@pytest.mark.parametrize("rows", [120, 1000])
@pytest.mark.parametrize(("values", "change", "label"), ODD.values(), ids=ODD)
def test_columns_of_few_values_alarm_when_they_change(values, change, label, rows):
    before = pl.DataFrame({"x": pl.Series(values * 500, dtype=pl.Float64)})
    reference = Profile.model_validate_json(Profile.of(before.lazy()).model_dump_json(exclude_none=True))
    same = pl.DataFrame({"x": np.random.default_rng(rows).choice(before["x"], rows)}, schema={"x": pl.Float64})
    assert drift.compare(same.lazy(), reference, version=1).verdict == "fine"
    changed = drift.compare(same.with_columns(x=change).lazy(), reference, version=1)
    [column] = changed.columns
    assert changed.verdict == "drifted"
    gain = np.subtract(column.current, column.reference)
    assert gain[column.bins.index(label)] > 0.05


@pytest.mark.parametrize(("rows", "verdict"), [(30, "too few rows"), (100, "drifted"), (1000, "drifted")])
def test_one_of_fifty_columns_alarms(rows, verdict):
    random = np.random.default_rng(rows)
    before, now = (pl.DataFrame(random.normal(size=(size, 50))) for size in (2000, rows))
    reference = Profile.of(before.lazy())
    shifts = [pl.col("column_3") + 1, pl.col("column_3") * 3, pl.col("column_3") / 10]
    for shift in shifts:
        result = drift.compare(now.with_columns(shift).lazy(), reference, version=1)
        assert (result.verdict, [*result.drifted]) == (verdict, ["column_3"] if verdict == "drifted" else [])


def test_a_shift_that_does_not_matter_is_fine_in_many_rows():
    random = np.random.default_rng(0)
    before, now = (pl.DataFrame(random.normal(size=(100_000, 10))) for _ in range(2))
    result = drift.compare(now.select(pl.all() + 0.01).lazy(), Profile.of(before.lazy()), version=1)
    assert (result.verdict, max(column.p_value for column in result.columns) < 1) == ("fine", True)


def test_swapped_columns_alarm():
    assert {*moved(table(100).rename({"length_mm": "depth_mm", "depth_mm": "length_mm"}))} == {"length_mm", "depth_mm"}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [({}, []), ({"share": 0.9}, ["prediction"]), ({"confidence": 0.7}, ["confidence"]), ({"confidence": 0.99}, [])],
)
def test_predictions_alone_alarm_but_more_confidence_does_not(changed, expected):
    outputs = profile.outputs("classification", classified(300, **changed))
    assert list(moved(table(300), predictions=outputs.lazy())) == expected


def test_predictions_of_regression_alarm():
    random = np.random.default_rng(2)
    reference = REFERENCE.model_copy(update={"holdout": of_holdout("regression", regression(random, 500))})
    for offset, verdict in {0: "fine", 2: "drifted"}.items():
        values = Outputs(regression(random, 300).predicted + offset, None, None)
        predictions = profile.outputs("regression", values).lazy()
        result = drift.compare(table(300).lazy(), reference, version=1, predictions=predictions)
        assert (result.verdict, [item.column for item in result.predictions]) == (verdict, ["prediction"])


def test_a_metric_that_is_worse_alarms():
    random = np.random.default_rng(3)
    reference = REFERENCE.model_copy(update={"holdout": of_holdout("regression", regression(random, 300))})
    for error, worse in {0.5: set(), 1: set(), 2: {"rmse", "mae", "r2"}}.items():
        judged = regression(random, 200, error)
        result = drift.compare(table(200).lazy(), reference, version=1, judged=judged)
        assert {change.metric for change in result.metrics if change.drifted} == worse
        assert result.verdict == ("drifted" if worse else "fine")


def test_a_holdout_without_errors_does_not_make_one_error_an_alarm():
    right = classified(60)
    perfect = Predictions(right.predicted, *right[1:])
    reference = REFERENCE.model_copy(update={"holdout": of_holdout("classification", perfect)})
    for errors, alarm in {0: False, 2: False, 40: True}.items():
        rows = classified(120)
        truth = np.where(np.arange(120) < errors, np.where(rows.predicted == "x", "y", "x"), rows.predicted)
        result = drift.compare(table(120).lazy(), reference, version=1, judged=Predictions(truth, *rows[1:]))
        accuracy, *_ = result.metrics
        assert (accuracy.metric, accuracy.drifted, result.verdict == "drifted") == ("accuracy", alarm, alarm)


@pytest.mark.parametrize("rows", [0, 1, 49])
def test_too_few_rows_do_not_alarm(rows):
    shifted = table(rows).with_columns(pl.col("length_mm") / 10)
    result = drift.compare(shifted.lazy(), REFERENCE, version=1, predictions=None, judged=classified(rows))
    assert (result.verdict, result.drifted) == ("too few rows", {})
    assert str(rows) in result.reasons[0]
    small = Profile.of(table(49).lazy())
    assert drift.compare(table(1000).lazy(), small, version=1).verdict == "too few rows"


def test_small_drift_and_broken_rules_are_watched():
    slightly = drift.compare(table(5000).with_columns(pl.col("length_mm") + 2).lazy(), REFERENCE, version=1)
    assert slightly.verdict == "watch"
    assert slightly.reasons[0].startswith("'length_mm' moved: PSI 0.1")
    broken = drift.compare(table(100).lazy(), REFERENCE, version=1, violations={"column 'count' breaks 'max: 9'": 1})
    assert (broken.verdict, broken.reasons) == ("watch", ["Column 'count' breaks 'max: 9' in 1 row(s)."])


def test_unseen_values_are_named():
    rows = table(100).with_columns(pl.when(pl.int_range(100) < 30).then(pl.lit("new")).otherwise("kind").alias("kind"))
    result = drift.compare(rows.lazy(), REFERENCE, version=1)
    assert result.columns[0].unseen == {"new": 30}
    assert "unseen: 'new' (30 rows)" in result.reasons[0]


def test_profiles_of_earlier_versions_are_read():
    earlier = """{"length_mm": {"edges": [40.0, 45.0, 50.0], "counts": [0, 150, 350, 350, 150]},
        "kind": {"levels": ["a", "b", "c"], "counts": [0, 600, 300, 100, 0]}}"""
    reference = Profile.model_validate_json(earlier)
    result = drift.compare(table(500).lazy(), reference, version=3, judged=classified(100))
    assert (reference.rows, result.verdict, result.metrics, result.predictions) == (1000, "fine", [], [])
    assert result.notes == ["Version 3 has no profile of its predictions: neither they nor metrics are compared."]
    upper = table(500).with_columns(pl.col("kind").str.to_uppercase())
    assert {*drift.compare(upper.lazy(), reference, version=3).columns[0].unseen} == {"A", "B", "C"}


def test_results_and_profiles_survive_json():
    assert Profile.model_validate_json(REFERENCE.model_dump_json(exclude_none=True)) == REFERENCE
    result = drift.compare(table(200).lazy(), REFERENCE, version=1, judged=classified(100))
    assert drift.Drift.model_validate_json(result.model_dump_json()) == result


@pytest.mark.parametrize("dtype", [pl.Date, pl.Datetime("ms")])
def test_time_that_moves_on_is_not_drift_but_missing_time_is(dtype):
    before = pl.LazyFrame({"day": pl.Series(range(1000)).cast(dtype)})
    later = pl.LazyFrame({"day": pl.Series(range(10**6, 10**6 + 200)).cast(dtype)})
    reference = Profile.of(before)
    assert drift.compare(later, reference, version=1).verdict == "fine"
    gone = later.with_columns(pl.when(pl.int_range(pl.len()) % 2 == 0).then("day").alias("day"))
    assert drift.compare(gone, reference, version=1).verdict == "drifted"
