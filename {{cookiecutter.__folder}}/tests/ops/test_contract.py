"""Rules of the contract at their edges: missing values, rows that repeat, and names that mean something elsewhere."""

import polars as pl
import pytest

from penguin_model.config import Contract
from penguin_model.steps import validate
from penguin_model.steps.validate import ContractError


def contract(rules: dict, *, unique: bool = False) -> Contract:
    return Contract.model_validate({"rows": {"unique": unique}, "columns": rules})


def test_missing_values_of_a_unique_column_do_not_repeat_each_other():
    rules = contract({"x": {"type": "integer", "unique": True, "nullable": True}})
    validate.check(pl.LazyFrame({"x": [1, None, None]}), rules)
    with pytest.raises(ContractError, match=r"'unique: true' in 2 row\(s\), for example 1 \(row 1\)"):
        validate.check(pl.LazyFrame({"x": [1, 1, None, None]}), rules)


@pytest.mark.parametrize("rule", [{"min": 2}, {"max": 2}, {"allowed": [2]}])
def test_missing_value_breaks_no_other_rule(rule):
    validate.check(pl.LazyFrame({"x": [2, None]}), contract({"x": {"type": "integer", "nullable": True} | rule}))


def test_limit_may_have_more_digits_than_an_integer_of_64_bits():
    rules = contract({"x": {"type": "float", "max": 10**300}})
    validate.check(pl.LazyFrame({"x": [1e300]}), rules)
    with pytest.raises(ContractError, match=r"'max: 1e\+300' in 1 row"):
        validate.check(pl.LazyFrame({"x": [2e300]}), rules)


def test_value_of_another_type_breaks_no_other_rule():
    rules = {"type": "integer", "min": 2, "allowed": [2], "unique": True}
    with pytest.raises(ContractError) as violation:
        validate.check(pl.LazyFrame({"x": ["2", "many"]}), contract({"x": rules}))
    assert str(violation.value).splitlines() == [
        "contract.yaml: column 'x' breaks 'type: integer' in 1 row(s), for example 'many' (row 2)."
    ]


def test_examples_are_different_values_with_their_rows():
    with pytest.raises(
        ContractError, match=r"in 5 row\(s\), for example 'b' \(row 2\), 'c' \(row 4\), 'd' \(row 5\)\."
    ):
        validate.check(
            pl.LazyFrame({"x": ["a", "b", "b", "c", "d", "e"]}), contract({"x": {"type": "string", "allowed": ["a"]}})
        )


def test_names_that_mean_something_elsewhere_are_columns_like_others():
    names = ["", "row", "breaks", "a|b", "filter", "${x}", 'it\'s "so"', "1", "💡"]
    table = pl.LazyFrame({name: [1, 2] for name in names})
    with pytest.raises(ContractError) as violation:
        validate.check(table, contract({name: {"type": "integer", "max": 1} for name in names}))
    assert str(violation.value).count("in 1 row(s), for example 2 (row 2)") == len(names)
    assert violation.value.rows.collect().shape == (1, len(names) + 2)


def test_repeated_rows_are_a_violation_if_the_contract_says_so():
    columns = {"x": {"type": "integer"}, "y": {"type": "string", "nullable": True}}
    table = pl.LazyFrame({"x": [1, 1, 1], "y": ["a", None, None]})
    validate.check(table, contract(columns))
    with pytest.raises(ContractError, match=r"'rows\.unique: true' in 1 row\(s\), for example row 3"):
        validate.check(table, contract(columns, unique=True))


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"type": "date", "min": 1}, r"columns\.x has type date and `min` or `max`, which are for"),
        ({"type": "float", "allowed": [1]}, r"columns\.x has type float and allows \[1\]; `allowed` is for strings"),
    ],
)
def test_rule_that_does_not_fit_the_type_is_refused(rules, message):
    with pytest.raises(ValueError, match=message):
        contract({"x": rules})
