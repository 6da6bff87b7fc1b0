"""Values become the types of the contract, or are refused."""

import datetime as dt
from decimal import Decimal

import polars as pl
import pytest

from penguin_model.config import Contract
from penguin_model.model import casting


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("integer", ["7", " 7.0 ", "1e3"], [7, 7, 1000]),
        ("integer", [1.0, None, float("nan")], [1, None, None]),
        ("float", [1, 2], [1.0, 2.0]),
        ("float", [float("inf"), 1.0], [None, 1.0]),
        ("float", [dt.time(0, 1), None], [60.0, None]),
        ("float", [dt.timedelta(minutes=1)], [60.0]),
        ("float", [Decimal("1.5")], [1.5]),
        ("boolean", ["True", "false", None], [True, False, None]),
        ("boolean", [0, 1], [False, True]),
        ("date", ["2020-02-29"], [dt.date(2020, 2, 29)]),
        ("datetime", ["2020-02-29", "2020-02-29 12:30"], [dt.datetime(2020, 2, 29), dt.datetime(2020, 2, 29, 12, 30)]),
        ("datetime", ["2020-02-29T12:30:00+02:00"], [dt.datetime(2020, 2, 29, 10, 30)]),
        ("datetime", [dt.datetime(2020, 2, 29, tzinfo=dt.UTC)], [dt.datetime(2020, 2, 29)]),
        ("string", [1, 2], ["1", "2"]),
    ],
)
def test_values_get_the_type_of_the_contract(kind, given, expected):
    contract = Contract.model_validate({"columns": {"x": {"type": kind, "nullable": True}}})
    assert casting.conform(pl.LazyFrame({"x": given}), contract).collect()["x"].to_list() == expected


@pytest.mark.parametrize(("kind", "given"), [("integer", 2.5), ("date", "soon"), ("boolean", 2), ("float", "many")])
def test_values_of_another_type_are_refused(kind, given):
    contract = Contract.model_validate({"columns": {"x": {"type": kind}}})
    with pytest.raises(pl.exceptions.InvalidOperationError) as refused:
        casting.conform(pl.LazyFrame({"x": [given]}), contract).collect()
    assert casting.refusal(refused.value) == f"column 'x' must be of type {kind}, not '{given}'"


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (
            {"type": "float", "decimal": ","},
            ["1.5", "1,5,0", "1.234,5", "1,5 €", "1'000", "(1,5", "--1,5", "1,5)"],
        ),
        ({"type": "float", "decimal": ",", "thousands": "."}, ["1.5", "1.2345", "1,234.5", "12.34.567", ".123"]),
        ({"type": "integer", "thousands": ","}, ["1,23", "1,234.5", "1234,567", "1,,234", "1,234-5"]),
        ({"type": "float", "unit": "kg"}, ["5", "5 g", "kg", "5 kg kg", "5 kg 3"]),
        (
            {"type": "date", "format": "%d.%m.%Y"},
            ["2023-12-31", "31.12.23", "31.02.2023", "31.12.2023 9:00"],
        ),
        ({"type": "date", "format": "%d.%m.%y"}, ["31.12.2023", "1.2.3", "31.12.23 9:00"]),
        ({"type": "date"}, ["23-01-05", "31.12.2023"]),
        ({"type": "datetime"}, ["23-01-05 10:00"]),
    ],
)
def test_other_spellings_are_refused(column, values):
    contract = Contract.model_validate({"columns": {"x": column}})
    for value in values:
        with pytest.raises(pl.exceptions.InvalidOperationError):
            casting.conform(pl.LazyFrame({"x": [value]}), contract).collect()


def test_values_that_have_their_type_pass_whatever_their_spelling():
    columns = {"n": {"type": "float", "decimal": ",", "unit": "€"}, "d": {"type": "date", "format": "%d.%m.%Y"}}
    rows = pl.LazyFrame({"n": [1.5, None, float("nan")], "d": [dt.date(2023, 12, 31), None, None]})
    conformed = casting.conform(rows, Contract.model_validate({"columns": columns})).collect()
    assert conformed["n"].to_list() == [1.5, None, None]
    assert conformed["d"][0] == dt.date(2023, 12, 31)


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        ({"type": "string", "decimal": ","}, "`decimal`; `format` is for dates"),
        ({"type": "float", "format": "%Y"}, "`format`; `format` is for dates"),
        ({"type": "float", "thousands": "."}, "which is the decimal mark, too"),
        ({"type": "float", "decimal": ",", "thousands": ","}, "which is the decimal mark, too"),
    ],
)
def test_spellings_that_make_no_sense_are_refused(column, sentence):
    with pytest.raises(ValueError, match=sentence):
        Contract.model_validate({"columns": {"x": column}})
