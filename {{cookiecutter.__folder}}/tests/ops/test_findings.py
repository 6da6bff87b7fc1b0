"""What makes a score too good to be true: said, or hidden from the model, and never on honest tables."""

import datetime as dt
import re
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from conftest import PROJECT, TREE
from sklearn.datasets import load_breast_cancer, load_iris, load_wine

from penguin_model.config import Params, Split
from penguin_model.flows import evaluation
from penguin_model.model.casting import conform
from penguin_model.model.predictor import Predictor, Recipe
from penguin_model.ops.adopt import infer, profile
from penguin_model.ops.files import File
from penguin_model.ops.paths import REPORT
from penguin_model.steps import evaluate, grouping, leakage, split, train

ROWS = 240
RANDOM = np.random.default_rng(3)
X, NUMBER = RANDOM.normal(size=(2, ROWS))
LABEL = np.where(RANDOM.random(ROWS) < 0.4, "hoch", "tief")
HIGH = LABEL == "hoch"
THREE = RANDOM.choice(list("abc"), ROWS)
COUNT = np.arange(ROWS)
SHUFFLED = RANDOM.permutation(ROWS)
DAYS = [dt.date(2020, 1, 1) + dt.timedelta(days=day) for day in range(ROWS)]
SOME = np.sort(np.append(COUNT[:180], COUNT[:60] * 3))
SKEWED = np.exp(NUMBER)


def decide(columns: dict | pl.DataFrame, target: str = "y") -> tuple[infer.Decision, pl.LazyFrame]:
    """Return what is decided about a table, and its rows as the contract has them."""
    table = pl.LazyFrame(columns) if isinstance(columns, dict) else columns.lazy()
    decision = infer.decide(profile.profile(table), target, None)
    return decision, conform(table, decision.contract)


def given_away(columns: dict | pl.DataFrame, target: str = "y") -> dict[str, str]:
    """Return the columns that give the target away, as `adopt` finds them."""
    decision, rows = decide(columns, target)
    seen = [name for name in rows.collect_schema() if name not in {target, *decision.drop}]
    return leakage.giveaways(rows, seen, target, decision.problem)


def some(values, share: float = 0.9) -> list:
    """Return the values, some of them missing."""
    return [value if keep < share else None for value, keep in zip(values, RANDOM.random(len(values)), strict=True)]


LEAKS = {
    "code": (HIGH.astype(int), LABEL, "one-to-one"),
    "Boolean": (HIGH, LABEL, "one-to-one"),
    "text": (np.where(HIGH, "H", "T"), LABEL, "one-to-one"),
    "float code": (HIGH * 2.5, LABEL, "one-to-one"),
    "three classes": ([{"a": 7, "b": 3, "c": 5}[label] for label in THREE], THREE, "one-to-one"),
    "code with gaps": (some(HIGH.astype(int)), LABEL, "one-to-one, where it is present"),
    "finer code": ([f"{label}{part}" for label, part in zip(THREE, COUNT % 4, strict=True)], THREE, "has one class"),
    "whole numbers of it": (X > 0.3, (X > 0.3).astype(int), "one-to-one"),
    "number cut once": (X, np.where(X > 0.3, "pass", "fail"), "by 1 threshold"),
    "number cut twice": (X * 9 + 1, np.digitize(X, [-0.5, 0.6]), "by 2 thresholds"),
    "number cut into a band": (X, np.abs(X) < 0.7, "by 2 thresholds"),
    "day": (DAYS, [day >= dt.date(2020, 5, 1) for day in DAYS], "by 1 threshold"),
    "filled for some": ([DAYS[row] if high else None for row, high in enumerate(HIGH)], LABEL, "whether it is missing"),
    "logarithm": (np.log(SKEWED), SKEWED, "rank correlation 1"),
    "half its rank": (np.argsort(np.argsort(NUMBER)) / 2, NUMBER, "rank correlation 1"),
    "scaled": (5 - NUMBER * 3, NUMBER, "rank correlation -1"),
    "scaled with gaps": (some(NUMBER * 3), NUMBER, "rank correlation 1, where it is present"),
    "rounded": (np.round(NUMBER, 2), NUMBER, "rank correlation 1"),
    "rounded a lot": (np.round(NUMBER * 3), NUMBER, "each value is a range of it"),
    "price band": ([f"band {int(value)}" for value in NUMBER * 3 + 20], NUMBER, "each value is a range of it"),
    "message": ([f"row {row}: is {label.upper()}, {row}" for row, label in enumerate(LABEL)], LABEL, "it names it"),
    "some messages": ([f"{row} {label}" if row % 3 else f"{row}" for row, label in enumerate(THREE)], THREE, "names"),
    "list price": ([f"item {row % 30}" for row in COUNT], X[COUNT % 30], "each value has one number"),
}  # fmt: skip


