"""The data: the raw table is what the contract says, and experiment and contract fit each other."""

import polars as pl
import pytest

from {{ cookiecutter.__package }}.contract import Contract, read_contract
from {{ cookiecutter.__package }}.params import read_params
from {{ cookiecutter.__package }}.predictor import Recipe
from {{ cookiecutter.__package }}.settings import root
from {{ cookiecutter.__package }}.steps import ingest, validate
from {{ cookiecutter.__package }}.steps.validate import ContractError


@pytest.fixture
def table() -> pl.LazyFrame:
    data = read_params().data
    return ingest.read_table(root() / data.source, data.null_values)


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
        ({"type": "float"}, None, "nullability"),
        ({"type": "integer"}, "many", "dtype"),
    ],
)
def test_violation_names_column_rule_rows_and_examples(rules, value, rule):
    contract = Contract.model_validate({"columns": {"x": rules}})
    with pytest.raises(ContractError, match=rf"column 'x' breaks '.*{rule}.*' in 2 row\(s\), for example") as violation:
        validate.check(pl.LazyFrame({"x": [value, value]}), contract)
    assert violation.value.rows.height == 2


def test_column_said_to_be_unique_is_held_to_it():
    contract = Contract.model_validate({"columns": {"x": {"type": "integer", "unique": True}}})
    validate.check(pl.LazyFrame({"x": [1, 2, 3]}), contract)
    with pytest.raises(ContractError, match=r"breaks 'unique' in 2 row\(s\)"):
        validate.check(pl.LazyFrame({"x": [1, 2, 2]}), contract)


def test_too_few_rows_are_a_violation():
    contract = Contract.model_validate({"rows": {"min": 3}, "columns": {"x": {"type": "integer"}}})
    with pytest.raises(ContractError, match=r"has 2 rows; rows\.min is 3"):
        validate.check(pl.LazyFrame({"x": [1, 2]}), contract)
