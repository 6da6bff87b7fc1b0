"""The split: proportions, order of time, and nothing on both sides."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from penguin_model.config import Split
from penguin_model.errors import ProjectError
from penguin_model.ops.settings import project_root, read_params
from penguin_model.steps import split

SIZE = 200
TABLE = pl.DataFrame(
    {
        "size": [float(number) for number in range(SIZE)],
        "person": [f"p{number % 17}" for number in range(SIZE)],
        "day": [date(2026, 1, 1) + timedelta(days=number // 4) for number in range(SIZE)],
        "label": ["rare" if number % 10 == 0 else "common" for number in range(SIZE)],
    }
)


def split_by(method: str, column: str | None = None) -> Split:
    return Split(by=method, column=column, holdout=0.25, seed=7)


RANDOM, STRATIFIED, GROUP, TIME = EVERY = [
    split_by("random"),
    split_by("stratified"),
    split_by("group", "person"),
    split_by("time", "day"),
]
each_method = pytest.mark.parametrize("rules", EVERY, ids=lambda rules: rules.by)


def units(table: pl.DataFrame, rules: Split, seen=("size", "person")) -> split.Units:
    return split.find_units(table.lazy(), rules, seen, "label")


def sides(table: pl.DataFrame, rules: Split) -> tuple[pl.DataFrame, pl.DataFrame]:
    held_out = split.holdout(units(table, rules), rules)
    return table.filter(~held_out), table.filter(held_out)


def folds(table: pl.DataFrame, rules: Split, count: int) -> list[tuple[pl.DataFrame, pl.DataFrame]]:
    pairs = split.folds(units(table, rules), rules, count)
    return [(table[training], table[validation]) for training, validation in pairs]


@each_method
def test_share_is_held_out_and_the_same_for_a_seed(rules):
    training, holdout = sides(TABLE, rules)
    assert holdout.height == pytest.approx(50, abs=8)
    assert training.height + holdout.height == SIZE
    assert holdout.equals(sides(TABLE, rules)[1])
    if rules is not TIME:
        assert not holdout.equals(sides(TABLE, rules.model_copy(update={"seed": 8}))[1])


@each_method
def test_same_row_is_never_on_both_sides(rules):
    table = pl.concat([TABLE, TABLE.head(60), TABLE.tail(90)]).sample(fraction=1, shuffle=True, seed=1)
    for training, validation in [sides(table, rules), *folds(table, rules, 3)]:
        assert training.join(validation, on=table.columns, how="semi").is_empty()


def test_rows_that_differ_only_in_columns_that_the_model_does_not_see_are_the_same():
    training, holdout = sides(pl.concat([TABLE, TABLE]).with_columns(id=pl.int_range(2 * SIZE)), RANDOM)
    assert training.join(holdout, on=TABLE.columns, how="semi").is_empty()


def test_label_decides_no_side():
    table = pl.concat([TABLE, TABLE.head(60)])
    other = table.with_columns(label=pl.col("label").reverse())
    assert (units(table, RANDOM).of_row == units(other, RANDOM).of_row).all()
    assert split.holdout(units(table, RANDOM), RANDOM).equals(split.holdout(units(other, RANDOM), RANDOM))
    # Copies stay together even if one of them has another label.
    flipped = table.with_columns(label=pl.when(pl.int_range(pl.len()) < 60).then(pl.lit("flipped")).otherwise("label"))
    training, holdout = sides(flipped, STRATIFIED)
    assert training.join(holdout, on=["size", "person"], how="semi").is_empty()


def test_classes_keep_their_shares_and_a_single_row_stays_in_training():
    table = pl.concat([TABLE, TABLE.head(1).with_columns(label=pl.lit("single"), size=-1.0)])
    training, holdout = sides(table, STRATIFIED)
    assert holdout["label"].value_counts(sort=True)["count"].to_list() == [45, 5]
    assert "single" in training["label"]


def test_group_is_on_one_side_and_in_one_fold():
    for training, validation in [sides(TABLE, GROUP), *folds(TABLE, GROUP, 5)]:
        assert not set(training["person"]) & set(validation["person"])


def test_newest_rows_are_held_out_and_each_fold_is_newer_than_the_rows_it_is_fitted_on():
    table = TABLE.sample(fraction=1, shuffle=True, seed=3)
    pairs = [sides(table, TIME), *folds(table, TIME, 4)]
    assert len(pairs) == 5
    for training, validation in pairs:
        assert training["day"].max() < validation["day"].min()


@each_method
def test_every_row_is_in_one_fold(rules):
    rows = np.concatenate([validation for _, validation in split.folds(units(TABLE, rules), rules, 4)])
    assert len(rows) == len(set(rows))
    assert len(rows) == SIZE or rules is TIME


def test_rare_classes_are_spread_over_the_folds():
    labels = ["common"] * 60 + [f"c{number}" for number in range(60)]
    found = units(pl.DataFrame({"size": range(120), "label": labels}), STRATIFIED, ["size"])
    assert max(len(validation) for _, validation in split.folds(found, STRATIFIED, 3)) < 60


def test_giant_unit_leaves_rows_on_either_side():
    found = units(pl.DataFrame({"size": [1] * 90 + [2, 3, 4], "label": ["x"] * 93}), RANDOM, ["size"])
    assert 0 < split.holdout(found, RANDOM).sum() < 93
    assert all(len(validation) for _, validation in split.folds(found, RANDOM, 3))


@pytest.mark.parametrize(
    ("table", "rules", "message"),
    [
        (TABLE.head(1), RANDOM, r"split\.holdout is 0\.25.*1 different rows"),
        (TABLE.head(0), RANDOM, "0 different rows"),
        (pl.concat([TABLE.head(1)] * 9), STRATIFIED, "1 different rows"),
        (TABLE.filter(person="p3"), GROUP, r"1 groups in the column of split\.column"),
        (TABLE.head(4), TIME, "1 points in time"),
        (TABLE, split_by("group", "nobody"), r"split\.column is 'nobody'.*size, person, day\."),
        (TABLE, split_by("group", "label"), r"split\.column is 'label'"),
        (TABLE, split_by("time", "person"), "which is String; .*date"),
        (TABLE.with_columns(pl.when(pl.col("size") > 3).then("day")), TIME, r"missing in 4 row\(s\)"),
    ],
)
def test_impossible_split_is_refused(table, rules, message):
    with pytest.raises(ProjectError, match=message):
        sides(table, rules)


def test_too_many_folds_are_refused():
    with pytest.raises(ProjectError, match=r"search\.folds is 20, which needs 20 groups.*have 17"):
        folds(TABLE, GROUP, 20)


def test_leak_is_refused():
    found = units(pl.concat([TABLE, TABLE.head(3)]), RANDOM)
    with pytest.raises(ProjectError, match="The split leaks: 3 rows"):
        split.check_apart(found, pl.Series([False] * SIZE + [True] * 3))


def test_projects_own_sides_share_no_row(trained):
    folder = project_root() / "data/processed"
    training, holdout = (pl.read_parquet(folder / f"{name}.parquet") for name in ("training", "holdout"))
    assert training.columns == holdout.columns
    assert read_params().data.target in training.columns
    assert training.join(holdout, on=training.columns, how="semi", nulls_equal=True).is_empty()