@pytest.mark.parametrize("kind", LEAKS)
def test_column_that_gives_the_target_away_is_named(kind):
    values, target, how = LEAKS[kind]
    found = given_away({"noise": RANDOM.normal(size=ROWS), "leak": values, "y": target})
    assert list(found) == ["leak"]
    assert found["leak"].startswith("'leak' alone determines 'y' (")
    assert how in found["leak"]


def test_numbers_that_add_up_to_the_target_are_named():
    parts = {"net": X, "tax": RANDOM.normal(size=ROWS), "none": RANDOM.normal(size=ROWS)}
    total = parts["net"] + 0.3 * parts["tax"]
    found = given_away(parts | {"y": np.round(total, 3)})
    assert list(found.values()) == ["'net', 'tax' together determine 'y' (by a sum)"]
    assert given_away(parts | {"y": total + RANDOM.normal(0, 0.01, ROWS)}) == {}
    wide = {f"f{column}": RANDOM.normal(size=ROWS) for column in range(120)}
    assert given_away(wide | {"y": NUMBER}) == {}
    assert given_away(wide | {"f0": np.where(HIGH, 1.7e308, -1.7e308), "y": NUMBER}) == {}


FUNCTIONS = {
    "logarithm": np.log(SKEWED),
    "square, falling": -(SKEWED**2),
    "with gaps": some(SKEWED * 3),
}


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_function_of_the_target_is_a_leak_even_in_the_order_of_the_rows(kind):
    table = pl.DataFrame({"leak": FUNCTIONS[kind], "x": X, "y": SKEWED}, strict=False)
    for rows in (table, table.sort("y"), table.sort("y", descending=True)):
        found = given_away(rows)
        assert list(found) == ["leak"]
        assert "'leak' alone determines 'y' (rank correlation " in found["leak"]


RISING, FALLING = np.cumsum(RANDOM.random(ROWS)), -np.cumsum(RANDOM.random(ROWS))
TRENDS = {
    "two that rise": ({"a": RISING}, "the order of the rows"),
    "one that falls": ({"a": FALLING}, "the order of the rows"),
    "years": ({"a": FALLING, "year": 1780 + COUNT}, "'year'"),
    "days, some of them": ({"a": some(RISING), "on": DAYS}, "'on'"),
    "parts of it": ({"a": [f"part {row // 30}" for row in COUNT]}, "the order of the rows"),
}  # fmt: skip


@pytest.mark.parametrize("kind", TRENDS)
@pytest.mark.parametrize("growing", [np.cumsum(RANDOM.random(ROWS)), -np.exp(np.cumsum(RANDOM.random(ROWS)) / 50)])
def test_series_with_a_common_order_is_not_called_a_leak(kind, growing):
    columns, order = TRENDS[kind]
    table = pl.DataFrame(columns | {"x": X, "y": growing}, strict=False)
    found = given_away(table if order == "the order of the rows" else table.sample(fraction=1, shuffle=True, seed=1))
    assert list(found) == ["a"]
    assert found["a"].startswith(f"'a' follows {order}, as 'y' does, and may determine 'y' only for that reason (")


def classes(load) -> pl.DataFrame:
    data = load()
    return pl.DataFrame(data.data, schema=list(data.feature_names)).with_columns(y=pl.Series(data.target))


def counted() -> pl.DataFrame:
    """Return few combinations of categories, each often and with both labels."""
    parts = {"kind": RANDOM.choice(["1st", "2nd", "crew"], 2000), "sex": RANDOM.choice(["man", "woman"], 2000)}
    return pl.DataFrame(parts | {"y": RANDOM.random(2000) < 0.2 + 0.6 * (parts["sex"] == "woman")})


