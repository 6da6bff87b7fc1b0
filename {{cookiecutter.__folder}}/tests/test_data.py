"""The data: the raw table keeps the contract, and experiment and contract fit each other."""

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
        ({"type": "string", "allowed": ["a", "b"]}, "c", "allowed: a, b"),
        ({"type": "integer", "allowed": [1, 2]}, 3, "allowed: 1, 2"),
        ({"type": "integer", "min": 1}, 0, "min: 1"),
        ({"type": "float", "max": 1}, 1.5, "max: 1"),
        ({"type": "float"}, None, "nullable: false"),
        ({"type": "float"}, float("nan"), "nullable: false"),
        ({"type": "integer"}, "many", "type: integer"),
        ({"type": "integer"}, 2.5, "type: integer"),
        ({"type": "boolean"}, "yes", "type: boolean"),
        ({"type": "date"}, "01/02/2020", "type: date"),
        ({"type": "datetime"}, "noon", "type: datetime"),
        ({"type": "string", "unique": True}, "a", "unique: true"),
    ],
)
def test_violation_names_column_rule_rows_and_examples(rules, value, rule):
    contract = Contract.model_validate({"columns": {"x": rules}})
    with pytest.raises(ContractError, match=rf"column 'x' breaks '{rule}' in 2 row\(s\), for example") as violation:
        validate.check(pl.LazyFrame({"x": [value, value]}), contract)
    rows = violation.value.rows.collect()
    assert rows["row"].to_list() == [1, 2]
    assert rows["breaks"].to_list() == [f"column 'x' breaks '{rule}'"] * 2


@pytest.mark.parametrize(("rows", "message"), [({"min": 3}, "min is 3"), ({"max": 1}, "max is 1")])
def test_too_few_or_too_many_rows_are_a_violation(rows, message):
    contract = Contract.model_validate({"rows": rows, "columns": {"x": {"type": "integer"}}})
    with pytest.raises(ContractError, match=rf"rows\.{message}; the table has 2 rows"):
        validate.check(pl.LazyFrame({"x": [1, 2]}), contract)
