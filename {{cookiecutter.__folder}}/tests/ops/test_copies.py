"""Copies of one observation, told from rows that are equal by chance, so that the split is not biased."""

import numpy as np
import polars as pl
import pytest

from penguin_model.config import Split
from penguin_model.steps import copies, split


def majority(training: pl.DataFrame, evaluated: pl.DataFrame) -> float:
    """Return the accuracy of a model that gives each combination of categories its most frequent label."""
    model = training.group_by("a", "b").agg(guess=pl.col("y").mean() > 0.5)
    guess = evaluated.join(model, on=["a", "b"], how="left")["guess"].fill_null(value=False)
    return (guess == evaluated["y"]).mean()


@pytest.mark.parametrize("method", ["random", "stratified"])
@pytest.mark.parametrize(("levels", "rows"), [(2, 300), (3, 400), (6, 2000)])
def test_few_categories_and_noisy_labels_are_evaluated_without_bias(method, levels, rows):
    holdout_scores, fold_scores, best = [], [], []
    for seed in range(50):
        random = np.random.default_rng(seed)
        a, b = random.integers(0, levels, (2, rows))
        chance = np.where((a + b) % 3 == 0, 0.8, 0.25)
        table = pl.DataFrame({"a": a, "b": pl.Series(b).cast(pl.String), "y": random.random(rows) < chance})
        rules = Split(by=method, holdout=0.25, seed=seed)
        units = split.find_units(table.lazy(), rules, ("a", "b"), "y")
        held_out = split.holdout(units, rules)
        holdout_scores.append(majority(table.filter(~held_out), table.filter(held_out)))
        folds = split.folds(units, rules, 5)
        fold_scores.append(np.mean([majority(table[training], table[validation]) for training, validation in folds]))
        best.append(np.maximum(chance, 1 - chance).mean())
    # The best score that any model can reach is known; the scores differ from it only by chance.
    for scores in (holdout_scores, fold_scores):
        error = np.array(scores) - best
        assert abs(error.mean()) < 3 * error.std() / np.sqrt(50) + 0.005


def table_of(kind: str, rows: int = 300) -> pl.DataFrame:
    random = np.random.default_rng(1)
    category = random.integers(0, 3, rows)
    latent = random.random(rows)
    return {
        "measured": pl.DataFrame({"x": random.normal(size=rows), "z": random.normal(size=rows).round(2)}),
        "measured and binary": pl.DataFrame({"x": random.normal(size=rows), "flag": random.random(rows) < 0.5}),
        "one column": pl.DataFrame({"kind": category}).cast(pl.String),
        "one-to-one": pl.DataFrame({"kind": category, "code": category + 10, "flag": category > 1}),
        "age": pl.DataFrame({"age": random.integers(20, 60, rows), "kind": category, "flag": latent < 0.5}),
        "correlated": pl.DataFrame({f"c{n}": latent + random.normal(0, 0.3, rows) > 0.5 for n in range(20)}),
        "rare": pl.DataFrame({"kind": category, "flag": random.random(rows) < 0.02}),
        "missing": pl.DataFrame({"kind": pl.Series(category).replace(0, None), "flag": random.random(rows) < 0.5}),
    }[kind]


@pytest.mark.parametrize("kind", ["measured", "measured and binary"])
@pytest.mark.parametrize("times", [2, 10])
def test_rows_that_chance_would_not_repeat_are_copies(kind, times):
    table = table_of(kind)
    assert len(set(copies.group(table.lazy(), table.columns))) == table.height
    repeated = pl.concat([table] * times)
    assert copies.group(repeated.lazy(), table.columns).tolist() == list(range(table.height)) * times


@pytest.mark.parametrize("kind", ["one column", "one-to-one", "age", "correlated", "rare", "missing"])
def test_rows_that_chance_repeats_are_different_observations(kind):
    table = table_of(kind)
    assert table.is_duplicated().sum() > 40
    assert len(set(copies.group(table.lazy(), table.columns))) > 0.98 * table.height


def test_chance_in_many_rows_is_estimated_from_a_sample(monkeypatch):
    monkeypatch.setattr(copies, "SAMPLE", 100)
    repeated = pl.concat([table_of("measured")] * 2)
    assert len(set(copies.group(repeated.lazy(), repeated.columns))) == repeated.height // 2
    table = table_of("age", 900)
    assert len(set(copies.group(table.lazy(), table.columns))) > 0.9 * table.height