HONEST = {
    "noise": {"x": X, "y": LABEL},
    "eight rows": {"x": np.arange(8) / 3, "code": list("ababcdcd"), "y": list("ppppnnnn")},
    "few rows": {**{f"f{column}": RANDOM.normal(size=16) for column in range(200)}, "y": list("pn") * 8},
    "R² of 0.98": {"x": NUMBER + RANDOM.normal(0, 0.14, ROWS), "y": NUMBER},
    "two makes": {"make": np.where(HIGH, "truck", "bike"), "y": HIGH * 50 + X},
    "one class apart": {"x": np.where(THREE == "a", 9, 0) + X, "y": THREE},
    "rare class": {"x": X, "kind": COUNT % 3, "y": (COUNT % 60 == 0).astype(int)},
    "text of its own": {"x": X, "text": [f"word {row} of many" for row in COUNT], "y": LABEL},
    "text with classes": {"text": [f"{RANDOM.choice(['hoch', 'tief'])} {row} to go" for row in COUNT], "y": LABEL},
    "hardly a repeat": {"x": X, "text": [f"t{row}" for row in SOME], "y": LABEL[SOME]},
    "hardly a repeated number": {"x": X, "text": [f"t{row}" for row in SOME], "y": NUMBER[SOME]},
    "copies": pl.concat([pl.DataFrame({"x": X, "size": SHUFFLED * 31 + 5, "y": LABEL})] * 4),
    "some copies": pl.concat([pl.DataFrame({"x": X, "z": X.round(1), "y": NUMBER})[:number] for number in (240, 90)]),
    "counted": counted(),
    "ordered by class": {"x": X, "y": np.sort(LABEL)},
    "ordered by number": {"x": X, "year": 1780 + COUNT, "y": np.cumsum(RANDOM.random(ROWS))},
    "growing": {"day": DAYS, "x": X, "y": np.cumsum(RANDOM.random(ROWS))},
    "iris": classes(load_iris),
    "wine": classes(load_wine),
    "breast cancer": classes(load_breast_cancer),
}


@pytest.mark.parametrize("kind", HONEST)
def test_honest_columns_are_not_accused(kind):
    assert given_away(HONEST[kind]) == {}


@pytest.mark.parametrize("target", ["species", "body_mass_g", "sex", "island"])
def test_penguins_are_not_accused(target):
    table = pl.read_csv(PROJECT / "data/raw/penguins.csv", null_values="NA")
    assert given_away(table, target) == {}
    assert grouping.notes(table.lazy(), target) == []


