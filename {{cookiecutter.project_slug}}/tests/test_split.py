"""The split: proportions, order of time, and nothing on both sides."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from penguin_model.config import Split
from penguin_model.errors import ProjectError
from penguin_model.ops.settings import project_root, read_params
from penguin_model.steps import copies, split

SIZE = 200
TABLE = pl.DataFrame(
    {
        "size": [float(number) for number in range(SIZE)],
        "person": [f"p{number % 17}" for number in range(SIZE)],
        "day": [date(2026, 1, 1) + timedelta(days=number // 4) for number in range(SIZE)],
        "label": ["rare" if number % 10 == 0 else "common" for number in range(SIZE)],
    }
)
EVERY = [Split(by="random", holdout=0.25, seed=7), Split(by="stratified", holdout=0.25, seed=7)]
EVERY += [Split(by=by, column=column, holdout=0.25, seed=7) for by, column in [("group", "person"), ("time", "day")]]
each_split = pytest.mark.parametrize("by", EVERY, ids=lambda by: by.by)


def units(table: pl.DataFrame, by: Split, seen=("size", "person"), target: str = "label") -> split.Units:
    return split.find_units(table.lazy(), by, seen, target)


def sides(table: pl.DataFrame, by: Split) -> tuple[pl.DataFrame, pl.DataFrame]:
    kept = split.holdout(units(table, by), by)
    return table.filter(~kept), table.filter(kept)


@each_split
def test_share_is_kept_back_and_the_same_for_a_seed(by):
    learned, kept = sides(TABLE, by)
    assert kept.height == pytest.approx(50, abs=8)
    assert learned.height + kept.height == SIZE
    assert kept.equals(sides(TABLE, by)[1])
    if by.by != "time":
        assert not kept.equals(sides(TABLE, by.model_copy(update={"seed": 8}))[1])


@each_split
def test_same_row_is_never_on_both_sides(by):
    table = pl.concat([TABLE, TABLE.head(60), TABLE.tail(90)]).sample(fraction=1, shuffle=True, seed=1)
    learned, kept = sides(table, by)
    assert learned.join(kept, on=table.columns, how="semi").is_empty()
    for fit, judge in split.folds(units(table, by), by, 3):
        assert table[fit].join(table[judge], on=table.columns, how="semi").is_empty()


def test_same_row_to_the_model_counts_though_a_column_that_it_does_not_see_differs():
    table = pl.concat([TABLE, TABLE]).with_columns(id=pl.int_range(2 * SIZE))
    learned, kept = sides(table, EVERY[0])
    assert learned.join(kept, on=TABLE.columns, how="semi").is_empty()


def test_label_decides_no_side():
    table = pl.concat([TABLE, TABLE.head(60)])
    other = table.with_columns(label=pl.col("label").reverse())
    assert (units(table, EVERY[0]).of_row == units(other, EVERY[0]).of_row).all()
    assert split.holdout(units(table, EVERY[0]), EVERY[0]).equals(split.holdout(units(other, EVERY[0]), EVERY[0]))
    # Copies stay together also where one of them has another label.
    flipped = table.with_columns(label=pl.when(pl.int_range(pl.len()) < 60).then(pl.lit("flipped")).otherwise("label"))
    learned, kept = sides(flipped, EVERY[1])
    assert learned.join(kept, on=["size", "person"], how="semi").is_empty()


def majority(learned: pl.DataFrame, judged: pl.DataFrame) -> float:
    """Return the accuracy of a model that gives each combination of categories its most frequent label."""
    model = learned.group_by("a", "b").agg(guess=pl.col("y").mean() > 0.5)
    guessed = judged.join(model, on=["a", "b"], how="left")["guess"].fill_null(value=False)
    return (guessed == judged["y"]).mean()


@pytest.mark.parametrize("by", EVERY[:2], ids=lambda by: by.by)
@pytest.mark.parametrize(("levels", "rows"), [(2, 300), (3, 400), (6, 2000)])
def test_few_categories_and_noisy_labels_are_judged_without_bias(by, levels, rows):
    held, folded, best = [], [], []
    for seed in range(50):
        draw = np.random.default_rng(seed)
        a, b = draw.integers(0, levels, (2, rows))
        chance = np.where((a + b) % 3 == 0, 0.8, 0.25)
        labels = draw.random(rows) < chance
        table = pl.DataFrame({"a": a, "b": pl.Series(b).cast(pl.String), "y": labels})
        own = by.model_copy(update={"seed": seed})
        found = units(table, own, ("a", "b"), "y")
        kept = split.holdout(found, own)
        held.append(majority(table.filter(~kept), table.filter(kept)))
        folded.append(np.mean([majority(table[fit], table[judge]) for fit, judge in split.folds(found, own, 5)]))
        best.append(np.maximum(chance, 1 - chance).mean())
    # The best that any model can reach is known; what is reached differs from it by chance only.
    for reached in (held, folded):
        error = np.array(reached) - best
        assert abs(error.mean()) < 3 * error.std() / np.sqrt(50) + 0.005


def table_of(kind: str, rows: int = 300) -> pl.DataFrame:
    draw = np.random.default_rng(1)
    category = draw.integers(0, 3, rows)
    latent = draw.random(rows)
    return {
        "measured": pl.DataFrame({"x": draw.normal(size=rows), "z": draw.normal(size=rows).round(2)}),
        "measured and binary": pl.DataFrame({"x": draw.normal(size=rows), "flag": draw.random(rows) < 0.5}),
        "one column": pl.DataFrame({"kind": category}).cast(pl.String),
        "twice told": pl.DataFrame({"kind": category, "code": category + 10, "flag": category > 1}),
        "age": pl.DataFrame({"age": draw.integers(20, 60, rows), "kind": category, "flag": draw.random(rows) < 0.5}),
        "correlated": pl.DataFrame({f"c{n}": latent + draw.normal(0, 0.3, rows) > 0.5 for n in range(20)}),
        "rare": pl.DataFrame({"kind": category, "flag": draw.random(rows) < 0.02}),
        "missing": pl.DataFrame({"kind": pl.Series(category).replace(0, None), "flag": draw.random(rows) < 0.5}),
    }[kind]


@pytest.mark.parametrize("kind", ["measured", "measured and binary"])
@pytest.mark.parametrize("times", [2, 10])
def test_rows_that_chance_would_not_repeat_are_copies(kind, times):
    table = table_of(kind)
    assert len(set(copies.group(table.lazy(), table.columns))) == table.height
    again = pl.concat([table] * times)
    assert copies.group(again.lazy(), table.columns).tolist() == list(range(table.height)) * times


@pytest.mark.parametrize("kind", ["one column", "twice told", "age", "correlated", "rare", "missing"])
def test_rows_that_chance_repeats_are_observations_of_their_own(kind):
    table = table_of(kind)
    assert table.is_duplicated().sum() > 40
    assert len(set(copies.group(table.lazy(), table.columns))) > 0.98 * table.height


def test_many_rows_are_judged_by_a_sample(monkeypatch):
    monkeypatch.setattr(copies, "SAMPLE", 100)
    again = pl.concat([table_of("measured")] * 2)
    assert len(set(copies.group(again.lazy(), again.columns))) == again.height // 2
    table = table_of("age", 900)
    assert len(set(copies.group(table.lazy(), table.columns))) > 0.9 * table.height


def test_classes_keep_their_proportions_and_a_single_row_stays_to_be_learned():
    table = pl.concat([TABLE, TABLE.head(1).with_columns(label=pl.lit("single"), size=-1.0)])
    learned, kept = sides(table, EVERY[1])
    assert kept["label"].value_counts(sort=True)["count"].to_list() == [45, 5]
    assert "single" in learned["label"]


def test_group_is_on_one_side_and_in_one_fold():
    learned, kept = sides(TABLE, EVERY[2])
    assert not set(learned["person"]) & set(kept["person"])
    for fit, judge in split.folds(units(TABLE, EVERY[2]), EVERY[2], 5):
        assert not set(TABLE[fit]["person"]) & set(TABLE[judge]["person"])


def test_newest_rows_are_kept_back_and_each_fold_is_newer_than_what_it_learns():
    shuffled = TABLE.sample(fraction=1, shuffle=True, seed=3)
    learned, kept = sides(shuffled, EVERY[3])
    assert learned["day"].max() < kept["day"].min()
    folds = split.folds(units(shuffled, EVERY[3]), EVERY[3], 4)
    assert len(folds) == 4
    for fit, judge in folds:
        assert shuffled[fit]["day"].max() < shuffled[judge]["day"].min()


@each_split
def test_every_row_is_judged_in_one_fold(by):
    judged = np.concatenate([judge for _, judge in split.folds(units(TABLE, by), by, 4)])
    assert len(judged) == len(set(judged))
    assert len(judged) == SIZE or by.by == "time"


def test_rare_classes_are_spread_over_the_folds():
    labels = ["common"] * 60 + [f"c{number}" for number in range(60)]
    table = pl.DataFrame({"size": range(120), "label": labels})
    found = split.find_units(table.lazy(), EVERY[1], ["size"], "label")
    assert max(len(judge) for _, judge in split.folds(found, EVERY[1], 3)) < 60


def test_giant_unit_leaves_something_on_either_side():
    table = pl.DataFrame({"size": [1] * 90 + [2, 3, 4], "label": ["x"] * 93})
    by = EVERY[0]
    found = split.find_units(table.lazy(), by, ["size"], "label")
    assert 0 < split.holdout(found, by).sum() < 93
    assert all(len(judge) for _, judge in split.folds(found, by, 3))


@pytest.mark.parametrize(
    ("table", "by", "sentence"),
    [
        (TABLE.head(1), EVERY[0], r"split\.holdout is 0\.25.*1 different rows"),
        (TABLE.head(0), EVERY[0], "0 different rows"),
        (pl.concat([TABLE.head(1)] * 9), EVERY[1], "1 different rows"),
        (TABLE.filter(person="p3"), EVERY[2], r"1 groups in the column of split\.column"),
        (TABLE.head(4), EVERY[3], "1 moments"),
        (
            TABLE,
            Split(by="group", column="nobody", holdout=0.2, seed=1),
            r"split\.column is 'nobody'.*size, person, day\.",
        ),
        (TABLE, Split(by="group", column="label", holdout=0.2, seed=1), r"split\.column is 'label'"),
        (TABLE, Split(by="time", column="person", holdout=0.2, seed=1), "which is String; .*date"),
        (
            TABLE.with_columns(pl.when(pl.col("size") > 3).then("day")),
            EVERY[3],
            r"missing in 4 row\(s\)",
        ),
    ],
)
def test_split_that_cannot_be_is_refused(table, by, sentence):
    with pytest.raises(ProjectError, match=sentence):
        sides(table, by)


def test_too_many_folds_are_refused():
    with pytest.raises(ProjectError, match=r"search\.folds is 20, which needs 20 groups.*have 17"):
        split.folds(units(TABLE, EVERY[2]), EVERY[2], 20)


def test_leak_is_refused():
    found = units(pl.concat([TABLE, TABLE.head(3)]), EVERY[0])
    torn = pl.Series([False] * SIZE + [True] * 3)
    with pytest.raises(ProjectError, match="The split leaks: 3 rows"):
        split.check_apart(found, torn)


def test_projects_own_sides_share_no_row(trained):
    target = read_params().data.target
    learned, kept = (
        pl.read_parquet(project_root() / f"data/processed/{name}.parquet") for name in ("training", "holdout")
    )
    assert learned.columns == kept.columns
    assert target in learned.columns
    assert learned.join(kept, on=learned.columns, how="semi", nulls_equal=True).is_empty()
