"""The data: the raw table is what the contract says, and experiment and contract fit each other."""

import polars as pl
import pytest

from penguin_model.config import Contract
from penguin_model.model.predictor import Recipe
from penguin_model.ops.settings import (
    project_root,
    read_contract,
    read_params,
)
from penguin_model.steps import ingest, validate
from penguin_model.steps.validate import ContractError


@pytest.fixture
def table() -> pl.LazyFrame:
    data = read_params().data
    return ingest.read_table(project_root() / data.source, data.null_values, read_contract().types)


def test_raw_table_keeps_the_contract(table):
    validate.check(table, read_contract())


def test_experiment_fits_the_contract():
    params = read_params()
    assert params.data.target not in Recipe.of(params, read_contract()).inputs.columns


def test_missing_column_is_a_violation(table):
    first = next(iter(read_contract().columns))
    with pytest.raises(ContractError, match=f"lacks the column.* {first}"):
        validate.check(table.drop(first), read_contract())


@pytest.mark.parametrize(
    ("rules", "value", "rule"),
    [
        ({"type": "string", "allowed": ["a", "b"]}, "c", "allowed"),
        ({"type": "integer", "min": 1}, 0, "min"),
        ({"type": "float", "max": 1}, 1.5, "max"),
        ({"type": "float"}, None, "nullable: false"),
        ({"type": "float"}, float("nan"), "nullable: false"),
        ({"type": "integer"}, "many", "type: integer"),
        ({"type": "integer"}, 2.5, "type: integer"),
        ({"type": "boolean"}, "yes", "type: boolean"),
        ({"type": "date"}, "01/02/2020", "type: date"),
        ({"type": "datetime"}, "noon", "type: datetime"),
        ({"type": "integer", "allowed": [1, 2]}, 3, "allowed: 1, 2"),
    ],
)
def test_violation_names_column_rule_rows_and_examples(rules, value, rule):
    contract = Contract.model_validate({"columns": {"x": rules}})
    with pytest.raises(ContractError, match=rf"column 'x' breaks '.*{rule}.*' in 2 row\(s\), for example") as violation:
        validate.check(pl.LazyFrame({"x": [value, value]}), contract)
    rows = violation.value.rows.collect()
    assert rows["row"].to_list() == [1, 2]
    assert rule in rows["breaks"][0]


def test_column_said_to_be_unique_is_held_to_it():
    contract = Contract.model_validate({"columns": {"x": {"type": "integer", "unique": True}}})
    validate.check(pl.LazyFrame({"x": [1, 2, 3]}), contract)
    with pytest.raises(ContractError, match=r"breaks 'unique: true' in 2 row\(s\)"):
        validate.check(pl.LazyFrame({"x": [1, 2, 2]}), contract)


def test_missing_values_of_a_unique_column_do_not_repeat_each_other():
    contract = Contract.model_validate({"columns": {"x": {"type": "integer", "unique": True, "nullable": True}}})
    validate.check(pl.LazyFrame({"x": [1, None, None]}), contract)


def test_examples_are_different_values_and_say_where():
    contract = Contract.model_validate({"columns": {"x": {"type": "string", "allowed": ["a"]}}})
    with pytest.raises(
        ContractError, match=r"in 5 row\(s\), for example 'b' \(row 2\), 'c' \(row 4\), 'd' \(row 5\)\."
    ):
        validate.check(pl.LazyFrame({"x": ["a", "b", "b", "c", "d", "e"]}), contract)


def test_names_that_mean_something_elsewhere_are_columns_like_others():
    names = ["", "row", "breaks", "a|b", "filter", "${x}", 'it\'s "so"', "1", "💡"]
    contract = Contract.model_validate({"columns": {name: {"type": "integer", "max": 1} for name in names}})
    table = pl.LazyFrame({name: [1, 2] for name in names})
    with pytest.raises(ContractError) as violation:
        validate.check(table, contract)
    assert str(violation.value).count("in 1 row(s), for example 2 (row 2)") == len(names)
    assert violation.value.rows.collect().shape == (1, len(names) + 2)


def test_repeated_rows_are_a_violation_where_the_contract_says_so():
    columns = {"x": {"type": "integer"}, "y": {"type": "string", "nullable": True}}
    table = pl.LazyFrame({"x": [1, 1, 1], "y": ["a", None, None]})
    validate.check(table, Contract.model_validate({"columns": columns}))
    with pytest.raises(ContractError, match=r"'rows\.unique: true' in 1 row\(s\), for example row 3"):
        validate.check(table, Contract.model_validate({"rows": {"unique": True}, "columns": columns}))


def test_too_many_rows_are_a_violation():
    contract = Contract.model_validate({"rows": {"max": 1}, "columns": {"x": {"type": "integer"}}})
    with pytest.raises(ContractError, match=r"rows\.max is 1; the table has 2 rows"):
        validate.check(pl.LazyFrame({"x": [1, 2]}), contract)


def test_too_few_rows_are_a_violation():
    contract = Contract.model_validate({"rows": {"min": 3}, "columns": {"x": {"type": "integer"}}})
    with pytest.raises(ContractError, match=r"rows\.min is 3; the table has 2 rows"):
        validate.check(pl.LazyFrame({"x": [1, 2]}), contract)