IDENTIFIERS = {
    "from 0": ("X", COUNT),
    "from 1": ("X", COUNT + 1),
    "from 1000": ("X", COUNT + 1000),
    "backwards": ("X", COUNT[::-1]),
    "shuffled": ("X", SHUFFLED),
    "in steps": ("X", 7 + 10 * COUNT),
    "in uneven steps": ("X", np.cumsum(RANDOM.choice([2, 3], ROWS))),
    "floats": ("X", COUNT * 1.0),
    "gaps": ("X", np.flatnonzero(RANDOM.random(2 * ROWS) < 0.5)[:ROWS // 2]),
    "shuffled gaps": ("X", RANDOM.choice(3 * ROWS, ROWS, replace=False)),
    "a repeat": ("X", np.append(COUNT[1:], 5)),
    "a gap": ("X", some(COUNT, 0.97)),
    "named, a repeat": ("id", np.append(RANDOM.choice(10**6, ROWS - 1, replace=False), 5)),
    "named, a gap": ("customer_id", some(RANDOM.choice(10**6, ROWS, replace=False), 0.97)),
    "named, floats": ("orderId", RANDOM.choice(10**6, ROWS, replace=False) * 1.0),
    **{
        f"named {name}": (name, RANDOM.choice(10**6, ROWS, replace=False))
        for name in ("Kundennummer", "idCliente", "ID_1", "CustNo", "номер", "№", "patient", "pk")
    },
    "text": ("X", [f"ID{row:04}" for row in COUNT]),
    "text, a repeat": ("X", [f"ID{row:04}" for row in np.append(COUNT[1:], 5)]),
    "text, a gap": ("X", some([f"ID{row:04}" for row in COUNT], 0.995)),
    "seconds": ("stamp", 1577836800 + 3600 * COUNT),
}  # fmt: skip


@pytest.mark.parametrize("kind", IDENTIFIERS)
def test_identifier_and_row_number_are_hidden(kind):
    name, values = IDENTIFIERS[kind]
    height = len(values)
    decision, rows = decide({"x": X[:height], name: values, "y": np.sort(LABEL[:height])})
    assert decision.drop == [name]
    assert "identifier" in " ".join(decision.reasons)
    assert rows.collect().height == height
    assert infer.decide(profile.profile(rows), "y", None, [name]).drop == []


def test_times_are_named_even_if_they_are_hidden_as_row_numbers():
    decision, _ = decide({"x": X, "unix": 1577836800 + 3600 * COUNT, "y": LABEL})
    assert decision.drop == ["unix"]
    assert [reason for reason in decision.reasons if "seconds since 1970 stay numbers" in reason]


POINTS = RANDOM.choice(959, 218, replace=False)
MEASUREMENTS = {
    "years": ("year", 1780 + COUNT),
    "years of another name": ("built", 1780 + SHUFFLED),
    "ages": ("age", COUNT[:100]),
    "people": ("population", RANDOM.choice(10**6, ROWS, replace=False)),
    "cents": ("price", RANDOM.choice(10**5, ROWS, replace=False)),
    **{
        f"{name}, whole": (name, RANDOM.choice(10**6, ROWS, replace=False))
        for name in ("income (€)", "price [USD]", "Population (2020)", "piano", "idle time")
    },
    "sorted": ("income", np.sort(RANDOM.choice(10**5, ROWS, replace=False))),
    "huge": ("sum", np.where(COUNT % 2, -1.7e308, 1.7e308) * (1 - COUNT / 1000)),
    "drawn": ("score", RANDOM.integers(0, 300, ROWS)),
    "months": ("month", [100 * (2000 + row // 12) + row % 12 + 1 for row in COUNT]),
    "a grid": ("x0", COUNT / 10),
    "an index of heat": ("heat_index", RANDOM.integers(60, 200, ROWS)),
    "points": ("points", np.append(POINTS, POINTS[:22])),
    "an index with fractions": ("index", X),
    "few doses": ("dose", np.arange(8)),
    "words": ("title", [f"the book {row}" for row in COUNT]),
}


@pytest.mark.parametrize("kind", MEASUREMENTS)
def test_measurement_with_different_values_stays(kind):
    name, values = MEASUREMENTS[kind]
    decision, _ = decide({"x": X[: len(values)], name: values, "y": LABEL[: len(values)]})
    assert decision.drop == []


def of_entities(entities: int = 60, each: int = 12) -> pl.DataFrame:
    """Return visits of patients; the label is the patient's, and nothing but the patient tells it."""
    of = np.repeat(np.arange(entities), each)
    order = RANDOM.permutation(len(of))
    facts = {
        "patient": pl.Series([f"P{number:03}" for number in range(entities)])[of],
        "sex": RANDOM.choice(["f", "m"], entities)[of],
        "born": RANDOM.integers(1940, 2000, entities)[of],
        "height": RANDOM.normal(170, 9, entities).round(1)[of],
        "pulse": RANDOM.integers(50, 120, len(of)),
        "y": RANDOM.choice(["ill", "well"], entities)[of],
    }
    return pl.DataFrame(facts)[order]


def of_pairs() -> pl.DataFrame:
    """Return the weekly sales of 12 shops' 8 products, of which each shop has a weight of its own."""
    shop, product = np.repeat(np.arange(12), 80), np.tile(np.repeat(np.arange(8), 10), 12)
    pair = 8 * shop + product
    names = {"shop": [f"S{number}" for number in shop], "product": [f"P{number}" for number in product]}
    return pl.DataFrame(names | {"weight": RANDOM.normal(size=96)[pair], "y": RANDOM.normal(size=960)})


def places(name: str) -> pl.DataFrame:
    """Return houses with the postcode, city and state that they lie in."""
    city, state = RANDOM.integers(0, 20, 100), RANDOM.integers(0, 5, 20)
    code = RANDOM.integers(0, 100, 800)
    columns = {name: code + 10000, "city": city[code], "state": state[city[code]], "y": RANDOM.normal(size=800)}
    return pl.DataFrame(columns)


VISITS = of_entities()
BELONGING = {
    "patients": (VISITS, "--group patient,"),
    "of any name": (VISITS.rename({"patient": "a b"}), "--group 'a b',"),
    "as numbers": (VISITS.with_columns(pl.col("patient").rank("dense") * 1.0).rename({"patient": "X"}), "--group X,"),
    "only a name": (VISITS.select("patient", "pulse", "y"), "--group patient,"),
    "sorted": (VISITS.sort("y", "patient").select(client_id=pl.col("patient").rank("dense"), y="pulse"), "client_id,"),
    "two names": (VISITS.with_columns(patient_id=pl.col("patient").rank("dense")), "--group patient,"),
    "few machines": (VISITS.select(machine=pl.col("patient").str.tail(1), y="pulse"), "--group machine,"),
    "a few errors": (
        VISITS.with_columns(sex=pl.when(COUNT.repeat(3) == 7).then(pl.lit("f")).otherwise("sex")), "--group patient,"
    ),
    "units": (VISITS.select(unit_number=pl.col("patient").rank("dense"), y="pulse"), "--group unit_number,"),
    "pairs": (of_pairs(), "'shop' and 'product' together repeat and determine 'weight', .*--group shop,"),
    "days": ({"day": DAYS, "y": NUMBER}, "order of 'day', "),
    "days with a gap": ({"day": [None, *DAYS[1:]], "y": NUMBER}, r"first correct or drop the 1 row\(s\) without it"),
    "fractions": ({"time": np.cumsum(np.abs(X)), "y": NUMBER}, "order of 'time', "),
    "days backwards": ({"day": DAYS[::-1], "y": NUMBER}, "order of 'day', "),
    "hours": ({"at": [dt.datetime(2020, 1, 1) + dt.timedelta(hours=int(h)) for h in COUNT], "y": NUMBER}, "--time at"),
    "years": ({"year": np.sort(COUNT % 5 + 2015), "x": X, "y": NUMBER}, "--time year"),
    "shops by day": ({"day": [DAYS[row // 10] for row in COUNT], "shop": COUNT % 10, "y": NUMBER}, "--time day"),
    "a date": ({"sold on": [DAYS[row] for row in SHUFFLED], "x": X, "y": NUMBER}, "--time 'sold on'"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BELONGING)
def test_rows_that_belong_together_or_lie_in_time_are_said(kind):
    table, sentence = BELONGING[kind]
    said = grouping.notes(pl.LazyFrame(table) if isinstance(table, dict) else table.lazy(), "y")
    assert [re.search(sentence, note) is not None for note in said] == [True]


YEARS = RANDOM.integers(18, 90, 800)
APART = {
    **HONEST,
    "ages": {"age": YEARS, "group": YEARS // 20, "adult": YEARS > 20, "decade": YEARS // 10, "y": RANDOM.random(800)},
    "copied people": pl.concat([pl.DataFrame({"weight": SHUFFLED, "sex": LABEL, "kind": THREE, "y": X})] * 4),
    "pairs without a weight": of_pairs().drop("weight"),
    "a price of each": of_pairs().with_columns(weight=pl.col("product").hash() % 100),
    "a sum of ranks": of_pairs().with_columns(weight=pl.col("shop").rank("dense") + pl.col("product").rank("dense")),
    "postcodes": places("code"),
    "named postcodes": places("plz").with_columns(rural=pl.col("plz").hash() % 2),
    "categories": {"kind": COUNT % 40, "size": RANDOM.integers(0, 30, ROWS), "y": NUMBER},
    "months": {"month": COUNT % 12, "quarter": COUNT % 12 // 3, "y": NUMBER},
    "births": {"birth_date": [DAYS[row] for row in SHUFFLED], "x": X, "y": NUMBER},
    "a date of some": {"left": some(DAYS, 0.5), "x": X, "y": NUMBER},
    "two dates": {"from": [DAYS[row] for row in SHUFFLED], "to": [DAYS[-row] for row in SHUFFLED], "y": NUMBER},
    "four stations": {"station": COUNT % 4, "x": X, "y": NUMBER},
    "rating": {"view.of.household": COUNT % 7, "x": X, "y": NUMBER},
    "years": {"year": RANDOM.integers(2015, 2020, ROWS), "y": NUMBER},
}
del APART["ordered by number"], APART["growing"]


@pytest.mark.parametrize("kind", APART)
def test_rows_of_their_own_need_no_group_and_no_time(kind):
    table = APART[kind]
    assert grouping.notes(pl.LazyFrame(table) if isinstance(table, dict) else table.lazy(), "y") == []


def score(table: pl.DataFrame, **rules) -> float:
    """Return accuracy or R² on the holdout of the columns that `adopt` shows a model; the mean of a few seeds."""
    decision, rows = decide(table)
    seen = [name for name in decision.contract.columns if name not in {"y", *decision.drop, rules.get("column")}]
    method = {"by": "stratified" if decision.problem == "classification" else "random"} | rules
    scores = []
    for seed in range(3):
        part = Split(holdout=0.25, seed=seed, **method)
        held_out = split.holdout(split.find_units(rows, part, seen, "y"), part)
        training, holdout = rows.filter(~held_out).collect(), rows.filter(held_out).collect()
        pipeline = train.build_pipeline(decision.problem, TREE[decision.problem], {"min_samples_leaf": 2}, seed)
        model = train.fit(pipeline, training.select(seen), training["y"])
        metrics = evaluate.metrics(decision.problem, evaluate.predict(model, holdout.select(seen), holdout["y"]))
        scores.append(metrics["accuracy" if decision.problem == "classification" else "r2"])
    return float(np.mean(scores))


@pytest.mark.parametrize("kind", IDENTIFIERS)
def test_noise_in_the_order_of_its_classes_is_not_learned(kind):
    name, values = IDENTIFIERS[kind]
    table = pl.DataFrame({"x": X[: len(values)], name: values, "y": np.sort(LABEL[: len(values)])}, strict=False)
    assert score(table) < 0.7  # a dummy has 0.6


def test_score_is_honest_only_if_rows_that_belong_together_stay_together():
    walk = np.cumsum(np.random.default_rng(0).normal(size=ROWS))
    days = pl.DataFrame({"day": DAYS, "x": X, "y": walk})
    assert score(VISITS) > 0.9
    assert score(VISITS, by="group", column="patient") < 0.65
    assert score(days) > 0.7
    assert score(days, by="time", column="day") < 0.3
    assert 0.7 < score(counted()) < 0.85  # 0.8 is possible


def test_training_logs_and_reports_them(tmp_path, monkeypatch):
    table = VISITS.with_columns(code=pl.col("y").replace_strict({"ill": 4, "well": 2}))
    decision, rows = decide(table)
    params = Params.model_validate(
        {
            "data": {"source": "t.csv", "problem": "classification", "target": "y"},
            "features": {"double": "2 * code"},
            "split": {"holdout": 0.25, "seed": 1},
            "model": {"estimator": TREE["classification"]},
            "gate": {"metric": "accuracy"},
        }
    )
    recipe = Recipe.of(params, decision.contract)
    training = recipe.build_features(rows, labelled=True).collect()
    pipeline = train.build_pipeline("classification", TREE["classification"], {}, 0)
    predictor = Predictor(train.fit(pipeline, training.select(recipe.columns), training["y"]), recipe)
    training.write_parquet(tmp_path / "t.parquet")
    logged = []
    log = SimpleNamespace(warning=logged.append, info=lambda *_: None)
    monkeypatch.setenv("PROJECT_ROOT", str(tmp_path))
    monkeypatch.setattr(evaluation, "get_run_logger", lambda: log)
    for folder in ("reports", "models"):
        (tmp_path / folder).mkdir()
    file = File(path="t.parquet", md5="0")
    origin = SimpleNamespace(code="abc", flow_run_name="run", inputs={})
    evaluation.evaluate_model.fn(predictor, [file, file], params, [], ("run", origin))
    page = (tmp_path / REPORT).read_text()
    for column in ("code", "double"):
        sentence = f"'{column}' alone determines 'y' (one-to-one): if it is not known at prediction time"
        assert [note for note in logged if note.startswith(sentence)]
        assert sentence.replace("'", "&#39;") in page
    assert [note for note in logged if "--group patient," in note]
